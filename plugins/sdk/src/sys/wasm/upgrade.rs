//! The contract's `upgrade`.

use super::{Answer, Input, Output, Pollable};
use crate::Error;
use crate::bindings::imports::virtual_kubelet::provider::upgrade;

pub(crate) type Connecting = upgrade::Pending;

/// How an attempt ended.
pub(crate) enum Outcome {
    /// The answer's headers, and the connection.
    Switched(Vec<(String, Vec<u8>)>, (Input, Output)),
    Refused(Answer),
    Connected((Input, Output)),
}

pub(crate) fn upgrade_open(request: &upgrade::Request) -> Connecting {
    upgrade::open(request)
}

pub(crate) fn upgrade_connect(origin: &str) -> Connecting {
    upgrade::connect(origin)
}

pub(crate) fn upgrade_subscribe(pending: &Connecting) -> Pollable {
    pending.subscribe()
}

/// How it ended, once; none: not yet.
pub(crate) fn upgrade_take(pending: &Connecting) -> Option<Result<Outcome, Error>> {
    Some(pending.take()?.map(outcome).map_err(Error::from))
}

fn outcome(answer: upgrade::Answer) -> Outcome {
    let both = |io: upgrade::Duplex| (Input::from(io.input), io.output);
    match answer {
        upgrade::Answer::Switched(switched) => Outcome::Switched(switched.head.headers, both(switched.io)),
        upgrade::Answer::Refused(refused) => {
            let upgrade::Head { status, headers } = refused.head;
            Outcome::Refused(Answer { status, headers, body: refused.body.into() })
        }
        upgrade::Answer::Connected(io) => Outcome::Connected(both(io)),
    }
}
