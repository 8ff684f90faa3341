//! What happens in each handover of a world.

use super::plan::Plan;
use super::{Nanos, SECOND};
use crate::simulated_kernel::Rng;

/// How long an aborted process may take to exit.
const EXIT_GRACE: Nanos = SECOND;

/// One attempt of a handover.
#[derive(Debug)]
pub(super) struct HandoverPlan {
    pub(super) begins: Nanos,
    /// Delay before the thread of the handover starts the new process, and before it reads the answer.
    pub(super) latency: Nanos,
    /// When each worker is ready, after the start of the new process.
    pub(super) ready_after: Vec<Nanos>,
    /// The new process fails before it is ready.
    pub(super) fails_after: Option<Nanos>,
    /// A signal to end arrives at the new process before it is ready.
    pub(super) signalled_after: Option<Nanos>,
    /// How long an aborted process takes to exit.
    pub(super) exits_after: Nanos,
    /// The old process dies.
    pub(super) dies_after: Option<Nanos>,
}

impl HandoverPlan {
    pub(super) fn new(rng: &mut Rng, plan: &Plan) -> Self {
        let timeout = u64::try_from(plan.config.handover_timeout.as_nanos()).unwrap_or(SECOND);
        let longest = rng.pick(&[SECOND / 1000, SECOND / 10, timeout, timeout, 2 * timeout]);
        // Some are in progress when the server is told to end.
        let is_last = rng.one_in(3);
        let begins = rng.below(plan.end_at.min(2 * plan.quiet_at) + 1);
        Self {
            begins: if is_last { plan.end_at.saturating_sub(rng.below(longest)) } else { begins },
            latency: rng.pick(&[1000, SECOND / 1000, SECOND / 20]),
            ready_after: (0..plan.config.workers).map(|_| rng.below(longest)).collect(),
            fails_after: rng.one_in(3).then(|| rng.below(longest)),
            exits_after: rng.below(EXIT_GRACE),
            signalled_after: None,
            dies_after: None,
        }
    }

    pub(super) fn add_signal(&mut self, rng: &mut Rng) {
        let longest = self.ready_after.iter().max().copied().unwrap_or_default();
        self.signalled_after = rng.one_in(3).then(|| rng.below(longest + 1));
    }

    /// Lets the old process die before the new one starts, while that starts, or once it is ready.
    pub(super) fn add_death(&mut self, rng: &mut Rng) {
        let (latency, longest) = (self.latency, self.ready_after.iter().max().copied().unwrap_or_default());
        let [begin, length] =
            rng.pick(&[[0, latency], [latency, longest], [latency, longest], [latency + longest, 3 * latency]]);
        self.dies_after = rng.one_in(2).then(|| begin + rng.below(length + 1));
    }
}
