//! Polling: edge-triggered events, as epoll(7) reports them, and wakes.

use super::{Kernel, Nanos, Registration, with};
use mio::{Registry, Token};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// More polls in a row that do nothing than a correct loop makes. It polls without sleep for up to 100 µs before each
/// precise timer, and for a few milliseconds at most.
const MAX_IDLE_POLLS: u32 = 20_000;

/// Time that a poll takes which does not sleep.
const POLL_TIME: Nanos = 500;

/// Longest sleep after which a loop without timers is stuck.
const LONG: Nanos = 1 << 62;

/// An event loop of the simulation.
#[derive(Debug, Default)]
pub(super) struct Loop {
    /// Sources with news.
    ready: Vec<Source>,
    waker: Option<(Token, Arc<AtomicBool>)>,
    /// When its poll returns, while it sleeps.
    wakes_at: Option<Nanos>,
    /// It has something to do before it sleeps again.
    is_running: bool,
    /// Its thread does not run before this time. It pauses at most once per round.
    paused_until: Nanos,
    has_ended: bool,
}

/// A source of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Endpoint(usize),
    Backlog(usize),
}

/// An event of a source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    token: Token,
    readable: bool,
    writable: bool,
    hang_up: bool,
}

/// Storage of events.
#[derive(Debug)]
pub(crate) struct Events {
    events: Vec<Event>,
    capacity: usize,
}

/// The poll of a loop.
#[derive(Debug)]
pub(crate) struct Poll(usize);

/// Wakes a loop.
#[derive(Debug)]
pub(crate) struct Waker(Arc<AtomicBool>);

impl Event {
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(crate) fn is_read_closed(&self) -> bool {
        self.hang_up
    }

    #[allow(clippy::unused_self, reason = "as in mio")]
    pub(crate) fn is_write_closed(&self) -> bool {
        false
    }

    #[allow(clippy::unused_self, reason = "as in mio")]
    pub(crate) fn is_error(&self) -> bool {
        false
    }

    #[allow(clippy::unused_self, reason = "as in mio")]
    pub(crate) fn is_priority(&self) -> bool {
        false
    }
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { events: Vec::new(), capacity }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.iter()
    }
}

impl Poll {
    #[allow(clippy::unnecessary_wraps, reason = "as in mio")]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(with(|kernel| {
            kernel.loops.push(Loop { is_running: true, ..Loop::default() });
            kernel.current = kernel.loops.len() - 1;
            kernel.current
        })))
    }

    /// A registry that simulated sources ignore.
    #[allow(clippy::unused_self, reason = "as in mio")]
    pub(crate) fn registry(&self) -> &Registry {
        static POLL: OnceLock<mio::Poll> = OnceLock::new();
        POLL.get_or_init(|| mio::Poll::new().expect("a descriptor is free")).registry()
    }

    #[allow(clippy::unnecessary_wraps, reason = "as in mio")]
    pub(crate) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        // Timeouts are rounded up to whole milliseconds, as in epoll_wait(2).
        let rounded = |timeout: Duration| timeout.as_nanos().div_ceil(1_000_000) * 1_000_000;
        let timeout = timeout.map(|timeout| Nanos::try_from(rounded(timeout)).unwrap_or(LONG).min(LONG));
        with(|kernel| kernel.poll(self.0, events, timeout));
        Ok(())
    }
}

/// The loop has ended.
impl Drop for Poll {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let ended = Loop { has_ended: true, ..Loop::default() };
            with(|kernel| kernel.loops.get_mut(self.0).map(|place| *place = ended));
        }
    }
}

impl Waker {
    #[allow(clippy::unnecessary_wraps, reason = "as in mio")]
    pub(crate) fn new(_registry: &Registry, token: Token) -> io::Result<Self> {
        let is_woken = Arc::<AtomicBool>::default();
        with(|kernel| {
            let current = kernel.current;
            kernel.loops[current].waker = Some((token, Arc::clone(&is_woken)));
        });
        Ok(Self(is_woken))
    }

    /// Scripts wake loops while they have the kernel, so this only sets a flag.
    #[allow(clippy::unnecessary_wraps, reason = "as in mio")]
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Loop {
    fn is_woken(&self) -> bool {
        self.waker.as_ref().is_some_and(|(_, is_woken)| is_woken.load(Ordering::Relaxed))
    }

    /// When it has something to do, unless something else happens.
    fn goes_on_at(&self) -> Option<Nanos> {
        let has_work = self.is_running || !self.ready.is_empty() || self.is_woken();
        let time = if has_work { Some(0) } else { self.wakes_at };
        time.map(|time| time.max(self.paused_until))
    }
}

impl Kernel {
    /// Lets the calls that follow be those of the loop `number`.
    pub(crate) fn enter(&mut self, number: usize) {
        self.current = number;
    }

    /// Number of the loop that was created last.
    pub(crate) fn last_loop(&self) -> usize {
        self.loops.len() - 1
    }

    /// Enters the loop that goes on: one of those that have something to do, or else one of those that sleep.
    pub(crate) fn next_loop(&mut self) -> usize {
        self.current = self.choose_loop();
        let may_pause = self.faults.longest_pause > 0 && self.loops[self.current].paused_until == 0;
        if may_pause && self.rng.one_in(10) {
            self.loops[self.current].paused_until = self.now + self.rng.below(self.faults.longest_pause);
            self.current = self.choose_loop();
        }
        self.current
    }

