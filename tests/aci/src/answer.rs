//! What is answered, and how Azure says no.

use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

/// What a handler comes to. A refusal is an answer too.
pub(crate) type Outcome = Result<Answer, Answer>;

impl Answer {
    /// Without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { body: Some(body), ..Self::empty(status) }
    }

    /// A refusal, as the resource manager and its providers say it.
    pub(crate) fn refusal(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self::json(status, json!({"error": {"code": code, "message": message.into()}}))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A request that is not what it should be.
pub(crate) fn bad(code: &str, message: impl Into<String>) -> Answer {
    Answer::refusal(400, code, message)
}
