//! Floor and ceiling of each message against the truth, in a model.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers of the model are small"
)]

mod model;

use super::{DebtTracker, MAX_ENTRIES, SendTimes};
use crate::random::random;
use model::{Client, Message, Run, World};

/// Random numbers of one case.
struct Dice {
    seed: u64,
    index: u64,
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.index += 1;
        random(self.seed, self.index)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// True in one of `count` cases.
    fn one_of(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len() as u64) as usize]
    }

    fn exponential(&mut self, mean: u64) -> u64 {
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - fraction).ln() * mean as f64) as u64
    }
}

/// What a random case may contain.
#[allow(clippy::struct_excessive_bools, reason = "they are independent")]
#[derive(Debug, Clone, Copy)]
struct Scope {
    workers: u64,
    pipelines: bool,
    by_connection: bool,
    network_keeps_order: bool,
    down: bool,
}

fn random_world(dice: &mut Dice, scope: Scope) -> World {
    let servers = dice.pick(&[1, 1, 4]);
    let demand = 1 + dice.pick(&[1_000, 8_000, 50_000]);
    let (is_exponential, is_poisson, has_jitter) = (dice.one_of(2), dice.one_of(2), dice.one_of(2));
    let utilisation = 10 + dice.below(111);
    let spacing = demand * 100 / utilisation / servers;
    let connections = dice.pick(&[1, 2, 3, 4, 10]);
    let workers = dice.below(scope.workers) as usize + 1;
    let net = dice.pick(&[0, 5_000, 15_000, 100_000]);
    let pipeline = if scope.pipelines && dice.one_of(2) { 1 + dice.below(4) as usize } else { usize::MAX };
    let has_losses = pipeline == usize::MAX && dice.one_of(8);
    let count = 20 + dice.below(10) + if dice.one_of(50) { 160 } else { 0 };
    let mut due = 1_000;
    let messages = (0..count).map(|number| {
        // Two messages of the same instant have no order.
        due += 1 + if is_poisson { dice.exponential(spacing) } else { spacing };
        let mut way = || net + if has_jitter { dice.below(net) } else { 0 };
        let (forth, back) = (way(), way());
        let demand = if is_exponential { dice.exponential(demand) } else { demand };
        let is_lost = has_losses && dice.one_of(20);
        // Every second one is lost before it reaches the server.
        let demand = if is_lost && dice.one_of(2) { 0 } else { demand };
        Message { due, connection: number as usize % connections, demand, forth, back, is_lost }
    });
    let messages: Vec<_> = messages.collect();
    let span = due - messages[0].due;
    let down = (scope.down && dice.one_of(8)).then(|| {
        let from = 1_000 + dice.below(span);
        (from, from + 1 + dice.below(span / 4 + 1))
    });
    World {
        messages,
        connections,
        workers: workers.min(connections),
        servers: servers as usize,
        network_keeps_order: scope.network_keeps_order,
        pipeline,
        down,
        reply_timeout: 100 * demand + 10 * net,
    }
}

fn random_client(dice: &mut Dice, scope: Scope, world: &World) -> Client {
    let mut wake_delays = vec![0];
    if dice.one_of(2) {
        let longest = dice.pick(&[1_000, 20_000, 100_000]);
        let rare = dice.pick(&[1, 4]);
        wake_delays = (0..16).map(|_| if dice.one_of(rare) { dice.below(longest) } else { 0 }).collect();
    }
    let (first, last) = (world.messages[0].due, world.messages[world.messages.len() - 1].due);
    let span = last - first;
    let stalls = match dice.below(3) {
        0 => Vec::new(),
        1 => {
            let (period, length) = (span / 4 + 2, dice.below(span / 4 + 1));
            (0..4).map(|index| first + index * period).map(|from| (from, from + length)).collect()
        }
        _ => {
            let stalls = (0..3).map(|_| first + dice.below(span + 1));
            stalls.collect::<Vec<_>>().into_iter().map(|from| (from, from + dice.below(span / 3 + 1))).collect()
        }
    };
    Client {
        wake_delays,
        stalls,
        one_worker_stalls: dice.one_of(2),
        turn_cost: dice.pick(&[0, 0, 300, 2_000]),
        turn_budget: dice.pick(&[1, 3, 1_000_000]),
        by_connection: scope.by_connection && dice.one_of(2),
        expires_early: dice.one_of(2),
        max_entries: dice.pick(&[1, 4, 1_000, 1_000]),
    }
}

