//! World of the load generator: the real driver over TCP on a simulated kernel, against servers that check what they
//! receive, and answer slowly, wrongly or not at all.
//!
//! A seed determines everything: the configuration, which faults occur, and what the servers do. After each round of the
//! loop, and at the end of the run, the [invariants](invariants) are checked. Once the faults stop, the run must end soon.
//! `scripts/simulate` runs many seeds; `MULTICONN_SEED` repeats one.

mod facts;
mod invariants;
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rates, times and numbers of messages are small"
)]
mod plan;
mod server;
mod stream;
#[allow(clippy::cast_precision_loss, reason = "sums of times are below 2^53 ns")]
mod times;

use crate::client::debt::DebtTracker;
use crate::client::shared::{Message, Shared};
use crate::client::tcp::Tcp;
use crate::client::{ClientHandle, WorkerParts};
use crate::event_loop::{EventLoop, Handler as _, monotonic_time};
use crate::simulated_kernel::tests::seeds::{Worlds, per_minute};
use crate::simulated_kernel::{Kernel, Nanos, Rng, Script, instant, with};
use invariants::Invariants;
use plan::{Ending, Plan};
use server::{Records, Servers};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// More rounds than any world needs.
const MAX_ROUNDS: u64 = 200_000;

/// How long after the end of the faults a run is over that nothing else delays: the longest timeouts, one after another.
const GRACE: Nanos = 60 * SECOND;

const SECOND: Nanos = 1_000_000_000;
const MILLISECOND: Nanos = 1_000_000;

/// What a world did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Outcome {
    rounds: u64,
    calls: u64,
    opened: u64,
    failed: u64,
    sent: u64,
    answered: u64,
    mismatches: u64,
    trace: u64,
}

/// Ends the faults, and the run if the plan says so.
struct Director {
    plan: Rc<Plan>,
    records: Records,
    handle: ClientHandle,
}

impl Script for Director {
    fn run(&mut self, kernel: &mut Kernel, number: usize) {
        let mut world = self.records.borrow_mut();
        if !world.is_quiet && kernel.now >= self.plan.quiet_at {
            world.is_quiet = true;
            kernel.faults.cease();
            // With shorter ones, a closed loop would send far more messages.
            kernel.faults.longest_delay = self.plan.faults.longest_delay;
            kernel.run_all();
        }
        if let Some((end, ending)) = self.plan.end
            && !world.has_ended
            && kernel.now >= end
        {
            world.has_ended = true;
            match ending {
                Ending::Stop => self.handle.stop(),
                Ending::EndLoad => self.handle.workers[0].send(Message::EndLoad(instant(kernel.now))),
            }
        }
        for time in [Some(self.plan.quiet_at), self.plan.end.map(|(end, _)| end)].into_iter().flatten() {
            if time > kernel.now {
                kernel.run_at(time, number);
            }
        }
    }
}

/// Runs the world of `seed`.
fn run(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let plan = Rc::new(Plan::new(&mut rng));
    with(|kernel| {
        kernel.reset(rng, plan.faults.clone());
        kernel.keeps_transfers = true;
    });
    let records = Records::default();
    let event_loop = EventLoop::spinning(Duration::ZERO).expect("the loop is simulated");
    let handle = ClientHandle { workers: vec![event_loop.sender()], stopped: Arc::default() };
    let messages = plan.messages.to_vec();
    let shared = Shared::new(plan.config.clone(), messages, plan.targets(), Vec::new(), handle.clone());
    with(|kernel| {
        let (plan, records) = (Rc::clone(&plan), Rc::clone(&records));
        kernel.add_script(Box::new(Director { plan: Rc::clone(&plan), records: Rc::clone(&records), handle }), 0);
        kernel.set_destination(Box::new(Servers::new(plan, records)));
    });
    let debts = DebtTracker::for_workers(1).next().expect("one for each worker");
    let parts = WorkerParts { event_loop, progress: Arc::default(), publisher: None, debts };
    let (mut event_loop, mut driver) = parts.into_driver::<Tcp<'_>>(&shared, (1, 1), monotonic_time());
    let mut invariants = Invariants::new(Rc::clone(&plan), Rc::clone(&records));
    event_loop.begin(&mut driver);
    let mut rounds = 0;
    while !driver.is_done() {
        event_loop.round(&mut driver).expect("the poll works");
        invariants.check(&driver, event_loop.context());
        rounds += 1;
        assert!(rounds < MAX_ROUNDS, "the world does not end");
    }
    let results = invariants.into_results(driver);
    with(|kernel| Outcome {
        rounds,
        calls: kernel.calls,
        opened: results.connections.opened,
        failed: results.connections.failed,
        sent: results.messages.sent,
        answered: results.messages.answered,
        mismatches: results.mismatches.count,
        trace: kernel.trace,
    })
}

/// The worlds of the client.
const WORLDS: Worlds<Outcome> =
    Worlds { name: "client", found: &FOUND, run, describe: |seed| format!("{:?}", Plan::new(&mut Rng::new(seed))) };

/// Seeds that failed once. 87: a client that expects no replies waited for one. 2006: a message that a late client had assigned
/// was not unsent when its connection was lost. 13019: the beginning of a reply to a message that was sent in part was taken
/// for surplus bytes. 1755574: the check of timeouts did not know that the first byte of a message can wait for room.
const FOUND: [u64; 4] = [87, 2_006, 13_019, 1_755_574];

#[test]
#[allow(clippy::print_stderr, reason = "the number of seeds is part of the result")]
fn worlds_keep_the_invariants() {
    let mut sum = Outcome::default();
    let ran = WORLDS.run_all(|outcome| {
        sum.rounds += outcome.rounds;
        sum.opened += outcome.opened;
        sum.failed += outcome.failed;
        sum.sent += outcome.sent;
        sum.answered += outcome.answered;
        sum.mismatches += outcome.mismatches;
    });
    let Some((count, took)) = ran else { return };
    let Outcome { rounds, opened, failed, sent, answered, mismatches, .. } = sum;
    eprintln!(
        "client: {count} seeds, {opened} connections, {failed} failed, {mismatches} mismatches, {sent} messages, {answered} \
         answered, {rounds} rounds in {took:.1?}: {} seeds per minute",
        per_minute((count, took))
    );
    let is_lively = opened > count && answered > 3 * count && failed > count / 4 && mismatches > count / 40;
    assert!(is_lively, "the worlds are empty");
}

#[test]
fn a_seed_repeats_its_world() {
    WORLDS.check_repetition();
}
