//! A backend that a test plays: it gets each request and says what comes of it, and when.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Feed, Taken};
use crate::http::ErrorCode;
use crate::sys::native::{Event, with};

/// Answers every request, upgrade and connection from now on. Without it none is granted, as with the host.
///
/// ```
/// use vk_provider::http::Request;
/// use vk_provider::testing::{self, Answer};
///
/// testing::reset();
/// testing::serve(|asked| match (asked.method.as_str(), asked.path()) {
///     ("GET", "/groups/a") => Answer::status(200).body(r#"{"state": "Running"}"#),
///     _ => Answer::status(404),
/// });
/// assert_eq!(Request::get("https://api.example.com/groups/a").send()?.status, 200);
/// assert_eq!(Request::get("https://api.example.com/groups/b").send()?.status, 404);
/// # Ok::<_, vk_provider::http::Failure>(())
/// ```
pub fn serve(backend: impl FnMut(Received) -> Answer + 'static) {
    let backend = Rc::new(RefCell::new(backend));
    with(|host| host.backend = Some(backend));
}

/// Answers requests with a body from now on, before the body has come; none: not this one. The backend of [`serve`]
/// gets a request all the same if its body comes to its end, and its answer is not sent.
pub fn answer_early(backend: impl FnMut(&Received) -> Option<Answer> + 'static) {
    let backend = Rc::new(RefCell::new(backend));
    with(|host| host.hasty = Some(backend));
}

/// From now on each piece of a request's body takes so long to be sent.
pub fn pause_uploads(time: Duration) {
    with(|host| host.upload_pause = time);
}

/// A new call begins: that the call before may have changed something no longer counts for the effect of errors.
pub fn new_call() {
    crate::acted::forget();
}

/// What a backend gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// `CONNECT` for a plain connection.
    pub method: String,
    /// The whole URL; the origin of a plain connection.
    pub url: String,
    /// As they were given.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// What an upgrade asks for; none: it is none.
    pub protocol: Option<String>,
}

impl Received {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default();
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// The query as it was sent, encoded; empty: none.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first value of a parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(there, _)| decoded(there) == name).map(|(_, value)| decoded(value))
    }

    /// The first value of a header, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(there, _)| there.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }
}

/// With each `%XX` as the byte that it stands for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = escaped.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = byte.map_or(after, |_| after.get(2..).unwrap_or_default());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Status and headers.
type Head = (u16, Vec<(String, Vec<u8>)>);

/// What comes of a request.
#[derive(Debug)]
pub struct Answer {
    /// none: never.
    pub(crate) delay: Option<Duration>,
    pub(crate) head: Result<Head, ErrorCode>,
    /// Each with its pause after the one before; the last one is the end.
    pub(crate) events: Vec<(Duration, Event)>,
    /// Where the body comes from instead.
    pub(crate) feed: Option<Feed>,
    pub(crate) taken: Option<Taken>,
}

impl Answer {
    /// An answer without a body. 101 for an upgrade that succeeds, any status for a connection.
    pub fn status(status: u16) -> Self {
        let events = vec![(Duration::ZERO, Event::End)];
        Self { delay: Some(Duration::ZERO), head: Ok((status, Vec::new())), events, feed: None, taken: None }
    }

    /// No answer, and why.
    pub fn fails(code: ErrorCode) -> Self {
        Self { head: Err(code), ..Self::status(0) }
    }

    /// No answer, ever.
    pub fn hangs() -> Self {
        Self { delay: None, ..Self::status(0) }
    }

    /// It takes so long.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.delay = Some(time);
        self
    }

    /// One header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok((_, headers)) = &mut self.head {
            headers.push((name.to_owned(), value.into()));
        }
        self
    }

    /// More of the body, at once.
    #[must_use]
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Duration::ZERO, bytes)
    }

    /// More of the body, so long after what is before it.
    #[must_use]
    pub fn then(mut self, pause: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        let end = self.events.len().saturating_sub(1);
        self.events.insert(end, (pause, Event::Bytes(bytes.into())));
        self
    }

    /// The body breaks off here.
    #[must_use]
    pub fn breaks(self, code: ErrorCode) -> Self {
        self.ends_with(Some((Duration::ZERO, Event::Break(code))))
    }

    /// The body never comes to its end.
    #[must_use]
    pub fn stays_open(self) -> Self {
        self.ends_with(None)
    }

    fn ends_with(mut self, end: Option<(Duration, Event)>) -> Self {
        self.events.pop();
        self.events.extend(end);
        self
    }

    /// The body, or what comes on a connection, is what the test feeds, as it goes along.
    #[must_use]
    pub fn fed_by(mut self, feed: &Feed) -> Self {
        self.feed = Some(feed.clone());
        self
    }

    /// Where what is sent on an upgraded or plain connection goes.
    #[must_use]
    pub fn takes(mut self, taken: &Taken) -> Self {
        self.taken = Some(taken.clone());
        self
    }
}
