//! Time as the machine reckons with it: milliseconds of Unix time, which the backend's times are told in too.
//!
//! The host's own moments come from a monotonic clock that was set once by the time of day, so that a clock that is set does not
//! end a grace. A moment of the backend's clock is only compared with others of that clock: an engine may be far away, and its clock
//! wrong.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Unix time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// So much later.
    pub(super) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago an earlier one was; zero if it was not earlier.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// As Kubernetes writes it.
    pub(super) fn timestamp(self) -> Timestamp {
        i64::try_from(self.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
    }
}

/// Tells the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    set: Moment,
    at: Instant,
}

impl Clock {
    /// A clock that is set by the time of day.
    pub(super) fn set() -> Self {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        Self { set: Moment(now), at: Instant::now() }
    }

    /// The moment.
    pub(super) fn now(&self) -> Moment {
        self.set.plus(self.at.elapsed())
    }

    /// When a moment comes; one that is past comes now.
    pub(super) fn instant(&self, moment: Moment) -> Instant {
        let at = self.at.checked_add(moment.since(self.set));
        at.unwrap_or_else(Instant::now).max(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moment_comes_when_the_clock_says_so() {
        let clock = Clock::set();
        let later = clock.now().plus(Duration::from_secs(5));
        tokio::time::sleep_until(clock.instant(later)).await;
        assert!(clock.now() >= later, "{:?} is before {later:?}", clock.now());
        let past = Moment(1);
        assert_eq!(clock.instant(past), Instant::now());
    }

    #[test]
    fn what_was_not_earlier_is_no_time_ago() {
        assert_eq!(Moment(5).since(Moment(2)), Duration::from_millis(3));
        assert_eq!(Moment(2).since(Moment(5)), Duration::ZERO);
    }
}
