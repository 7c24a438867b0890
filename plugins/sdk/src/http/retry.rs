//! Trying again.

use std::time::Duration;

use super::failure::Failure;
use super::request::Request;
use super::response::Response;
use crate::{Effect, call, clock, sys};

/// How a request is tried again: with a back-off that doubles, has some chance in it and an end, and never beyond the
/// call's own time.
///
/// What is repeated: requests that are [idempotent](Request::is_idempotent), after a failure that may pass and after
/// 429, 502, 503 and 504; others only if the server has surely not acted. A `Retry-After` is kept to. If the pause
/// would be longer than what is left of the call, the last outcome is the answer, and the host goes on from there.
///
/// ```
/// # use vk_provider::testing::{self, Answer};
/// # testing::reset();
/// # let mut busy = true;
/// # testing::serve(move |_| Answer::status(if std::mem::take(&mut busy) { 503 } else { 200 }));
/// use vk_provider::http::{Request, Retry};
///
/// let response = Retry::default().send(&Request::get("https://api.example.com/groups"))?.success()?;
/// assert_eq!(response.status, 200);
/// # Ok::<_, vk_provider::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Times that it is sent at most, the first among them.
    pub tries: u32,
    /// The first pause, before chance.
    pub first: Duration,
    /// The longest pause of the back-off.
    pub longest: Duration,
}

impl Default for Retry {
    /// Five times with pauses that sum up to some three seconds: enough for a server that restarts, little of a short
    /// call's 30 s.
    fn default() -> Self {
        Self { tries: 5, first: Duration::from_millis(200), longest: Duration::from_secs(10) }
    }
}

impl Retry {
    /// Sends a request until it is answered, or cannot be tried again.
    ///
    /// # Errors
    /// Those of the last try.
    pub fn send(&self, request: &Request) -> Result<Response, Failure> {
        let mut number = 1;
        loop {
            let outcome = request.send();
            let Some(pause) = self.pause(request, &outcome, number) else { return outcome };
            if clock::sleep(pause).is_err() {
                return outcome;
            }
            number += 1;
        }
    }

    /// How long to wait after the n-th try; none: it was the last one.
    fn pause(&self, request: &Request, outcome: &Result<Response, Failure>, number: u32) -> Option<Duration> {
        if number >= self.tries || !is_worth_it(request, outcome) {
            return None;
        }
        let asked = outcome.as_ref().ok().and_then(|response| response.headers.retry_after());
        let backoff = self.backoff(number);
        // Never before the server's time; some later, as all that were refused would come back at the same moment.
        let pause = asked.map_or(backoff, |asked| asked + backoff.min(self.first));
        call::remaining().is_none_or(|left| pause < left).then_some(pause)
    }

    /// Half of it is chance.
    fn backoff(&self, number: u32) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX));
        let half = doubled.min(self.longest) / 2;
        half + half.mul_f64(f64::from(sys::random()) / f64::from(u32::MAX))
    }
}

fn is_worth_it(request: &Request, outcome: &Result<Response, Failure>) -> bool {
    match outcome {
        Ok(response) if response.status == 429 => true,
        Ok(response) => matches!(response.status, 502..=504) && request.is_idempotent(),
        Err(failure) => failure.is_transient() && (request.is_idempotent() || failure.effect == Effect::None),
    }
}
