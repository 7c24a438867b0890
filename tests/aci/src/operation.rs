//! Long-running operations, told by two kinds of URLs.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::Answer;
use crate::config::{Behaviour, Headers};
use crate::fault::End;
use crate::group::Key;

/// All that were begun.
#[derive(Debug, Default)]
pub(crate) struct Operations(BTreeMap<String, Operation>);

/// What a client asked for and is not done at once.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) key: Key,
    /// What a `Location` answers at the end has the group in it.
    pub(crate) gives_group: bool,
    begun: jiff::Timestamp,
    /// Before that it goes on, whatever has become of it.
    not_before: Instant,
    end: Option<Result<(), End>>,
}

impl Operation {
    /// How it ended; none: it goes on.
    pub(crate) fn end(&self) -> Option<&Result<(), End>> {
        self.end.as_ref().filter(|_| self.not_before <= Instant::now())
    }

    /// What `Azure-AsyncOperation` leads to.
    pub(crate) fn status(&self, id: &str) -> Value {
        let mut body = json!({"id": id, "startTime": self.begun.to_string()});
        let (status, error) = match self.end() {
            None => ("InProgress", None),
            Some(Ok(())) => ("Succeeded", None),
            Some(Err(End { state, code, message })) => (*state, Some(json!({"code": code, "message": message}))),
        };
        if let Some(body) = body.as_object_mut() {
            body.insert("status".to_owned(), json!(status));
            body.extend(error.map(|error| ("error".to_owned(), error)));
        }
        body
    }
}

impl Operations {
    /// Begins one and returns its id.
    pub(crate) fn begin(&mut self, key: &Key, gives_group: bool, not_before: Instant) -> String {
        let id = Uuid::new_v4().to_string();
        let begun = jiff::Timestamp::now();
        self.0.insert(id.clone(), Operation { key: key.clone(), gives_group, begun, not_before, end: None });
        id
    }

    /// Ends one. What has ended stays so.
    pub(crate) fn end(&mut self, id: &str, end: Result<(), End>) {
        if let Some(operation) = self.0.get_mut(id) {
            if end.is_err() && operation.end.is_none() {
                operation.not_before = Instant::now();
            }
            operation.end.get_or_insert(end);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Operation> {
        self.0.get(id).cloned()
    }
}

/// Adds what tells a client where to ask.
pub(crate) fn told(answer: Answer, base: &str, subscription: &str, region: &str, id: &str, how: &Behaviour) -> Answer {
    let at = |kind: &str| {
        format!(
            "{base}/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/locations/{region}/{kind}/{id}?api-version=2018-06-01"
        )
    };
    let mut answer = answer;
    if matches!(how.headers, Headers::Both | Headers::AsyncOperation) {
        answer = answer.header("azure-asyncoperation", at("operations"));
    }
    if matches!(how.headers, Headers::Both | Headers::Location) {
        answer = answer.header("location", at("operationResults"));
    }
    match how.retry_after {
        Some(seconds) if how.headers != Headers::None => answer.header("retry-after", seconds.to_string()),
        _ => answer,
    }
}