/// Runs a random case in both worlds, and checks the floor of each message, and its ceiling.
fn check(seed: u64, scope: Scope) {
    let mut dice = Dice { seed, index: 0 };
    let world = random_world(&mut dice, scope);
    let client = random_client(&mut dice, scope, &world);
    let punctual = client.punctual();
    let (actual, truth) = (Run::of(&world, &client), Run::of(&world, &punctual));
    let without_wait = world.messages.iter().filter(|message| !message.is_lost);
    let least = without_wait.map(|message| message.demand + message.forth + message.back).min();
    // The smallest service time may be larger than that of a message that does not wait.
    let excess = actual.largest_base.saturating_sub(least.unwrap_or_default());
    for (number, message) in world.messages.iter().enumerate().filter(|(_, message)| !message.is_lost) {
        let outcome = &actual.outcomes[number];
        let truth = truth.outcomes[number].arrived - message.due;
        let (floor, ceiling) = (outcome.floor(message), outcome.read - message.due);
        let case = || format!("check({seed}, {scope:?}): message {number}, {message:?}, {outcome:?}");
        assert!(floor <= truth + excess * (outcome.chain + 1), "floor {floor} > {truth}: {}", case());
        // A message that was sent before one that was ready earlier has less to wait than for a punctual client.
        assert!(truth <= ceiling || scope.by_connection, "ceiling {ceiling} < {truth}: {}", case());
    }
}

const IN_ORDER: Scope =
    Scope { workers: 1, pipelines: false, by_connection: false, network_keeps_order: true, down: false };

#[test]
fn bounds_hold_if_messages_are_sent_in_the_order_of_the_schedule() {
    (0..30_000).for_each(|seed| check(seed, IN_ORDER));
}

#[test]
fn floors_hold_in_any_order() {
    (0..35_000).for_each(|seed| check(seed, Scope { pipelines: true, by_connection: true, down: true, ..IN_ORDER }));
}

#[test]
fn floors_hold_for_several_workers() {
    let scope = Scope { workers: 3, pipelines: true, by_connection: true, down: true, ..IN_ORDER };
    (0..35_000).for_each(|seed| check(seed, scope));
}

/// Service of 8 µs, one server, as in the examples of docs/methodology.md.
fn example(count: u64, spacing: u64, is_poisson: bool, round_trip: u64) -> World {
    let (mut dice, mut due) = (Dice { seed: 7, index: 0 }, 1_000);
    let messages = (0..count).map(|number| {
        due += if is_poisson { 1 + dice.exponential(spacing) } else { spacing };
        let connection = number as usize % 10;
        Message { due, connection, demand: 8_000, forth: round_trip / 2, back: round_trip / 2, is_lost: false }
    });
    World {
        messages: messages.collect(),
        connections: 10,
        workers: 1,
        servers: 1,
        network_keeps_order: true,
        pipeline: usize::MAX,
        down: None,
        reply_timeout: u64::MAX / 2,
    }
}

/// A client without delays.
fn punctual() -> Client {
    Client {
        wake_delays: vec![0],
        stalls: Vec::new(),
        one_worker_stalls: false,
        turn_cost: 0,
        turn_budget: usize::MAX,
        by_connection: false,
        expires_early: false,
        max_entries: 1_000,
    }
}

