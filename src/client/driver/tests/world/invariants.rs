//! The invariants, checked after each round, and at the end of the run.

use super::facts::{Facts, correct_bytes};
use super::plan::{Answer, Ending, Plan};
use super::server::{Attempt, Records};
use super::stream::MessageStream;
use super::times::check_times;
use super::{MILLISECOND, Nanos, Worker};
use crate::client::arrivals::{ArrivalSchedule, Share};
use crate::client::clock::nanos;
use crate::client::driver::Driver;
use crate::client::plan::LoadPhase;
use crate::client::progress::WorkerProgress;
use crate::client::tcp::Tcp;
use crate::connection::Limits;
use crate::event_loop::LoopContext;
use crate::results::RunResults;
use crate::simulated_kernel::{Kernel, instant, with};
use crate::testing::{check_budget, check_session};
use std::rc::Rc;

/// How late a timeout may be, besides the rounds of the loops: a tick, and the rounding of the poll's timeout.
const LATE: Nanos = 2 * MILLISECOND;

/// More messages than any load has.
const MAX_DUE: usize = 2000;

pub(super) struct Invariants {
    plan: Rc<Plan>,
    records: Records,
    /// Messages of each attempt that has connected.
    streams: Vec<Option<MessageStream>>,
    /// When messages are due by the schedule, once it has begun, in nanoseconds of the run.
    due: Option<Vec<Nanos>>,
    /// Bytes that the clients have sent and received.
    moved_bytes: u64,
    /// The longest round of a loop, without the wait. A turn moves 256 KiB, which are many calls if the buffers are small.
    longest_round: Nanos,
}

impl Invariants {
    pub(super) fn new(plan: Rc<Plan>, records: Records) -> Self {
        Self { plan, records, streams: Vec::new(), due: None, moved_bytes: 0, longest_round: 0 }
    }

    /// After each round of the loop of worker `number`.
    pub(super) fn check(&mut self, workers: &mut [Worker<'_>], number: usize) {
        let (mut live, mut ended, mut are_opened) = (0, 0, true);
        for (index, worker) in workers.iter_mut().enumerate() {
            ended += worker.metrics(|metrics| {
                let connections = &metrics.results.connections;
                connections.completed + connections.failed
            });
            if let Worker::Running(event_loop, driver) = worker {
                let context = event_loop.context();
                if index == number {
                    let began = driver.plan.clock.nanos(context.now);
                    self.longest_round = self.longest_round.max(with(|kernel| kernel.now) - began);
                }
                live += self.check_worker(driver, context);
                are_opened &= driver.connector.is_done();
            }
        }
        let requested = self.plan.config.connections as u64;
        assert!(ended + live <= requested, "{ended} ended and {live} live connections of {requested}");
        // Connections that a stopped run has not begun to open are not counted.
        if are_opened && !self.was_stopped() {
            assert_eq!(ended + live, requested, "ended and live connections");
        }
        let Worker::Running(_, driver) = &workers[number] else { panic!("a worker ends after the check of its round") };
        let begin = driver.plan.metrics.borrow().measured_from();
        let begin = begin.filter(|_| driver.plan.phase.get() != LoadPhase::Connecting);
        if let Some(begin) = begin.filter(|_| self.plan.config.load.rate.is_some() && self.due.is_none()) {
            self.due = Some(self.schedule(begin));
        }
        let sum = |count: fn(&WorkerProgress) -> u64| -> u64 {
            workers.iter().map(|worker| worker.metrics(|metrics| count(&metrics.progress))).sum()
        };
        let sent = sum(|progress| progress.messages_sent.get());
        let answered = sum(|progress| progress.messages_answered.get());
        with(|kernel| {
            self.check_moved_bytes(kernel, &driver.transport.limits);
            self.check_messages(kernel, sent, answered, driver.plan.pipeline);
        });
    }

    /// Checks a worker. Returns the number of its live connections.
    fn check_worker<'a>(&self, driver: &Driver<'a, Tcp<'a>>, context: &LoopContext) -> u64 {
        assert!(context.now <= instant(self.plan.latest_end()), "the run does not end");
        let config = &self.plan.config;
        let (mut live, mut connecting) = (0, 0);
        for key in driver.entries.keys() {
            let Some(entry) = driver.entries.get(key) else { continue };
            live += 1;
            connecting += usize::from(!entry.is_open);
            if entry.is_connected {
                check_session(&entry.connection, key, &driver.transport.limits, context);
            }
        }
        let most = config.max_connecting.div_ceil(config.workers);
        assert!(connecting <= most, "{connecting} connects in progress");
        live
    }

