//! The search against simulated servers, of which the highest rate is known.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of messages and seconds"
)]

mod servers;

use super::{Search, SearchPlan, Step};
use crate::results::{FindMax, Purpose, RateVerdict, SearchEnd, SliceVerdict};
use servers::{Drifting, HardLimit, Hysteresis, LimitingClient, MM1, Random, Server, Stalling};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Time from the start of a run until its connections are open, and from the end of a slice until it is complete.
const CONNECTING: Duration = Duration::from_millis(20);
const LAG: Duration = Duration::from_millis(110);

/// Share that may exceed the limit, the limit in seconds, and the share of a capacity that a search must find.
const ALLOWED: f64 = 0.01;
const LIMIT: f64 = 1e-3;
const PRECISE: RangeInclusive<f64> = 0.98..=1.01;
const NOISY: RangeInclusive<f64> = 0.95..=1.01;

fn plan() -> SearchPlan {
    SearchPlan {
        allowed: vec![ALLOWED],
        limit: Duration::from_secs_f64(LIMIT),
        from: 1000.0,
        to: 100e6,
        width: 0.02,
        budget: Duration::from_secs(300),
        warm_up: Duration::ZERO,
        confirmation: Duration::from_secs(30),
    }
}

/// Runs a search against `server`.
fn search(plan: &SearchPlan, server: &mut dyn Server) -> FindMax {
    let (mut search, mut step) = Search::begin(plan.clone());
    let (mut at, mut seconds) = (Duration::ZERO, 0);
    loop {
        match step {
            Step::Measure(measurement) => {
                server.pause(measurement.pause.as_secs_f64());
                server.load(measurement.rate, measurement.settle.as_secs_f64());
                at += measurement.pause + CONNECTING + measurement.settle;
                seconds = 0;
            }
            // The next slice began before the last one was complete.
            Step::Continue => at -= LAG,
            Step::Done => return search.into_results(at, None),
        }
        let purpose = search.current.purpose;
        let slice = search.slice_seconds();
        let counts = server.slice(search.current.rate, slice);
        seconds += slice;
        at += Duration::from_secs(slice) + LAG;
        step = search.observe(at, counts);
        if purpose == Purpose::Confirm && step == Step::Continue && seconds >= plan.confirmation.as_secs() {
            step = search.run_ended(at);
        }
    }
}

/// A capacity of some ten thousand messages per second, different for each seed.
fn capacity(seed: u64) -> f64 {
    20_000.0 * 10_f64.powf(Random::new(!seed).next())
}

/// Outcomes of many searches, as shares of the true rates.
struct Outcomes {
    ratios: Vec<f64>,
    seconds: Vec<f64>,
    confirmed: usize,
    /// Number of results that hold in another fresh run of the same length.
    hold_again: usize,
}

/// Searches `count` times. `server` returns the server of a seed, and its highest rate.
fn searches<S: Server>(count: usize, plan: &SearchPlan, server: impl Fn(u64) -> (S, f64)) -> Outcomes {
    let mut outcomes = Outcomes { ratios: Vec::new(), seconds: Vec::new(), confirmed: 0, hold_again: 0 };
    for seed in 0..count as u64 {
        let (mut server, truth) = server(seed);
        let found = search(plan, &mut server);
        assert!(found.search_s <= found.budget_s, "seed {seed}: {found:?}");
        let holds = found.holds.unwrap_or_default();
        server.pause(1.0);
        server.load(holds.max(1.0), 1.0);
        outcomes.hold_again += usize::from(server.load(holds.max(1.0), 30.0).0 <= ALLOWED);
        outcomes.confirmed += usize::from(found.confirmed);
        outcomes.ratios.push(holds / truth);
        outcomes.seconds.push(found.search_s);
    }
    outcomes
}

impl Outcomes {
    fn share_within(&self, range: &RangeInclusive<f64>) -> f64 {
        self.ratios.iter().filter(|ratio| range.contains(ratio)).count() as f64 / self.ratios.len() as f64
    }

