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
    let claim = signals.claim.clone();
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
        let dispositions = Dispositions::read();
        for &signal in set.others.iter().chain(set.ending) {
            let is_ending = set.ending.contains(&signal);
            let is_left = is_ending && KEPT_IGNORED.contains(&signal) && dispositions.ignores(signal);
            if is_left || self.claim.0.contains(&signal) {
                continue;
            }
            self.claim.add(signal, dispositions)?;
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
    fn add(&mut self, signal: i32, dispositions: Dispositions) -> io::Result<()> {
        let mut caught = lock(&CAUGHT);
        if !caught.iter().any(|caught| caught.signal == signal) {
            let takes_default = if dispositions.handles(signal) || dispositions.ignores(signal) {
                None
            } else {
                let takes_default = Arc::default();
                register_conditional_default(signal, Arc::clone(&takes_default))?;
                Some(takes_default)
            };
            caught.push(Caught { signal, claims: 0, takes_default });
        }
        self.0.push(signal);
        change_claims(&mut caught, &[signal], 1);
        Ok(())
    }
}

impl Clone for SignalClaim {
    fn clone(&self) -> Self {
        change_claims(&mut lock(&CAUGHT), &self.0, 1);
        Self(self.0.clone())
    }
}

impl Drop for SignalClaim {
    fn drop(&mut self) {
        change_claims(&mut lock(&CAUGHT), &self.0, -1);
    }
}

fn change_claims(caught: &mut [Caught], signals: &[i32], by: isize) {
    for caught in caught.iter_mut().filter(|caught| signals.contains(&caught.signal)) {
        caught.claims = caught.claims.saturating_add_signed(by);
        if let Some(takes_default) = &caught.takes_default {
            takes_default.store(caught.claims == 0, Ordering::SeqCst);
        }
    }
}

/// What the process does with signals (proc_pid_status(5)). Nothing but procfs tells it without unsafe code; without that,
/// every signal counts as one with its default action.
#[derive(Debug, Clone, Copy)]
struct Dispositions {
    ignored: u64,
    handled: u64,
}

impl Dispositions {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = |name| {
            let mask = status.lines().find_map(|line| line.strip_prefix(name));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
        };
        Self { ignored: mask("SigIgn:"), handled: mask("SigCgt:") }
    }

    fn ignores(self, signal: i32) -> bool {
        self.ignored >> (signal - 1) & 1 == 1
    }

    fn handles(self, signal: i32) -> bool {
        self.handled >> (signal - 1) & 1 == 1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
