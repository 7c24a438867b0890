//! One engine, and how it is asked.

use std::time::Duration;

use serde::de::DeserializeOwned;
use vk_provider::http::{Body, Endpoint, Request, Response, encode};
use vk_provider::store::{self, Expect};

use crate::dialect::{self, Dialect, Version};
use crate::failure::{Failure, Refusal, Result};
use crate::{system, words};

/// How long a version that was agreed on is taken for granted. An engine that was exchanged refuses it, and then it is
/// asked again.
const AGREED: Duration = Duration::from_secs(600);
/// So much of an answer is taken: a list of thousands of containers with their labels.
const MOST: usize = 16 << 20;
/// So much of a refusal is read. An engine repeats what it does not understand, such as a script for a program's name.
const WORDS: usize = 512 << 10;

/// An engine that can be asked.
#[derive(Clone, Debug)]
pub struct Engine {
    name: String,
    endpoint: Endpoint,
    dialect: Dialect,
}

impl Engine {
    /// The engine behind an endpoint that the operator named. Asks for its version, unless that is known.
    ///
    /// # Errors
    /// It is not to be reached, or speaks no version that is known here.
    pub fn reach(name: &str) -> Result<Self> {
        let endpoint = Endpoint::named(name);
        let dialect = match store::get::<Dialect>(&key(name))? {
            Some(known) => known.value,
            None => {
                let agreed = agree(&endpoint)?;
                store::put(&key(name), &agreed, Expect::Anything, Some(AGREED))?;
                agreed
            }
        };
        Ok(Self { name: name.to_owned(), endpoint, dialect })
    }

    /// How it is spoken to.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.endpoint.get(&self.versioned(path))
    }

    pub(crate) fn head(&self, path: &str) -> Request {
        self.endpoint.head(&self.versioned(path))
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.endpoint.post(&self.versioned(path))
    }

    pub(crate) fn put(&self, path: &str) -> Request {
        self.endpoint.put(&self.versioned(path))
    }

    pub(crate) fn delete(&self, path: &str) -> Request {
        self.endpoint.delete(&self.versioned(path))
    }

    fn versioned(&self, path: &str) -> String {
        format!("/v{}{path}", self.dialect.version)
    }

    /// Sends a request. 304 counts as done: it is so already.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub(crate) fn send(&self, request: &Request) -> Result<Response> {
        send(request).inspect_err(|failure| self.forget_if_outdated(failure))
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// As [`Engine::send`], or the answer is not what is expected.
    pub(crate) fn read<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        Ok(self.send(request)?.body.json(MOST)?)
    }

    /// An engine that does not serve the agreed version was exchanged. It is asked anew in the next call.
    fn forget_if_outdated(&self, failure: &Failure) {
        if failure.is_outdated() {
            // If the store fails, it is forgotten with the end of its time.
            let _ = store::remove(&key(&self.name), Expect::Anything);
        }
    }
}

/// The path of one object, such as `/containers/ID/start`.
pub(crate) fn of(kind: &str, id: &str, rest: &str) -> String {
    format!("/{kind}/{}{rest}", encode(id))
}

/// Sends a request, of whatever version.
///
/// # Errors
/// There was no answer, or the engine said no.
pub(crate) fn send(request: &Request) -> Result<Response> {
    let response = request.send()?;
    if response.is_success() || response.status == 304 { Ok(response) } else { Err(refusal(request, response).into()) }
}

/// The engine's no, in its own words.
pub(crate) fn refusal(request: &Request, response: Response) -> Refusal {
    let (status, effect, retry_after) = (response.status, response.effect(), response.headers.retry_after());
    let message = words::of_refusal(&beginning(response.body));
    Refusal { request: words::plain(&format!("{request:?}")), status, message, effect, retry_after }
}

/// As much as came of a body, and not more than is read of a refusal.
fn beginning(mut body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < WORDS
        && let Ok(Some(chunk)) = body.chunk()
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(WORDS);
    bytes
}

/// Where the agreed version is kept.
fn key(name: &str) -> String {
    format!("engine/{name}")
}

/// Asks for the engine's version and chooses ours.
fn agree(endpoint: &Endpoint) -> Result<Dialect> {
    let request = endpoint.get("/_ping");
    let response = send(&request)?;
    let newest: Version = response.headers.get("api-version").unwrap_or_default().parse()?;
    let podman = response.headers.get("libpod-api-version").is_some();
    // Only an engine that is newer than what is known here may no longer serve what is known here.
    let oldest = if newest > dialect::NEWEST { Some(system::oldest(endpoint)?) } else { None };
    Ok(Dialect { version: dialect::choose(newest, oldest)?, podman })
}

impl Failure {
    fn is_outdated(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_outdated)
    }
}
