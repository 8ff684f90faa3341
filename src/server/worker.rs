//! One worker: a loop, its doors and its connections. Nothing in here is shared with another worker, except what is
//! touched when a connection comes or goes.

mod entry;
mod signals;

use super::accept::{ACCEPTS_PER_TURN, Door, Knock};
use super::counters::Counters;
use super::datagrams::Datagrams;
use super::malformed::Malformed;
use super::metrics::Metrics;
use super::secure::{self, WrongPort};
use super::stage::Stage;
use super::watch::Watch;
use super::{Message, Opened, Shared, Summary};
use crate::buffer::Lender;
use crate::connection::{CloseReason, Limits};
use crate::error::{Error, Warning, in_words};
use crate::event_loop::{Agenda, Due, EventLoop, Handler, Key, Readiness, Sender, Slab};
use crate::guard::guarded;
use crate::pump::{Conversation, Pump};
use crate::service::Service;
use crate::socket::{Address, Listener, Stream};
use crate::units::{format_count, later};
use entry::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) struct Worker<'a, F, S> {
    shared: &'a Arc<Shared>,
    make_service: &'a F,
    sender: Sender<Message>,
    entries: Slab<Entry<S>>,
    doors: Vec<Door>,
    lender: Lender,
    limits: Limits,
    stage: Stage,
    /// The signals come to this worker, or those who ask for metrics: it stays until all others have ended, so that a
    /// second one is heard and the last one answered.
    stays: bool,
    counters: &'a Counters,
    metrics: Option<Metrics>,
    datagrams: Datagrams<'a>,
    /// That a connection could not be watched.
    unwatched: Warning,
    /// That a service panicked.
    panicked: Warning,
    wrong_port: WrongPort,
    malformed: Malformed<'a>,
}

