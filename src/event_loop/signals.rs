//! Signals of the process (signal(7)): caught from the start of a program, handled by a loop, returned at its end.
//!
//! Handlers belong to the process, and several loops may watch the same signals: each of them is told. Once the last one
//! has ended, a signal has its default action again. A handler of signal-hook stays installed for ever, so that action is
//! emulated, and only where it was in place before: a process with a handler of its own keeps that, and nothing else.

use signal_hook::consts::{SIGHUP, SIGINT};
use signal_hook::flag::{register, register_conditional_default};
use signal_hook::low_level::unregister;
use signal_hook::{SigId, iterator};
use signal_hook_mio::v1_0;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The signals that a program handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSet {
    /// Those that end it. SIGINT and SIGHUP are left alone where the process was started with them ignored, as by nohup(1) or
    /// as a background job of a shell without job control.
    pub ending: &'static [i32],
    /// All others.
    pub others: &'static [i32],
}

/// Those of the ending signals that stay ignored if they are.
const KEPT_IGNORED: [i32; 2] = [SIGINT, SIGHUP];

/// What was caught before there was a loop.
static EARLY: Mutex<Option<Signals>> = Mutex::new(None);

/// The signals that this process has ever caught.
static CAUGHT: Mutex<Vec<Caught>> = Mutex::new(Vec::new());

/// A signal whose handler is installed.
struct Caught {
    signal: i32,
    /// How many claims there are.
    claims: usize,
    /// Whether the handler takes the default action. Nobody sets it for a signal that had another one.
    takes_default: Option<Arc<AtomicBool>>,
}

/// Keeps signals from their default action until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct SignalClaim(Vec<i32>);

/// Catches the signals of `set` from now on. The next loop that [watches](super::EventLoop::watch_signals) signals is told
/// of those that came before it, so a program calls this first of all. Until that loop runs, a second ending signal
/// takes its default action: what happens before, such as the look-up of a name, can last for long. Signals that come
/// after the loop are ignored as long as the claim exists.
///
/// # Errors
///
/// Those of sigaction(2) and socketpair(2).
pub fn catch_signals(set: SignalSet) -> io::Result<SignalClaim> {
    let mut signals = Signals::new()?;
    signals.add(set)?;
    let claim = SignalClaim::new(&signals.claim.0)?;
    *lock(&EARLY) = Some(signals);
    Ok(claim)
}

/// What a loop is told of signals.
pub(super) struct Signals {
    pub(super) source: v1_0::Signals,
    claim: SignalClaim,
    /// An ending signal came before the loop.
    has_ended: Arc<AtomicBool>,
    /// The handlers that look at that.
    early: Vec<SigId>,
}

impl Signals {
    /// Those of `set`, and what has come of them since they were caught early.
    pub(super) fn watch(set: SignalSet) -> io::Result<Self> {
        let early = lock(&EARLY).take();
        let mut signals = early.map_or_else(Self::new, Ok)?;
        signals.add(set)?;
        Ok(signals)
    }

    fn new() -> io::Result<Self> {
        let source = v1_0::Signals::new(&[] as &[i32])?;
        Ok(Self { source, claim: SignalClaim(Vec::new()), has_ended: Arc::default(), early: Vec::new() })
    }

    fn add(&mut self, set: SignalSet) -> io::Result<()> {
        for &signal in set.ending.iter().chain(set.others) {
            let is_ending = set.ending.contains(&signal);
            let is_left = is_ending && KEPT_IGNORED.contains(&signal) && is_ignored(signal);
            if is_left || self.claim.0.contains(&signal) {
                continue;
            }
            self.claim.add(signal)?;
            if is_ending {
                // In this order: the first one does not see itself.
                self.early.push(register_conditional_default(signal, Arc::clone(&self.has_ended))?);
                self.early.push(register(signal, Arc::clone(&self.has_ended))?);
            }
            self.source.add_signal(signal)?;
        }
        Ok(())
    }

    /// The loop runs: it hears of every signal.
    pub(super) fn begin(&mut self) {
        for handler in self.early.drain(..) {
            unregister(handler);
        }
    }

    /// The signals that have come.
    pub(super) fn pending(&mut self) -> iterator::backend::Pending<iterator::exfiltrator::SignalOnly> {
        self.source.pending()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.begin();
    }
}

impl SignalClaim {
    fn new(signals: &[i32]) -> io::Result<Self> {
        let mut claim = Self(Vec::new());
        signals.iter().try_for_each(|&signal| claim.add(signal))?;
        Ok(claim)
    }

    fn add(&mut self, signal: i32) -> io::Result<()> {
        let mut caught = lock(&CAUGHT);
        if !caught.iter().any(|caught| caught.signal == signal) {
            let takes_default = if has_handler(signal) || is_ignored(signal) {
                None
            } else {
                let takes_default = Arc::default();
                register_conditional_default(signal, Arc::clone(&takes_default))?;
                Some(takes_default)
            };
            caught.push(Caught { signal, claims: 0, takes_default });
        }
        caught.iter_mut().filter(|caught| caught.signal == signal).for_each(|caught| caught.change(1));
        self.0.push(signal);
        Ok(())
    }
}

impl Drop for SignalClaim {
    fn drop(&mut self) {
        let mut caught = lock(&CAUGHT);
        caught.iter_mut().filter(|caught| self.0.contains(&caught.signal)).for_each(|caught| caught.change(-1));
    }
}

impl Caught {
    fn change(&mut self, by: isize) {
        self.claims = self.claims.saturating_add_signed(by);
        if let Some(takes_default) = &self.takes_default {
            takes_default.store(self.claims == 0, Ordering::SeqCst);
        }
    }
}

/// Whether the process ignores `signal`.
fn is_ignored(signal: i32) -> bool {
    is_in_mask("SigIgn:", signal)
}

/// Whether the process has a handler for `signal`.
fn has_handler(signal: i32) -> bool {
    is_in_mask("SigCgt:", signal)
}

/// Whether `signal` is in this mask of the process (proc_pid_status(5)). Elsewhere nothing tells it without unsafe code.
fn is_in_mask(name: &str, signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(name)?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
