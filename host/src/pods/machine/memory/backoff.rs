//! Pauses between tries: after calls that failed, and between the runs of a container that crashes.

use std::time::Duration;

use super::super::clock::Moment;
use crate::defaults::machine::{CRASH_FIRST, CRASH_FORGOTTEN, CRASH_LONGEST};
use crate::defaults::pods::{
    BACKOFF_FIRST, BACKOFF_LONGEST, MISSING_OBJECT_LONGEST, SLOW_BACKOFF_FIRST, SLOW_BACKOFF_LONGEST,
};
use crate::pods::lifecycle::{self, Verdict};
use crate::provider::Error;

/// How pauses grow.
#[derive(Clone, Copy, Debug)]
pub(in crate::pods::machine) struct Rhythm {
    pub(in crate::pods::machine) first: Duration,
    pub(in crate::pods::machine) longest: Duration,
}

impl Rhythm {
    /// After what may pass by itself.
    pub(in crate::pods::machine) const SOON: Self = Self { first: BACKOFF_FIRST, longest: BACKOFF_LONGEST };
    /// After what somebody has to mend.
    const SLOW: Self = Self { first: SLOW_BACKOFF_FIRST, longest: SLOW_BACKOFF_LONGEST };

    /// While a ConfigMap or Secret is missing.
    pub(in crate::pods::machine) const MISSING: Self = Self { first: BACKOFF_FIRST, longest: MISSING_OBJECT_LONGEST };

    /// The one that the contract wants after this error.
    pub(in crate::pods::machine) fn after(error: &Error) -> Self {
        match lifecycle::verdict(error) {
            Verdict::Retry { slow: false } | Verdict::Exists => Self::SOON,
            Verdict::Retry { slow: true } | Verdict::Final => Self::SLOW,
        }
    }
}

/// A pause that grows with each failure in a row. The default: nothing has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::pods::machine) struct Pause {
    tries: u32,
    until: Option<Moment>,
}

impl Pause {
    /// A call has failed.
    pub(in crate::pods::machine) fn after(&mut self, error: &Error, spread: Spread, now: Moment) {
        self.grow(Some(error), Rhythm::after(error), spread, now);
    }

    /// Something has failed that is tried again in this rhythm, or when the backend asked for it.
    pub(in crate::pods::machine) fn grow(
        &mut self,
        error: Option<&Error>,
        rhythm: Rhythm,
        spread: Spread,
        now: Moment,
    ) {
        let doubled = rhythm.first.saturating_mul(1_u32.checked_shl(self.tries.min(16)).unwrap_or(u32::MAX));
        let pause = spread.over(doubled.min(rhythm.longest));
        self.tries = self.tries.saturating_add(1);
        self.until = Some(now.plus(error.map_or(pause, |error| lifecycle::pause(error, pause))));
    }

    /// What was tried has worked.
    pub(in crate::pods::machine) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Until when nothing is tried; none: it may be tried now.
    pub(in crate::pods::machine) fn until(&self, now: Moment) -> Option<Moment> {
        self.until.filter(|until| *until > now)
    }
}

/// What keeps a thousand pods from coming back together: each has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pods::machine) struct Spread(u8);

impl Spread {
    /// That of a pod.
    pub(in crate::pods::machine) fn of(uid: &str) -> Self {
        Self(uid.bytes().fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte)))
    }

    /// At most a quarter longer.
    fn over(self, pause: Duration) -> Duration {
        pause.saturating_add(self.within(pause / 4))
    }

    /// A part of a period.
    pub(in crate::pods::machine) fn within(self, period: Duration) -> Duration {
        period / 256 * u32::from(self.0)
    }
}

/// How long a container that crashes has to wait the next time, as the kubelet counts it: the first restart comes at once, then
/// 10 s and twice as long each time. A container of another image is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) struct CrashLoop {
    image: String,
    pub(in crate::pods::machine) pause: Duration,
}

/// A run of a container that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::pods::machine) struct Run {
    /// When its end was noticed, by the host's clock.
    pub(in crate::pods::machine) ended: Moment,
    /// How long it ran.
    pub(in crate::pods::machine) lasted: Duration,
    /// The machine ended it to run it again. Its wait then counts from the end of the run before, and so much lay between the two
    /// ends; none: there was no run before, and nothing counts.
    pub(in crate::pods::machine) killed: Option<Option<Duration>>,
}

impl CrashLoop {
    fn first(image: &str) -> Self {
        Self { image: image.to_string(), pause: CRASH_FIRST }
    }

