//! A request in the making.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::failure::{Asked, Cause, Failure};
use super::response::Response;
use super::upload::Upload;
use super::url::Url;

/// An HTTP request in the making. It can be sent more than once.
///
/// The host allows what it was told to, and neither follows redirects nor keeps cookies. `Host`, `Connection` and the
/// like are its own.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) limits: Limits,
    idempotent: bool,
    /// The first thing that makes it no request.
    mistake: Option<String>,
}

/// Times that are shorter than the host's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connect: Option<Duration>,
    pub(crate) answer: Option<Duration>,
    pub(crate) bytes: Option<Duration>,
}

/// A request as it leaves the SDK.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(String, Vec<u8>)],
    pub(crate) limits: Limits,
    pub(crate) has_body: bool,
}

/// Why a request did not leave.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// It is none.
    Invalid(String),
    /// The host said no.
    Code(super::ErrorCode),
}

impl Request {
    /// A request of any method, to an absolute `http:` or `https:` URL. What is wrong with it is told when it is sent.
    pub fn new(method: impl Into<String>, url: impl AsRef<str>) -> Self {
        let (url, mistake) = match Url::parse(url.as_ref()) {
            Ok(url) => (url, None),
            Err(why) => (Url::default(), Some(why)),
        };
        let method: String = method.into();
        // RFC 9110, 9.2.2.
        let idempotent = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        Self { method, url, headers: Vec::new(), body: Vec::new(), limits: Limits::default(), idempotent, mistake }
    }

    /// `GET`.
    pub fn get(url: impl AsRef<str>) -> Self {
        Self::new("GET", url)
    }

    /// `HEAD`.
    pub fn head(url: impl AsRef<str>) -> Self {
        Self::new("HEAD", url)
    }

    /// `POST`.
    pub fn post(url: impl AsRef<str>) -> Self {
        Self::new("POST", url)
    }

    /// `PUT`.
    pub fn put(url: impl AsRef<str>) -> Self {
        Self::new("PUT", url)
    }

    /// `PATCH`.
    pub fn patch(url: impl AsRef<str>) -> Self {
        Self::new("PATCH", url)
    }

    /// `DELETE`.
    pub fn delete(url: impl AsRef<str>) -> Self {
        Self::new("DELETE", url)
    }

    /// One parameter more in the query, encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.url.push_query(name, value.as_ref());
        self
    }

    /// One header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// `Authorization: Bearer …` (RFC 6750).
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// The whole body. For one that is made piece by piece there is [`Request::upload`].
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as JSON, with its `Content-Type`.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => {
                self.mistake.get_or_insert(format!("the body cannot be written as JSON: {error}"));
                self
            }
        }
    }

    /// The same twice is the same as once, though the method does not say so: [`Retry`](super::Retry) may repeat it.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// At most so long for the connection. The host's own limit stays, as with the other two.
    #[must_use]
    pub fn connect_within(mut self, time: Duration) -> Self {
        self.limits.connect = Some(time);
        self
    }

    /// At most so long for the start of the answer.
    #[must_use]
    pub fn answer_within(mut self, time: Duration) -> Self {
        self.limits.answer = Some(time);
        self
    }

    /// At most so long between two pieces of the answer.
    #[must_use]
    pub fn bytes_within(mut self, time: Duration) -> Self {
        self.limits.bytes = Some(time);
        self
    }

    /// May be repeated.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Sends it and waits for the start of the answer, whatever its status.
    ///
    /// # Errors
    /// There was no answer, or the host wants the call to end.
    pub fn send(&self) -> Result<Response, Failure> {
        let mut headers = self.headers.clone();
        // Of other methods an empty body is none.
        let counts = !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        if counts && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            headers.push(("content-length".to_owned(), self.body.len().to_string().into_bytes()));
        }
        let mut upload = self.start(&headers, !self.body.is_empty())?;
        upload.write(&self.body)?;
        upload.finish()
    }

    /// Sends its head, and its body as it is written. Its length need not be known; who knows it may say so with a
    /// `Content-Length`.
    ///
    /// # Errors
    /// The host refused it at once.
    pub fn upload(&self) -> Result<Upload, Failure> {
        self.start(&self.headers, true)
    }

    fn start(&self, headers: &[(String, Vec<u8>)], has_body: bool) -> Result<Upload, Failure> {
        let asked = self.asked()?;
        let outgoing = Outgoing { method: &self.method, url: &self.url, headers, limits: self.limits, has_body };
        Upload::start(asked, &outgoing)
    }

    /// What its failures say of it.
    pub(crate) fn asked(&self) -> Result<Asked, Failure> {
        let asked = Asked::new(&self.method, &self.url);
        match &self.mistake {
            Some(mistake) => Err(asked.unsent(Cause::Invalid(mistake.clone()))),
            None => Ok(asked),
        }
    }
}

impl fmt::Debug for Request {
    /// Without headers, query and body, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.shown())
    }
}
