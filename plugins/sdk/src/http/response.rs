//! An answer, and what its status means.

use serde::de::DeserializeOwned;

use super::body::Body;
use super::failure::{Asked, Failure};
use super::headers::Headers;
use super::upload::Sending;
use crate::stream::Input;
use crate::{Code, Effect, Error, Result, acted, sys};

/// What [`Response::json`] takes at most: beside the guest's memory of some 256 MiB a small part, and more than lists
/// of pods need.
const MOST: usize = 16 << 20;
/// What is read of the body of a refusal, to say why.
const EXPLANATION: usize = 8 << 10;
/// What is said of it. The host cuts messages after 1 KiB.
const SAID: usize = 400;

/// An answer whose head has come.
#[derive(Debug)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// As they came.
    pub headers: Headers,
    /// What follows.
    pub body: Body,
}

/// What 409 means, which servers use for two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is there already: `already-exists`.
    Exists,
    /// Lost against another call: `aborted`.
    Race,
}

impl Response {
    pub(crate) fn new(asked: Asked, answer: sys::Answer, unfinished: Option<Sending>) -> Self {
        let sys::Answer { status, headers, body } = answer;
        let effect = asked.answered(status);
        let body = Body::new(asked, effect, Input::new(body), unfinished);
        Self { status, headers: Headers(headers), body }
    }

    /// The status is one of success, 2xx.
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Whether the backend may have acted, on this request or one before it in the call: for errors that the caller
    /// makes of an answer.
    pub fn effect(&self) -> Effect {
        acted::so_far(self.body.effect)
    }

    /// This answer, if it is a success.
    ///
    /// # Errors
    /// As [`Response::error`], with 409 as a lost race.
    pub fn success(self) -> Result<Self> {
        if self.is_success() { Ok(self) } else { Err(self.error(Conflict::Race)) }
    }

    /// The body as JSON, at most 16 MiB of it.
    ///
    /// # Errors
    /// As [`Body::json`].
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        self.body.json(MOST)
    }

    /// What the status means for a call that cannot do without a success, with the server's own explanation.
    ///
    /// | status | code |
    /// | --- | --- |
    /// | 401 | `unauthenticated` |
    /// | 403 | `permission-denied` |
    /// | 404, 410 | `not-found` |
    /// | 409 | as `conflict` says |
    /// | 412 | `aborted` |
    /// | 429 | `resource-exhausted` |
    /// | other 4xx | `failed-precondition` without a field: tried again slowly. Who knows that the pod is at fault says so. |
    /// | 5xx | `unavailable` |
    /// | anything else | `unknown` |
    ///
    /// `Retry-After` is passed on. A refusal (4xx) stands in place of an act; of another answer to a request that
    /// changes something nobody knows.
    pub fn error(mut self, conflict: Conflict) -> Error {
        let (code, reason) = meaning(self.status, conflict);
        let (effect, retry_after) = (self.effect(), self.headers.retry_after());
        let why = explanation(&self.body.beginning(EXPLANATION)).map_or_else(String::new, |why| format!(": {why}"));
        let error = Error::new(code, reason, format!("{}: the answer was {}{why}", self.body.asked, self.status));
        Error { retry_after, effect, ..error }
    }
}

/// Code and reason of a status.
const fn meaning(status: u16, conflict: Conflict) -> (Code, &'static str) {
    match status {
        400 => (Code::FailedPrecondition, "BadRequest"),
        401 => (Code::Unauthenticated, "Unauthorized"),
        403 => (Code::PermissionDenied, "Forbidden"),
        404 => (Code::NotFound, "NotFound"),
        409 => match conflict {
            Conflict::Exists => (Code::AlreadyExists, "Conflict"),
            Conflict::Race => (Code::Aborted, "Conflict"),
        },
        410 => (Code::NotFound, "Gone"),
        412 => (Code::Aborted, "PreconditionFailed"),
        429 => (Code::ResourceExhausted, "TooManyRequests"),
        405..=499 | 402 => (Code::FailedPrecondition, "RequestRefused"),
        500 => (Code::Unavailable, "InternalServerError"),
        502 => (Code::Unavailable, "BadGateway"),
        503 => (Code::Unavailable, "ServiceUnavailable"),
        504 => (Code::Unavailable, "GatewayTimeout"),
        501..=599 => (Code::Unavailable, "ServerError"),
        _ => (Code::Unknown, "UnexpectedStatus"),
    }
}

/// What a server says of a refusal: `message` or `error` of JSON, or the first line of a text.
fn explanation(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => {
            let at = |pointer: &&str| json.pointer(pointer)?.as_str().map(str::to_owned);
            ["/message", "/error/message", "/error"].iter().find_map(at)?
        }
        // A page for people says nothing in one line.
        Err(_) => String::from_utf8(body.to_vec()).ok().filter(|text| !text.trim_start().starts_with('<'))?,
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.get(..line.floor_char_boundary(SAID)).unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_found_where_servers_put_them() {
        for (body, said) in [
            (r#"{"message":"No such container: x"}"#, Some("No such container: x")),
            (r#"{"error":{"code":"Quota","message":"no cores\nleft"}}"#, Some("no cores")),
            (r#"{"error":"invalid_client"}"#, Some("invalid_client")),
            (r#"{"detail":1}"#, None),
            ("\n  not here\n", Some("not here")),
            ("<html><body>no</body></html>", None),
            ("", None),
        ] {
            assert_eq!(explanation(body.as_bytes()).as_deref(), said, "{body}");
        }
        assert_eq!(explanation(&[0xff, 0xfe]), None);
        assert_eq!(explanation("é".repeat(SAID).as_bytes()).unwrap().len(), SAID);
    }
}
