//! What came of a question to Azure that was not answered as it should be, as far as others are concerned: one pod's trouble must
//! not keep the others waiting, and what is everybody's is not tried with each.

use vk_aci::{Class, Failure};
use vk_provider::{Code, Error};

use crate::orphans::TAGS_MISSING;

/// Why a question came to nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Azure answered, and what it said is of what was asked for alone.
    Own(Error),
    /// There was no answer, or not all of it.
    Lost(Error),
    /// Nothing is to be asked: Azure wants a pause or does not know who asks, or the store does not answer.
    Barred(Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let kind = match &failure {
            Failure::Refused(refusal) => match refusal.class() {
                Class::Throttled | Class::Unauthenticated => Self::Barred,
                _ if refusal.retry_after.is_some() => Self::Barred,
                _ => Self::Own,
            },
            Failure::Broken { .. } | Failure::Lacking(_) => Self::Own,
            Failure::Lost(_) => Self::Lost,
            Failure::SignIn(_) | Failure::Host(_) => Self::Barred,
        };
        kind(failure.into())
    }
}

impl From<Error> for Trouble {
    /// Of what Azure was not asked for.
    fn from(error: Error) -> Self {
        let is_own = error.code == Code::DataLoss || error.reason == TAGS_MISSING;
        if is_own { Self::Own(error) } else { Self::Barred(error) }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let (Trouble::Own(error) | Trouble::Lost(error) | Trouble::Barred(error)) = trouble;
        error
    }
}
