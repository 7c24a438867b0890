//! Time, and the passing of it.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use crate::call::{self, Why};
use crate::time::Time;
use crate::wait::Wait;
use crate::{Error, sys};

/// The wall clock. May be set, also back: for how long something takes there is [`Instant`].
pub fn now() -> Time {
    sys::now()
}

/// A moment on a clock that nobody sets. It is this call's alone, as the clock of each begins elsewhere: not to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        Self(sys::monotonic())
    }

    /// How long ago `earlier` was; zero if it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

/// Sleeps, or returns early because the host wants the call to end.
///
/// # Errors
/// [`Cancelled`], which becomes an [`Error`] of unknown effect with `?`.
pub fn sleep(time: Duration) -> Result<(), Cancelled> {
    if Wait::new().after((), time).first().cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// Sleeps and does not listen to the host, which drops such a call after a grace. There is seldom a reason.
pub fn sleep_deaf(time: Duration) {
    crate::wait::deaf(time);
}

/// A moment until which something must be done, however the wall clock is set meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left; zero: it is over.
    pub fn remaining(self) -> Duration {
        self.0.since(Instant::now())
    }

    /// It is over.
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }
}

/// The host wanted the call to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if is_late() { "the call's time is up" } else { "the host wanted the call to end" })
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for Error {
    /// `deadline-exceeded` where it is the call's time that is up. Of unknown effect: what the call had done by then, only its
    /// author knows ([`Error::effect_none`]).
    fn from(cancelled: Cancelled) -> Self {
        let message = cancelled.to_string();
        if is_late() {
            Self::deadline_exceeded("DeadlineExceeded", message)
        } else {
            Self::cancelled("Cancelled", message)
        }
    }
}

fn is_late() -> bool {
    call::reason() == Some(Why::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, testing};

    #[test]
    fn a_sleep_honours_cancellation() {
        testing::reset();
        let start = now();
        testing::cancel_after(Duration::from_secs(1), Why::Deadline);
        let cancelled = sleep(Duration::from_secs(5)).unwrap_err();
        assert_eq!(Error::from(cancelled).code, Code::DeadlineExceeded);
        assert_eq!(now().since(start), Duration::from_secs(1));
        sleep_deaf(Duration::from_secs(5));
        assert_eq!(now().since(start), Duration::from_secs(6));
    }

    #[test]
    fn a_deadline_runs_out() {
        testing::reset();
        let deadline = Deadline::after(Duration::from_secs(2));
        testing::advance(Duration::from_millis(1500));
        assert_eq!((deadline.remaining(), deadline.is_over()), (Duration::from_millis(500), false));
        testing::advance(Duration::from_secs(1));
        assert!(deadline.is_over());
    }

    #[test]
    fn a_wall_clock_that_is_set_back_moves_no_deadline() {
        testing::reset();
        let (wall, start, deadline) = (now(), Instant::now(), Deadline::after(Duration::from_secs(2)));
        testing::advance(Duration::from_secs(1));
        testing::set_back(Duration::from_secs(3600));
        assert!(now() < wall);
        assert_eq!(
            (Instant::now().since(start), deadline.remaining()),
            (Duration::from_secs(1), Duration::from_secs(1))
        );
        sleep(deadline.remaining()).unwrap();
        assert!(deadline.is_over());
    }
}
