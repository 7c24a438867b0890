//! One resource group, and how it is asked.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::de::DeserializeOwned;
use vk_provider::http::{self, Request, Response, encode};
use vk_provider::{Effect, call, clock};

use crate::failure::{Detail, Failure, Refusal, Result};
use crate::secrets::Secrets;
use crate::token::{self, Token};
use crate::{Account, Version, endpoint, operation};

/// So much of an answer is taken: a page of a thousand groups.
const MOST: usize = 16 << 20;
/// So much of a refusal is read.
const WORDS: usize = 64 << 10;
/// A question that got no answer is asked so often, as it changes nothing. Everything else is the host's to repeat.
const TRIES: u32 = 3;
/// The pause after the first try; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// So long the start of an answer is waited for. Calls that wait for news last longer than anybody should wait for one.
const ANSWER: Duration = Duration::from_secs(20);
/// The same of what makes, changes or removes something: as long as the host's other calls have.
const DONE: Duration = Duration::from_secs(30);
/// Pauses that Azure asks for are the host's to keep. Longer ones are not believed.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a request does with groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// It changes nothing.
    Read,
    /// It makes or changes a group as it is written.
    Write,
    /// It removes, stops or starts one.
    Act,
}

impl Does {
    /// Whether Azure may have acted on a request that it answered so. A refusal stands in place of an act; that it took
    /// too long does not.
    fn effect(self, status: u16) -> Effect {
        let refused = matches!(status, 400..=499) && status != 408;
        if self == Self::Read || refused { Effect::None } else { Effect::Unknown }
    }

    const fn patience(self) -> Duration {
        match self {
            Self::Read => ANSWER,
            Self::Write | Self::Act => DONE,
        }
    }
}

/// One resource group of one account, for one call: what its requests may have changed counts for the errors that follow.
#[derive(Debug)]
pub struct Client {
    account: Account,
    resource_group: String,
    version: Version,
    user_agent: String,
    /// A request of this client may have acted.
    acted: Cell<bool>,
}

impl Client {
    /// `user_agent_extra` stands at the end of `User-Agent`.
    pub fn new(account: Account, resource_group: String, version: Version, user_agent_extra: Option<String>) -> Self {
        let own = env!("CARGO_PKG_VERSION");
        // A header has no line breaks.
        let extra =
            user_agent_extra.unwrap_or_default().replace(|letter: char| letter.is_control() || !letter.is_ascii(), "");
        let user_agent = format!("vk-host/{own} azure/{own} {extra}").trim_end().to_owned();
        Self { account, resource_group, version, user_agent, acted: Cell::new(false) }
    }

    /// Which version of the API is spoken.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The URL of a path below the resource group's container groups, which begins with `/` or is empty.
    pub(crate) fn groups_url(&self, path: &str) -> String {
        let group = encode(&self.resource_group);
        self.url(&format!("/resourceGroups/{group}/providers/Microsoft.ContainerInstance/containerGroups{path}"))
    }

    fn url(&self, path: &str) -> String {
        let Account { cloud, subscription, .. } = &self.account;
        format!("{}/subscriptions/{}{path}", cloud.resource_manager.trim_end_matches('/'), encode(subscription))
    }

    /// A request with the version in its query.
    pub(crate) fn request(&self, method: &str, url: &str) -> Request {
        Request::new(method, url).query("api-version", self.version.as_str())
    }

