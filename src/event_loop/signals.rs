//! Process signals (signal(7)): caught from program start, handled by a loop, restored at the end.
//!
//! Signal handlers belong to the process. Several loops may watch the same signals, and each loop receives every
//! signal. After the last loop has ended, a signal takes its default action again. signal-hook never uninstalls a
//! handler, so this action is emulated. That is done only for signals that had the default action before. A handler
//! that the process installed itself stays in place, and nothing is emulated for that signal.

use signal_hook::consts::{SIGHUP, SIGINT};
use signal_hook::flag::{register, register_conditional_default, register_conditional_shutdown};
use signal_hook::low_level::unregister;
use signal_hook::{SigId, iterator};
use signal_hook_mio::v1_0;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The signals that a program handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSet {
    /// Signals that end the program. SIGINT and SIGHUP stay ignored if the process was started that way, as by nohup(1)
    /// or as a background job of a shell without job control.
    pub ending: &'static [i32],
    /// All other signals.
    pub others: &'static [i32],
}

/// Ending signals that stay ignored if the process was started that way.
const MAY_STAY_IGNORED: [i32; 2] = [SIGINT, SIGHUP];

/// Signals caught before the first loop exists.
static EARLY: Mutex<Option<Signals>> = Mutex::new(None);

/// The signals that this process has ever caught.
static CAUGHT: Mutex<Vec<Caught>> = Mutex::new(Vec::new());

/// A signal whose handler is installed.
struct Caught {
    signal: i32,
    /// Number of claims on it.
    claims: usize,
    /// Whether the handler takes the default action. `None` for a signal that was handled or ignored before.
    takes_default: Option<Arc<AtomicBool>>,
}

/// Claim on signals: keeps them from their default action until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct SignalClaim(Vec<i32>);

/// Catches the signals of `set` from now on. A program calls this first of all.
///
/// The next loop that [watches](super::EventLoop::watch_signals) signals also receives those that arrived before it.
/// Until that loop runs, a second ending signal takes its default action, because work before it, such as name
/// resolution, can take long. Signals that arrive after the loop has ended are ignored as long as the claim exists.
///
/// # Errors
///
/// Errors of sigaction(2) and socketpair(2).
pub fn catch_signals(set: SignalSet) -> io::Result<SignalClaim> {
    let mut signals = Signals::new()?;
    signals.add(set, Dispositions::read())?;
    let claim = signals.claim.clone();
    *lock(&EARLY) = Some(signals);
    Ok(claim)
}

/// Signals that a loop receives.
pub(super) struct Signals {
    pub(super) source: v1_0::Signals,
    claim: SignalClaim,
    /// Whether an ending signal arrived before the loop runs.
    ending_received: Arc<AtomicBool>,
    /// Handlers that take the default action on the second ending signal; empty once the loop runs.
    early_handlers: Vec<SigId>,
}

impl Signals {
    /// Watches the signals of `set`, including those that were caught before.
    pub(super) fn watch(set: SignalSet) -> io::Result<Self> {
        let early = lock(&EARLY).take();
        let mut signals = early.map_or_else(Self::new, Ok)?;
        signals.add(set, Dispositions::read())?;
        Ok(signals)
    }

    fn new() -> io::Result<Self> {
        let source = v1_0::Signals::new(&[] as &[i32])?;
        Ok(Self { source, claim: SignalClaim(Vec::new()), ending_received: Arc::default(), early_handlers: Vec::new() })
    }

    fn add(&mut self, set: SignalSet, dispositions: Dispositions) -> io::Result<()> {
        for &signal in set.others.iter().chain(set.ending) {
            let is_ending = set.ending.contains(&signal);
            let stays_ignored = is_ending && MAY_STAY_IGNORED.contains(&signal) && dispositions.ignores(signal);
            if stays_ignored || self.claim.0.contains(&signal) {
                continue;
            }
            self.claim.add(signal, dispositions)?;
            if is_ending {
                // The order matters: the first ending signal sets the flag only after the first handler has read it.
                self.early_handlers.push(register_default(signal, Arc::clone(&self.ending_received))?);
                self.early_handlers.push(register(signal, Arc::clone(&self.ending_received))?);
            }
            self.source.add_signal(signal)?;
        }
        Ok(())
    }

