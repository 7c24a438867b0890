//! Counts what an engine is asked for: calls by method and path, without the names of single objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::engine::proxy::{Asked, Fault};

/// Parts of a path that are no object's name, where one could stand.
const WORDS: [&str; 2] = ["create", "json"];
/// What is asked however many pods there are: the node's own state, and its news, one stream after the other.
const OF_THE_NODE: [&str; 4] = ["GET /_ping", "GET /info", "GET /version", "GET /events"];

/// Counts, behind a proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Arc<Mutex<Calls>>);

/// How often each call was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Calls(BTreeMap<String, u32>);

impl Counter {
    /// Takes note of a call, and lets it through.
    pub(super) fn note(&self, asked: &Asked) -> Fault {
        *self.calls().0.entry(shape(asked)).or_default() += 1;
        Fault::None
    }

    /// What was counted since it was asked last.
    pub(super) fn take(&self) -> Calls {
        std::mem::take(&mut *self.calls())
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    /// All for pods.
    pub(super) fn for_pods(&self) -> impl Iterator<Item = (&str, u32)> {
        self.all().filter(|(shape, _)| !OF_THE_NODE.contains(shape))
    }

    /// All.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(shape, count)| (shape.as_str(), *count))
    }

    /// Of one.
    pub(super) fn of(&self, shape: &str) -> u32 {
        self.0.get(shape).copied().unwrap_or_default()
    }

    /// How many calls for pods one side has made and the other has not.
    pub(super) fn differ(&self, other: &Self) -> u32 {
        let shapes: BTreeSet<&str> = self.for_pods().chain(other.for_pods()).map(|(shape, _)| shape).collect();
        shapes.into_iter().map(|shape| self.of(shape).abs_diff(other.of(shape))).sum()
    }
}

/// `GET /containers/4f2a/json` as `GET /containers/ID/json`.
fn shape(asked: &Asked) -> String {
    let parts = asked.path.trim_start_matches('/').split('/').enumerate();
    let parts = parts.map(|(index, part)| if index == 1 && !WORDS.contains(&part) { "ID" } else { part });
    format!("{} /{}", asked.method, parts.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn calls(all: &[(Method, &str)]) -> Calls {
        let counter = Counter::default();
        for (method, path) in all {
            let asked = Asked { number: 0, method: method.clone(), path: (*path).to_owned() };
            assert_eq!(counter.note(&asked), Fault::None);
        }
        counter.take()
    }

    #[test]
    fn calls_of_one_kind_are_counted_together() {
        let calls = calls(&[
            (Method::GET, "/containers/json"),
            (Method::GET, "/containers/4f/json"),
            (Method::GET, "/containers/5a/json"),
            (Method::POST, "/containers/create"),
            (Method::DELETE, "/containers/4f"),
            (Method::GET, "/images/a%2Fb:1/json"),
            (Method::GET, "/volumes"),
            (Method::GET, "/_ping"),
        ]);
        let all: Vec<_> = calls.all().collect();
        assert_eq!(
            all,
            [
                ("DELETE /containers/ID", 1),
                ("GET /_ping", 1),
                ("GET /containers/ID/json", 2),
                ("GET /containers/json", 1),
                ("GET /images/ID/json", 1),
                ("GET /volumes", 1),
                ("POST /containers/create", 1),
            ]
        );
    }

    #[test]
    fn what_one_side_does_more_is_a_difference_and_the_nodes_own_is_not() {
        let one = calls(&[(Method::GET, "/volumes"), (Method::GET, "/volumes"), (Method::GET, "/_ping")]);
        let other = calls(&[(Method::GET, "/volumes"), (Method::GET, "/containers/json"), (Method::GET, "/events")]);
        assert_eq!((one.differ(&other), other.differ(&one), one.differ(&one)), (2, 2, 0));
    }
}
