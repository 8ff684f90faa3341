//! Session: a connection on its socket, with its timer and its place in the ready queue.

use super::{Observer, Pump, Turn, handle_deadline};
use crate::buffer::MemoryAccount;
use crate::connection::{CloseReason, Connection, Limits};
use crate::event_loop::{Key, LoopContext, Readiness, Timer};
use crate::panic_guard::guarded;
use crate::service::Service;
use crate::socket::{ByteStream, Stream};
use std::time::Instant;

/// Number of consecutive turns that a busy connection gets from the ready queue before it goes to the back. Only other
/// busy connections wait for all of them, and gain from a warm cache in return. Between them the loop looks for events of
/// quiet ones.
const TURNS_IN_A_ROW: u8 = 4;

/// Memory is charged in units of this many bytes, rounded up. 32 bits then count up to 64 GiB; a connection with more is
/// closed, even without a limit.
const CHARGE_BYTES: usize = 16;

/// A connection, its socket, its entry in the timer wheel and its place in the ready queue.
///
/// The `handle_*` methods return whether a [`turn`](Self::turn) is due.
#[derive(Debug)]
pub struct Session<S> {
    /// State of the connection.
    pub connection: Connection<S>,
    /// Socket of the connection.
    pub socket: Stream,
    /// Memory charged to the account for this connection, in units of [`CHARGE_BYTES`].
    held_units: u32,
    timer: Timer,
    /// Whether it is in the ready queue, where it has at most one place.
    is_queued: bool,
    /// Whether it spent the budget of a turn when it was last served. Its events then wait for its place in the ready
    /// queue.
    is_busy: bool,
    /// The close reason in the log line of its owner, once it was logged.
    pub logged: Option<CloseReason>,
    /// Whether its owner has admitted the client. False while a PROXY protocol header is to be received.
    pub is_admitted: bool,
    /// Index of the listener that accepted the connection.
    pub listener: u16,
    /// Number of consecutive turns from the ready queue.
    turns_in_a_row: u8,
}

impl<S: Service> Session<S> {
    /// Creates a session on a socket that is already registered. Registration reports at once whether there is something
    /// to read; until then a read would find nothing. Without a service, a turn asks for one once the connection is open.
    pub fn new(service: Option<S>, socket: Stream, now: Instant) -> Self {
        let mut connection = Connection::new(service, now);
        if socket.is_handshaking() {
            connection.handle_handshake();
        }
        connection.handle_read_blocked();
        Self {
            connection,
            socket,
            held_units: 0,
            timer: Timer::default(),
            is_queued: false,
            is_busy: false,
            logged: None,
            is_admitted: true,
            listener: 0,
            turns_in_a_row: 0,
        }
    }

