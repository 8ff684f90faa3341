//! One loop on one thread: it waits, then tells its [`Handler`] what happened.
//!
//! Four things can happen: an event on a registered source, an instant that has come (to a tick of the wheel, or as an alarm
//! to the microsecond), a message from another thread or a signal, and the turn of an entry of the ready queue. The loop knows nothing of what it drives. It must never
//! block outside of `poll`, and it reads the clock once per round, not once per event.

mod kernel_timer;
mod key;
mod mailbox;
mod precise_timers;
mod signals;
mod slab;
mod wall_clock;
mod wheel;
mod workers;

pub use key::Key;
pub use mailbox::Sender;
pub use precise_timers::PreciseTimers;
pub use signals::{SignalClaim, SignalSet, catch_signals};
pub use slab::Slab;
pub use wall_clock::unix_time;
pub use wheel::{Expired, Timer, Wheel};
pub use workers::run_workers;

use mailbox::Mailbox;
use mio::event::{Event, Source};
use mio::{Events, Interest, Poll, Registry};
use signals::Signals;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How many events one round takes from the kernel at most; the rest come with the next round.
const EVENTS_PER_ROUND: usize = 1024;

/// Reading, writing, and where the system tells it: urgent data (tcp(7)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOTH_DIRECTIONS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOTH_DIRECTIONS: Interest = Interest::READABLE.add(Interest::WRITABLE);

const MAILBOX: Key = Key::fixed(u32::MAX);
const SIGNALS: Key = Key::fixed(u32::MAX - 1);
const PRECISE_TIMERS: Key = Key::fixed(u32::MAX - 2);

/// What a source can do now. Events come at edges: what is not used up must be remembered, no event repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Something may be read.
    pub readable: bool,
    /// Something may be written.
    pub writable: bool,
    /// The peer shut a half or sent urgent data, or there was an error: a hint to try, not a fact. From now on a short read
    /// does not mean that nothing more is there: it stops at the urgent byte, and no event follows the end.
    pub hang_up: bool,
}

impl From<&Event> for Readiness {
    #[inline]
    fn from(event: &Event) -> Self {
        Self {
            readable: event.is_readable(),
            writable: event.is_writable(),
            hang_up: event.is_read_closed() || event.is_write_closed() || event.is_error() || event.is_priority(),
        }
    }
}

/// What a loop drives. Every method gets the [`LoopContext`], in which it can put what has to happen later.
pub trait Handler {
    /// The messages that other threads send.
    type Message;

    /// Something happened on the source registered with `key`.
    fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness);

    /// An instant for which something was armed has come.
    fn handle_expired(&mut self, context: &mut LoopContext, due: Expired);

    /// An instant for which an alarm of `key` was armed has come.
    fn handle_precise_timer(&mut self, _agenda: &mut LoopContext, _key: Key) {}

    /// It is the turn of `key`, which was put into the ready queue.
    fn handle_ready(&mut self, context: &mut LoopContext, key: Key);

    /// Another thread sent `message`.
    fn handle_message(&mut self, context: &mut LoopContext, message: Self::Message);

    /// The process received `signal` (signal(7)).
    fn handle_signal(&mut self, context: &mut LoopContext, signal: i32);

    /// Everything that happened in this round was told.
    #[inline]
    fn handle_round(&mut self, _agenda: &mut LoopContext) {}

    /// Whether the loop has nothing left to do and should end.
    fn is_done(&self) -> bool;
}

/// What has to happen later: sources to wait for, instants, and the ready queue.
#[derive(Debug)]
pub struct LoopContext {
    /// When this round began.
    pub now: Instant,
    /// The instants, kept to a tick: many, and cheap.
    pub wheel: Wheel,
    /// The instants that are kept to the microsecond.
    pub precise_timers: PreciseTimers,
    /// What can go on without waiting, in turn: one of them in each round, after its events.
    pub ready: VecDeque<Key>,
    registry: Registry,
}

impl LoopContext {
    /// Waits for both directions of `source` from now on. Both from the start: with edges, a direction that nobody
    /// needs yet costs nothing, while changing the interest later would cost a system call.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub fn register(&self, source: &mut dyn Source, key: Key) -> io::Result<()> {
        self.registry.register(source, key.into(), BOTH_DIRECTIONS)
    }

    /// Waits for connections on a listener from now on.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub fn register_listener(&self, source: &mut dyn Source, key: Key) -> io::Result<()> {
        self.registry.register(source, key.into(), Interest::READABLE)
    }

    /// Waits for `source` no longer. Must come before it is closed: a descriptor that was duplicated would otherwise
    /// go on to report events (epoll(7), question 6).
    pub fn deregister(&self, source: &mut dyn Source) {
        if let Err(error) = self.registry.deregister(source) {
            log::debug!("cannot deregister: {error}");
        }
    }
}

/// A loop that receives messages of type `M`.
pub struct EventLoop<M> {
    poll: Poll,
    events: Events,
    mailbox: Mailbox<M>,
    signals: Option<Signals>,
    /// Whose alarms have come; empty between two rounds.
    alarmed: Vec<Key>,
    /// How long to poll before sleeping.
    spin: Duration,
    context: LoopContext,
}