    /// A row of the table in docs/methodology.md.
    fn row(&self, name: &str, range: &RangeInclusive<f64>) -> String {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        let at = |values: &[f64], share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        let (ratios, seconds) = (sorted(&self.ratios), sorted(&self.seconds));
        let percent = |number: usize| number as f64 * 100.0 / ratios.len() as f64;
        format!(
            "| {name} | {:.3} to {:.3} | {:.1} % in {:.2} to {:.2} | {:.1} % | {:.1} % | {:.0} s, at most {:.0} s |",
            at(&ratios, 0.05),
            at(&ratios, 0.95),
            self.share_within(range) * 100.0,
            range.start(),
            range.end(),
            percent(self.confirmed),
            percent(self.hold_again),
            at(&seconds, 0.5),
            at(&seconds, 1.0),
        )
    }
}

fn hard_limit(seed: u64) -> (HardLimit, f64) {
    (HardLimit::new(capacity(seed), LIMIT), capacity(seed))
}

fn stalling(stall: f64) -> impl Fn(u64) -> (Stalling, f64) {
    move |seed| {
        let truth = Stalling::truth(capacity(seed), LIMIT, stall, ALLOWED);
        (Stalling::new(capacity(seed), LIMIT, stall, seed), truth)
    }
}

/// Bisects with one trial of five seconds per rate: what most tools and scripts do.
fn bisect(server: &mut dyn Server, (mut lower, mut upper): (f64, f64)) -> f64 {
    while upper / lower > 1.02 {
        let rate = (lower * upper).sqrt();
        server.pause(1.0);
        server.load(rate, 1.0);
        *(if server.load(rate, 5.0).0 <= ALLOWED { &mut lower } else { &mut upper }) = rate;
    }
    lower
}

#[test]
fn a_hard_limit_is_found() {
    let found = searches(300, &plan(), hard_limit);
    assert_eq!(found.confirmed, 300);
    assert!(found.share_within(&PRECISE) > 0.999, "{}", found.row("hard limit", &PRECISE));
}

#[test]
fn a_queue_is_found() {
    let limit = 10e-3;
    let plan = SearchPlan { limit: Duration::from_secs_f64(limit), ..plan() };
    let found = searches(3, &plan, |seed| (MM1::new(10_000.0, limit, seed), MM1::truth(10_000.0, limit, ALLOWED)));
    assert!(found.share_within(&(0.95..=1.01)) > 0.999, "{}", found.row("M/M/1", &PRECISE));
}

#[test]
fn stalls_are_averaged() {
    let found = searches(300, &plan(), stalling(3e-3));
    assert!(found.share_within(&NOISY) >= 0.9, "{}", found.row("stalls", &NOISY));
    // Where so few seconds say little, the search still ends in time, and what it reports has held once.
    let found = searches(300, &plan(), stalling(50e-3));
    assert!(found.confirmed > 150, "{}", found.row("long stalls", &NOISY));
}

#[test]
fn a_capacity_that_drifts_ends_the_search_too() {
    for drift in [-1e-3, -1e-4, 1e-4, 1e-3] {
        let found = searches(100, &plan(), |seed| (Drifting::new(capacity(seed), LIMIT, drift), capacity(seed)));
        assert!(found.confirmed >= if drift < -5e-4 { 0 } else { 95 }, "{}", found.row("drift", &NOISY));
    }
}

#[test]
fn a_server_that_does_not_recover_is_named() {
    let mut server = Hysteresis::new(100_000.0, LIMIT, f64::INFINITY);
    let found = search(&plan(), &mut server);
    let ratio = found.holds.unwrap_or_default() / (100_000.0 * Hysteresis::DEGRADED);
    assert!(found.confirmed && PRECISE.contains(&ratio), "{found:?}");
    // It needs a pause of three seconds.
    let mut server = Hysteresis::new(100_000.0, LIMIT, 3.0);
    let found = search(&plan(), &mut server);
    assert!(found.confirmed && found.holds < Some(100_000.0), "{found:?}");
}