    /// When messages are due, of which those from `measured_from` on are measured.
    fn schedule(&self, measured_from: Nanos) -> Vec<Nanos> {
        let (config, load) = (&self.plan.config, &self.plan.config.load);
        let begin = measured_from - nanos(load.warm_up);
        let end = load.duration.map_or(Nanos::MAX, |duration| measured_from + nanos(duration));
        let curve = load.rate_curve().expect("it is an open loop");
        let due_of = |worker| {
            let share = Share::new(worker, config.workers, config.connections);
            let mut schedule = ArrivalSchedule::new(curve, load.arrivals, load.seed, share);
            let all = std::iter::from_fn(move || {
                let due = begin + nanos(schedule.due());
                schedule.advance();
                Some(due)
            });
            let total = usize::try_from(self.plan.total().saturating_mul(share.own())).unwrap_or(MAX_DUE);
            all.take_while(move |due| *due < end).take(MAX_DUE).take(total)
        };
        let mut due: Vec<_> = (0..config.workers).flat_map(due_of).collect();
        due.sort_unstable();
        assert!(due.len() < MAX_DUE, "a small load");
        due
    }

    /// The bytes that the worker of this round has moved.
    fn check_moved_bytes(&mut self, kernel: &Kernel, limits: &Limits) {
        let moved_by = |attempt: &Attempt| {
            let endpoint = kernel.endpoint(attempt.endpoint);
            endpoint.read_bytes + endpoint.written_bytes
        };
        let moved = self.records.borrow().attempts.iter().map(moved_by).sum();
        let in_round = moved - std::mem::replace(&mut self.moved_bytes, moved);
        check_budget(in_round, self.plan.config.connections as u64, limits);
    }

    /// Messages are sent once they are due, while the pipeline has room, and counted; so are the answers.
    fn check_messages(&mut self, kernel: &Kernel, counted_sent: u64, counted_answered: u64, pipeline: u64) {
        let world = self.records.borrow();
        let (mut begun, mut sent, mut answered) = (0, 0, 0);
        for (place, attempt) in world.attempts.iter().enumerate() {
            let endpoint = kernel.endpoint(attempt.endpoint);
            if self.streams.len() <= place {
                self.streams.push(None);
            }
            if endpoint.connected.is_none() {
                continue;
            }
            let stream = self.streams[place]
                .get_or_insert_with(|| self.plan.stream(attempt.number, world.generation(kernel, place)));
            let correct_bytes = correct_bytes(&self.plan, stream, endpoint, attempt);
            let own_begun = stream.begun_messages(endpoint.written_bytes);
            let own_answered = stream.answered_messages(&self.plan, correct_bytes);
            assert!(own_answered <= own_begun && own_begun - own_answered <= pipeline, "{pipeline} may be in flight");
            begun += own_begun;
            sent += stream.complete_messages(endpoint.written_bytes);
            answered += own_answered;
        }
        assert_eq!(counted_sent, sent, "messages sent");
        if self.plan.counts_replies() {
            assert_eq!(counted_answered, answered, "messages answered");
        }
        if let Some(due) = &self.due {
            let due = due.iter().take_while(|due| **due <= kernel.now).count() as u64;
            assert!(begun <= due, "{begun} messages are sent, and {due} are due");
        }
    }

