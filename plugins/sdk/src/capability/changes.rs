//! News of pods, asked for by the host, which keeps the cursor.

use std::time::Duration;

pub use crate::bindings::changes::exports::virtual_kubelet::provider::changes::Scope;

use crate::bindings::changes::exports::virtual_kubelet::provider::changes as wit;
use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::pod::{ObservedPod, PodRef};
use crate::{Code, Error, Result, store};

/// What happened since the cursor, at most 500 pods or 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What it says of the pods that are not in it.
    pub scope: Scope,
    /// Pods with their new status.
    pub changed: Vec<ObservedPod>,
    /// Pods to look at again.
    pub touched: Vec<PodRef>,
    /// The node's capacity or conditions changed.
    pub node_changed: bool,
    /// Where the next call goes on.
    pub cursor: Option<String>,
    /// The earliest time for the next call; zero: at once.
    pub again_after: Duration,
}

impl Batch {
    /// Nothing happened; the next call goes on from here.
    pub const fn empty(scope: Scope, cursor: Option<String>) -> Self {
        Self {
            scope,
            changed: Vec::new(),
            touched: Vec::new(),
            node_changed: false,
            cursor,
            again_after: Duration::ZERO,
        }
    }
}

/// News of pods instead of listing.
pub trait Changes {
    /// Returns at the first change or after `wait`, whichever comes first. Without a cursor: a full list, without waiting. Nothing may
    /// be lost when the call is dropped or its answer is: the host asks again with the cursor that it has.
    ///
    /// # Errors
    /// `out-of-range` for an outworn cursor: the host starts over. [`store::Failure::Outworn`] becomes that by itself. After any other
    /// error the host keeps its cursor, lists once and asks again.
    fn next(cursor: Option<String>, wait: Duration) -> Result<Batch>;
}

impl<T: Changes> wit::Guest for T {
    fn next(cursor: Option<String>, wait_ms: u32) -> Result<wit::Batch, types::Error> {
        let batch = <T as Changes>::next(cursor, Duration::from_millis(wait_ms.into())).map_err(about_the_cursor)?;
        let Batch { scope, changed, touched, node_changed, cursor, again_after } = batch;
        let again_after_ms = u32::try_from(again_after.as_millis()).unwrap_or(u32::MAX);
        Ok(wit::Batch { scope, changed, touched, node_changed, cursor, again_after_ms })
    }
}

/// Elsewhere an outworn revision of the store is a reason to try again; here it is the cursor that is outworn.
fn about_the_cursor(error: Error) -> Error {
    if error.reason == store::OUTWORN { Error { code: Code::OutOfRange, ..error } } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outworn_revision_is_an_outworn_cursor() {
        assert_eq!(about_the_cursor(store::Failure::Outworn.into()).code, Code::OutOfRange);
        assert_eq!(about_the_cursor(store::Failure::Unavailable("x".to_owned()).into()).code, Code::Unavailable);
    }
}
