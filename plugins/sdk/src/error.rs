//! Why a call failed, as the host needs to know it: it decides about retry, pod reason, event and metric label from this alone.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use crate::bindings::imports::virtual_kubelet::provider::types::{Code, Effect};

use crate::bindings::imports::virtual_kubelet::provider::types;

/// What every provider function answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call. Made by the constructor of its code and refined:
///
/// ```
/// use std::time::Duration;
/// use vk_provider::Error;
///
/// let busy = Error::unavailable("BackendBusy", "the backend does not take requests while it is upgraded")
///     .retry_after(Duration::from_secs(5))
///     .effect_none();
/// assert_eq!(busy.to_string(), "BackendBusy: the backend does not take requests while it is upgraded");
/// ```
///
/// Whether the backend may have acted follows from the code, unless it is said. A refusal stands in place of an act: none. Whoever was
/// cut off, or was not answered, cannot know: unknown, and the host looks before it repeats. A call that did something *before* it
/// was refused has to say so with [`Error::effect_unknown`]; one that failed before it did anything spares the host a look with
/// [`Error::effect_none`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One of gRPC's sixteen codes.
    pub code: Code,
    /// CamelCase and stable: the pod's reason, the event's reason, the metric label.
    pub reason: Cow<'static, str>,
    /// One sentence for a person. Never a secret.
    pub message: String,
    /// The field that cannot be served, such as `spec.containers[0].image`.
    pub field: Option<String>,
    /// What the backend asked for.
    pub retry_after: Option<Duration>,
    /// Whether the backend may have acted.
    pub effect: Effect,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $name(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
            Self::new(Code::$code, reason, message)
        })*
    };
}

impl Error {
    /// An error of any code, with the effect that follows from it.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Self { code, reason, message, field: None, retry_after: None, effect: effect_of(code) }
    }

    constructors! {
        /// The host wanted the call to end. Retried; effect unknown.
        cancelled => Cancelled,
        /// The backend said something that is not understood. Retried slowly; effect unknown.
        unknown => Unknown,
        /// The pod cannot be run as it is written. On create it ends the pod.
        invalid_argument => InvalidArgument,
        /// The backend did not answer in time. Retried; effect unknown.
        deadline_exceeded => DeadlineExceeded,
        /// There is no such thing. Success for a delete.
        not_found => NotFound,
        /// It is there already. On create the host looks.
        already_exists => AlreadyExists,
        /// The credentials do not suffice. Retried slowly.
        permission_denied => PermissionDenied,
        /// A quota or a rate limit. Retried.
        resource_exhausted => ResourceExhausted,
        /// The state does not allow it. With a field, it ends the pod on create.
        failed_precondition => FailedPrecondition,
        /// A conflict with another call. Retried; effect unknown.
        aborted => Aborted,
        /// A cursor or value is outside of what there is. On create it ends the pod.
        out_of_range => OutOfRange,
        /// The backend cannot do this. On create it ends the pod. Never a silent success.
        unimplemented => Unimplemented,
        /// A mistake of the provider itself. Retried slowly; effect unknown.
        internal => Internal,
        /// The backend is not to be reached. Retried; effect unknown.
        unavailable => Unavailable,
        /// What was stored is broken. Retried slowly; effect unknown.
        data_loss => DataLoss,
        /// The credentials are not accepted. Retried slowly.
        unauthenticated => Unauthenticated,
    }

    /// Names the field that cannot be served.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// What the backend asked for.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The backend may have acted: the host looks before it repeats the call.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// Surely nothing was done, neither by what failed nor by the call before it: the host may repeat it without a look.
    #[must_use]
    pub fn effect_none(mut self) -> Self {
        self.effect = Effect::None;
        self
    }
}

/// What the failure of a code leaves open as long as nobody says more. Too cautious costs a look, too bold a second workload.
const fn effect_of(code: Code) -> Effect {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Effect::None,
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Effect::Unknown,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)?;
        self.field.as_ref().map_or(Ok(()), |field| write!(f, " ({field})"))
    }
}

impl std::error::Error for Error {}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        let Error { code, reason, message, field, retry_after, effect } = error;
        Self {
            code,
            reason: reason.into_owned(),
            message,
            field,
            retry_after_ms: retry_after.map(crate::time::millis),
            effect,
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        let types::Error { code, reason, message, field, retry_after_ms, effect } = error;
        Self {
            code,
            reason: reason.into(),
            message,
            field,
            retry_after: retry_after_ms.map(Duration::from_millis),
            effect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_the_boundary_whole() {
        let error = Error::resource_exhausted("QuotaExceeded", "no more cores")
            .field("spec.containers[0].resources")
            .retry_after(Duration::from_millis(1500))
            .effect_unknown();
        let there: types::Error = error.clone().into();
        assert_eq!((there.retry_after_ms, there.effect), (Some(1500), Effect::Unknown));
        assert_eq!(Error::from(there), error);
    }

    #[test]
    fn who_does_not_know_what_happened_says_so_without_being_told_to() {
        assert_eq!(Error::invalid_argument("NoGpu", "no").effect, Effect::None);
        assert_eq!(Error::resource_exhausted("Throttled", "later").effect, Effect::None);
        for cut_off in [
            Error::unavailable("R", "m"),
            Error::deadline_exceeded("R", "m"),
            Error::internal("R", "m"),
            crate::clock::Cancelled.into(),
            crate::store::Failure::Quota.into(),
        ] {
            assert_eq!(cut_off.effect, Effect::Unknown, "{cut_off}");
        }
        assert_eq!(Error::unavailable("R", "m").effect_none().effect, Effect::None);
    }
}