    fn doubled(&self) -> Self {
        Self { image: self.image.clone(), pause: self.pause.saturating_mul(2).min(CRASH_LONGEST) }
    }

    /// When a container may be started again, and what counts from then on; none: what counted before.
    pub(in crate::pods::machine) fn again(counted: Option<&Self>, image: &str, run: Run) -> (Moment, Option<Self>) {
        let counted = counted.filter(|counted| counted.image == image && run.lasted <= CRASH_FORGOTTEN);
        match (counted, run.killed) {
            (_, Some(None)) => (run.ended, None),
            (None, _) => (run.ended, Some(Self::first(image))),
            (Some(counted), Some(Some(between))) if between >= counted.pause => (run.ended, Some(counted.doubled())),
            (Some(counted), _) => (run.ended.plus(counted.pause), Some(counted.doubled())),
        }
    }

    /// What an earlier process counted, from what can be seen: `waited` is how long the last run that is known waited after the one
    /// before, and it waits twice as long the next time.
    pub(in crate::pods::machine) fn seen(image: &str, waited: Duration, lasted: Option<Duration>) -> Option<Self> {
        if lasted.is_some_and(|lasted| lasted > CRASH_FORGOTTEN) {
            return None;
        }
        let mut seen = Self::first(image);
        while seen.pause <= waited && seen.pause < CRASH_LONGEST {
            seen = seen.doubled();
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Code;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn crashed(lasted: u64) -> Run {
        Run { ended: Moment(0), lasted: s(lasted), killed: None }
    }

    #[test]
    fn the_first_restart_comes_at_once_and_the_others_ever_later() {
        let mut counted = None;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let (due, next) = CrashLoop::again(counted.as_ref(), "i", crashed(1));
            pauses.push(due.since(Moment(0)).as_secs());
            counted = next;
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
        let (due, next) = CrashLoop::again(counted.as_ref(), "i", crashed(601));
        assert_eq!((due, next.unwrap().pause), (Moment(0), s(10)), "it ran for more than ten minutes");
        let (due, next) = CrashLoop::again(counted.as_ref(), "j", crashed(1));
        assert_eq!((due, next.unwrap().pause), (Moment(0), s(10)), "another image");
    }

    #[test]
    fn a_container_that_failed_its_probe_waits_only_since_the_run_before() {
        let killed = |between: Option<u64>| Run { killed: Some(between.map(s)), ..crashed(5) };
        assert_eq!(CrashLoop::again(None, "i", killed(None)), (Moment(0), None), "nothing ended before");
        let first = CrashLoop::first("i");
        assert_eq!(CrashLoop::again(Some(&first), "i", killed(Some(30))).0, Moment(0));
        assert_eq!(CrashLoop::again(Some(&first), "i", killed(Some(9))).0, Moment(10_000));
    }

    #[test]
    fn a_crash_loop_goes_on_after_a_restart_of_the_host() {
        let pause = |waited, lasted: Option<u64>| {
            CrashLoop::seen("i", s(waited), lasted.map(s)).map(|counted| counted.pause.as_secs())
        };
        assert_eq!(pause(0, Some(1)), Some(10), "the restart that comes at once");
        assert_eq!(pause(10, Some(1)), Some(20));
        assert_eq!(pause(41, None), Some(80));
        assert_eq!(pause(3600, Some(1)), Some(300));
        assert_eq!(pause(300, Some(601)), None, "it ran well since");
    }

    #[test]
    fn pauses_grow_with_failures_in_a_row_and_heed_the_backend() {
        let mut pause = Pause::default();
        let soon = Error::new(Code::Unavailable, "R", "m");
        let mut waits = Vec::new();
        for _ in 0..8 {
            pause.after(&soon, Spread::default(), Moment(0));
            waits.push(pause.until(Moment(0)).unwrap().0 / 1000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let asked = Error { retry_after: Some(s(7)), ..soon };
        pause.after(&asked, Spread::default(), Moment(0));
        assert_eq!(pause.until(Moment(0)), Some(Moment(7000)));
        assert_eq!(pause.until(Moment(7000)), None);
        pause.reset();
        pause.after(&Error::new(Code::PermissionDenied, "R", "m"), Spread(255), Moment(0));
        let until = pause.until(Moment(0)).unwrap();
        assert!(until > Moment(12_000) && until < Moment(12_500), "{until:?}: slowly, and not with all others");
    }
}
