//! Why the engine did not do it.
//!
//! Docker refuses with a status that means something. Podman answers many of the same mistakes with 500, so that its
//! message is looked at too; and both tell of a failed pull in the middle of a 200.

use std::fmt;
use std::time::Duration;

use vk_provider::clock::Cancelled;
use vk_provider::{Code, Effect, Error, http, store};

use crate::dialect::{NoCommonVersion, NoVersion};
use crate::words;

/// What requests answer with.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There was no answer, or none that is whole.
    #[error(transparent)]
    Lost(#[from] http::Failure),
    /// The engine said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine speaks no version that is known here.
    #[error(transparent)]
    NoCommonVersion(#[from] NoCommonVersion),
    /// The engine does not say which version it speaks.
    #[error("{0}; is there an engine behind the endpoint?")]
    NoVersion(#[from] NoVersion),
    /// An upgrade that failed, or the host's store, which keeps the version that is spoken.
    #[error(transparent)]
    Host(#[from] Error),
    /// The engine's answer is not what its API says.
    #[error("{request}: {why}")]
    Broken {
        /// What was asked.
        request: &'static str,
        /// What is wrong with the answer.
        why: String,
    },
}

/// A no of the engine's, with its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, such as `POST …/start`.
    pub request: String,
    /// Such as 404; 200 for a pull that failed on the way.
    pub status: u16,
    /// The engine's words.
    pub message: String,
    /// Whether the engine may have acted, on this request or one before it in the call.
    pub effect: Effect,
    /// What it asked for.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.message, self.request, self.status)
    }
}

impl std::error::Error for Refusal {}

/// What Podman says, with 500, where Docker says 409: the container runs, or its name is taken, or somebody needs it.
const CONFLICTS: [&str; 5] =
    ["already in use", "is running", "state improper", "being used by", "has dependent containers"];
/// What Podman says, with 500, where Docker says 404. A file that is missing somewhere in the engine is something else.
const MISSING: [&str; 6] = [
    "no such container",
    "no such volume",
    "no such image",
    "no such exec session",
    "no such network",
    "no such object",
];

impl Refusal {
    /// What was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        self.status == 404 || (self.status == 500 && MISSING.iter().any(|missing| self.says(missing)))
    }

    /// The engine speaks the version of the API no more.
    pub(crate) fn is_outdated(&self) -> bool {
        self.status == 400 && self.says("client version")
    }

    /// The engine itself looked at what was asked and said no. Somebody between (a proxy, an authorizer) or an engine that
    /// is busy or was exchanged may say otherwise the next time.
    pub fn is_verdict(&self) -> bool {
        matches!(self.status, 400 | 404 | 409 | 500) && !self.is_outdated()
    }

    /// The state of things does not allow it.
    pub fn is_conflict(&self) -> bool {
        self.status == 409 || (self.status == 500 && CONFLICTS.iter().any(|conflict| self.says(conflict)))
    }

    /// The engine's words contain these, in any case.
    pub fn says(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(words)
    }

    /// As an error of this code and reason. What it may have done stays.
    pub fn error(self, code: Code, reason: &'static str) -> Error {
        let message = self.to_string();
        let Self { effect, retry_after, .. } = self;
        Error { effect, retry_after, ..Error::new(code, reason, message) }
    }
}

impl Failure {
    /// The engine's no, if it is one.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_not_found)
    }

    /// The state of things does not allow it.
    pub fn is_conflict(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_conflict)
    }
}

/// Nothing, where what was asked for is not there.
pub(crate) fn absent<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl From<Failure> for Error {
    /// For steps whose refusals have no meaning of their own: none of them ends a pod, as the engine's state may
    /// change.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(failure) => {
                let error = Self::from(failure);
                Self { message: words::plain(&error.message), ..error }
            }
            Failure::Host(error) => error,
            Failure::Refused(refusal) => refused(refusal),
            failure @ (Failure::NoCommonVersion(_) | Failure::NoVersion(_)) => {
                Self::failed_precondition("EngineNotSupported", failure.to_string())
            }
            failure @ Failure::Broken { .. } => Self::unknown("EngineAnswerUnreadable", failure.to_string()),
        }
    }
}

