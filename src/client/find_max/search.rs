//! Search for the highest rate that holds, as a state machine: slices in, steps out. It has no clock and does no I/O; the
//! time since the start of the search comes with each slice.
//!
//! The search climbs in steps of two, then narrows the bounds in three passes. The passes differ in the number of slices
//! per rate, in the distance of the bounds at which they end, and in the rule that makes a verdict of slices. Bounds are
//! soft: noise may have misled the pass before, so each pass measures the lower bound again, and the last pass both.

use super::statistics::{PooledShare, is_rising};
use crate::results::{FindMax, JudgedSlice, MeasuredRate, Purpose, RateVerdict, SearchEnd, SliceCounts, SliceVerdict};
use std::time::Duration;

/// Messages per slice that are expected to exceed the limit at the highest rate: fewer would show little.
const MIN_OVER: f64 = 100.0;

/// Share of the messages due that the client may miss in a slice.
const MAX_MISSED: f64 = 0.01;

/// Factor between the rates of the climb.
const CLIMB: f64 = 2.0;

/// Passes: slices per rate, distance of the bounds in multiples of the requested width, and rule.
const PASSES: [Pass; 3] = [
    Pass { slices: 3, widths: 8.0, rule: Rule::Majority },
    Pass { slices: 5, widths: 2.0, rule: Rule::Majority },
    Pass { slices: 21, widths: 0.5, rule: Rule::Pooled },
];

/// Number of times the lower bound moves down after a confirmation that failed.
const MAX_FALLBACKS: u32 = 3;

/// Medians of the warm-up that differ by less than this share are steady, and the most slices it takes.
const EXTENSION: usize = 2;
const STEADY: f64 = 0.1;
const MAX_WARM_UP: usize = 10;

/// Minimum messages per slice of the warm-up, of which only the median counts.
const WARM_UP_MESSAGES: f64 = 100.0;

/// Minimum rise of the median within a run that shows overload, as a share of the limit.
const MIN_RISE_OF_LIMIT: f64 = 0.1;

/// Minimum pause between rates; also that many times the limit. In it a server ends what it had begun.
const MIN_PAUSE: Duration = Duration::from_millis(200);
const PAUSE_LIMITS: u32 = 10;

/// Pause before the last good rate is tried again, if it failed right after an overload.
const RECOVERY_PAUSE: Duration = Duration::from_secs(5);

/// Minimum time at each rate before the first slice.
const MIN_SETTLE: Duration = Duration::from_secs(1);

/// Time that a run takes besides its slices, at most in general: connecting, and waiting until a slice is complete.
const OVERHEAD: Duration = Duration::from_secs(1);

/// Allowed error of a distance between rates that were rounded.
const ROUNDING: f64 = 1.001;

/// What to search for, and within which bounds.
#[derive(Debug, Clone)]
pub(super) struct SearchPlan {
    /// Of each expression, the share of messages that may exceed its limit.
    pub(super) allowed: Vec<f64>,
    /// The longest limit of all expressions.
    pub(super) limit: Duration,
    /// Lowest and highest rate, in messages per second.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Distance between a rate that holds and one that fails, as a share.
    pub(super) width: f64,
    /// Maximum time, with the confirmation.
    pub(super) budget: Duration,
    /// Minimum time at a rate before its first slice.
    pub(super) warm_up: Duration,
    /// Duration of the confirmation.
    pub(super) confirmation: Duration,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// End the current run, and begin one with this measurement.
    Measure(Measurement),
    /// Continue the current run; its next slice may have another length.
    Continue,
    /// The search is over.
    Done,
}

/// A run at one rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measurement {
    pub(super) rate: f64,
    pub(super) purpose: Purpose,
    /// Time before it begins, in which nothing is sent.
    pub(super) pause: Duration,
    /// Time at the rate before the first slice.
    pub(super) settle: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Pass {
    slices: usize,
    widths: f64,
    rule: Rule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// More than half of the slices.
    Majority,
    /// The share over all slices, with its error.
    Pooled,
}

/// A rate that does not hold, and why.
#[derive(Debug, Clone, Copy)]
struct UpperBound {
    rate: f64,
    verdict: RateVerdict,
}

/// What the search does after a verdict.
enum Next {
    Measure(Purpose, f64),
    Confirm(SearchEnd),
    End(SearchEnd),
}

