//! Work that goes on after the answer.
//!
//! Two headers tell where one asks how far it is, and `Azure-AsyncOperation` counts before `Location`. The first answers
//! `{status, error}`; the second 202 while it goes on, and at the end what the request would have answered. One that leads anywhere
//! else than to the resource manager is not asked, as a token goes along: what it is about is accepted all the same, and tells itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vk_provider::http::{Headers, Request, Response};
use vk_provider::log;
use vk_provider::store::{self, Expect};

use crate::client::{Client, Does, asked_pause};
use crate::endpoint::{self, shown};
use crate::failure::{Cause, Class, Detail, Failure, Refusal, Result, line};
use crate::group::ProvisioningState;
use crate::scrub::scrubbed;
use crate::secrets::Secrets;

/// So much of an answer is taken.
const MOST: usize = 4 << 20;
/// The code of work that a later request has put an end to: it means busy elsewhere.
const PREEMPTED: &str = "OperationPreempted";
/// That operations are not followed was told. No group is called so.
pub(crate) const TOLD: &str = "told/operations/elsewhere";
/// It is not told again before.
const SILENCE: Duration = Duration::from_secs(3600);

/// Where one asks how far it is. It can be kept, and asked from another call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// As Azure gave it.
    pub url: String,
    /// What it answers.
    pub kind: Kind,
}

/// What a URL answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `{status, error}`, from `Azure-AsyncOperation`.
    AsyncOperation,
    /// 202 until it is done, from `Location`.
    Location,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Running {
        /// What Azure asks to wait before the next question.
        after: Option<Duration>,
    },
    /// It is done.
    Succeeded,
    /// It came to nothing, or somebody ended it (`Canceled`).
    Failed(Cause),
}

impl Operation {
    /// What an answer's headers tell; none: nothing goes on, or what goes on tells itself, as its URL leads elsewhere.
    pub(crate) fn of(headers: &Headers, client: &Client) -> Option<Self> {
        let named = [("azure-asyncoperation", Kind::AsyncOperation), ("location", Kind::Location)];
        let there = named.into_iter().filter_map(|(name, kind)| Some((headers.get(name)?.trim(), kind)));
        there.filter(|(url, _)| !url.is_empty()).find_map(|(url, kind)| match client.trusted(url) {
            Ok(()) => Some(Self { url: url.to_owned(), kind }),
            Err(why) => {
                tell_once(&why);
                None
            }
        })
    }
}

/// Tells the log, once in a while for all calls: it is so with every answer of a resource manager behind another name.
fn tell_once(why: &str) {
    // Without a store it is told each time.
    let was_told =
        store::put_bytes(TOLD, b"", Expect::Absent, Some(SILENCE)).is_err_and(|failure| failure.is_conflict());
    if !was_told {
        log!("an operation is not followed, and the container group is looked at in its place: {why}");
    }
}

/// `{status, error}`, and what Container Instances puts besides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    status: Option<String>,
    error: Option<Detail>,
    properties: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    name: String,
    message: String,
}

impl Client {
    /// Asks how far an operation is.
    ///
    /// # Errors
    /// There was no answer, Azure said no, or the operation is forgotten (not found): then the group itself tells.
    pub fn progress(&self, operation: &Operation) -> Result<Progress> {
        let request = Request::get(&operation.url);
        self.trusted(&operation.url).map_err(|why| self.broken(&request, why))?;
        match self.send(Does::Read, &request) {
            Ok(response) => match operation.kind {
                Kind::AsyncOperation => self.status(&request, response),
                Kind::Location => self.located(&request, response),
            },
            Err(Failure::Refused(refusal)) if operation.kind == Kind::Location => refused(*refusal),
            Err(failure) => Err(failure),
        }
    }