impl<'a, F, S> Worker<'a, F, S>
where
    F: Fn(&Opened<'_>) -> S,
    S: Service,
{
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        make_service: &'a F,
        event_loop: &EventLoop<Message>,
        listeners: Vec<Listener>,
        datagrams: Datagrams<'a>,
        number: usize,
        metrics: Option<Metrics>,
    ) -> Self {
        let door = |(index, listener)| Door::new(listener, Key::fixed(index));
        Self {
            shared,
            make_service,
            sender: event_loop.sender(),
            entries: Slab::default(),
            doors: (0..).zip(listeners).map(door).collect(),
            lender: Lender::new(),
            limits: shared.config.limits.clone(),
            stage: Stage::Serving,
            stays: event_loop.hears_signals() || metrics.as_ref().is_some_and(Metrics::has_desk),
            counters: &shared.counters[number],
            metrics,
            unwatched: Warning::default(),
            panicked: Warning::default(),
            datagrams,
            wrong_port: WrongPort::default(),
            malformed: Malformed::new(&shared.malformed),
        }
    }

    pub(super) fn run(mut self, mut event_loop: EventLoop<Message>) -> Result<Summary, Error> {
        for door in &mut self.doors {
            door.open(event_loop.agenda()).map_err(Error::system("wait for connections"))?;
        }
        self.datagrams.open(event_loop.agenda()).map_err(Error::system("wait for datagrams"))?;
        if let Some(metrics) = &mut self.metrics {
            metrics.open(event_loop.agenda()).map_err(Error::system("wait for those who ask for metrics"))?;
        }
        self.shared.has_opened().map_err(Error::system("tell the predecessor that this process accepts"))?;
        event_loop.run(&mut self).map_err(Error::system("wait for events"))?;
        if let Some(metrics) = &self.metrics {
            metrics.leave();
        }
        Ok(self.counters.summary())
    }

    /// Lets in whoever waits at the door, as far as its turn goes.
    fn let_in(&mut self, agenda: &mut Agenda, index: usize) {
        if self.stage != Stage::Serving {
            return self.let_in_last(agenda, index);
        }
        let Some(door) = self.doors.get_mut(index) else { return };
        door.begin_turn(ACCEPTS_PER_TURN);
        loop {
            let door = &mut self.doors[index];
            if self.shared.admission.is_closed() {
                return door.pause(agenda);
            }
            match door.knock(agenda, self.counters) {
                Knock::Came(stream, peer) => self.open(agenda, stream, peer),
                Knock::Nobody | Knock::TurnOver | Knock::Paused | Knock::Failed => return,
            }
        }
    }

    /// Lets in those who wait when the end comes, whatever the limit, and then closes the door: that would reset them.
    /// When there is no descriptor for the next one, the door stays open until somebody leaves or the drain is over.
    fn let_in_last(&mut self, agenda: &mut Agenda, index: usize) {
        let Some(door) = self.doors.get_mut(index) else { return };
        door.end_pause();
        loop {
            match self.doors[index].knock(agenda, self.counters) {
                Knock::Came(stream, peer) => self.open(agenda, stream, peer),
                Knock::Paused if self.limits.drain_by.is_some_and(|end| agenda.now < end) => return,
                Knock::Nobody | Knock::TurnOver | Knock::Paused | Knock::Failed => {
                    return self.doors[index].close(agenda);
                }
            }
        }
    }

    fn open(&mut self, agenda: &mut Agenda, mut socket: Stream, peer: Address) {
        if let Err(refusal) = self.shared.admission.enter(&peer) {
            log::debug!("Refusing connection from {peer}: {refusal}");
            self.counters.refused.add(refusal);
            return;
        }
        let key = self.entries.next_key();
        if let Err(error) = agenda.register(socket.source(), key) {
            self.shared.admission.leave(&peer);
            // The system has no memory for one more watch (epoll_ctl(2), ENOMEM and ENOSPC): this peer cannot be served.
            self.counters.accept_failed(&error);
            if self.unwatched.is_due(agenda.now) {
                let (words, failures) = (in_words(&error), self.counters.accept_errors.total());
                log::warn!("cannot serve {peer}: {words} (failures so far: {})", format_count(failures));
            }
            return;
        }
        let Some(mut socket) = secure::secured(self.shared, socket) else { return self.shared.admission.leave(&peer) };
        let number = self.shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        self.counters.accepted.add(1);
        log::debug!("Accepted connection from {peer} (number {number})");
        let opened = Opened { number, peer: &peer, sender: &self.sender, key };
        // As with a service that panics: whatever the fault is, it is this connection's alone.
        let Ok(service) = guarded(|| (self.make_service)(&opened)) else {
            agenda.deregister(socket.source());
            socket.reset_on_close();
            drop(socket);
            // It may be in a waker, which must not wake the next one.
            self.entries.skip_key();
            let reason = CloseReason::ServicePanicked;
            log::debug!("Closing connection to {peer}: {reason} (number {number}, when its service was made)");
            return self.see_off(agenda, &peer, reason);
        };
        let mut conversation = Conversation::new(service, socket, agenda.now);
        if self.stage == Stage::Draining {
            conversation.connection.handle_drain();
        }
        self.entries.insert(Entry::new(conversation, peer, number));
        self.turn(agenda, key);
    }

    /// Gives the conversation of `key` its turn, if it still exists.
    #[inline]
    fn turn(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let connection = &entry.conversation.connection;
        let expects_plain_text = connection.received_bytes() == 0 && self.shared.tls.is_none();
        let (now, counters, sending) = (agenda.now, self.counters, self.shared.config.sending);
        let (peer, number) = (&entry.peer, entry.number);
        let mut watch = Watch { now, peer, number, sending, counters, expects_plain_text, speaks_tls: false };
        let (lender, memory) = (&mut self.lender, &self.shared.memory);
        let mut pump = Pump { lender, memory, limits: &self.limits, observer: &mut watch };
        let closed = entry.conversation.turn(&mut pump, agenda, key);
        if watch.speaks_tls {
            self.wrong_port.note_tls(agenda.now, &entry.peer);
        }
        if let Some(reason) = closed {
            self.close(agenda, key, reason);
        } else if let Some(reason) = entry.conversation.connection.ending()
            && let Some(line) = entry.closing_line(reason, agenda.now, &mut self.malformed)
        {
            // Not only when the peer has closed, too: that can take as long as lingering does.
            log::debug!("{line}");
        }
    }

    fn close(&mut self, agenda: &mut Agenda, key: Key, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        entry.conversation.deregister(agenda, key, &self.shared.memory);
        let line = entry.closing_line(reason, agenda.now, &mut self.malformed);
        self.wrong_port.note_end(agenda.now, &entry.conversation.socket, &entry.peer);
        let peer = entry.peer;
        // Its service may panic even now; the socket is closed all the same.
        let _ = guarded(|| drop(entry.conversation));
        self.see_off(agenda, &peer, reason);
        // With the end of a peer that has closed first, its place is free when this is read.
        if let Some(line) = line {
            log::debug!("{line}");
        }
    }

    /// Counts a connection as ended, and gives its place and its descriptor, which is free by now, to who waits for that.
    fn see_off(&mut self, agenda: &mut Agenda, peer: &Address, reason: CloseReason) {
        self.shared.admission.leave(peer);
        self.counters.closed.add(reason);
        if reason == CloseReason::ServicePanicked && self.panicked.is_due(agenda.now) {
            let panics = self.counters.closed.get(reason);
            log::warn!(
                "the service of {peer} panicked, which ended the connection (panics so far: {})",
                format_count(panics)
            );
        }
        for (index, door) in (0..).zip(&mut self.doors) {
            if door.is_paused() {
                agenda.ready.push_back(Key::fixed(index));
                door.end_pause();
            }
        }
    }

    /// Lets in those who wait, closes the doors behind them, and lets every conversation come to its end.
    fn drain(&mut self, agenda: &mut Agenda) {
        if self.stage >= Stage::Draining {
            return;
        }
        self.stage = Stage::Draining;
        self.shared.process.is_draining.store(true, Ordering::Relaxed);
        self.shared.service_manager.tell_stopping();
        self.limits.drain_by = Some(later(agenda.now, self.shared.config.drain_timeout));
        // Those who wait now, and not those who go on coming meanwhile.
        let most_waiting = self.shared.config.socket.backlog as usize;
        for index in 0..self.doors.len() {
            self.doors[index].begin_turn(most_waiting);
            self.let_in_last(agenda, index);
        }
        self.datagrams.drain(agenda);
        for key in self.entries.keys() {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.conversation.connection.handle_drain();
            }
            self.turn(agenda, key);
        }
    }

    /// Leaves the doors to a successor. It has the same sockets: those who wait there are its own, and closing ours resets
    /// nobody.
    fn relieve(&mut self, agenda: &mut Agenda) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Relieved;
            self.doors.iter_mut().for_each(|door| door.close(agenda));
            self.datagrams.close(agenda);
            if let Some(metrics) = &mut self.metrics {
                metrics.close(agenda);
            }
        }
    }

    /// The metrics, if a fixed key with this index belongs to them.
    fn metrics_of(&mut self, index: u32) -> Option<&mut Metrics> {
        self.metrics.as_mut().filter(|_| Metrics::owns(index))
    }

    fn stop(&mut self, agenda: &mut Agenda) {
        self.drain(agenda);
        self.stage = Stage::Stopped;
        for door in &mut self.doors {
            door.close(agenda);
        }
        for key in self.entries.keys() {
            self.close(agenda, key, CloseReason::Stopped);
        }
    }
}