    fn choose_loop(&mut self) -> usize {
        let any_due = self.loops.iter().any(|one| self.is_due(one));
        let is_paused = |one: &Loop| one.paused_until > self.now;
        let all_paused = self.loops.iter().all(|one| one.has_ended || is_paused(one));
        let may_go_on =
            |one: &Loop| !one.has_ended && (self.is_due(one) || !any_due && (!is_paused(one) || all_paused));
        let choices: Vec<usize> = (0..self.loops.len()).filter(|number| may_go_on(&self.loops[*number])).collect();
        if let [only] = choices[..] { only } else { self.rng.pick(&choices) }
    }

    fn is_due(&self, one: &Loop) -> bool {
        one.goes_on_at().is_some_and(|time| time <= self.now)
    }

    /// Lets the loop `number` do nothing until `time`, or without one until something happens.
    pub(crate) fn sleep(&mut self, number: usize, time: Option<Nanos>) {
        (self.loops[number].wakes_at, self.loops[number].is_running) = (time, false);
    }

    /// The process of a loop has ended: its sources are no longer registered.
    pub(crate) fn deregister_all(&mut self, number: usize) {
        let is_other = |registration: &Registration| registration.0 != number;
        self.backlogs.iter_mut().for_each(|backlog| backlog.registrations.retain(is_other));
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.registration = endpoint.registration.filter(is_other));
    }

    /// Announces news of a source, once until it is reported.
    pub(super) fn announce(&mut self, registration: Option<Registration>, source: Source) {
        let Some((number, _)) = registration else { return };
        let ready = &mut self.loops[number].ready;
        if !ready.contains(&source) {
            ready.push(source);
        }
    }

    /// Whether an event of `source` was not reported yet.
    pub(super) fn is_announced(&self, source: Source) -> bool {
        self.loops.iter().any(|poll| poll.ready.contains(&source))
    }

    pub(super) fn forget(&mut self, registration: Registration, source: Source) {
        self.loops[registration.0].ready.retain(|other| *other != source);
    }

    fn poll(&mut self, number: usize, events: &mut Events, timeout: Option<Nanos>) {
        self.current = number;
        self.rounds += 1;
        self.record(1);
        let begin = self.now;
        self.advance_to(self.now + POLL_TIME);
        if self.faults.longest_jump > 0 && self.rng.one_in(300) {
            let time = self.now + self.rng.below(self.faults.longest_jump);
            self.advance_to(time.min(self.faults.jumps_until));
        }
        // A loop whose poll has returned because another one has something to do goes on with its sleep.
        let deadline = timeout.map(|timeout| begin.saturating_add(timeout));
        let deadline = deadline.into_iter().chain(self.loops[number].wakes_at).min();
        let poll = &mut self.loops[number];
        (poll.wakes_at, poll.is_running, poll.paused_until) = (deadline, false, 0);
        // Other loops go on meanwhile: no time passes while one has something to do.
        while !self.loops.iter().any(|one| self.is_due(one)) {
            let due = self.loops.iter().filter_map(Loop::goes_on_at).min();
            let next = [self.next_action(), due].into_iter().flatten().min();
            let next = next.expect("the loop sleeps for ever, and nothing is left to happen");
            self.advance_to(next);
        }
        self.collect(number, events);
        if !events.is_empty() || deadline.is_some_and(|instant| instant <= self.now) {
            (self.loops[number].wakes_at, self.loops[number].is_running) = (None, true);
        }
        let is_idle = events.is_empty() && self.now - begin <= POLL_TIME;
        self.idle_polls = if is_idle { self.idle_polls + 1 } else { 0 };
        assert!(self.idle_polls < MAX_IDLE_POLLS, "the loop polls without sleep and does nothing");
    }

    fn collect(&mut self, number: usize, events: &mut Events) {
        if self.faults.spurious_events && self.rng.one_in(8) && !self.endpoints.is_empty() {
            let endpoint = self.rng.index(self.endpoints.len());
            let registration = self.endpoints[endpoint].registration.filter(|(owner, _)| *owner == number);
            self.announce(registration, Source::Endpoint(endpoint));
        }
        let mut sources = std::mem::take(&mut self.loops[number].ready);
        if self.faults.few_events && sources.len() > 1 {
            for last in (1..sources.len()).rev() {
                let other = self.rng.index(last + 1);
                sources.swap(last, other);
            }
            let count = 1 + self.rng.index(sources.len());
            self.loops[number].ready = sources.split_off(count);
        }
        if sources.len() > events.capacity {
            self.loops[number].ready = sources.split_off(events.capacity);
        }
        for source in sources {
            let event = self.event_of(source);
            if let Some(event) = event {
                self.record(2 << 32 | event.token.0 as u64);
            }
            events.events.extend(event);
        }
        let state = &self.loops[number];
        if let Some((token, is_woken)) = &state.waker
            && is_woken.swap(false, Ordering::Relaxed)
        {
            events.events.push(Event { token: *token, readable: true, writable: false, hang_up: false });
        }
    }

    /// What a poll reports of a source; none if it has nothing.
    fn event_of(&self, source: Source) -> Option<Event> {
        match source {
            Source::Endpoint(number) => {
                let token = self.endpoints[number].registration?.1;
                let [readable, writable, hang_up] = self.readiness(number);
                (readable || writable || hang_up).then_some(Event { token, readable, writable, hang_up })
            }
            Source::Backlog(number) => {
                let backlog = &self.backlogs[number];
                let (_, token) = *backlog.registrations.iter().find(|(owner, _)| *owner == self.current)?;
                let event = Event { token, readable: true, writable: false, hang_up: false };
                (!backlog.is_empty()).then_some(event)
            }
        }
    }
}