fn refused(refusal: Refusal) -> Error {
    let (code, reason) = match refusal.status {
        _ if refusal.is_not_found() => (Code::NotFound, "NotFound"),
        _ if refusal.is_conflict() => (Code::Aborted, "EngineConflict"),
        400 if refusal.is_outdated() => (Code::Unavailable, "EngineChanged"),
        401 => (Code::Unauthenticated, "EngineUnauthorized"),
        403 => (Code::PermissionDenied, "EngineForbidden"),
        429 => (Code::ResourceExhausted, "EngineBusy"),
        400..=499 => (Code::FailedPrecondition, "EngineRefused"),
        501 => (Code::Unimplemented, "EngineCannot"),
        502..=504 => (Code::Unavailable, "EngineUnavailable"),
        _ => (Code::Unknown, "EngineFailed"),
    };
    refusal.error(code, reason)
}

impl From<Cancelled> for Failure {
    fn from(cancelled: Cancelled) -> Self {
        Self::Host(cancelled.into())
    }
}

impl From<store::Failure> for Failure {
    fn from(failure: store::Failure) -> Self {
        Self::Host(failure.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, message: &str) -> Refusal {
        let (request, message) = ("POST …/x".to_owned(), message.to_owned());
        Refusal { request, status, message, effect: Effect::Unknown, retry_after: None }
    }

    #[test]
    fn the_same_mistake_is_the_same_with_both_engines() {
        for (status, message, code) in [
            (404, "No such container: x", Code::NotFound),
            (500, "no such container", Code::NotFound),
            (
                409,
                "You cannot remove a running container 4f. Stop the container before attempting removal",
                Code::Aborted,
            ),
            (
                500,
                "cannot remove container 4f as it is running - running or paused containers cannot be removed",
                Code::Aborted,
            ),
            (500, "container 4f has dependent containers which must be removed before it: 5a", Code::Aborted),
            (500, "volume v is being used by the following container(s): 4f", Code::Aborted),
            (500, "can only kill running containers. 4f is in state exited: container state improper", Code::Aborted),
            (400, "client version 1.41 is too old. Minimum supported API version is 1.44", Code::Unavailable),
            (400, "invalid mount config", Code::FailedPrecondition),
            (500, "driver failed", Code::Unknown),
            (500, "lstat /var/lib/containers/storage/overlay/4f: no such file or directory", Code::Unknown),
            (500, "no such volume", Code::NotFound),
            (503, "starting", Code::Unavailable),
        ] {
            let error = Error::from(Failure::from(refusal(status, message)));
            assert_eq!((error.code, error.effect), (code, Effect::Unknown), "{status} {message}");
            assert_eq!(error.message, format!("{message} (POST …/x: {status})"));
        }
    }

    #[test]
    fn only_the_engines_own_no_is_a_verdict() {
        for (status, message, verdict) in [
            (400, "invalid mount config", true),
            (404, "No such image: x", true),
            (409, "Conflict", true),
            (500, "driver failed", true),
            (400, "client version 1.41 is too old", false),
            (401, "who are you", false),
            (403, "authorization denied by plugin", false),
            (429, "slowly", false),
            (502, "<html>bad gateway</html>", false),
            (503, "no server is available", false),
            (504, "", false),
        ] {
            assert_eq!(refusal(status, message).is_verdict(), verdict, "{status} {message}");
        }
    }

    #[test]
    fn no_common_version_can_be_mended_and_ends_no_pod() {
        let error = Error::from(Failure::from(NoVersion("x".to_owned())));
        assert_eq!((error.code, error.field), (Code::FailedPrecondition, None));
    }
}