/// The state of a search.
#[derive(Debug)]
pub(super) struct Search {
    plan: SearchPlan,
    lower: Option<f64>,
    upper: Option<UpperBound>,
    /// Index in [`PASSES`]; none during the climb.
    pass: Option<usize>,
    /// Whether the bounds were measured in this pass.
    is_lower_checked: bool,
    is_upper_checked: bool,
    /// Number of moves of a bound in the same direction: each is twice as far as the one before.
    moves: u32,
    current: Measurement,
    /// Medians of the slices before the first verdict; none once they are steady.
    warm_up: Option<Vec<u64>>,
    /// End of the last overload, until a rate holds again.
    overloaded: Option<Duration>,
    has_retried: bool,
    recovered: Option<Duration>,
    fallbacks: u32,
    end: SearchEnd,
    rates: Vec<MeasuredRate>,
}

impl SearchPlan {
    /// Length of a slice at `rate`, in seconds.
    pub(super) fn slice_seconds(&self, rate: f64) -> u64 {
        let allowed = self.allowed.iter().copied().fold(1.0, f64::min);
        whole_seconds(MIN_OVER / allowed / rate)
    }

    /// Time that the shortest search takes: the lowest rate holds, and is confirmed.
    pub(super) fn min_budget(&self) -> Duration {
        let warm_up = whole_seconds(WARM_UP_MESSAGES / self.from) * 2;
        let slices = self.slice_seconds(self.from) * 2;
        let first = Duration::from_secs(warm_up.saturating_add(slices)).saturating_add(OVERHEAD);
        first.saturating_add(self.settle(1.0 / self.width)).saturating_add(self.confirmation_time())
    }

    /// Time that a confirmation takes with everything around it.
    fn confirmation_time(&self) -> Duration {
        let parts = [self.settle(1.0), self.confirmation, OVERHEAD];
        parts.into_iter().fold(self.pause(), Duration::saturating_add)
    }

    fn pause(&self) -> Duration {
        MIN_PAUSE.max(self.limit.saturating_mul(PAUSE_LIMITS))
    }

    /// Time at a rate before the first slice, in a pass that ends at `widths` times the width. A rate above the
    /// capacity by a share adds that share of a second per second to the response time, so the limit is exceeded only after
    /// this time.
    pub(super) fn settle(&self, widths: f64) -> Duration {
        let until_visible = self.limit.as_secs_f64() / (self.width * widths);
        let until_visible = Duration::try_from_secs_f64(until_visible).unwrap_or(Duration::MAX);
        MIN_SETTLE.max(self.warm_up).max(until_visible)
    }

    fn judge(&self, counts: &SliceCounts) -> SliceVerdict {
        if exceeds(counts.missed, MAX_MISSED, counts.due) {
            return SliceVerdict::Client;
        }
        let is_over =
            |over: &[u64]| over.iter().zip(&self.allowed).any(|(over, allowed)| exceeds(*over, *allowed, counts.due));
        match (is_over(&counts.over), is_over(&counts.over_floor)) {
            (_, true) => SliceVerdict::Bad,
            (true, false) => SliceVerdict::Client,
            (false, false) => SliceVerdict::Good,
        }
    }
}

impl Search {
    /// Begins a search: its first step.
    pub(super) fn begin(plan: SearchPlan) -> (Self, Step) {
        let current = Measurement {
            rate: plan.from,
            purpose: Purpose::Climb,
            pause: Duration::ZERO,
            settle: plan.settle(1.0 / plan.width),
        };
        let search = Self {
            lower: None,
            upper: None,
            pass: None,
            is_lower_checked: false,
            is_upper_checked: false,
            moves: 0,
            current,
            warm_up: Some(Vec::new()),
            overloaded: None,
            has_retried: false,
            recovered: None,
            fallbacks: 0,
            end: SearchEnd::Width,
            rates: vec![MeasuredRate::new(plan.from, Purpose::Climb, 0.0)],
            plan,
        };
        (search, Step::Measure(current))
    }

    /// Length of the next slice, in seconds.
    pub(super) fn slice_seconds(&self) -> u64 {
        if self.warm_up.is_some() {
            whole_seconds(WARM_UP_MESSAGES / self.current.rate)
        } else if self.current.purpose == Purpose::Confirm {
            // Only the sum counts.
            1
        } else {
            self.plan.slice_seconds(self.current.rate)
        }
    }

    /// The rates measured so far; the last one is being measured.
    pub(super) fn rates(&self) -> &[MeasuredRate] {
        &self.rates
    }

