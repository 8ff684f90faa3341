//! Event loop on one `mio::Poll`, one per thread, that drives a [`Handler`].
//!
//! The loop calls its handler for events on registered sources, messages from other threads, signals, expired timers,
//! and entries of the ready queue. Timers of the wheel have the resolution of a tick, precise timers that of a
//! microsecond. The loop knows nothing about the handler. It must never block outside of `poll`. It reads the clock
//! once per round, not once per event.

#[cfg_attr(not(all(target_os = "linux", not(multiconn_fallbacks))), path = "busy_poll_unsupported.rs")]
mod busy_poll;
#[cfg(target_os = "linux")]
#[cfg_attr(multiconn_fallbacks, allow(dead_code, reason = "a fallback makes no such call"))]
mod kernel_calls;
mod kernel_timer;
mod key;
mod mailbox;
mod precise_timers;
mod signals;
mod slab;
#[cfg_attr(multiconn_simulated, path = "simulated_system.rs")]
mod system;
mod wake_up_lead;
mod wall_clock;
mod wheel;
mod workers;

#[cfg(all(target_os = "linux", feature = "cli"))]
pub(crate) use kernel_calls::keep_standard_streams;
pub use key::Key;
pub use mailbox::Sender;
pub use precise_timers::PreciseTimers;
pub use signals::{SignalClaim, SignalSet, SignalWatch, catch_signals};
pub use slab::Slab;
#[cfg(feature = "client")]
pub(crate) use system::now as monotonic_time;
#[cfg(feature = "client")]
pub use wall_clock::clock_error;
pub use wall_clock::unix_time;
pub use wheel::{Expired, Timer, Wheel};
pub use workers::run_workers;

use crate::error::in_words_with_errno;
use mailbox::Mailbox;
use mio::Interest;
use mio::event::Source;
use signals::Signals;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use system::{Event, Events, LOOK_INTERVAL, Poll};

/// Maximum number of events that one round takes from the kernel; the rest follow in the next round.
const EVENTS_PER_ROUND: usize = 1024;

/// Read and write readiness; on Linux also urgent data (`EPOLLPRI`, tcp(7)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOTH_DIRECTIONS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOTH_DIRECTIONS: Interest = Interest::READABLE.add(Interest::WRITABLE);

const MAILBOX: Key = Key::fixed(u32::MAX);
const SIGNALS: Key = Key::fixed(u32::MAX - 1);
const PRECISE_TIMERS: Key = Key::fixed(u32::MAX - 2);

/// Readiness of a source. Events are edge-triggered and are not repeated: the handler must remember readiness that it
/// does not use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// The source may be readable.
    pub readable: bool,
    /// The source may be writable.
    pub writable: bool,
    /// The peer shut down one direction or sent urgent data, or an error occurred. This is a hint to try the I/O, not a
    /// fact. From then on a short read does not mean that the socket is drained. A read stops at the urgent byte, and
    /// no further event reports the end.
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

/// What an event loop drives. Every method gets the [`LoopContext`], through which it schedules further work.
pub trait Handler {
    /// Type of the messages that other threads send.
    type Message;

    /// Handles an event on the source registered with `key`.
    fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness);

    /// Handles a timer of the wheel that has expired.
    fn handle_expired(&mut self, context: &mut LoopContext, due: Expired);

    /// Handles a precise timer of `key` that has expired.
    fn handle_precise_timer(&mut self, _context: &mut LoopContext, _key: Key) {}

    /// Handles the entry `key` of the ready queue.
    fn handle_ready(&mut self, context: &mut LoopContext, key: Key);

    /// Handles `message`, sent by another thread.
    fn handle_message(&mut self, context: &mut LoopContext, message: Self::Message);

    /// Handles `signal`, received by the process (signal(7)).
    fn handle_signal(&mut self, context: &mut LoopContext, signal: i32);

    /// Called at the end of each round, after all other calls of that round.
    #[inline]
    fn handle_round(&mut self, _context: &mut LoopContext) {}

    /// Whether the loop has nothing left to do and should end.
    fn is_done(&self) -> bool;
}

