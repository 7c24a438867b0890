//! HTTP to a backend that a test plays.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Due, Event, Input, Output, Pollable, Source, ahead, with};
use crate::http::{ErrorCode, Limits, Outgoing, Unsent};
use crate::testing::{self, Feed, Received};
use crate::time::Time;

/// Answers requests.
pub(crate) type Backend = Rc<RefCell<dyn FnMut(Received) -> testing::Answer>>;

/// Answers requests before their bodies have come, if it wants to.
pub(crate) type Hasty = Rc<RefCell<dyn FnMut(&Received) -> Option<testing::Answer>>>;

/// An answer whose head has come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Input,
}

/// Something that comes once, at a time.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    /// none: never, as things stand.
    pub(super) at: Option<Time>,
    pub(super) outcome: Option<T>,
}

impl<T> Due for RefCell<Slot<T>> {
    fn due(&self) -> Option<Time> {
        self.borrow().at
    }
}

impl<T> Slot<T> {
    /// What has come by now, once.
    pub(super) fn take(&mut self) -> Option<T> {
        let now = ahead(Duration::ZERO);
        if self.at.is_some_and(|at| at <= now) { self.outcome.take() } else { None }
    }
}

pub(crate) type Exchange = Rc<RefCell<Slot<Result<Answer, ErrorCode>>>>;

/// A request whose body is on its way.
#[derive(Debug)]
pub(crate) struct OutgoingBody {
    received: Received,
    limits: Limits,
    body: Output,
    exchange: Exchange,
}

/// Headers that the host takes from nobody.
const OWN: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

pub(crate) fn http_send(outgoing: &Outgoing<'_>) -> Result<(Exchange, Option<(Output, OutgoingBody)>), Unsent> {
    if let Some((name, _)) = outgoing.headers.iter().find(|(name, _)| OWN.contains(&name.to_ascii_lowercase().as_str()))
    {
        return Err(Unsent::Invalid(format!("the header {name:?} is the host's own")));
    }
    if !outgoing.method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
        return Err(Unsent::Code(ErrorCode::HttpRequestMethodInvalid));
    }
    let received = Received {
        method: outgoing.method.to_owned(),
        url: outgoing.url.to_string(),
        headers: outgoing.headers.to_vec(),
        body: Vec::new(),
        protocol: None,
    };
    let exchange = Exchange::new(RefCell::new(Slot { at: None, outcome: None }));
    if !outgoing.has_body {
        *exchange.borrow_mut() = exchanged(ask(received), outgoing.limits);
        return Ok((exchange, None));
    }
    if let Some(answer) = with(|host| host.hasty.clone()).and_then(|hasty| (*hasty.borrow_mut())(&received)) {
        *exchange.borrow_mut() = exchanged(answer, outgoing.limits);
    }
    let output = Output::default();
    output.0.borrow_mut().pause = with(|host| host.upload_pause);
    let body = Output(output.0.clone());
    let end = OutgoingBody { received, limits: outgoing.limits, body, exchange: exchange.clone() };
    Ok((exchange, Some((output, end))))
}

/// The body is whole: now the backend is asked.
pub(crate) fn http_finish(body: OutgoingBody) -> Result<(), ErrorCode> {
    let OutgoingBody { received, limits, body, exchange } = body;
    let received = Received { body: std::mem::take(&mut body.0.borrow_mut().bytes), ..received };
    let answer = ask(received);
    // One that was hasty has answered.
    if exchange.borrow().at.is_none() {
        *exchange.borrow_mut() = exchanged(answer, limits);
    }
    Ok(())
}

pub(crate) fn http_subscribe(exchange: &Exchange) -> Pollable {
    Pollable::Of(exchange.clone())
}

pub(crate) fn http_take(exchange: &Exchange) -> Option<Result<Answer, ErrorCode>> {
    exchange.borrow_mut().take()
}

/// What the backend makes of a request; without a backend nothing is granted.
pub(super) fn ask(received: Received) -> testing::Answer {
    let Some(backend) = with(|host| host.backend.clone()) else {
        return testing::Answer::fails(ErrorCode::HttpRequestDenied);
    };
    let mut backend = backend.borrow_mut();
    (*backend)(received)
}

fn exchanged(answer: testing::Answer, limits: Limits) -> Slot<Result<Answer, ErrorCode>> {
    let Some(at) = answer.delay.map(ahead) else { return unanswered(limits) };
    if limits.answer.is_some_and(|limit| ahead(limit) < at) {
        return unanswered(limits);
    }
    let body = body(at, answer.feed, answer.events, limits);
    let outcome = answer.head.map(|(status, headers)| Answer { status, headers, body });
    Slot { at: Some(at), outcome: Some(outcome) }
}

fn unanswered(limits: Limits) -> Slot<Result<Answer, ErrorCode>> {
    Slot { at: limits.answer.map(ahead), outcome: Some(Err(ErrorCode::HttpResponseTimeout)) }
}

/// A body that begins at a time: what a test feeds, or events of which each takes its time after the one before.
pub(super) fn body(start: Time, feed: Option<Feed>, events: Vec<(Duration, Event)>, limits: Limits) -> Input {
    if let Some(feed) = feed {
        return feed.0;
    }
    let (mut source, mut at) = (Source::default(), start);
    for (pause, event) in events {
        if let Some(limit) = limits.bytes.filter(|limit| *limit < pause) {
            source.push(at + limit, Event::Break(ErrorCode::ConnectionReadTimeout));
            break;
        }
        at = at + pause;
        source.push(at, event);
    }
    Input(Rc::new(RefCell::new(source)))
}