    /// Checks the results of all workers together.
    ///
    /// The last connection was closed at `all_ended`, unless the run was stopped before.
    pub(super) fn into_results(self, workers: Vec<Worker<'_>>, all_ended: Option<Nanos>) -> RunResults {
        let now = with(|kernel| kernel.now);
        let ended = all_ended.unwrap_or(now);
        let (mut opened, mut measured_from) = (0, None);
        let mut all_results = Vec::new();
        for worker in workers {
            let Worker::Ended(metrics) = worker else { panic!("a worker runs") };
            opened += metrics.progress.opened.get();
            measured_from = measured_from.or(metrics.measured_from());
            all_results.push(metrics.into_results(&[]));
        }
        let mut results = all_results.swap_remove(0);
        all_results.iter().for_each(|other| results.add_worker(other));
        let all_facts = with(|kernel| {
            while let Some(time) = kernel.next_action() {
                kernel.advance_to(time);
            }
            self.all_facts(kernel)
        });
        assert!(ended <= now, "the last connection ended at {ended}, and the loops at {now}");
        self.check_end(&all_facts, ended, measured_from);
        self.check_connections(&all_facts, opened, &results);
        self.check_causes(&all_facts, &results);
        self.check_timeouts(&all_facts, &results);
        self.check_sums(&results);
        if let Some((due, from)) = self.due.as_ref().zip(measured_from) {
            self.check_due(due, from, ended, &results);
        }
        if self.plan.config.load.warm_up.is_zero() {
            check_times(&self.plan, &all_facts, self.due.as_deref(), &results);
        }
        results
    }

    fn all_facts(&self, kernel: &Kernel) -> Vec<Facts> {
        let world = self.records.borrow();
        let facts = |(place, attempt)| Facts::new(&self.plan, kernel, attempt, world.generation(kernel, place));
        world.attempts.iter().enumerate().map(facts).collect()
    }

    /// The last connection has ended when it was closed. One that waits to be opened again ends with the load, one that could not
    /// be opened at that time.
    fn check_end(&self, all_facts: &[Facts], ended: Nanos, measured_from: Option<Nanos>) {
        let last_closed = all_facts.iter().filter_map(|facts| facts.closed).max().unwrap_or_default();
        assert!(last_closed <= ended + self.longest_round, "the last connection closed at {last_closed}, not {ended}");
        let load_end = measured_from.zip(self.plan.config.load.duration).map(|(from, duration)| from + nanos(duration));
        let given_up = [load_end, self.plan.end.map(|(end, _)| end)].into_iter().flatten().max().unwrap_or_default();
        let has_failed_at_once = with(|kernel| kernel.connect_faults.at_once > 0);
        assert!(
            has_failed_at_once || ended <= last_closed.max(given_up) + self.late(),
            "the last connection ended at {ended}, and was closed at {last_closed}"
        );
    }

    /// How late a timer may be: a tick and two rounds of each loop, the one under way and the next one.
    fn late(&self) -> Nanos {
        let (workers, faults) = (self.plan.config.workers as u64, &self.plan.faults);
        LATE + 2 * (workers * self.longest_round + faults.longest_jump + faults.longest_pause)
    }

    fn was_stopped(&self) -> bool {
        self.plan.has_ending(Ending::Stop) && self.records.borrow().has_ended
    }