    /// Called when the loop runs: from then on it receives every ending signal.
    pub(super) fn unregister_early_handlers(&mut self) {
        for handler in self.early_handlers.drain(..) {
            unregister(handler);
        }
    }

    /// Returns the signals that have arrived.
    pub(super) fn pending(&mut self) -> iterator::backend::Pending<iterator::exfiltrator::SignalOnly> {
        self.source.pending()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.unregister_early_handlers();
    }
}

/// Signals of the process for code without a loop, which asks for them from time to time.
pub struct SignalWatch(Signals);

impl SignalWatch {
    /// Watches the signals of `set`, including those that were caught before.
    ///
    /// # Errors
    ///
    /// Errors of sigaction(2) and socketpair(2).
    pub fn new(set: SignalSet) -> io::Result<Self> {
        let mut signals = Signals::watch(set)?;
        signals.unregister_early_handlers();
        Ok(Self(signals))
    }

    /// The signals that have arrived since the last call.
    pub fn received(&mut self) -> impl Iterator<Item = i32> {
        self.0.pending()
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
                register_default(signal, Arc::clone(&takes_default))?;
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

/// Takes the default action of `signal` while the flag is set. For PID 1 of a container the kernel takes none
/// (pid_namespaces(7)): the process then exits with the status that a shell gives to a process that the signal ended.
fn register_default(signal: i32, flag: Arc<AtomicBool>) -> io::Result<SigId> {
    if std::process::id() == 1 {
        return register_conditional_shutdown(signal, 128 + signal, flag);
    }
    register_conditional_default(signal, flag)
}

fn change_claims(caught: &mut [Caught], signals: &[i32], by: isize) {
    for caught in caught.iter_mut().filter(|caught| signals.contains(&caught.signal)) {
        caught.claims = caught.claims.saturating_add_signed(by);
        if let Some(takes_default) = &caught.takes_default {
            takes_default.store(caught.claims == 0, Ordering::SeqCst);
        }
    }
}

/// Signal dispositions of the process (proc_pid_status(5)). procfs is the only source without unsafe code. Where it is
/// missing, every signal counts as having its default action.
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
    // The protected value is consistent between any two statements, so a poisoned lock is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{CAUGHT, Dispositions, SignalClaim, SignalSet, SignalWatch, Signals, lock};
    use crate::event_loop::EventLoop;
    use signal_hook::consts::{SIGCONT, SIGIO, SIGURG, SIGUSR2, SIGWINCH};
    use signal_hook::low_level::raise;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::{Duration, Instant};

    /// Held by each test that claims or raises signals.
    static SIGNALS: Mutex<()> = Mutex::new(());

    /// Number of claims on a signal, and whether it takes its default action; one entry per entry of the list.
    fn claims(signal: i32) -> Vec<(usize, Option<bool>)> {
        let caught = lock(&CAUGHT);
        let of_signal = caught.iter().filter(|caught| caught.signal == signal);
        let is_set = |caught: &super::Caught| caught.takes_default.as_ref().map(|flag| flag.load(Ordering::SeqCst));
        of_signal.map(|caught| (caught.claims, is_set(caught))).collect()
    }

    #[test]
    fn a_watch_reports_each_signal_once() {
        let _signals = lock(&SIGNALS);
        let set = SignalSet { ending: &[], others: &[SIGUSR2] };
        let mut watch = SignalWatch::new(set).expect("descriptors are free");
        assert_eq!(watch.received().next(), None);
        raise(SIGUSR2).expect("it is handled");
        assert!(watch.received().eq([SIGUSR2]));
        assert_eq!(watch.received().next(), None);
    }

    /// Both signals are ignored by default, and no other test uses them.
    #[test]
    fn a_signal_takes_its_default_action_while_nothing_claims_it() {
        let _signals = lock(&SIGNALS);
        let (default, handled) = (Dispositions { ignored: 0, handled: 0 }, Dispositions { ignored: 0, handled: !0 });
        let (mut first, mut second) = (SignalClaim(Vec::new()), SignalClaim(Vec::new()));
        first.add(SIGWINCH, default).expect("a signal that can be caught");
        assert_eq!(claims(SIGWINCH), [(1, Some(false))]);
        second.add(SIGWINCH, default).expect("a signal that can be caught");
        second.add(SIGURG, handled).expect("a signal that can be caught");
        let third = second.clone();
        assert_eq!((claims(SIGWINCH), claims(SIGURG)), (vec![(3, Some(false))], vec![(2, None)]));
        drop((first, second));
        assert_eq!((claims(SIGWINCH), claims(SIGURG)), (vec![(1, Some(false))], vec![(1, None)]));
        drop(third);
        assert_eq!((claims(SIGWINCH), claims(SIGURG)), (vec![(0, Some(true))], vec![(0, None)]));
    }

    /// The second ending signal before the loop runs takes its default action. Both signals are ignored by default.
    #[test]
    fn an_ending_signal_is_noted_until_the_loop_runs_or_ends() {
        let _signals = lock(&SIGNALS);
        let was_noted = |signals: &Signals, signal| {
            raise(signal).expect("a signal of this process");
            signals.ending_received.swap(false, Ordering::SeqCst)
        };
        let watched = || {
            let mut signals = Signals::new().expect("descriptors are free");
            let set = SignalSet { ending: &[SIGCONT], others: &[SIGURG] };
            // Only an interrupt and a hang-up stay ignored.
            let ignored = Dispositions { ignored: !0, handled: 0 };
            for _ in 0..2 {
                signals.add(set, ignored).expect("signals that can be caught");
                assert_eq!(signals.claim.0, [SIGURG, SIGCONT]);
            }
            assert!(was_noted(&signals, SIGCONT) && !was_noted(&signals, SIGURG));
            signals
        };
        let mut signals = watched();
        signals.unregister_early_handlers();
        assert!(!was_noted(&signals, SIGCONT));
        assert_eq!(signals.pending().collect::<Vec<_>>(), [SIGCONT, SIGURG]);
        let signals = watched();
        let flag = Arc::clone(&signals.ending_received);
        drop(signals);
        raise(SIGCONT).expect("a signal of this process");
        assert!(!flag.load(Ordering::SeqCst));
    }

    /// A signal that is sent to the number of a thread goes to that thread if it can.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_signal_does_not_end_the_wait() {
        use rustix::process::{Signal, kill_process};
        signal_hook::flag::register(SIGIO, Arc::default()).expect("it can be caught");
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let thread = rustix::thread::gettid();
        let (end, ended) = mpsc::channel::<()>();
        let signals = std::thread::spawn(move || {
            while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                kill_process(thread, Signal::IO).expect("it is of this process");
                std::thread::yield_now();
            }
        });
        // Only a signal ends it within the minute.
        let begin = Instant::now();
        let result = event_loop.poll(Some(Duration::from_secs(60)));
        drop(end);
        signals.join().expect("it sent signals");
        result.expect("the loop goes on");
        assert!(event_loop.context.events.is_empty() && begin.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn each_signal_has_its_bit() {
        // proc_pid_status(5): signal 1 is the lowest bit.
        let dispositions = Dispositions { ignored: 1 << 14, handled: 1 | 1 << 63 };
        let of = |is_set: fn(Dispositions, i32) -> bool| {
            (1..=64).filter(|&signal| is_set(dispositions, signal)).collect::<Vec<_>>()
        };
        assert_eq!(of(Dispositions::ignores), [15]);
        assert_eq!(of(Dispositions::handles), [1, 64]);
    }
}