    fn status(&self, request: &Request, response: Response) -> Result<Progress> {
        let (after, pending) = (asked_pause(&response), response.status == 202);
        let body = self.bytes(response, MOST)?;
        let status: Status = match self.parsed(request, &body) {
            Err(_) if pending => Status::default(),
            status => status?,
        };
        let word = status.status.as_deref().map(ProvisioningState::from);
        match word {
            Some(ProvisioningState::Succeeded) => Ok(Progress::Succeeded),
            Some(end @ (ProvisioningState::Failed | ProvisioningState::Canceled)) => {
                Ok(Progress::Failed(status.cause(end.as_str())))
            }
            // Whatever other word: it goes on.
            Some(_) => Ok(Progress::Running { after }),
            None if pending => Ok(Progress::Running { after }),
            None => Err(self.broken(request, "the answer has no status".to_owned())),
        }
    }

    fn located(&self, request: &Request, response: Response) -> Result<Progress> {
        let after = asked_pause(&response);
        if response.status == 202 {
            return Ok(Progress::Running { after });
        }
        let body = self.bytes(response, MOST)?;
        // A removal ends with no content.
        let group: Value = if body.is_empty() { Value::Null } else { self.parsed(request, &body)? };
        let state = group.pointer("/properties/provisioningState").and_then(Value::as_str).unwrap_or_default();
        match ProvisioningState::from(state) {
            // A URL that is the group's own answers so from the start.
            ProvisioningState::Accepted
            | ProvisioningState::Pending
            | ProvisioningState::Creating
            | ProvisioningState::Updating
            | ProvisioningState::Deleting => Ok(Progress::Running { after }),
            ProvisioningState::Failed | ProvisioningState::Canceled => {
                let properties = group.get("properties").and_then(|properties| properties.get("instanceView")).cloned();
                Ok(Progress::Failed(Status { properties, ..Status::default() }.cause(state)))
            }
            _ => Ok(Progress::Succeeded),
        }
    }
}

impl Status {
    /// The most specific of what is said: an error's, or the name of the last event where the error says no more than that it failed.
    fn cause(self, word: &str) -> Cause {
        let Detail { code, message, .. } = self.error.unwrap_or_default().told(&Secrets::default());
        let events = self.properties.as_ref().and_then(|properties| properties.get("events")).cloned();
        let events: Vec<Event> = events.and_then(|events| serde_json::from_value(events).ok()).unwrap_or_default();
        let last = events.into_iter().rev().find(|event| !event.name.is_empty() && !event.message.is_empty());
        let is_generic = code.is_empty() || code.eq_ignore_ascii_case(word);
        let (code, message) = match last {
            Some(event) if is_generic => (
                event.name.trim_end_matches('.').to_owned(),
                if message.is_empty() { line(&scrubbed(&event.message)) } else { message },
            ),
            _ if code.is_empty() => (word.to_owned(), message),
            _ => (code, message),
        };
        let message = if message.is_empty() { "Azure does not say why".to_owned() } else { message };
        Cause { code, message }
    }
}

/// What a refusal at a `Location` tells. The end of the work is the answer to the request that began it; but what is asked there may
/// also find the group busy, or be one question too many.
fn refused(refusal: Refusal) -> Result<Progress> {
    let Refusal { status, code, message, retry_after, .. } = &refusal;
    let cause = Cause { code: code.clone(), message: message.clone() };
    let is_answer = matches!(status, 400 | 409 | 412 | 422);
    match cause.class() {
        Class::Throttled => Err(Failure::Refused(Box::new(refusal))),
        Class::Busy if is_answer && !code.eq_ignore_ascii_case(PREEMPTED) => {
            Ok(Progress::Running { after: *retry_after })
        }
        _ if is_answer => Ok(Progress::Failed(cause)),
        _ => Err(Failure::Refused(Box::new(refusal))),
    }
}

/// For a sentence about a URL that leads elsewhere.
pub(crate) fn elsewhere(url: &str, resource_manager: &str) -> String {
    let there = match shown(url) {
        "" => "a URL without a host".to_owned(),
        host => format!("{host:?}"),
    };
    let own = endpoint::origin(resource_manager).unwrap_or_default();
    format!("the answer leads to {there}, which is not the resource manager {own:?}; no token is sent there")
}