/// p50, p90 and p99, in units of 0.1 µs.
fn percentiles(world: &World, time: impl Fn(usize, &Message) -> u64) -> [u64; 3] {
    let mut times: Vec<_> = world.messages.iter().enumerate().map(|(number, message)| time(number, message)).collect();
    times.sort_unstable();
    [50, 90, 99].map(|percent| times[times.len() * percent / 100] / 100)
}

/// The server is busy for 60 % of the time, and the client stalls 300 µs every 10 ms.
#[test]
fn floor_of_a_stalling_client_is_close_to_the_truth() {
    let world = example(30_000, 13_333, true, 0);
    let stalls = (0..40).map(|index| index * 10_000_000 + 5_000_000).map(|from| (from, from + 300_000)).collect();
    let (client, punctual) = (Client { stalls, ..punctual() }, punctual());
    let (actual, truth) = (Run::of(&world, &client).outcomes, Run::of(&world, &punctual).outcomes);
    let truth = percentiles(&world, |number, message| truth[number].arrived - message.due);
    let ceiling = percentiles(&world, |number, message| actual[number].read - message.due);
    let response_time = percentiles(&world, |number, _| actual[number].arrived - actual[number].sent);
    let floor = percentiles(&world, |number, message| actual[number].floor(message));
    assert_eq!((truth, ceiling), ([110, 253, 466], [121, 364, 2777]));
    assert_eq!((floor, response_time), ([100, 245, 462], [120, 346, 1806]));
}

/// The client is up to 30 µs late with each message, and nothing else is in flight.
#[test]
fn floor_of_a_message_sent_alone_is_its_response_time() {
    let world = example(2_000, 100_000, false, 30_000);
    let client = Client { wake_delays: vec![30_000, 1_000, 17_000], ..punctual() };
    let outcomes = Run::of(&world, &client).outcomes;
    for (outcome, message) in outcomes.iter().zip(&world.messages) {
        let response_time = outcome.ready - message.due + outcome.arrived - outcome.sent;
        assert_eq!((outcome.floor(message), response_time), (38_000, 38_000), "{outcome:?}");
    }
}

/// At 50,000 messages per second something is always in flight.
#[test]
fn debts_of_a_stall_end_with_its_queue() {
    let world = example(2_000, 20_000, false, 30_000);
    let from = 20_000_000;
    let client = Client { stalls: vec![(from, from + 300_000)], ..punctual() };
    let outcomes = Run::of(&world, &client).outcomes;
    let last = outcomes.iter().rposition(|outcome| outcome.debt > 0).expect("messages were late");
    let is_quiet =
        |outcome: &&model::Outcome| outcome.sent > from + 300_000 && outcome.arrived - outcome.sent == 38_000;
    let first_quiet = outcomes.iter().find(is_quiet).expect("the queue ends");
    assert!(outcomes[last].sent < first_quiet.sent, "{:?}, {first_quiet:?}", outcomes[last]);
    assert!(outcomes[last].sent < from + 600_000, "{:?}", outcomes[last]);
}

#[test]
fn memory_is_bounded_while_a_message_stays_unanswered() {
    let mut tracker = DebtTracker::default();
    let times = |sent, send_delay| SendTimes { sent, send_delay, blocked: 0 };
    let stuck = tracker.sent(times(0, 0), 0, 1);
    for number in 1..100_000 {
        // Each one is less late than all before.
        let (sent, send_delay) = (number * 1_000_000, 200_000 - number);
        let batch = tracker.sent(times(sent, send_delay), 0, 1);
        assert!(tracker.answered(batch, times(sent, send_delay), sent + 8_000, true) >= send_delay);
    }
    assert!(tracker.batches.len() <= MAX_ENTRIES && tracker.debts.entries.len() <= MAX_ENTRIES);
    tracker.forget(stuck, 1);
    assert_eq!((tracker.batches.len(), tracker.debts.entries.len()), (0, 0));
}
