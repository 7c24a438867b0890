//! What went by, for tests to count.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// A request and its answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Since the fake's start, in milliseconds.
    pub at: u64,
    /// HTTP's.
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    /// As it was written.
    pub query: String,
    /// Of the answer; 0: there was none.
    pub status: u16,
    /// Code of the error in the answer, or empty.
    pub code: String,
    /// `User-Agent`.
    pub user_agent: String,
}

/// Something about a request's body that Microsoft's schema forbids.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// `PUT /subscriptions/…`.
    pub request: String,
    /// Where in the body, as a JSON pointer.
    pub place: String,
    /// What is wrong, without the value.
    pub what: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<Violation>,
    /// Groups that were made, by their tag `UID`.
    pub(crate) made: BTreeMap<String, u32>,
}

impl Record {
    /// Requests since `since` after the start that are as `is` says.
    pub(crate) fn count(&self, since: Duration, is: impl Fn(&Request) -> bool) -> usize {
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.requests.iter().filter(|request| request.at >= since && is(request)).count()
    }
}