#[test]
fn a_limiting_client_never_bounds_the_server() {
    for (max_rate, late_rate) in [(0.8, f64::INFINITY), (0.9, 0.7), (0.8, 0.7)] {
        let limits: f64 = f64::min(max_rate, late_rate);
        let found = searches(100, &plan(), |seed| {
            let (server, capacity) = hard_limit(seed);
            let (max_rate, late_rate) = (capacity * max_rate, capacity * late_rate);
            (LimitingClient { server, max_rate, late_rate }, capacity * limits)
        });
        assert_eq!(found.confirmed, 100);
        // It may miss one percent of the schedule.
        assert!(found.share_within(&(0.98..=1.02)) > 0.999, "{}", found.row("client", &PRECISE));
        let (server, capacity) = hard_limit(1);
        let mut server = LimitingClient { server, max_rate: capacity * max_rate, late_rate: capacity * late_rate };
        let found = search(&plan(), &mut server);
        assert_eq!((found.end, found.fails), (SearchEnd::Client, None), "{found:?}");
        assert!(found.rates.iter().all(|rate| rate.count(SliceVerdict::Bad) == 0));
        assert!(found.rates.iter().all(|rate| rate.verdict != RateVerdict::Bad));
    }
}

#[test]
fn nothing_holds_on_a_server_that_is_too_slow() {
    let found = search(&plan(), &mut HardLimit::new(900.0, LIMIT));
    assert_eq!((found.end, found.holds, found.confirmed), (SearchEnd::NothingHolds, None, false));
    assert_eq!(found.fails, Some(1000.0));
}

#[test]
fn the_highest_rate_allowed_ends_the_search() {
    let plan = SearchPlan { to: 30_000.0, ..plan() };
    let found = search(&plan, &mut HardLimit::new(100_000.0, LIMIT));
    assert_eq!((found.end, found.holds, found.fails), (SearchEnd::UpperBound, Some(30_000.0), None));
    assert!(found.confirmed);
    // Both bounds may be the same.
    let plan = SearchPlan { from: 30_000.0, ..plan };
    let found = search(&plan, &mut HardLimit::new(100_000.0, LIMIT));
    assert_eq!((found.end, found.holds), (SearchEnd::UpperBound, Some(30_000.0)));
}

#[test]
fn the_budget_is_kept() {
    let shortest = plan().min_budget();
    for seconds in (shortest.as_secs() + 1..300).step_by(7) {
        let plan = SearchPlan { budget: Duration::from_secs(seconds), ..plan() };
        let found = searches(5, &plan, hard_limit);
        assert_eq!(found.confirmed, 5, "{seconds} s of at least {shortest:?}");
        let found = searches(5, &plan, stalling(10e-3));
        assert!(found.seconds.iter().all(|took| *took <= seconds as f64));
    }
    let plan = SearchPlan { budget: Duration::from_secs(100), ..plan() };
    assert_eq!(search(&plan, &mut hard_limit(0).0).end, SearchEnd::Budget);
}

#[test]
fn a_highest_rate_that_is_not_confirmed_is_narrowed() {
    let plan = SearchPlan { from: 30_000.0, to: 60_000.0, ..plan() };
    // It falls below the highest rate while that is confirmed.
    let found = search(&plan, &mut Drifting::new(63_000.0, LIMIT, -2e-3));
    assert!(found.rates.iter().any(|rate| rate.purpose == Purpose::Middle), "{found:?}");
    assert!(found.holds.is_none_or(|holds| holds < 60_000.0), "{found:?}");
}

/// A long limit takes time to be exceeded: one second of delay takes 50 s at 2 % above the capacity.
#[test]
fn a_rate_just_above_the_capacity_is_noticed_in_spite_of_a_long_limit() {
    let limit = 1.0;
    let budget = Duration::from_secs(1800);
    let plan = SearchPlan { limit: Duration::from_secs_f64(limit), budget, ..plan() };
    let found = searches(20, &plan, |seed| (HardLimit::new(capacity(seed), limit), capacity(seed)));
    assert!(found.share_within(&PRECISE) > 0.999, "{}", found.row("long limit", &PRECISE));
}