impl<M> EventLoop<M> {
    /// Creates the loop.
    ///
    /// # Errors
    ///
    /// Those of epoll_create(2), eventfd(2) and timerfd_create(2).
    pub fn new() -> io::Result<Self> {
        Self::spinning(Duration::ZERO)
    }

    /// Creates a loop that, when nothing is left to do, polls for so long before it sleeps: whatever comes in this time
    /// does not have to wait until the thread is woken. It takes a whole CPU meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn spinning(spin: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mailbox = Mailbox::new(poll.registry(), MAILBOX.into())?;
        let now = Instant::now();
        let precise_timers = PreciseTimers::new(poll.registry(), PRECISE_TIMERS.into())?;
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_ROUND),
            mailbox,
            signals: None,
            alarmed: Vec::new(),
            spin,
            context: LoopContext { now, wheel: Wheel::new(now), precise_timers, ready: VecDeque::new(), registry },
        })
    }

    /// Is told of the signals of `signals`, instead of what they would do to the process, until the loop is dropped. Those
    /// that come before it runs are told then; until then a second ending signal takes its default action.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2) and socketpair(2).
    pub fn watch_signals(&mut self, signals: SignalSet) -> io::Result<()> {
        let mut signals = Signals::watch(signals)?;
        self.context.register_listener(&mut signals.source, SIGNALS)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Whether signals come to this loop.
    #[must_use]
    pub fn handles_signals(&self) -> bool {
        self.signals.is_some()
    }

    /// Sends messages to this loop.
    #[must_use]
    pub fn sender(&self) -> Sender<M> {
        self.mailbox.sender()
    }

    /// What has to happen later.
    pub fn context(&mut self) -> &mut LoopContext {
        &mut self.context
    }

    /// Runs until `handler` is done.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2), which no peer can cause.
    pub fn run<H: Handler<Message = M>>(&mut self, handler: &mut H) -> io::Result<()> {
        self.context.now = Instant::now();
        self.signals.iter_mut().for_each(Signals::begin);
        // Time has passed since the loop was made.
        self.dispatch_due(handler);
        while !handler.is_done() {
            self.wait()?;
            self.dispatch_alarms(handler);
            self.dispatch_events(handler);
            self.dispatch_due(handler);
            // One at a time: whoever an event has come for meanwhile goes before those who could go on without one.
            if let Some(key) = self.context.ready.pop_front() {
                handler.handle_ready(&mut self.context, key);
            }
            handler.handle_round(&mut self.context);
        }
        Ok(())
    }

    /// Waits for an event or the next instant; not at all while something is ready.
    ///
    /// The time left is counted in whole ticks from the beginning of the last round: a second clock call and finer sums
    /// would make an instant that nothing else wakes the loop for more punctual, by less than one round and one tick.
    fn wait(&mut self) -> io::Result<()> {
        if !self.spin.is_zero() && self.context.ready.is_empty() && self.spin()? {
            return Ok(());
        }
        let timeout = if self.context.ready.is_empty() { self.time_left()? } else { Some(Duration::ZERO) };
        self.poll(timeout)
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        self.context.now = Instant::now();
        Ok(())
    }

    /// Polls without sleeping, until something happens or the time for that is over; whether something did.
    fn spin(&mut self) -> io::Result<bool> {
        let since = Instant::now();
        loop {
            self.poll(Some(Duration::ZERO))?;
            let LoopContext { now, wheel, precise_timers, .. } = &self.context;
            if !self.events.is_empty() || precise_timers.is_due(*now) || wheel.is_due(*now) {
                return Ok(true);
            }
            if now.saturating_duration_since(since) >= self.spin {
                return Ok(false);
            }
        }
    }

    #[inline]
    fn time_left(&mut self) -> io::Result<Option<Duration>> {
        let for_alarms = self.context.precise_timers.set_timer(self.context.now)?;
        let for_wheel = self.context.wheel.time_left();
        Ok(if for_alarms.is_some() { for_alarms.into_iter().chain(for_wheel).min() } else { for_wheel })
    }

    /// Before the events: whoever asked for an instant to the microsecond waits for nobody's bytes. All are taken out first:
    /// those that a handler arms for an instant that has passed come in the next round.
    #[inline]
    fn dispatch_alarms<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        while let Some(key) = self.context.precise_timers.next_due(self.context.now) {
            self.alarmed.push(key);
        }
        for key in self.alarmed.drain(..) {
            handler.handle_precise_timer(&mut self.context, key);
        }
    }

    fn dispatch_events<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        for event in &self.events {
            match Key::from(event.token()) {
                MAILBOX => {
                    for message in self.mailbox.receive() {
                        handler.handle_message(&mut self.context, message);
                    }
                }
                SIGNALS => {
                    for signal in self.signals.iter_mut().flat_map(Signals::pending) {
                        handler.handle_signal(&mut self.context, signal);
                    }
                }
                PRECISE_TIMERS => self.context.precise_timers.handle_fired(),
                key => handler.handle_event(&mut self.context, key, Readiness::from(event)),
            }
        }
    }

    fn dispatch_due<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        self.context.wheel.advance(self.context.now);
        while let Some(due) = self.context.wheel.next_due() {
            handler.handle_expired(&mut self.context, due);
        }
    }
}