    /// Whether a token may go along to a URL that Azure gave.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn trusted(&self, url: &str) -> Result<(), String> {
        let there = &self.account.cloud.resource_manager;
        if endpoint::is_below(there, url) { Ok(()) } else { Err(operation::elsewhere(url, there)) }
    }

    /// Sends a request with a token, and with another one if that was refused.
    ///
    /// # Errors
    /// There was no token or no answer, or Azure said no.
    pub(crate) fn send(&self, does: Does, request: &Request) -> Result<Response> {
        self.send_hiding(does, request, Secrets::default)
    }

    /// As [`Client::send`], for a request that has secrets: no refusal repeats them. They are gathered if there is one.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn send_hiding(
        &self,
        does: Does,
        request: &Request,
        secrets: impl FnOnce() -> Secrets,
    ) -> Result<Response> {
        let acted = self.acted.get();
        let result = self.exchange(does, request, secrets);
        if acted { result.map_err(Failure::after_act) } else { result }
    }

    fn exchange(&self, does: Does, request: &Request, secrets: impl FnOnce() -> Secrets) -> Result<Response> {
        let token = token::get(&self.account)?;
        let mut response = self.with_token(does, request, &token)?;
        if response.status == 401
            && let Some(token) = token::another(&self.account, &token)?
        {
            response = self.with_token(does, request, &token)?;
        }
        if response.is_success() { Ok(response) } else { Err(refusal(does, request, response, &secrets())) }
    }

    fn with_token(&self, does: Does, request: &Request, token: &Token) -> Result<Response> {
        let whole = request
            .clone()
            .bearer(token.expose())
            .header("accept", "application/json")
            .header("user-agent", self.user_agent.as_str())
            .header("x-ms-client-request-id", request_id())
            .answer_within(does.patience());
        let outcome = if does == Does::Read { repeated(&whole) } else { whole.send() };
        let effect = match &outcome {
            Ok(response) => does.effect(response.status),
            Err(failure) => failure.effect,
        };
        if effect == Effect::Unknown {
            self.acted.set(true);
        }
        outcome.map_err(Failure::Lost)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// As [`Client::send`], or the answer is not what is expected.
    pub(crate) fn read<T: DeserializeOwned>(&self, does: Does, request: &Request) -> Result<T> {
        let body = self.bytes(self.send(does, request)?, MOST)?;
        self.parsed(request, &body)
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// It broke off, or is longer.
    pub(crate) fn bytes(&self, response: Response, most: usize) -> Result<Vec<u8>> {
        response.body.bytes(most).map_err(|failure| self.lost(failure))
    }

    /// # Errors
    /// It is not what is expected.
    pub(crate) fn parsed<T: DeserializeOwned>(&self, request: &Request, body: &[u8]) -> Result<T> {
        // What serde says of a value may be the value.
        let why = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            self.broken(request, format!("the answer is not what the API says, at line {line}, column {column}"))
        };
        serde_json::from_slice(body).map_err(why)
    }

    /// An answer that is wrong.
    pub(crate) fn broken(&self, request: &Request, why: String) -> Failure {
        let effect = if self.acted.get() { Effect::Unknown } else { Effect::None };
        Failure::Broken { request: format!("{request:?}"), why, effect }
    }

    fn lost(&self, failure: http::Failure) -> Failure {
        let failure = Failure::Lost(failure);
        if self.acted.get() { failure.after_act() } else { failure }
    }
}

/// Sends a request that changes nothing, again if there was no answer or one that passes at once.
fn repeated(request: &Request) -> Result<Response, http::Failure> {
    let mut number = 1;
    loop {
        let outcome = request.send();
        let again = match &outcome {
            Ok(response) => matches!(response.status, 500 | 502..=504) && asked_pause(response).is_none(),
            // Who did not answer in all that time is the host's to ask again.
            Err(failure) => {
                let is_over = matches!(failure.name(), "connection-limit-reached" | "HTTP-response-timeout");
                failure.is_transient() && !is_over
            }
        };
        let pause = PAUSE * number;
        let is_time = call::remaining().is_none_or(|left| pause < left);
        if !again || number >= TRIES || !is_time || clock::sleep(pause).is_err() {
            return outcome;
        }
        number += 1;
    }
}

/// Azure's no, in its own words.
fn refusal(does: Does, request: &Request, response: Response, secrets: &Secrets) -> Failure {
    let (status, effect, retry_after) = (response.status, does.effect(response.status), asked_pause(&response));
    let header = |name: &str| response.headers.get(name).map(str::to_owned);
    let request_id = header("x-ms-correlation-request-id").or_else(|| header("x-ms-request-id"));
    let words = response.body.bytes(WORDS).unwrap_or_default();
    let Detail { code, message, target, .. } = Detail::parse(&words).told(secrets);
    Failure::Refused(Box::new(Refusal {
        request: format!("{request:?}"),
        status,
        code,
        message,
        target,
        retry_after,
        effect,
        request_id,
        writes: does == Does::Write,
    }))
}

/// What Azure asks to wait: two headers of its own say it in milliseconds.
pub(crate) fn asked_pause(response: &Response) -> Option<Duration> {
    let headers = &response.headers;
    let millis =
        ["retry-after-ms", "x-ms-retry-after-ms"].iter().find_map(|name| headers.get(name)?.trim().parse().ok());
    millis.map(|millis| Duration::from_millis(millis).min(LONGEST)).or_else(|| headers.retry_after())
}

/// A random id (RFC 9562, version 4), which support asks for. The standard library's hashes begin with random numbers.
fn request_id() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    let id = (u128::from(random()) << 64) | u128::from(random());
    let id = (id & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{id:032x}");
    let parts: Vec<&str> =
        [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|part| digits.get(part)).collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_and_of_version_4() {
        let id = request_id();
        assert_ne!(id, request_id());
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        let letters: Vec<char> = id.chars().collect();
        assert!(letters[14] == '4' && "89ab".contains(letters[19]), "{id}");
    }
}