#[test]
fn every_expression_has_to_hold() {
    struct Two(HardLimit);
    impl Server for Two {
        fn pause(&mut self, seconds: f64) {
            self.0.pause(seconds);
        }
        fn load(&mut self, rate: f64, seconds: f64) -> (f64, f64) {
            self.0.load(rate, seconds)
        }
        fn slice(&mut self, rate: f64, seconds: u64) -> crate::results::SliceCounts {
            let mut counts = self.0.slice(rate, seconds);
            // A tenth of the messages is slow from half of the capacity on.
            let second = if rate > self.0.capacity / 2.0 { counts.due / 10 } else { 0 };
            counts.over.push(second);
            counts.over_floor.push(second);
            counts
        }
    }
    let plan = SearchPlan { allowed: vec![ALLOWED, 0.05], ..plan() };
    let found = searches(20, &plan, |seed| (Two(hard_limit(seed).0), capacity(seed) / 2.0));
    assert!(found.share_within(&PRECISE) > 0.999, "{}", found.row("two", &PRECISE));
}

/// The table of docs/methodology.md has 1,000 searches per server, one of them message by message. In a release build they
/// take a few minutes: `SEARCHES=1000 cargo test --release --lib simulated_servers -- --nocapture`.
#[test]
#[allow(clippy::print_stdout, reason = "a table")]
fn simulated_servers() {
    let count = std::env::var("SEARCHES").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    let plan = plan();
    let mut failures = Vec::new();
    let mut show = |name: &str, outcomes: &Outcomes, range: &RangeInclusive<f64>, required: f64| {
        let row = outcomes.row(name, range);
        println!("{row}");
        if outcomes.share_within(range) < required {
            failures.push(row);
        }
    };
    show("hard limit", &searches(count, &plan, hard_limit), &PRECISE, 0.9);
    let mm1 = SearchPlan { limit: Duration::from_millis(2), ..plan.clone() };
    let queue = |seed| (MM1::new(50_000.0, 2e-3, seed), MM1::truth(50_000.0, 2e-3, ALLOWED));
    // Each search takes ten million messages.
    let of_messages = if count < 100 { 1 } else { count };
    show("M/M/1, 50 k/s, p99<2ms", &searches(of_messages, &mm1, queue), &PRECISE, 0.9);
    for (stall, required) in [(2, 0.9), (3, 0.9), (5, if count < 100 { 0.7 } else { 0.9 }), (10, 0.0), (20, 0.0)] {
        let outcomes = searches(count, &plan, stalling(f64::from(stall) / 1e3));
        show(&format!("stalls of {stall} ms"), &outcomes, &NOISY, required);
    }
    let drifting = |seed| (Drifting::new(capacity(seed), LIMIT, -1e-4), capacity(seed));
    show("drift of -1 % in 100 s", &searches(count, &plan, drifting), &NOISY, 0.9);
    let hysteresis =
        |seed| (Hysteresis::new(capacity(seed), LIMIT, f64::INFINITY), capacity(seed) * Hysteresis::DEGRADED);
    show("no recovery: -20 %", &searches(count, &plan, hysteresis), &PRECISE, 0.9);
    let client = |seed| {
        let (server, capacity) = hard_limit(seed);
        (LimitingClient { server, max_rate: capacity * 0.8, late_rate: f64::INFINITY }, capacity * 0.8)
    };
    show("client at 80 %", &searches(count, &plan, client), &PRECISE, 0.9);
    for stall in [3, 5, 10] {
        let (mut near, mut again) = (0, 0);
        for seed in 0..count as u64 {
            let (mut server, truth) = stalling(f64::from(stall) / 1e3)(seed);
            let rate = bisect(&mut server, (1000.0, 1e6));
            near += usize::from((rate / truth - 1.0).abs() <= 0.02);
            server.pause(1.0);
            server.load(rate, 1.0);
            again += usize::from(server.load(rate, 30.0).0 <= ALLOWED);
        }
        let percent = |number: usize| number as f64 * 100.0 / count as f64;
        println!(
            "bisection, stalls of {stall} ms: {:.1} % within 2 %, {:.1} % hold again",
            percent(near),
            percent(again)
        );
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
