//! Asking again, within the call's time.

use std::time::Duration;

use vk_provider::clock::Instant;
use vk_provider::http::{Failure, Request, Response};
use vk_provider::{call, clock};

/// Times that something is asked at most.
const TRIES: u32 = 5;
/// Times that it is asked if there is no answer at all: whoever is not there will not be there in a second.
const UNANSWERED: u32 = 3;
/// The pause after the first try; it doubles.
const FIRST: Duration = Duration::from_millis(800);
/// A metadata service that answers 410 is being updated, which takes up to 70 s; so long it is asked again.
pub(super) const UPDATE: Duration = Duration::from_secs(75);
/// And so often.
const UPDATING: Duration = Duration::from_secs(3);
/// What a call needs for its own request.
const RESERVE: Duration = Duration::from_secs(2);
/// So long the start of an answer is waited for, as all wait for who asks, and that may be a call of long life.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// Bounds of the one try of somebody who has another token: for the connection, for the start of the answer and between
/// its pieces. The shortest calls have 8 s, and all that they came for is still to be asked.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(3);
const BYTES: Duration = Duration::from_secs(1);

/// Whether somebody has the time to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// There is another token: one short try.
    None,
    /// As much as the call has.
    Long,
}

/// Sends a request until its answer is none of those that pass, if there is the time. `passes` says of which status that
/// is so.
///
/// # Errors
/// That of the last try.
pub(super) fn send(request: &Request, patience: Patience, passes: impl Fn(u16) -> bool) -> Result<Response, Failure> {
    if patience == Patience::None {
        return request.clone().connect_within(CONNECT).answer_within(ANSWER).bytes_within(BYTES).send();
    }
    let request = request.clone().answer_within(FIRST_ANSWER);
    let start = Instant::now();
    let mut number = 1;
    loop {
        let outcome = request.send();
        let pause = match &outcome {
            Ok(response) if passes(response.status) => {
                let asked = response.headers.retry_after().unwrap_or_default();
                let updates = response.status == 410;
                let backoff = if updates { UPDATING } else { backoff(number) };
                (updates || number < TRIES).then_some(backoff.max(asked))
            }
            Err(failure) if failure.is_transient() => (number < UNANSWERED).then_some(backoff(number)),
            _ => None,
        };
        let pause = pause.filter(|pause| is_time_for(*pause, start));
        let Some(pause) = pause else { return outcome };
        if clock::sleep(pause).is_err() {
            return outcome;
        }
        number += 1;
    }
}

fn is_time_for(pause: Duration, start: Instant) -> bool {
    let needed = pause + RESERVE;
    Instant::now().since(start) + pause <= UPDATE && call::remaining().is_none_or(|left| needed <= left)
}

fn backoff(number: u32) -> Duration {
    FIRST.saturating_mul(1 << number.saturating_sub(1).min(4))
}
