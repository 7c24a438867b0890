//! Upgrades and connections to a backend that a test plays.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Answer, Input, Output, Pollable, Slot, ahead, ask, body};
use crate::Error;
use crate::bindings::imports::virtual_kubelet::provider::upgrade;
use crate::http::{ErrorCode, Limits};
use crate::testing::Received;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer's headers, and the connection.
    Switched(Vec<(String, Vec<u8>)>, (Input, Output)),
    Refused(Answer),
    Connected((Input, Output)),
}

pub(crate) type Connecting = Rc<RefCell<Slot<Result<Outcome, Error>>>>;

pub(crate) fn upgrade_open(request: &upgrade::Request) -> Connecting {
    let upgrade::Request { method, url, headers, body, protocol } = request.clone();
    attempt(Received { method, url, headers, body, protocol: Some(protocol) })
}

pub(crate) fn upgrade_connect(origin: &str) -> Connecting {
    let (method, url) = ("CONNECT".to_owned(), origin.to_owned());
    attempt(Received { method, url, headers: Vec::new(), body: Vec::new(), protocol: None })
}

pub(crate) fn upgrade_subscribe(pending: &Connecting) -> Pollable {
    Pollable::Of(pending.clone())
}

pub(crate) fn upgrade_take(pending: &Connecting) -> Option<Result<Outcome, Error>> {
    pending.borrow_mut().take()
}

fn attempt(received: Received) -> Connecting {
    let upgrades = received.protocol.is_some();
    let answer = ask(received);
    let at = answer.delay.map(ahead);
    let outcome = answer.head.map_err(error).map(|(status, headers)| {
        let input = body(at.unwrap_or_default(), answer.feed, answer.events, Limits::default());
        let output = Output(answer.taken.unwrap_or_default().0);
        match (upgrades, status) {
            (false, _) => Outcome::Connected((input, output)),
            (true, 101) => Outcome::Switched(headers, (input, output)),
            (true, _) => Outcome::Refused(Answer { status, headers, body: input }),
        }
    });
    Rc::new(RefCell::new(Slot { at, outcome: Some(outcome) }))
}

/// As the host tells a failed attempt.
fn error(code: ErrorCode) -> Error {
    let reason = match code {
        ErrorCode::HttpRequestDenied => "NotGranted".to_owned(),
        _ => code.reason(),
    };
    let error = Error::new(code.class(), reason, code.told());
    if code.may_be_sent() { error.effect_unknown() } else { error.effect_none() }
}
