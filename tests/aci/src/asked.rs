//! A request, as handlers see it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::answer::Answer;
use crate::fault::Plan;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Decoded segments of the path.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body is longer than anybody takes, and left out.
    pub(crate) is_too_long: bool,
    /// What the body says, where the schema has a say in it; else null.
    pub(crate) content: Result<Value, Answer>,
    /// `https://HOST:PORT`, as the client calls this server.
    pub(crate) base: String,
    /// What is to become of the operation that this begins.
    pub(crate) plan: Plan,
}

impl Asked {
    /// A parameter of the query; names have no case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The path's segments in lower case: fixed parts of ARM's paths have no case.
    pub(crate) fn lower(&self) -> Vec<String> {
        self.path.iter().map(|segment| segment.to_lowercase()).collect()
    }

    /// The path as one text.
    pub(crate) fn whole_path(&self) -> String {
        format!("/{}", self.path.join("/"))
    }

    /// A segment as it was written.
    pub(crate) fn segment(&self, index: usize) -> String {
        self.path.get(index).cloned().unwrap_or_default()
    }
}
