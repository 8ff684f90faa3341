//! Instants in half the space of an `Instant`.

use crate::units::nanos;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An instant in nanoseconds since a base that is the same in the whole process. It takes half the space of an
/// [`Instant`], and has a range of 292 years to both sides of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

/// The first instant that was converted. Nothing depends on its value.
static BASE: OnceLock<Instant> = OnceLock::new();

thread_local! {
    /// The last conversion. A loop converts the same instant again and again: that of a round, of a read, of a write.
    static LAST: Cell<Option<(Instant, Moment)>> = const { Cell::new(None) };
}

impl Moment {
    /// Later than all others.
    pub(crate) const NEVER: Self = Self(i64::MAX);

    /// The moment `delay` after this one; [`NEVER`](Self::NEVER) if that is too far away, or without a delay.
    #[inline]
    pub(crate) fn after(self, delay: Option<Duration>) -> Self {
        delay.map_or(Self::NEVER, |delay| self.after_nanos(nanos(delay)))
    }

    /// The moment `nanos` nanoseconds after this one; [`NEVER`](Self::NEVER) if that is too far away.
    #[inline]
    pub(crate) fn after_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add_unsigned(nanos))
    }

    fn convert(instant: Instant) -> Self {
        let base = *BASE.get_or_init(|| instant);
        let signed = |duration| i64::try_from(nanos(duration)).unwrap_or(i64::MAX - 1);
        let moment = match instant.checked_duration_since(base) {
            Some(after) => Self(signed(after)),
            None => Self(-signed(base.saturating_duration_since(instant))),
        };
        LAST.set(Some((instant, moment)));
        moment
    }

    /// Nanoseconds from `earlier` to this moment; 0 if it is not earlier.
    pub(crate) fn nanos_since(self, earlier: Self) -> u64 {
        if self > earlier { self.0.abs_diff(earlier.0) } else { 0 }
    }
}

impl From<Instant> for Moment {
    #[inline]
    fn from(instant: Instant) -> Self {
        match LAST.get() {
            Some((last, moment)) if last == instant => moment,
            _ => Self::convert(instant),
        }
    }
}

impl From<Moment> for Instant {
    fn from(moment: Moment) -> Self {
        let base = *BASE.get().expect("a moment was made from an instant");
        let distance = Duration::from_nanos(moment.0.unsigned_abs());
        if moment.0 < 0 {
            return base.checked_sub(distance).unwrap_or(base);
        }
        let instant = base + distance;
        LAST.set(Some((instant, moment)));
        instant
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;
    use std::time::{Duration, Instant};

    #[test]
    fn a_moment_converts_to_its_instant() {
        let now = Instant::now();
        let _ = Moment::from(now + Duration::from_secs(3));
        for instant in [now, now + Duration::from_nanos(1), now + Duration::from_secs(1 << 30)] {
            assert_eq!(Instant::from(Moment::from(instant)), instant);
        }
        assert_eq!(size_of::<Moment>() * 2, size_of::<Instant>());
    }

    #[test]
    fn moments_are_ordered_and_have_distances() {
        let now = Instant::now();
        let later = now + Duration::from_millis(7);
        assert!(Moment::from(now) < Moment::from(later) && Moment::from(later) < Moment::NEVER);
        assert_eq!(Moment::from(later).nanos_since(Moment::from(now)), 7_000_000);
        assert_eq!(Moment::from(now).nanos_since(Moment::from(later)), 0);
        assert_eq!(Moment::from(now).after(Some(Duration::from_millis(7))), Moment::from(later));
        assert_eq!(Moment::from(now).after(None), Moment::NEVER);
        assert_eq!(Moment::from(now).after(Some(Duration::MAX)), Moment::NEVER);
    }
}
