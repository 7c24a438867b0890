//! Why there is no answer, or none that is whole.

use std::fmt;

use super::code::ErrorCode;
use super::url::Url;
use crate::clock::Cancelled;
use crate::stream::Broken;
use crate::{Code, Effect, Error, acted};

/// An exchange that failed. With `?` it becomes an [`Error`] whose effect is right for the whole call: see the
/// [module](super).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub cause: Cause,
    /// Whether the server may have acted on this request. Never on one of a safe method.
    pub effect: Effect,
    /// Method and URL, without the query.
    pub request: String,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host's or the network's no, in the words of `wasi:http`.
    Code(ErrorCode),
    /// The host wanted the call to end.
    Cancelled,
    /// It is no request, and was not sent: what is wrong with it.
    Invalid(String),
    /// The answer has more bytes than the caller takes: so many.
    TooLong(usize),
    /// The answer is not what the caller expects, such as JSON: what is wrong with it.
    Unreadable(String),
}

impl From<Broken> for Cause {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => Self::Code(ErrorCode::ConnectionTerminated),
            Broken::Failed(code) => Self::Code(code),
            Broken::Cancelled => Self::Cancelled,
        }
    }
}

impl Failure {
    /// A short name: that of the `wasi:http` error code, such as `connection-refused`, or of the cause.
    pub const fn name(&self) -> &'static str {
        match &self.cause {
            Cause::Code(code) => code.name(),
            Cause::Cancelled => "cancelled",
            Cause::Invalid(_) => "invalid-request",
            Cause::TooLong(_) => "answer-too-long",
            Cause::Unreadable(_) => "answer-unreadable",
        }
    }

    /// The same may go well a little later.
    pub fn is_transient(&self) -> bool {
        match &self.cause {
            Cause::Code(code) => {
                matches!(code.class(), Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
            }
            Cause::Cancelled | Cause::Invalid(_) | Cause::TooLong(_) | Cause::Unreadable(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.request)?;
        match &self.cause {
            Cause::Code(code) => f.write_str(&code.told()),
            Cause::Cancelled => Cancelled.fmt(f),
            Cause::Invalid(why) => f.write_str(why),
            Cause::TooLong(most) => write!(f, "the answer has more than {most} bytes"),
            Cause::Unreadable(why) => write!(f, "the answer cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    /// Of unknown effect if this request may have acted, or one before it in this call.
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        let error = match &failure.cause {
            Cause::Code(code) => Self::new(code.class(), code.reason(), message),
            Cause::Cancelled => Self { message, ..Cancelled.into() },
            Cause::Invalid(_) => Self::internal("InvalidRequest", message),
            Cause::TooLong(_) => Self::unknown("AnswerTooLong", message),
            Cause::Unreadable(_) => Self::unknown("AnswerUnreadable", message),
        };
        Self { effect: acted::so_far(failure.effect), ..error }
    }
}

/// A request that was made, as far as its failures need it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    text: String,
    /// The method changes nothing on the server (RFC 9110, 9.2.1).
    safe: bool,
}

impl Asked {
    pub(crate) fn new(method: &str, url: &Url) -> Self {
        let safe = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
        Self { text: format!("{method} {}", url.shown()), safe }
    }

    pub(crate) const fn is_safe(&self) -> bool {
        self.safe
    }

    /// It failed before anything of it could be sent.
    pub(crate) fn unsent(&self, cause: Cause) -> Failure {
        Failure { cause, effect: Effect::None, request: self.text.clone() }
    }

    /// It failed when it may have been with the server.
    pub(crate) fn lost(&self, cause: Cause) -> Failure {
        let effect = if self.safe { Effect::None } else { Effect::Unknown };
        if effect == Effect::Unknown {
            acted::mark();
        }
        Failure { effect, ..self.unsent(cause) }
    }

    /// It failed with a code, which says whether it may have been sent.
    pub(crate) fn failed(&self, code: ErrorCode) -> Failure {
        if code.may_be_sent() { self.lost(Cause::Code(code)) } else { self.unsent(Cause::Code(code)) }
    }

    /// It was answered. Whether the server has acted follows from the status: a refusal (4xx) stands in place of an
    /// act.
    pub(crate) fn answered(&self, status: u16) -> Effect {
        let effect = if self.safe || matches!(status, 400..=499) { Effect::None } else { Effect::Unknown };
        if effect == Effect::Unknown {
            acted::mark();
        }
        effect
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