impl<F, S> Handler for Worker<'_, F, S>
where
    F: Fn(&Opened<'_>) -> S,
    S: Service,
{
    type Message = Message;

    #[inline]
    fn handle_event(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        if let Some(index) = key.as_fixed() {
            return match self.metrics_of(index) {
                Some(metrics) => metrics.handle_event(agenda, key, readiness),
                None if Datagrams::owns(index) => self.datagrams.handle(agenda, key, false),
                None => self.let_in(agenda, index as usize),
            };
        }
        // A stale token: the connection ended within this batch of events.
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.conversation.handle_event(readiness) {
            self.turn(agenda, key);
        }
    }

    fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        let key = due.key();
        if let Some(metrics) = &self.metrics {
            metrics.note_lag(agenda, due);
        }
        if let Some(index) = key.as_fixed() {
            if let Some(metrics) = self.metrics_of(index) {
                metrics.handle_due(agenda, due);
            } else if Datagrams::owns(index) {
                self.datagrams.handle_due(agenda, key);
            } else if self.doors.get(index as usize).is_some_and(Door::is_paused) {
                self.let_in(agenda, index as usize);
            }
            return;
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.conversation.handle_due(&self.limits, agenda.now) {
            self.turn(agenda, key);
        }
    }

    fn handle_alarm(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.conversation.handle_alarm(agenda.now) {
            self.turn(agenda, key);
        }
    }

    fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        if let Some(index) = key.as_fixed() {
            return match self.metrics_of(index) {
                Some(metrics) => metrics.handle_ready(agenda, key),
                None if Datagrams::owns(index) => self.datagrams.handle(agenda, key, true),
                None => self.let_in(agenda, index as usize),
            };
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.conversation.handle_ready() {
            self.turn(agenda, key);
        }
    }

    fn handle_message(&mut self, agenda: &mut Agenda, message: Message) {
        match message {
            Message::Drain => self.drain(agenda),
            Message::Stop => self.stop(agenda),
            // Only a reason to look whether this one is done.
            Message::Ended => {}
            Message::Copy(answer) => {
                let metrics = self.metrics.iter().flat_map(Metrics::doors);
                let copies = self.doors.iter().chain(metrics).filter_map(Door::copy).chain(self.datagrams.copies());
                copies.for_each(|copy| drop(answer.send(copy)));
            }
            Message::Relieved => self.relieve(agenda),
            Message::Pulse(answer) => drop(answer.send(())),
            Message::Wake(key) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.conversation.connection.handle_wake();
                    self.turn(agenda, key);
                }
            }
        }
    }

    fn handle_signal(&mut self, agenda: &mut Agenda, signal: i32) {
        self.obey(agenda, signal);
    }

    #[inline]
    fn handle_round(&mut self, agenda: &mut Agenda) {
        if let Some(metrics) = &self.metrics {
            metrics.note_round(agenda, &self.lender);
        }
    }

    fn is_done(&self) -> bool {
        match self.stage {
            Stage::Serving => false,
            Stage::Relieved | Stage::Draining => {
                let is_needed = self.stays && self.shared.running.load(Ordering::Relaxed) > 1;
                self.entries.is_empty() && self.doors.iter().all(Door::is_closed) && !is_needed
            }
            Stage::Stopped => self.entries.is_empty(),
        }
    }
}