    /// One outcome per connection.
    fn check_connections(&self, all_facts: &[Facts], opened: u64, results: &RunResults) {
        let (config, connections) = (&self.plan.config, &results.connections);
        let connected = all_facts.iter().filter(|facts| facts.connected.is_some()).count() as u64;
        assert_eq!([opened, connections.opened], [connected; 2], "connections opened");
        let requested = config.connections as u64;
        let ended = connections.completed + connections.failed;
        assert!(
            ended == requested || self.was_stopped() && ended < requested,
            "{ended} of {requested} connections ended"
        );
        assert_eq!(results.errors.values().sum::<u64>(), connections.failed, "causes: {:?}", results.errors);
        assert!(all_facts.iter().all(|facts| facts.closed.is_some()), "all connections are closed");
        let at_once = with(|kernel| kernel.connect_faults.at_once);
        let last_of = |number| all_facts.iter().rfind(|facts| facts.number == number);
        let (mut certain, mut possible) = (0, 0);
        for facts in (1..=config.connections).filter_map(last_of).filter(|facts| facts.connected.is_some()) {
            let may_end = config.hold.is_none() && !self.was_stopped() && !self.plan.awaits_close();
            let is_certain = may_end && facts.is_answered() && (config.load.reconnect_every.is_none() || at_once == 0);
            let is_possible = !facts.has_read_wrong && (!self.plan.counts_replies() || facts.begun == facts.answered);
            certain += u64::from(is_certain);
            possible += u64::from(is_possible);
        }
        // A replacement that could not connect before the end of the load does not make its connection a failed one.
        let is_replaced = config.load.reconnect_every.is_some();
        assert!(connections.completed >= certain, "{certain} connections are complete: {results:?}");
        assert!(
            connections.completed <= possible || is_replaced,
            "{possible} connections can be complete: {results:?}"
        );
    }

    /// Each failure is justified by what the kernel or a server did.
    fn check_causes(&self, all_facts: &[Facts], results: &RunResults) {
        let count = |names: &[&str]| names.iter().filter_map(|name| results.errors.get(*name)).sum::<u64>();
        let facts_of =
            |is_cause: &dyn Fn(&Facts) -> bool| all_facts.iter().filter(|facts| is_cause(facts)).count() as u64;
        let wrong = facts_of(&|facts| facts.has_read_wrong);
        let found = count(&["mismatch", "wrong_reply", "bad_frame"]);
        assert_eq!(found, wrong, "wrong answers: {:?}", results.errors);
        // The end of the stream within a frame is a wrong answer as well.
        let most = wrong + count(&["incomplete_frame"]);
        assert!((wrong..=most).contains(&results.mismatches.count), "{:?}, {:?}", results.mismatches, results.errors);
        assert!(results.messages.wrong <= most, "{:?}", results.messages);
        let broken = facts_of(&|facts| facts.was_reset && facts.connected.is_some());
        let ended = facts_of(&|facts| facts.has_read_end);
        let refused = facts_of(&|facts| facts.was_reset && facts.connected.is_none() && facts.was_registered);
        let faults = with(|kernel| kernel.connect_faults);
        assert!(count(&["refused"]) <= faults.refused, "{:?}, {faults:?}", results.errors);
        assert!(count(&["reset"]) <= broken + refused, "{:?}", results.errors);
        assert!(count(&["closed_early", "incomplete_frame"]) <= ended, "{ended} have ended: {:?}", results.errors);
        assert!(count(&["stopped"]) == 0 || self.was_stopped(), "{:?}", results.errors);
        let explained = [
            "mismatch",
            "wrong_reply",
            "bad_frame",
            "refused",
            "reset",
            "closed_early",
            "incomplete_frame",
            "stopped",
            "connect_timeout",
            "reply_timeout",
            "send_timeout",
        ];
        let others = results.connections.failed - count(&explained);
        // A write after a reset fails with EPIPE.
        assert!(others <= faults.at_once + broken, "{:?}, {faults:?}", results.errors);
        assert!(results.messages.timed_out == 0 || count(&["reply_timeout", "send_timeout"]) > 0, "{results:?}");
        let lost = results.messages.lost;
        assert!(lost == 0 || results.connections.failed > 0, "{results:?}");
        let is_single = !self.plan.has_two_addresses && !self.was_stopped() && self.plan.config.load.duration.is_none();
        if is_single && self.plan.config.load.rate.is_none() {
            let timeouts = facts_of(&|facts| facts.connected.is_none() && !facts.was_reset && facts.was_registered);
            let failed = timeouts + refused + faults.at_once;
            let ends = count(&["connect_timeout", "refused"]) + others + count(&["reset"]);
            let retries = results.connections.retries;
            assert!(failed <= retries + ends, "{failed} failed connects, {retries} retries: {:?}", results.errors);
        }
        assert!(
            results.connections.retries
                <= u64::from(self.plan.config.retries) * (all_facts.len() as u64 + faults.at_once)
        );
    }