/// What a handler may ask of the loop: sources to register, timers to arm, keys to put into the ready queue.
#[derive(Debug)]
pub struct LoopContext {
    /// Start of this round.
    pub now: Instant,
    /// Timers with the resolution of a tick: cheap, for large numbers of them.
    pub wheel: Wheel,
    /// Timers with microsecond resolution.
    pub precise_timers: PreciseTimers,
    /// Ready queue: keys that can go on without an event. Each round takes one from the front, after its events.
    pub ready: VecDeque<Key>,
    /// Instant of the last look for events.
    looked: Instant,
    poll: Poll,
    /// Events that were taken from the kernel and not dispatched yet.
    events: Events,
}

impl LoopContext {
    /// Registers `source` for reading and writing. Both directions are registered from the start: with edge-triggered
    /// events an unused direction costs nothing, while changing the interest later costs a system call.
    ///
    /// # Errors
    ///
    /// Errors of epoll_ctl(2).
    pub fn register(&self, source: &mut dyn Source, key: Key) -> io::Result<()> {
        self.poll.registry().register(source, key.into(), BOTH_DIRECTIONS)
    }

    /// Registers a listener for incoming connections.
    ///
    /// # Errors
    ///
    /// Errors of epoll_ctl(2).
    pub fn register_listener(&self, source: &mut dyn Source, key: Key) -> io::Result<()> {
        self.poll.registry().register(source, key.into(), Interest::READABLE)
    }

    /// Deregisters `source`. Must happen before it is closed: otherwise a duplicated descriptor keeps reporting events
    /// (epoll(7), question 6).
    pub fn deregister(&self, source: &mut dyn Source) {
        if let Err(error) = self.poll.registry().deregister(source) {
            log::debug!("cannot deregister: {error}");
        }
    }

    /// Whether something is due that should not wait until the handler has finished a long work on one source: a precise
    /// timer, or an event. The next round handles it. Events are looked for every [`LOOK_INTERVAL`] at most.
    #[inline]
    pub fn is_event_due(&mut self) -> bool {
        let now = system::now();
        self.precise_timers.is_due(now) || self.has_event(now)
    }

    /// Drops the events that were taken from the kernel.
    #[cfg(test)]
    pub(crate) fn clear_events(&mut self) {
        self.events.clear();
    }

    fn has_event(&mut self, now: Instant) -> bool {
        // Events that wait already must not be overwritten.
        if self.events.is_empty() && now.saturating_duration_since(self.looked) >= LOOK_INTERVAL {
            self.looked = now;
            if self.poll(Some(Duration::ZERO)).is_err() {
                // It returns in the next round.
                return true;
            }
        }
        !self.events.is_empty()
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        Ok(())
    }
}

/// Event loop that receives messages of type `M`.
pub struct EventLoop<M> {
    /// Storage of the events that are dispatched; empty between two rounds.
    dispatched: Events,
    mailbox: Mailbox<M>,
    signals: Option<Signals>,
    /// Keys of the precise timers that have expired; empty between two rounds.
    due_timers: Vec<Key>,
    /// How long to poll without sleeping before each blocking poll.
    spin: Duration,
    context: LoopContext,
}

impl<M> EventLoop<M> {
    /// Creates a loop that busy-polls for `spin` before it sleeps. An event within that time is handled without the
    /// latency of waking the thread; meanwhile the loop uses a whole CPU.
    ///
    /// # Errors
    ///
    /// Errors of epoll_create(2), eventfd(2) and timerfd_create(2).
    pub fn spinning(spin: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mailbox = Mailbox::new(poll.registry(), MAILBOX.into())?;
        let now = system::now();
        let precise_timers = PreciseTimers::new(poll.registry(), PRECISE_TIMERS.into())?;
        let events = || Events::with_capacity(EVENTS_PER_ROUND);
        let (wheel, ready) = (Wheel::new(now), VecDeque::new());
        Ok(Self {
            dispatched: events(),
            mailbox,
            signals: None,
            due_timers: Vec::new(),
            spin,
            context: LoopContext { now, wheel, precise_timers, ready, looked: now, poll, events: events() },
        })
    }