    /// The socket reported readiness. The turn of a busy session comes from the ready queue: at once it would interrupt
    /// the turns in a row of another busy one, and delay quiet ones. A session that was only woken does not wait for all
    /// that were woken before, such as the others of a broadcast.
    #[inline]
    pub fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) -> bool {
        self.connection.handle_event(readiness.readable, readiness.writable, readiness.hang_up);
        if self.is_busy {
            self.queue_turn(context, key);
        }
        !self.is_busy
    }

    /// The session has reached the front of the ready queue.
    pub fn handle_ready(&mut self) -> bool {
        self.is_queued = false;
        self.turns_in_a_row += 1;
        true
    }

    /// The entry in the timer wheel has expired.
    pub fn handle_expired(&mut self, limits: &Limits, now: Instant) -> bool {
        handle_deadline(&mut self.connection, &self.socket, limits, now);
        true
    }

    /// A precise timer has expired.
    pub fn handle_precise_timer(&mut self, now: Instant) -> bool {
        self.connection.handle_precise_timer(now)
    }

    /// Arms the timer of the wheel so that the session is called by `deadline` at the latest.
    #[inline]
    pub fn arm(&mut self, context: &mut LoopContext, key: Key, deadline: Option<Instant>) {
        context.wheel.arm(&mut self.timer, key, deadline);
    }

    /// Removes the session from the loop and the memory account before its socket is closed; no event and no timer
    /// follows. If output is lost, closing the socket sends a reset.
    pub fn deregister(&mut self, context: &mut LoopContext, key: Key, memory: &MemoryAccount) {
        // Before the first byte was sent, a layer may hold session tickets, for example, but no part of a reply.
        let holds_reply = self.connection.sent_bytes() > 0 && self.socket.holds_unsent();
        if self.connection.is_cut() || holds_reply {
            self.socket.reset_on_close();
        }
        context.deregister(self.socket.source());
        context.wheel.cancel(&mut self.timer);
        if let Some(instant) = self.connection.precise_deadline() {
            context.precise_timers.cancel(key, instant);
        }
        self.charge(memory, 0);
    }

    /// Charges what the socket holds to the memory account, before the first turn. Returns whether that is within the limit.
    pub fn charge_socket(&mut self, memory: &MemoryAccount) -> bool {
        self.charge(memory, self.socket.held_bytes())
    }

    /// Charges `held_bytes` to the memory account. Returns whether that is within the limit.
    #[inline]
    fn charge(&mut self, memory: &MemoryAccount, held_bytes: usize) -> bool {
        let units = u32::try_from(held_bytes.div_ceil(CHARGE_BYTES)).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.held_units, units);
        memory.update(before as usize * CHARGE_BYTES, units as usize * CHARGE_BYTES) && units < u32::MAX
    }

    /// Runs a turn, or several in a row from the ready queue while no event is due, and schedules the next one.
    #[inline(always)]
    pub fn turn<O: Observer>(&mut self, pump: &mut Pump<'_, O>, context: &mut LoopContext, key: Key) -> Turn {
        let precise_deadline = self.connection.precise_deadline();
        // A panic of the service closes its own connection only.
        let turn = guarded(|| {
            let turn = loop {
                let turn = pump.turn(&mut self.connection, &mut self.socket);
                if turn != Turn::Yielded || !self.may_go_on() || context.is_event_due() {
                    break turn;
                }
                self.turns_in_a_row += 1;
            };
            (turn, self.connection.held_bytes().saturating_add(self.socket.held_bytes()))
        });
        let (turn, is_within_limit) = match turn {
            Ok((turn, held_bytes)) => (turn, self.charge(pump.memory, held_bytes)),
            Err(_) => (self.abort(CloseReason::ServicePanicked), true),
        };
        self.arm_precise_timer(context, key, precise_deadline);
        match turn {
            Turn::Closed(_) => return turn,
            // The connection whose growth exceeds the limit is closed, not an older one.
            _ if !is_within_limit => return self.abort(CloseReason::MemoryLimit),
            Turn::Opened => return turn,
            Turn::Yielded => {
                self.is_busy = true;
                if self.has_turns_left() {
                    self.is_queued = true;
                    context.ready.push_front(key);
                } else {
                    self.queue_turn(context, key);
                }
            }
            Turn::Blocked => {
                self.is_busy &= self.turns_in_a_row > 1;
                self.turns_in_a_row = 0;
            }
        }
        let deadline = self.connection.urgent_deadline(pump.limits);
        if deadline.is_some() {
            self.arm(context, key, deadline);
        }
        turn
    }

    /// Whether a further turn may follow at once. A service that waits for an exact instant needs the time of a new round.
    fn may_go_on(&self) -> bool {
        self.has_turns_left() && self.connection.precise_deadline().is_none()
    }

    /// Whether the turns that it has got from the ready queue may continue.
    fn has_turns_left(&self) -> bool {
        !self.is_queued && (1..TURNS_IN_A_ROW).contains(&self.turns_in_a_row)
    }

    /// Puts the session at the back of the ready queue, unless it is there.
    pub fn queue_turn(&mut self, context: &mut LoopContext, key: Key) {
        if !self.is_queued {
            self.is_queued = true;
            self.turns_in_a_row = 0;
            context.ready.push_back(key);
        }
    }

    /// Whether it is in the ready queue.
    #[cfg(all(test, multiconn_simulated))]
    pub(crate) fn is_queued(&self) -> bool {
        self.is_queued
    }

    /// Bytes charged to the memory account.
    #[cfg(all(test, multiconn_simulated))]
    pub(crate) fn charged_bytes(&self) -> usize {
        self.held_units as usize * CHARGE_BYTES
    }

    #[cold]
    fn abort(&mut self, reason: CloseReason) -> Turn {
        self.connection.close(reason);
        Turn::Closed(reason)
    }

    /// Replaces the precise timer of the deadline `before` by that of the current deadline.
    #[inline]
    fn arm_precise_timer(&self, context: &mut LoopContext, key: Key, before: Option<Instant>) {
        let precise_deadline = self.connection.precise_deadline();
        if precise_deadline != before {
            before.inspect(|&instant| context.precise_timers.cancel(key, instant));
            precise_deadline.inspect(|&instant| context.precise_timers.arm(key, instant));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Session;
    use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
    use crate::connection::Limits;
    use crate::event_loop::{EventLoop, Key, Readiness};
    use crate::pump::{Pump, TimeOnlyObserver, Turn};
    use crate::service::{Delayed, Echo};
    use crate::socket::Stream;
    use mio::net::UnixStream;
    use std::io::Write;
    use std::time::Duration;

    /// It waits in the ready queue behind all others of a broadcast, but its peer need not.
    #[test]
    fn an_event_of_a_woken_session_is_handled_at_once() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let context = event_loop.context();
        let (stream, _peer) = UnixStream::pair().expect("descriptors are free");
        let mut session = Session::new(Some(Echo), Stream::Unix(stream), context.now);
        let readiness = Readiness { readable: true, writable: false, hang_up: false };
        session.queue_turn(context, Key::fixed(1));
        session.queue_turn(context, Key::fixed(1));
        assert_eq!(context.ready.len(), 1, "one place");
        assert!(session.handle_event(context, Key::fixed(1), readiness));
        assert!(session.handle_ready());
        assert!(session.handle_event(context, Key::fixed(1), readiness));
    }

    /// Runs the turns from the ready queue of an echo that has more to do than one turn may, with an event of another
    /// source if `with_event`. Returns the result and the number of bytes received.
    fn busy_turns(with_event: bool) -> (Turn, u64) {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let context = event_loop.context();
        let (stream, mut peer) = UnixStream::pair().expect("descriptors are free");
        let (mut other, mut other_peer) = UnixStream::pair().expect("descriptors are free");
        context.register(&mut other, Key::fixed(2)).expect("the socket is new");
        while !context.is_event_due() {}
        context.clear_events();
        if with_event {
            other_peer.write_all(b"quiet").expect("the buffer is empty");
            while !context.is_event_due() {}
        }
        peer.write_all(&vec![7; 2 * BLOCK_BYTES]).expect("the buffer is empty");
        let (limits, memory) = (Limits { turn_bytes: BLOCK_BYTES, ..Limits::default() }, MemoryAccount::unlimited());
        let (mut pool, now, key) = (BufferPool::new(), context.now, Key::fixed(1));
        let mut pump = Pump { pool: &mut pool, memory: &memory, limits: &limits, observer: &mut TimeOnlyObserver(now) };
        let mut session = Session::new(Some(Echo), Stream::Unix(stream), now);
        session.queue_turn(context, key);
        let readiness = Readiness { readable: true, writable: true, hang_up: false };
        assert!(session.handle_event(context, key, readiness), "it is quiet");
        assert_eq!(context.ready.pop_front(), Some(key));
        assert!(session.handle_ready());
        let turn = session.turn(&mut pump, context, key);
        let received = session.connection.received_bytes();
        if turn == Turn::Yielded {
            assert!(!session.handle_event(context, key, readiness), "a busy session waits for its place");
            assert_eq!(context.ready, [key], "and has one");
            // It stays busy after several turns in a row, until a single one is enough.
            for is_quiet in [false, true] {
                let mut turn = Turn::Yielded;
                while turn == Turn::Yielded {
                    assert_eq!(context.ready.pop_front(), Some(key));
                    assert!(session.handle_ready());
                    turn = session.turn(&mut pump, context, key);
                }
                assert_eq!(turn, Turn::Blocked);
                assert_eq!(session.handle_event(context, key, readiness), is_quiet);
            }
        }
        (turn, received)
    }

    #[test]
    fn a_busy_session_goes_on_until_an_event_is_due() {
        assert_eq!(busy_turns(false), (Turn::Blocked, 2 * BLOCK_BYTES as u64));
        assert_eq!(busy_turns(true), (Turn::Yielded, BLOCK_BYTES as u64));
    }

    #[test]
    fn memory_is_charged_in_whole_units_up_to_the_limit() {
        let (stream, _peer) = UnixStream::pair().expect("descriptors are free");
        let mut session = Session::new(Some(Echo), Stream::Unix(stream), std::time::Instant::now());
        let memory = MemoryAccount::new(32);
        assert!(session.charge_socket(&memory), "a plain socket holds nothing");
        for (bytes, charged, is_within_limit) in
            [(1, 16, true), (16, 16, true), (32, 32, true), (33, 48, false), (0, 0, true)]
        {
            assert_eq!(session.charge(&memory, bytes), is_within_limit, "{bytes} bytes");
            assert_eq!(memory.held_bytes(), charged);
        }
        assert!(!session.charge(&MemoryAccount::unlimited(), 1 << 40), "more than the units can count");
    }

    #[test]
    fn a_closed_connection_leaves_no_timer() {
        let mut event_loop = EventLoop::<()>::spinning(Duration::ZERO).expect("descriptors are free");
        let context = event_loop.context();
        let (stream, _peer) = UnixStream::pair().expect("descriptors are free");
        let (mut socket, key, now) = (Stream::Unix(stream), Key::fixed(1), context.now);
        context.register(socket.source(), key).expect("the socket is new");
        let service = Delayed::new(Echo, Duration::from_secs(24 * 3600));
        let mut session = Session::new(Some(service), socket, now);
        let (mut pool, limits, memory) = (BufferPool::new(), Limits::default(), MemoryAccount::unlimited());
        let mut pump = Pump { pool: &mut pool, memory: &memory, limits: &limits, observer: &mut TimeOnlyObserver(now) };
        assert_eq!(session.turn(&mut pump, context, key), Turn::Blocked);
        assert!(context.wheel.time_left().is_some(), "an idle timeout is armed");
        assert_eq!(context.precise_timers.len(), 1, "the delay is armed");
        session.deregister(context, key, &memory);
        assert_eq!(context.wheel.time_left(), None);
        assert_eq!(context.precise_timers.len(), 0);
    }
}
