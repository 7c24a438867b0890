//! Time, and the passing of it.

use std::fmt;
use std::time::Duration;

use crate::time::Time;
use crate::wait::Wait;
use crate::{Error, sys};

/// The wall clock.
pub fn now() -> Time {
    sys::now()
}

/// Sleeps, or returns early because the host wants the call to end.
///
/// # Errors
/// [`Cancelled`], which becomes an [`Error`] with `?`.
pub fn sleep(time: Duration) -> Result<(), Cancelled> {
    if Wait::new().after((), time).first().cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// Sleeps and does not listen to the host, which drops such a call after a grace. There is seldom a reason.
pub fn sleep_deaf(time: Duration) {
    crate::wait::deaf(time);
}

/// A moment until which something must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Time);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        Self(now() + time)
    }

    /// What is left; zero: it is over.
    pub fn remaining(self) -> Duration {
        self.0.since(now())
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
        f.write_str("the host wanted the call to end")
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::cancelled("Cancelled", cancelled.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Why;
    use crate::testing;

    #[test]
    fn a_sleep_honours_cancellation() {
        testing::reset();
        let start = now();
        testing::cancel_after(Duration::from_secs(1), Why::Deadline);
        assert_eq!(sleep(Duration::from_secs(5)), Err(Cancelled));
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
}
