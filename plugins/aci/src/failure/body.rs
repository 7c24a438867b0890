//! The body of a refusal: `{"error": {code, message, target, details}}`, and what some put in its place.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Class;
use crate::secrets::Secrets;

/// So much of a message is kept; the host cuts errors after 1 KiB.
const SAID: usize = 600;
/// Details stand in details so deep at most.
const DEPTH: usize = 8;
/// What only says that something below says more.
const GENERIC: [&str; 8] = [
    "DeploymentFailed",
    "ResourceDeploymentFailure",
    "BadRequest",
    "Conflict",
    "Failed",
    "Canceled",
    "InvalidTemplateDeployment",
    "ResourceOperationFailure",
];

/// An error as the resource manager writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Detail {
    /// A word.
    #[serde(deserialize_with = "text")]
    pub(crate) code: String,
    /// A sentence.
    #[serde(deserialize_with = "text")]
    pub(crate) message: String,
    /// A field.
    #[serde(deserialize_with = "field")]
    pub(crate) target: Option<String>,
    /// What it comes of.
    #[serde(deserialize_with = "list")]
    pub(crate) details: Vec<Detail>,
}

/// Why an operation failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The most specific of its codes.
    pub code: String,
    /// In Azure's words.
    pub message: String,
}

impl Cause {
    /// What it means.
    pub fn class(&self) -> Class {
        Class::told(&self.code, &self.message).unwrap_or(Class::Unknown)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    error: Option<Detail>,
}

impl Detail {
    /// What a body says; nothing, if it is none of Azure's.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let of_azure = |body: &[u8]| {
            let envelope: Envelope = serde_json::from_slice(body).ok()?;
            // Some answer without the envelope.
            envelope.error.or_else(|| serde_json::from_slice::<Self>(body).ok()).filter(Self::says_something)
        };
        of_azure(body).unwrap_or_else(|| Self { message: plain(body), ..Self::default() })
    }

    fn says_something(&self) -> bool {
        !self.code.is_empty() || !self.message.is_empty()
    }

    /// The most specific of it and what stands below, without secrets.
    pub(crate) fn told(&self, secrets: &Secrets) -> Self {
        let Self { code, message, target, .. } = self.deepest();
        Self {
            code: secrets.scrubbed(&code),
            // Before anything of it is cut off: half a secret is found by nobody.
            message: line(&secrets.scrubbed(&message)),
            target: target.map(|target| secrets.scrubbed(&target)),
            details: Vec::new(),
        }
    }

    /// The most specific of it and what stands below.
    fn deepest(&self) -> Self {
        let mut found = self.clone();
        for _ in 0..DEPTH {
            let Some(below) = found.below() else { break };
            let target = below.target.clone().or(found.target);
            found = Self { target, ..below };
        }
        found
    }

    /// What this comes of: what stands below it, or in its message, as Azure writes the refusal of another service; none: it says
    /// what it is itself.
    fn below(&self) -> Option<Self> {
        let inner = serde_json::from_str::<Envelope>(&self.message).ok().and_then(|envelope| envelope.error);
        inner.filter(Self::says_something).or_else(|| {
            let speaks = self.details.iter().find(|detail| !detail.code.is_empty() && !detail.message.is_empty())?;
            // What stands beside a word of its own explains it, and is not the word for it.
            let is_generic = self.code.is_empty() || GENERIC.contains(&self.code.as_str());
            is_generic.then(|| speaks.clone())
        })
    }
}

/// What somebody says who is not Azure: text, but no page for people.
fn plain(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    let is_text = !text.is_empty() && !text.starts_with(['<', '{', '[']);
    if is_text { text.to_owned() } else { "no reason is given".to_owned() }
}

/// A text in one line, no longer than what is told.
pub(crate) fn line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.get(..line.floor_char_boundary(SAID)).unwrap_or_default().to_owned()
}

/// What is of another kind than it should be says nothing, and takes nothing else with it.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

fn field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Some(text(deserializer)?).filter(|field| !field.is_empty()))
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Detail>, D::Error> {
    let Value::Array(values) = Value::deserialize(deserializer)? else { return Ok(Vec::new()) };
    Ok(values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect())
}
