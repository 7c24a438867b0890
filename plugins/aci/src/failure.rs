//! Why Azure did not do it.
//!
//! A refusal has a status, and a code that says more than the status; [`Class`] is what both mean. Of an [`Error`] that
//! is made of it the host decides by the code alone: what an operator can mend, or what passes, ends no pod.

mod body;
mod class;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use vk_provider::clock::Cancelled;
use vk_provider::{Code, Effect, Error, http, store};

pub use body::Cause;
pub(crate) use body::{Detail, line};
pub use class::Class;

use crate::token::SignIn;
use crate::version::Lack;

/// What requests answer with.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There was no answer, or none that is whole.
    #[error(transparent)]
    Lost(http::Failure),
    /// Azure said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// There is no token to ask with.
    #[error(transparent)]
    SignIn(SignIn),
    /// The store, which keeps the token, or the call itself.
    #[error(transparent)]
    Host(Error),
    /// The answer is not what the API says.
    #[error("{request}: {why}")]
    Broken {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        why: String,
        /// Whether Azure may have acted.
        effect: Effect,
    },
    /// A group has a field that the version of the API lacks.
    #[error(transparent)]
    Lacking(Lack),
}

/// A no of Azure's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, such as `PUT https://…`.
    pub request: String,
    /// Such as 409.
    pub status: u16,
    /// The most specific of its codes; empty: none, as when a proxy in between answers.
    pub code: String,
    /// In its words.
    pub message: String,
    /// The field that it is about, as Azure calls it.
    pub target: Option<String>,
    /// What it asked for.
    pub retry_after: Option<Duration>,
    /// Whether Azure may have acted, on this request or one before it in the call.
    pub effect: Effect,
    /// What support wants to know.
    pub request_id: Option<String>,
    /// The request would have made or changed a group: what is wrong with it is wrong with the pod.
    pub(crate) writes: bool,
}

impl Refusal {
    /// What it means.
    pub fn class(&self) -> Class {
        Class::of(self.status, &self.code, &self.message)
    }

    /// What was asked for is surely not there: Azure says so of the thing itself, not of its resource group or
    /// subscription, and no proxy says so in its place.
    pub fn is_absent(&self) -> bool {
        self.status == 404 && self.class() == Class::Absent
    }

    /// What mends it, where Azure does not say.
    fn hint(&self) -> &'static str {
        match self.code.as_str() {
            "SubscriptionNotRegistered" | "MissingSubscriptionRegistration" => {
                "; register it once: az provider register --namespace Microsoft.ContainerInstance"
            }
            "ResourceGroupNotFound" => "; make it, or name another: az group create --name NAME --location REGION",
            "AuthorizationFailed" if self.request.contains("/providers/Microsoft.ContainerInstance/locations/") => {
                "; a role with Microsoft.ContainerInstance/locations/*/read on the subscription shows how far operations are"
            }
            "AuthorizationFailed" => {
                "; a role with Microsoft.ContainerInstance/containerGroups/* on the resource group suffices"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, status, code, message, request_id, .. } = self;
        let code = if code.is_empty() { String::new() } else { format!("{code}: ") };
        write!(f, "{request}: {code}{message}{} ({status}", self.hint())?;
        match request_id {
            Some(id) => write!(f, ", request {id})"),
            None => f.write_str(")"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Failure {
    /// Azure's no, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What was asked for is surely not there.
    pub fn is_absent(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_absent)
    }

    /// In a call that may have acted before, nothing is of effect `none` any more.
    pub(crate) fn after_act(mut self) -> Self {
        match &mut self {
            Self::Lost(failure) => failure.effect = Effect::Unknown,
            Self::Refused(refusal) => refusal.effect = Effect::Unknown,
            Self::Host(error) => error.effect = Effect::Unknown,
            Self::Broken { effect, .. } => *effect = Effect::Unknown,
            Self::SignIn(sign_in) => return Self::Host(sign_in.error().effect_unknown()),
            Self::Lacking(_) => {}
        }
        self
    }
}

/// Nothing, where what was asked for is not there.
pub(crate) fn absent<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_absent() => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            // The SDK counts the request for a token as one that may have acted.
            Failure::Lost(failure) => Self { effect: failure.effect, ..failure.into() },
            Failure::Refused(refusal) => refused(*refusal),
            Failure::SignIn(sign_in) => sign_in.error(),
            Failure::Host(error) => error,
            Failure::Broken { effect, .. } => {
                Self { effect, ..Self::unknown("AzureAnswerUnreadable", failure.to_string()) }
            }
            Failure::Lacking(lack) => Self::unimplemented("ApiVersionTooOld", lack.to_string()).field(lack.field),
        }
    }
}

fn refused(refusal: Refusal) -> Error {
    let class = refusal.class();
    // What is wrong with a request that reads or removes is not wrong with the pod.
    let code = match class.code() {
        Code::InvalidArgument if !refusal.writes => Code::FailedPrecondition,
        code => code,
    };
    let message = refusal.to_string();
    let Refusal { code: word, target, effect, retry_after, .. } = refusal;
    let error = Error { effect, retry_after, ..Error::new(code, class.reason(&word), message) };
    match target.filter(|_| code == Code::InvalidArgument) {
        Some(target) => error.field(target),
        None => error,
    }
}

impl From<SignIn> for Failure {
    fn from(sign_in: SignIn) -> Self {
        Self::SignIn(sign_in)
    }
}

impl From<Cancelled> for Failure {
    /// While waiting: nothing was done.
    fn from(cancelled: Cancelled) -> Self {
        Self::Host(Error::from(cancelled).effect_none())
    }
}

impl From<store::Failure> for Failure {
    /// Of the store that keeps the token: nothing was done with Azure.
    fn from(failure: store::Failure) -> Self {
        Self::Host(Error::from(failure).effect_none())
    }
}
