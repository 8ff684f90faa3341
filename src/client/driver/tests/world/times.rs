//! The times that a run has recorded, compared with those of the kernel.

use super::Nanos;
use super::facts::Facts;
use super::plan::Plan;
use crate::results::{Latencies, RunResults};

/// Error of a histogram of a simulation, as a fraction, with a margin.
const ERROR: f64 = 0.01;

/// Longest time from the start of a connect to the end of its first call.
const CONNECT_CALL: Nanos = 100_000;

/// Times of the same messages: at least, and at most.
#[derive(Debug, Default)]
pub(super) struct Span {
    times: Vec<[Nanos; 2]>,
}

impl Span {
    fn add(&mut self, at_least: Nanos, at_most: Nanos) {
        self.times.push([at_least, at_most]);
    }

    /// Compares count, sum, minimum and maximum.
    fn check(&self, found: &Latencies, what: &str) {
        assert_eq!(found.count(), self.times.len() as u64, "number of {what}");
        let Some(mean) = found.mean_ns() else { return };
        let column = |index: usize| self.times.iter().map(move |times| times[index]);
        let sum = |index| column(index).sum::<Nanos>() as f64;
        let margin = 2.0 * self.times.len() as f64;
        expect_within(mean * self.times.len() as f64, [sum(0), sum(1)], margin, what);
        let least = [0, 1].map(|index| column(index).min().unwrap_or_default() as f64);
        expect_within(found.histogram().min() as f64, least, 2.0, what);
        let greatest = [0, 1].map(|index| column(index).max().unwrap_or_default() as f64);
        expect_within(found.histogram().max() as f64, greatest, 2.0, what);
    }
}

fn expect_within(found: f64, [least, greatest]: [f64; 2], margin: f64, what: &str) {
    let range = least * (1.0 - ERROR) - margin..=greatest * (1.0 + ERROR) + margin;
    assert!(range.contains(&found), "{what}: {found}, expected {least} to {greatest}");
}

/// Sum of the times of a histogram.
fn sum(latencies: &Latencies) -> f64 {
    latencies.mean_ns().unwrap_or_default() * latencies.count() as f64
}

/// Times of a message that was answered.
#[derive(Debug, Clone, Copy)]
struct Exchanged {
    /// When its first byte was written; the group of writes may have begun earlier.
    written: Nanos,
    group_begun: Nanos,
    read: Nanos,
}

/// The messages of a connection that were answered.
fn exchanged(plan: &Plan, facts: &Facts) -> Vec<Exchanged> {
    // Writes of one round without a read between them are one group.
    let (mut group, mut writes) = (None, Vec::new());
    for transfer in &facts.transfers {
        group = group.filter(|(round, _)| *round == transfer.round && !transfer.is_read);
        if !transfer.is_read {
            let (_, begun) = *group.get_or_insert((transfer.round, transfer.at));
            writes.push((transfer.end, transfer.at, begun));
        }
    }
    let mut writes = writes.into_iter().peekable();
    let mut reads = facts.transfers.iter().filter(|transfer| transfer.is_read).peekable();
    let exchange = |number| {
        let (offset, end) = (facts.stream.offset_of(number), facts.stream.answer_end(plan, number));
        while writes.next_if(|(end, ..)| *end <= offset).is_some() {}
        while reads.next_if(|transfer| transfer.end < end).is_some() {}
        let &(_, written, group_begun) = writes.peek().expect("it was sent");
        // A group of messages that did not fit counts from its first byte.
        let group_begun = if facts.was_full { facts.connected.unwrap_or_default() } else { group_begun };
        Exchanged { written, group_begun, read: reads.peek().expect("it was answered").at }
    };
    (0..facts.answered).map(exchange).collect()
}

/// Checks the histograms of a run whose messages were all measured.
pub(super) fn check_times(plan: &Plan, all_facts: &[Facts], due: Option<&[Nanos]>, results: &RunResults) {
    let times = &results.histograms;
    if plan.counts_replies() {
        let messages: Vec<_> = all_facts.iter().flat_map(|facts| exchanged(plan, facts)).collect();
        let mut service = Span::default();
        for Exchanged { written, group_begun, read } in &messages {
            service.add(read - written, read - group_begun);
        }
        service.check(&times.service_time, "service times");
        if let Some(due) = due.filter(|due| due.len() == messages.len()) {
            let read: Nanos = messages.iter().map(|message| message.read).sum();
            let ceiling = (read - due.iter().sum::<Nanos>()) as f64;
            expect_within(sum(&times.ceiling), [ceiling, ceiling], 2.0 * due.len() as f64, "sum of ceilings");
        }
    }
    if let Some(due) = due {
        check_open_loop(plan, all_facts, due, results);
    }
    check_connects(plan, all_facts, results);
}

/// Each response time is the service time and the time blocked; with the delay of the client it is the ceiling.
fn check_open_loop(plan: &Plan, all_facts: &[Facts], due: &[Nanos], results: &RunResults) {
    let times = &results.histograms;
    let margin = 4.0 * due.len() as f64;
    if plan.counts_replies() {
        let counts = [&times.response_time, &times.service_time, &times.ceiling, &times.floor, &times.client_delay];
        let answered = results.messages.answered;
        assert_eq!(counts.map(Latencies::count), [answered; 5], "times of answered messages");
        let ceiling = sum(&times.response_time) + sum(&times.client_delay);
        expect_within(ceiling, [sum(&times.ceiling); 2], margin, "response times and delays of the client");
        assert!(sum(&times.service_time) <= sum(&times.response_time) * (1.0 + ERROR) + margin, "{times:?}");
        assert!(sum(&times.floor) <= sum(&times.ceiling) * (1.0 + ERROR) + margin, "{times:?}");
    }
    assert_eq!(times.send_delay.count(), results.messages.sent, "send delays");
    let is_sent = |facts: &&Facts| !facts.was_full && facts.sent == facts.answered;
    let sent: Vec<_> = all_facts.iter().filter(is_sent).flat_map(|facts| exchanged(plan, facts)).collect();
    if sent.len() == due.len() {
        let late = (sent.iter().map(|message| message.written).sum::<Nanos>() - due.iter().sum::<Nanos>()) as f64;
        let recorded = sum(&times.send_delay) + sum(&times.blocked);
        // A group of writes counts from its begin.
        assert!(recorded <= late * (1.0 + ERROR) + margin, "{recorded} ns of delays before sending, {late} expected");
    }
    let has_waited = plan.config.pipeline.is_some() || all_facts.iter().any(|facts| facts.was_full);
    let are_all_open = all_facts.len() == plan.config.connections
        && all_facts
            .iter()
            .all(|facts| facts.connected.is_some() && !facts.has_read_wrong && !facts.was_reset && !facts.has_read_end);
    if !has_waited && are_all_open && plan.config.messages_per_connection.is_none() {
        assert_eq!(times.blocked.count(), 0, "blocked although there was room: {times:?}");
    }
}

/// The time to connect counts from the first address.
fn check_connects(plan: &Plan, all_facts: &[Facts], results: &RunResults) {
    let mut connects = Span::default();
    for facts in all_facts {
        if let Some(connected) = facts.connected {
            let at_least = connected - facts.opened;
            let at_most = if plan.has_two_addresses { connected } else { at_least + CONNECT_CALL };
            connects.add(at_least, at_most);
        }
    }
    connects.check(&results.histograms.connect, "connect times");
}