    /// Makes the kernel poll the network card of the loop's sockets for `duration` before each sleep; 0 changes nothing. An
    /// expired timer of the wheel may be handled that much later. Sockets that receive from no network card, such as those
    /// of the loopback interface, are not polled.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] before Linux 6.9 and on other systems; errors of ioctl_eventpoll(2).
    pub fn busy_polling(self, duration: Duration) -> io::Result<Self> {
        if !duration.is_zero() {
            let is_set = busy_poll::set_busy_poll(self.context.poll.registry().as_fd(), duration);
            let with_advice = |error| {
                format!("{}; polling before each sleep (spin) works on every system", in_words_with_errno(&error))
            };
            is_set.map_err(|error| io::Error::new(error.kind(), with_advice(error)))?;
        }
        Ok(self)
    }

    /// Delivers the signals of `signals` to the handler instead of their default action, until the loop is dropped.
    /// Signals that arrive before [`run`](Self::run) are delivered when it starts. Until then a second ending signal
    /// takes its default action.
    ///
    /// # Errors
    ///
    /// Errors of sigaction(2) and socketpair(2).
    pub fn watch_signals(&mut self, signals: SignalSet) -> io::Result<()> {
        let mut signals = Signals::watch(signals)?;
        self.context.register_listener(&mut signals.source, SIGNALS)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Whether this loop receives signals.
    #[must_use]
    pub fn handles_signals(&self) -> bool {
        self.signals.is_some()
    }

    /// Returns a handle that sends messages to this loop.
    #[must_use]
    pub fn sender(&self) -> Sender<M> {
        self.mailbox.sender()
    }

    /// The context that handlers get, for use outside of [`run`](Self::run).
    pub fn context(&mut self) -> &mut LoopContext {
        &mut self.context
    }

    /// Runs until `handler` is done.
    ///
    /// # Errors
    ///
    /// Errors of epoll_wait(2); no peer can cause them.
    pub fn run<H: Handler<Message = M>>(&mut self, handler: &mut H) -> io::Result<()> {
        self.begin(handler);
        while !handler.is_done() {
            self.round(handler)?;
        }
        Ok(())
    }

    /// Begins to run.
    pub(crate) fn begin<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        self.context.now = system::now();
        self.signals.iter_mut().for_each(Signals::unregister_early_handlers);
        // Timers may have expired since the loop was created.
        self.dispatch_expired(handler);
    }

    /// Waits for something to do, and does it.
    #[inline]
    pub(crate) fn round<H: Handler<Message = M>>(&mut self, handler: &mut H) -> io::Result<()> {
        self.wait()?;
        self.dispatch_precise_timers(handler);
        self.dispatch_events(handler);
        self.dispatch_expired(handler);
        // One entry per round: connections with a new event are served before those in the ready queue.
        if let Some(key) = self.context.ready.pop_front() {
            handler.handle_ready(&mut self.context, key);
        }
        handler.handle_round(&mut self.context);
        Ok(())
    }

    /// Waits for an event or the next timer; returns at once while the ready queue holds an entry.
    ///
    /// The timeout is counted in whole ticks from the start of the last round. A second clock call and finer arithmetic
    /// would gain less than one round plus one tick of punctuality, and only when no event wakes the loop earlier.
    #[inline]
    fn wait(&mut self) -> io::Result<()> {
        if !self.context.events.is_empty() {
            self.context.now = system::now();
            return Ok(());
        }
        if !self.context.ready.is_empty() {
            return self.poll(Some(Duration::ZERO));
        }
        let spin_deadline = (!self.spin.is_zero()).then(|| system::now() + self.spin);
        if let Some(deadline) = self.context.precise_timers.poll_deadline(self.context.now).max(spin_deadline)
            && self.spin(deadline)?
        {
            return Ok(());
        }
        let timeout = self.time_left();
        self.poll(timeout)?;
        self.context.precise_timers.wake_up(self.context.now);
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.context.poll(timeout)?;
        self.context.now = system::now();
        self.context.looked = self.context.now;
        Ok(())
    }