    /// No timeout is early, and none is [too late](Self::late).
    fn check_timeouts(&self, all_facts: &[Facts], results: &RunResults) {
        let config = &self.plan.config;
        let (connect_timeout, reply_timeout) = (nanos(config.connect_timeout), nanos(config.reply_timeout));
        let late = self.late();
        let [mut connect_timeouts, mut reply_timeouts] = [0, 0];
        for facts in all_facts {
            let closed = facts.closed.unwrap_or_default();
            let Some(connected) = facts.connected else {
                let took = closed - facts.opened;
                if facts.was_registered && !facts.was_reset && !self.was_stopped() {
                    assert!(took >= connect_timeout, "a connect timed out after {took} ns");
                }
                connect_timeouts += u64::from(took >= connect_timeout);
                assert!(took <= connect_timeout + late, "a connect timed out after {took} ns");
                continue;
            };
            assert!(
                connected - facts.opened <= connect_timeout + late,
                "a connect took {} ns",
                connected - facts.opened
            );
            let [earliest, latest] = facts.awaited_since(&self.plan);
            // Of a message that waits for room in the socket, the kernel need not have taken a byte.
            let is_over = facts.answered == facts.begun && !facts.was_full && !self.plan.awaits_close();
            reply_timeouts += u64::from(closed >= earliest + reply_timeout && !is_over);
            let is_awaited = self.plan.counts_replies() && facts.begun > facts.answered;
            let waited = closed - latest;
            // A socket that stays full has the timeout from when it filled up.
            let longest = if facts.was_full { 2 * reply_timeout } else { reply_timeout };
            assert!(!is_awaited || waited <= longest + late, "a reply was awaited for {waited} ns: {facts:?}");
        }
        let count = |names: &[&str]| names.iter().filter_map(|name| results.errors.get(*name)).sum::<u64>();
        assert!(count(&["connect_timeout"]) <= connect_timeouts, "{connect_timeouts} in time: {:?}", results.errors);
        let timed_out = count(&["reply_timeout", "send_timeout"]);
        assert!(timed_out <= reply_timeouts, "{reply_timeouts} in time: {:?}", results.errors);
    }

    /// Each message that was due has one end.
    fn check_sums(&self, results: &RunResults) {
        let messages = &results.messages;
        if !self.plan.counts_replies() {
            return;
        }
        let unanswered = messages.timed_out + messages.pending + messages.lost + messages.wrong;
        assert_eq!(results.histograms.unanswered_age.count(), unanswered, "ages: {messages:?}");
        let ended = messages.answered + unanswered;
        let begun = messages.sent + messages.unsent + messages.no_connection;
        if messages.pending == 0 {
            assert_eq!(begun, ended, "{messages:?}");
        }
        assert!(begun <= ended, "{messages:?}");
        if self.plan.config.load.rate.is_some() && results.messages.due.is_some() {
            assert_eq!(messages.due, Some(ended), "{messages:?}");
        }
    }

    /// All messages that were due by the schedule are counted.
    fn check_due(&self, due: &[Nanos], measured_from: Nanos, ended: Nanos, results: &RunResults) {
        let until = |time: Nanos| due.iter().filter(|due| (measured_from..=time).contains(due)).count() as u64;
        let stopped = self.plan.end.map_or(Nanos::MAX, |(end, _)| end);
        let counted = results.messages.due.unwrap_or_default();
        let [least, most] = [until(stopped.saturating_sub(1).min(ended)), until(ended)];
        assert!(
            (least..=most).contains(&counted),
            "{counted} messages due, {least} to {most} expected: {:?}",
            results.messages
        );
        if self.plan.answer == Answer::Nothing {
            let begun = results.messages.sent + results.messages.unsent + results.messages.no_connection;
            assert!(begun <= counted, "{:?}", results.messages);
        }
    }
}