    pub(super) fn rates_mut(&mut self) -> &mut [MeasuredRate] {
        &mut self.rates
    }

    /// The highest rate that holds and the lowest that does not, so far.
    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        (self.lower, self.upper.map(|upper| upper.rate))
    }

    /// Takes a slice, complete `at` this time since the start of the search.
    pub(super) fn observe(&mut self, at: Duration, counts: SliceCounts) -> Step {
        if let Some(medians) = &mut self.warm_up {
            let before = medians.last().copied();
            medians.push(counts.median_ns);
            let is_over = medians.len() >= MAX_WARM_UP;
            if is_over || before.is_some_and(|before| is_steady(before, counts.median_ns)) {
                self.warm_up = None;
            }
            return self.continue_at(at);
        }
        let verdict = self.plan.judge(&counts);
        let slices = &mut self.rates.last_mut().expect("a rate is being measured").slices;
        slices.push(JudgedSlice::new(verdict, counts));
        if verdict == SliceVerdict::Good {
            self.note_recovery();
        }
        if self.current.purpose == Purpose::Confirm {
            return if self.can_be_confirmed() { Step::Continue } else { self.conclude(at, RateVerdict::Bad) };
        }
        match self.verdict() {
            Some(verdict) => self.conclude(at, verdict),
            None => self.continue_at(at),
        }
    }

    /// Continues the run, if its next slice fits into the budget.
    fn continue_at(&mut self, at: Duration) -> Step {
        let next = Duration::from_secs(self.slice_seconds());
        if self.is_out_of_time(at.saturating_add(next)) { self.out_of_time(at) } else { Step::Continue }
    }

    /// Nothing happened until `at`. Ends the run if only the time for the confirmation is left.
    pub(super) fn wait(&mut self, at: Duration) -> Step {
        let is_confirmation = self.current.purpose == Purpose::Confirm;
        match is_confirmation {
            true if at >= self.plan.budget => self.run_ended(at),
            false if self.is_out_of_time(at) => self.out_of_time(at),
            _ => Step::Continue,
        }
    }

    /// The run has ended by itself `at` this time: the confirmation is complete, or no connection is left.
    pub(super) fn run_ended(&mut self, at: Duration) -> Step {
        self.warm_up = None;
        let is_confirmation = self.current.purpose == Purpose::Confirm;
        let verdict = if is_confirmation { self.confirmation_verdict() } else { RateVerdict::Bad };
        self.conclude(at, verdict)
    }

    /// The outcome, after `at`. `end` overrides the reason, if the search did not end by itself.
    pub(super) fn into_results(self, at: Duration, end: Option<SearchEnd>) -> FindMax {
        let last = self.measured();
        let typical = self.rates.iter().filter(|rate| rate.count(SliceVerdict::Good) * 2 > rate.slices.len());
        let is_server = |upper: &UpperBound| upper.verdict != RateVerdict::Client;
        FindMax {
            end: end.unwrap_or(self.end),
            holds: self.lower,
            confirmed: last.purpose == Purpose::Confirm && last.verdict == RateVerdict::Good,
            fails: self.upper.filter(is_server).map(|upper| upper.rate),
            typical: typical.map(|rate| rate.rate).reduce(f64::max),
            recovered_s: self.recovered.filter(|_| self.overloaded.is_none()).map(|time| time.as_secs_f64()),
            width: self.plan.width,
            budget_s: self.plan.budget.as_secs_f64(),
            search_s: at.as_secs_f64(),
            rates: self.rates,
            ..FindMax::default()
        }
    }

    fn measured(&self) -> &MeasuredRate {
        self.rates.last().expect("a rate is being measured")
    }

    fn current_pass(&self) -> Pass {
        PASSES[self.pass.unwrap_or_default()]
    }

    /// The verdict on the current rate, once further slices cannot change it.
    fn verdict(&self) -> Option<RateVerdict> {
        match self.current_pass().rule {
            Rule::Majority => self.majority(),
            Rule::Pooled => self.pooled(),
        }
    }

    /// Half of the slices decide. Those in which the client was the limit count for neither side.
    fn majority(&self) -> Option<RateVerdict> {
        let (measured, slices) = (self.measured(), self.current_pass().slices);
        let [good, bad, client] =
            [SliceVerdict::Good, SliceVerdict::Bad, SliceVerdict::Client].map(|verdict| measured.count(verdict));
        let rest = slices.saturating_sub(good + bad + client);
        match () {
            () if bad * 2 > slices => Some(RateVerdict::Bad),
            () if client * 2 > slices => Some(RateVerdict::Client),
            () if good * 2 > slices => Some(self.unless_rising()),
            () if rest > 0 => None,
            () if good > bad => Some(self.unless_rising()),
            () if bad > good => Some(RateVerdict::Bad),
            () => Some(RateVerdict::Client),
        }
    }

    /// The share over all slices decides, with its error. Slices in which the client was the limit are left out. A rate
    /// fails early if it would with nothing over the limit in the rest.
    fn pooled(&self) -> Option<RateVerdict> {
        let (measured, wanted) = (self.measured(), self.current_pass().slices);
        if measured.count(SliceVerdict::Client) * 2 > wanted {
            return Some(RateVerdict::Client);
        }
        match self.pooled_of(wanted) {
            Some(RateVerdict::Undecided) => self.pooled_of(wanted * EXTENSION),
            verdict => verdict,
        }
    }

    fn pooled_of(&self, wanted: usize) -> Option<RateVerdict> {
        let measured = self.measured();
        let rest = wanted.saturating_sub(measured.slices.len());
        let usable: Vec<_> = measured.slices.iter().filter(|slice| slice.verdict != SliceVerdict::Client).collect();
        let due = usable.last().map_or(1, |slice| slice.counts.due);
        let share = |over: fn(&SliceCounts) -> &[u64], index: usize| {
            let counted = usable.iter().map(|slice| (over(&slice.counts)[index], slice.counts.due));
            PooledShare::of(&counted.chain(std::iter::repeat_n((0, due), rest)).collect::<Vec<_>>())
        };
        let verdict = |(index, allowed): (usize, &f64)| {
            let response = share(|counts| &counts.over, index);
            if response.upper() <= *allowed {
                RateVerdict::Good
            } else if share(|counts| &counts.over_floor, index).upper() <= *allowed {
                RateVerdict::Client
            } else if response.mean > *allowed {
                RateVerdict::Bad
            } else {
                RateVerdict::Undecided
            }
        };
        let verdicts: Vec<_> = self.plan.allowed.iter().enumerate().map(verdict).collect();
        let worst = [RateVerdict::Bad, RateVerdict::Undecided, RateVerdict::Client];
        let worst = worst.into_iter().find(|verdict| verdicts.contains(verdict));
        match worst {
            None | Some(RateVerdict::Client) if rest > 0 => None,
            None => Some(self.unless_rising()),
            worst => worst,
        }
    }

    /// A median that rises within a run shows a queue that grows: overload, even if the limit is not reached yet. A rise that
    /// is small beside the limit may have any cause.
    fn unless_rising(&self) -> RateVerdict {
        let medians: Vec<_> = self.measured().slices.iter().map(|slice| slice.counts.median_ns).collect();
        if is_rising(&medians, self.plan.limit.as_secs_f64() * 1e9 * MIN_RISE_OF_LIMIT) {
            RateVerdict::Bad
        } else {
            RateVerdict::Good
        }
    }

    /// Whether the rest of the confirmation can still make it hold.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
    fn can_be_confirmed(&self) -> bool {
        let expected = (self.current.rate * self.plan.confirmation.as_secs_f64() * ROUNDING) as u64;
        let sum = |index: usize| self.measured().slices.iter().map(|slice| slice.counts.over_floor[index]).sum();
        self.plan.allowed.iter().enumerate().all(|(index, allowed)| !exceeds(sum(index), *allowed, expected))
    }

    /// The confirmation is one large slice. It has no error bounds: its percentiles are reported, and must hold.
    fn confirmation_verdict(&self) -> RateVerdict {
        let mut all = SliceCounts {
            over: vec![0; self.plan.allowed.len()],
            over_floor: vec![0; self.plan.allowed.len()],
            ..SliceCounts::default()
        };
        for JudgedSlice { counts, .. } in &self.measured().slices {
            all.due += counts.due;
            all.missed += counts.missed;
            let add =
                |sums: &mut [u64], counts: &[u64]| sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            add(&mut all.over, &counts.over);
            add(&mut all.over_floor, &counts.over_floor);
        }
        match self.plan.judge(&all) {
            _ if all.due == 0 => RateVerdict::Bad,
            SliceVerdict::Good => RateVerdict::Good,
            SliceVerdict::Bad => RateVerdict::Bad,
            SliceVerdict::Client => RateVerdict::Client,
        }
    }

    /// A good slice ends an overload. Counts the time until its beginning.
    fn note_recovery(&mut self) {
        let Some(overloaded) = self.overloaded.take() else { return };
        let measured = self.measured();
        let before = measured.slices.len().saturating_sub(1) as u64 * self.slice_seconds();
        let began = Duration::try_from_secs_f64(measured.start_s).unwrap_or_default();
        let took = (began + self.current.settle + Duration::from_secs(before)).saturating_sub(overloaded);
        self.recovered = self.recovered.max(Some(took));
    }

    /// Ends the current rate with a verdict.
    fn conclude(&mut self, at: Duration, verdict: RateVerdict) -> Step {
        self.rates.last_mut().expect("a rate is being measured").verdict = verdict;
        let Measurement { rate, purpose, .. } = self.current;
        let was_overloaded = self.overloaded.is_some();
        if matches!(verdict, RateVerdict::Bad | RateVerdict::Undecided) {
            self.overloaded.get_or_insert(at);
        }
        match (verdict, purpose) {
            (RateVerdict::Good, Purpose::Confirm) => return Step::Done,
            (_, Purpose::Confirm) => return self.fall_back(at, verdict),
            (RateVerdict::Good, _) => self.raise_lower(rate, purpose),
            (_, Purpose::Lower) if self.pass == Some(0) && was_overloaded && !self.has_retried => {
                self.has_retried = true;
                return self.measure(at, Purpose::Lower, rate, RECOVERY_PAUSE);
            }
            (_, Purpose::Lower) => self.lower_bounds(rate, verdict),
            // The machine may have been busy for a moment.
            (RateVerdict::Client, Purpose::Climb) if !self.has_repeated(rate) => {
                return self.measure(at, Purpose::Climb, rate, self.plan.pause());
            }
            (_, Purpose::Climb | Purpose::Middle | Purpose::Upper) => {
                self.upper = Some(UpperBound { rate, verdict });
                (self.is_upper_checked, self.moves) = (true, 0);
            }
        }
        self.go_on(at)
    }

    /// Whether the rate before this one was the same.
    fn has_repeated(&self, rate: f64) -> bool {
        let before = self.rates.iter().rev().nth(1);
        before.is_some_and(|before| before.purpose == Purpose::Climb && before.rate.total_cmp(&rate).is_eq())
    }

    fn raise_lower(&mut self, rate: f64, purpose: Purpose) {
        self.lower = Some(rate);
        self.is_lower_checked = true;
        match purpose {
            // It was the upper bound, or there is none.
            Purpose::Upper => {
                self.upper = None;
                self.moves += 1;
            }
            _ => self.moves = 0,
        }
    }

    /// The lower bound does not hold any more, and becomes the upper one.
    fn lower_bounds(&mut self, rate: f64, verdict: RateVerdict) {
        self.upper = Some(UpperBound { rate, verdict });
        self.is_upper_checked = true;
        let lower = rounded(rate / self.stride()).max(self.plan.from);
        self.lower = (lower < rate).then_some(lower);
        self.moves += 1;
    }

    /// Factor by which a bound moves away from a rate.
    fn stride(&self) -> f64 {
        (1.0 + self.plan.width * self.current_pass().widths).powi(1 << self.moves.min(8))
    }

    fn go_on(&mut self, at: Duration) -> Step {
        match self.next() {
            Next::Measure(purpose, rate) => {
                let (slices, pass) = (self.plan.slice_seconds(rate), self.current_pass());
                let slices = Duration::from_secs(slices.saturating_mul(pass.slices as u64));
                let needed = self.plan.pause() + self.plan.settle(pass.widths) + OVERHEAD;
                if self.is_out_of_time(at.saturating_add(needed).saturating_add(slices)) {
                    return self.out_of_time(at);
                }
                self.measure(at, purpose, rate, self.plan.pause())
            }
            Next::Confirm(end) => self.confirm(at, end),
            Next::End(end) => {
                self.end = end;
                Step::Done
            }
        }
    }

    /// What to measure next.
    fn next(&mut self) -> Next {
        let Some(lower) = self.lower else {
            let is_client = self.upper.is_some_and(|upper| upper.verdict == RateVerdict::Client);
            return Next::End(if is_client { SearchEnd::Client } else { SearchEnd::NothingHolds });
        };
        if self.pass.is_none() {
            if self.upper.is_none() && lower < self.plan.to {
                return Next::Measure(Purpose::Climb, rounded(lower * CLIMB).min(self.plan.to));
            }
            if self.upper.is_none() {
                return Next::Confirm(SearchEnd::UpperBound);
            }
            self.enter_pass(0);
        }
        loop {
            let (index, pass) = (self.pass.unwrap_or_default(), self.current_pass());
            if !self.is_lower_checked {
                return Next::Measure(Purpose::Lower, lower);
            }
            let is_last = index + 1 == PASSES.len();
            match self.upper {
                None if lower < self.plan.to => {
                    return Next::Measure(Purpose::Upper, rounded(lower * self.stride()).min(self.plan.to));
                }
                Some(upper) if upper.rate > lower * (1.0 + self.plan.width * pass.widths) * ROUNDING => {
                    return Next::Measure(Purpose::Middle, rounded((lower * upper.rate).sqrt()));
                }
                Some(upper) if is_last && !self.is_upper_checked => {
                    return Next::Measure(Purpose::Upper, upper.rate);
                }
                Some(UpperBound { verdict: RateVerdict::Client, .. }) if is_last => {
                    return Next::Confirm(SearchEnd::Client);
                }
                Some(_) if is_last => return Next::Confirm(SearchEnd::Width),
                None if is_last => return Next::Confirm(SearchEnd::UpperBound),
                _ => self.enter_pass(index + 1),
            }
        }
    }

    fn enter_pass(&mut self, index: usize) {
        self.pass = Some(index);
        (self.is_lower_checked, self.is_upper_checked, self.moves) = (false, false, 0);
    }

    fn measure(&mut self, at: Duration, purpose: Purpose, rate: f64, pause: Duration) -> Step {
        let widths = match purpose {
            Purpose::Climb => 1.0 / self.plan.width,
            Purpose::Confirm => 1.0,
            _ => self.current_pass().widths,
        };
        self.current = Measurement { rate, purpose, pause, settle: self.plan.settle(widths) };
        self.rates.push(MeasuredRate::new(rate, purpose, (at + pause).as_secs_f64()));
        Step::Measure(self.current)
    }

    /// Whether the time left `at` this time is only enough for the confirmation.
    fn is_out_of_time(&self, at: Duration) -> bool {
        at.saturating_add(self.plan.confirmation_time()) > self.plan.budget
    }

    fn out_of_time(&mut self, at: Duration) -> Step {
        if self.lower.is_some() {
            return self.confirm(at, SearchEnd::Budget);
        }
        self.end = SearchEnd::Budget;
        Step::Done
    }

    fn confirm(&mut self, at: Duration, end: SearchEnd) -> Step {
        self.end = end;
        let lower = self.lower.expect("only a rate that holds is confirmed");
        self.measure(at, Purpose::Confirm, lower, self.plan.pause())
    }

    /// The confirmation failed: the next one is one width down. If the climb has reached the highest rate allowed, nothing
    /// was narrowed yet.
    fn fall_back(&mut self, at: Duration, verdict: RateVerdict) -> Step {
        let rate = self.current.rate;
        self.upper = Some(UpperBound { rate, verdict });
        if self.pass.is_none() {
            let lower = rounded(rate / CLIMB).max(self.plan.from);
            self.lower = (lower < rate).then_some(lower);
            return self.go_on(at);
        }
        let lower = rounded(rate / (1.0 + self.plan.width)).max(self.plan.from);
        self.lower = (lower < rate).then_some(lower);
        let is_over = self.fallbacks == MAX_FALLBACKS || self.lower.is_none() || self.is_out_of_time(at);
        if is_over {
            let is_client = verdict == RateVerdict::Client;
            self.end = if is_client { SearchEnd::Client } else { SearchEnd::NotConfirmed };
            self.lower = None;
            return Step::Done;
        }
        self.fallbacks += 1;
        self.confirm(at, self.end)
    }
}

/// Whether `part` is more than the share `allowed` of `all`.
#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
fn exceeds(part: u64, allowed: f64, all: u64) -> bool {
    // The share 1 - 0.99 is not exact.
    part as f64 > allowed * all as f64 * (1.0 + 1e-9)
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds")]
fn is_steady(before: u64, now: u64) -> bool {
    before.abs_diff(now) as f64 <= before.max(now) as f64 * STEADY
}

/// At least one second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.ceil().max(1.0) as u64
}

/// Rounds to four digits: more cannot be measured, and nobody wants to read them.
fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 3.0);
    (rate / unit).round() * unit
}

#[cfg(test)]
mod tests;