    /// Polls without sleeping until an event or a timer is due, or until `deadline`. Returns whether one is due.
    fn spin(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            self.poll(Some(Duration::ZERO))?;
            let LoopContext { now, wheel, precise_timers, events, .. } = &self.context;
            if !events.is_empty() || precise_timers.is_due(*now) || wheel.is_due(*now) {
                return Ok(true);
            }
            if *now >= deadline {
                return Ok(false);
            }
        }
    }

    #[inline]
    fn time_left(&mut self) -> Option<Duration> {
        let precise = self.context.precise_timers.fall_asleep(self.context.now);
        let wheel = self.context.wheel.time_left();
        if precise.is_some() { precise.into_iter().chain(wheel).min() } else { wheel }
    }

    /// Dispatches expired precise timers, before the events: their accuracy must not depend on the I/O of other
    /// connections. All are collected first, so a timer that a handler arms for a past instant expires in the next
    /// round.
    #[inline]
    fn dispatch_precise_timers<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        while let Some(key) = self.context.precise_timers.next_due(self.context.now) {
            self.due_timers.push(key);
        }
        if !self.due_timers.is_empty() {
            for key in self.due_timers.drain(..) {
                handler.handle_precise_timer(&mut self.context, key);
            }
        }
    }

    #[inline(always)]
    fn dispatch_events<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        std::mem::swap(&mut self.dispatched, &mut self.context.events);
        for event in &self.dispatched {
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
        self.dispatched.clear();
    }

    fn dispatch_expired<H: Handler<Message = M>>(&mut self, handler: &mut H) {
        self.context.wheel.advance(self.context.now);
        while let Some(due) = self.context.wheel.next_due() {
            handler.handle_expired(&mut self.context, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EventLoop, Expired, Handler, Key, LOOK_INTERVAL, LoopContext, Readiness, SignalSet, Timer, system};
    use mio::net::{TcpListener, UnixStream};
    use signal_hook::consts::SIGUSR1;
    use std::io::Write;
    use std::time::Duration;

    const SOURCE: Key = Key::fixed(1);

    /// Looks for events while it handles an entry of the ready queue.
    struct Looking {
        peer: UnixStream,
        /// An event has arrived, and was due in the middle of the round before.
        looked: bool,
        events: usize,
    }

    impl Handler for Looking {
        type Message = ();

        fn handle_ready(&mut self, context: &mut LoopContext, _key: Key) {
            assert_eq!(self.events, 1, "the events of the round come first");
            assert!(!context.is_event_due());
            self.peer.write_all(b"event").expect("the buffer is empty");
            while !context.is_event_due() {}
            self.looked = true;
        }

        fn handle_event(&mut self, _context: &mut LoopContext, key: Key, _readiness: Readiness) {
            assert_eq!(key, SOURCE);
            self.events += 1;
        }

        fn is_done(&self) -> bool {
            self.looked && self.events == 2
        }

        fn handle_expired(&mut self, _context: &mut LoopContext, _due: Expired) {}
        fn handle_message(&mut self, _context: &mut LoopContext, (): ()) {}
        fn handle_signal(&mut self, _context: &mut LoopContext, _signal: i32) {}
    }

    /// Counts what the loop delivers, and checks that no timer is early.
    #[derive(Default)]
    struct Counting {
        timer: Timer,
        expired: u32,
        precise: u32,
        messages: u32,
        rounds: u32,
    }

    impl Handler for Counting {
        type Message = u32;

        fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
            assert_eq!(due.key(), Key::fixed(2));
            assert!(context.now >= context.wheel.deadline(due));
            self.expired += 1;
            if self.expired == 1 {
                // The second time it is the only timer.
                let again = context.now + Duration::from_millis(5);
                context.wheel.arm(&mut self.timer, Key::fixed(2), Some(again));
            }
        }

        fn handle_precise_timer(&mut self, _context: &mut LoopContext, key: Key) {
            assert_eq!(key, Key::fixed(3));
            self.precise += 1;
        }

        fn handle_message(&mut self, _context: &mut LoopContext, message: u32) {
            self.messages += message;
        }

        fn handle_round(&mut self, _context: &mut LoopContext) {
            self.rounds += 1;
        }

        fn is_done(&self) -> bool {
            self.expired == 2 && self.precise == 1 && self.messages == 5
        }

        fn handle_event(&mut self, _context: &mut LoopContext, _key: Key, _readiness: Readiness) {}
        fn handle_ready(&mut self, _context: &mut LoopContext, _key: Key) {}
        fn handle_signal(&mut self, _context: &mut LoopContext, _signal: i32) {}
    }

    #[test]
    fn a_loop_delivers_messages_and_timers_whether_it_sleeps_or_spins() {
        for spin in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(60)] {
            let (end, ended) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let mut event_loop = EventLoop::spinning(spin).expect("descriptors are free");
                let (sender, context) = (event_loop.sender(), event_loop.context());
                let begin = context.now;
                let (mut counting, millis) = (Counting::default(), Duration::from_millis(2));
                context.wheel.arm(&mut counting.timer, Key::fixed(2), Some(begin + millis));
                context.precise_timers.arm(Key::fixed(3), begin + millis * 2);
                sender.send(2);
                sender.send(3);
                event_loop.run(&mut counting).expect("the loop runs");
                assert!(event_loop.context().now >= begin + millis * 2, "no timer is early");
                let is_done = counting.is_done();
                end.send((is_done, counting.rounds)).expect("the test waits");
            });
            let (is_done, rounds) = ended.recv_timeout(Duration::from_secs(60)).expect("nothing is lost");
            assert!(is_done && rounds <= 100, "{rounds} rounds with {spin:?}");
        }
    }

    #[test]
    fn only_a_loop_that_watches_signals_handles_them() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        assert!(!event_loop.handles_signals());
        event_loop.watch_signals(SignalSet { ending: &[], others: &[] }).expect("descriptors are free");
        assert!(event_loop.handles_signals());
    }

    /// Waits for a signal.
    #[derive(Default)]
    struct Signalled(Option<i32>);

    impl Handler for Signalled {
        type Message = ();

        fn handle_signal(&mut self, _context: &mut LoopContext, signal: i32) {
            self.0 = Some(signal);
        }

        fn is_done(&self) -> bool {
            self.0.is_some()
        }

        fn handle_event(&mut self, _context: &mut LoopContext, _key: Key, _readiness: Readiness) {}
        fn handle_expired(&mut self, _context: &mut LoopContext, _due: Expired) {}
        fn handle_message(&mut self, _context: &mut LoopContext, (): ()) {}
        fn handle_ready(&mut self, _context: &mut LoopContext, _key: Key) {}
    }

    #[test]
    fn a_signal_reaches_the_handler() {
        let (end, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut event_loop = EventLoop::spinning(Duration::ZERO).expect("descriptors are free");
            event_loop.watch_signals(SignalSet { ending: &[], others: &[SIGUSR1] }).expect("descriptors are free");
            signal_hook::low_level::raise(SIGUSR1).expect("it is handled");
            let mut signalled = Signalled::default();
            event_loop.run(&mut signalled).expect("the loop runs");
            end.send(signalled.0).expect("the test waits");
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(Some(SIGUSR1)));
    }

    #[test]
    fn a_listener_is_readable_until_it_is_deregistered() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let context = event_loop.context();
        context.register_listener(&mut listener, SOURCE).expect("the socket is new");
        let _first = std::net::TcpStream::connect(address).expect("it listens");
        context.poll(Some(Duration::from_secs(60))).expect("the poll works");
        let readiness = (&context.events).into_iter().next().map(Readiness::from);
        assert_eq!(readiness, Some(Readiness { readable: true, writable: false, hang_up: false }));
        context.deregister(&mut listener);
        let _second = std::net::TcpStream::connect(address).expect("it listens");
        context.clear_events();
        context.poll(Some(Duration::ZERO)).expect("the poll works");
        assert!(context.events.is_empty());
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn urgent_data_is_a_hang_up() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let peer = std::net::TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let mut source = mio::net::TcpStream::from_std(listener.accept().expect("one is pending").0);
        let context = event_loop.context();
        context.register(&mut source, SOURCE).expect("the socket is new");
        socket2::SockRef::from(&peer).send_out_of_band(b"!").expect("the buffer is empty");
        let is_hang_up =
            |context: &LoopContext| (&context.events).into_iter().any(|event| Readiness::from(event).hang_up);
        while !is_hang_up(context) {
            context.clear_events();
            context.poll(Some(Duration::from_secs(60))).expect("the poll works");
            assert!(!context.events.is_empty(), "no event of urgent data");
        }
    }

    #[test]
    fn the_end_of_the_peer_is_a_hang_up() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let (mut source, peer) = UnixStream::pair().expect("descriptors are free");
        let context = event_loop.context();
        context.register(&mut source, SOURCE).expect("the socket is new");
        let mut next = || {
            context.clear_events();
            context.poll(Some(Duration::from_secs(60))).expect("the poll works");
            (&context.events).into_iter().next().map(Readiness::from)
        };
        let readiness = |readable, hang_up| Some(Readiness { readable, writable: true, hang_up });
        assert_eq!(next(), readiness(false, false));
        (&peer).write_all(b"bytes").expect("the buffer is empty");
        assert_eq!(next(), readiness(true, false));
        peer.shutdown(std::net::Shutdown::Write).expect("it is open");
        assert_eq!(next(), readiness(true, true));
    }

    #[test]
    fn looks_for_events_are_some_time_apart() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let context = event_loop.context();
        let (mut source, _peer) = UnixStream::pair().expect("descriptors are free");
        context.register(&mut source, SOURCE).expect("the socket is new");
        context.looked = system::now();
        let before = context.looked;
        while !context.is_event_due() {}
        assert!(system::now() - before >= LOOK_INTERVAL);
        assert!(context.looked - before >= LOOK_INTERVAL);
    }

    /// Timers may have expired between the creation of a loop and its start.
    #[test]
    fn timers_that_expired_before_the_start_are_handled_first() {
        let mut event_loop = EventLoop::spinning(Duration::ZERO).expect("descriptors are free");
        let (context, mut counting) = (event_loop.context(), Counting::default());
        context.wheel.arm(&mut counting.timer, Key::fixed(2), Some(context.now));
        while system::now() < context.now + Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        event_loop.begin(&mut counting);
        assert_eq!(counting.expired, 1);
    }

    /// Events are edge-triggered, so a lost one would leave the loop asleep.
    #[test]
    fn an_event_that_was_found_within_a_round_is_handled_in_the_next() {
        let (end, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut event_loop = EventLoop::spinning(Duration::ZERO).expect("descriptors are free");
            let (mut source, peer) = UnixStream::pair().expect("descriptors are free");
            event_loop.context().register(&mut source, SOURCE).expect("the socket is new");
            event_loop.context().ready.push_back(SOURCE);
            let mut looking = Looking { peer, looked: false, events: 0 };
            event_loop.run(&mut looking).expect("the loop runs");
            end.send(looking.events).expect("the test waits");
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(2), "no event is lost");
    }
}
