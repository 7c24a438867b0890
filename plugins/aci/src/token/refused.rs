//! Why there is no token.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::clock::Cancelled;
use vk_provider::{Code, Error, call, http};

/// No token. It has no secret in it, and is kept for a moment for all that ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    why: Why,
    reason: String,
    message: String,
    retry_after_ms: Option<u64>,
}

/// What an operator, or nobody, can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Why {
    /// The credentials are wrong.
    Refused,
    /// They are right and do not suffice, or the host does not grant what is needed.
    Denied,
    /// Too many ask.
    Busy,
    /// It passes.
    Unavailable,
    /// The answer is none.
    Unreadable,
    /// The host wanted the call to end: that is this call's alone.
    Cancelled,
}

impl SignIn {
    pub(super) fn new(why: Why, reason: &str, message: impl Into<String>) -> Self {
        Self { why, reason: reason.to_owned(), message: message.into(), retry_after_ms: None }
    }

    pub(super) fn after(self, time: Option<Duration>) -> Self {
        let retry_after_ms = time.and_then(|time| u64::try_from(time.as_millis()).ok());
        Self { retry_after_ms, ..self }
    }

    /// There was no answer. `hint`: what else that may mean.
    pub(super) fn lost(failure: http::Failure, hint: &str) -> Self {
        let message = format!("{failure}{hint}");
        let error = Error::from(failure);
        Self::new(Why::of(error.code), &error.reason, message)
    }

    /// It says nothing to anybody else.
    pub(super) fn is_cancelled(&self) -> bool {
        self.why == Why::Cancelled
    }

    /// What its issuer, or the host, asked for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }

    /// As an error. Nothing was done with Azure: there was no token for it.
    pub(crate) fn error(&self) -> Error {
        let code = match self.why {
            Why::Refused => Code::Unauthenticated,
            Why::Denied => Code::PermissionDenied,
            Why::Busy => Code::ResourceExhausted,
            Why::Unavailable => Code::Unavailable,
            Why::Unreadable => Code::Unknown,
            Why::Cancelled => Error::from(Cancelled).code,
        };
        let error = Error::new(code, self.reason.clone(), self.message.clone()).effect_none();
        Error { retry_after: self.retry_after(), ..error }
    }
}

impl Why {
    /// Of a failure that the host tells.
    pub(super) fn of(code: Code) -> Self {
        match code {
            Code::Cancelled | Code::DeadlineExceeded if call::cancelled() => Self::Cancelled,
            Code::PermissionDenied => Self::Denied,
            Code::Unauthenticated => Self::Refused,
            Code::ResourceExhausted => Self::Busy,
            Code::Unknown | Code::Internal | Code::DataLoss => Self::Unreadable,
            _ => Self::Unavailable,
        }
    }
}

impl fmt::Display for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SignIn {}
