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

/// Something about a request that Microsoft's schema forbids, or the least roles of a provider of ours.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// `PUT /subscriptions/…`.
    pub request: String,
    /// Where in the body, as a JSON pointer; or `path`, `method`, `query parameter NAME`.
    pub place: String,
    /// What is wrong, without the value.
    pub what: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<Violation>,
    /// Groups that were made, by the tag `UID` of what was put; and so on.
    pub(crate) made: BTreeMap<String, u32>,
    pub(crate) changed: BTreeMap<String, u32>,
    pub(crate) conflicts: BTreeMap<String, u32>,
}

/// What became of a group that was put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put {
    /// There was none of this name.
    Made,
    /// There was one, which is otherwise now.
    Changed,
    /// There was one, which stays as it was.
    Refused,
}

impl Record {
    /// Counts a group that was put, if it has a tag `UID`.
    pub(crate) fn put(&mut self, uid: Option<&str>, put: Put) {
        let Some(uid) = uid else { return };
        let counts = match put {
            Put::Made => &mut self.made,
            Put::Changed => &mut self.changed,
            Put::Refused => &mut self.conflicts,
        };
        *counts.entry(uid.to_owned()).or_default() += 1;
    }

    /// Requests since `since` after the start that are as `is` says.
    pub(crate) fn count(&self, since: Duration, is: impl Fn(&Request) -> bool) -> usize {
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.requests.iter().filter(|request| request.at >= since && is(request)).count()
    }
}
