//! Two-way connections under the same policy as [`http`]: an HTTP/1.1 request with `Upgrade` (WebSocket,
//! Docker's hijack), or a plain connection.
//!
//! ```
//! # use vk_provider::testing::{self, Answer};
//! # testing::reset();
//! # testing::serve(|_| Answer::status(101).body("hello\n"));
//! use vk_provider::http::Endpoint;
//! use vk_provider::upgrade::Upgraded;
//!
//! let start = Endpoint::named("engine").post("/exec/4f/start").json(&vk_provider::serde_json::json!({"Tty": true}));
//! match start.upgrade("tcp")? {
//!     Upgraded::Switched(switched) => {
//!         let mut io = switched.io;
//!         io.output.write(b"ls\n")?;
//!         assert_eq!(io.input.read()?.as_deref(), Some(&b"hello\n"[..]));
//!     }
//!     Upgraded::Refused(response) => return Err(response.error(vk_provider::http::Conflict::Race)),
//! }
//! # Ok::<_, vk_provider::Error>(())
//! ```
//!
//! A session between such a connection and a terminal is a [`Pump`](crate::pump::Pump).

use std::time::Duration;

use crate::bindings::imports::virtual_kubelet::provider::upgrade as wit;
use crate::http::{Headers, Request, Response};
use crate::stream::{Input, Output};
use crate::wait::{Pollable, Wait};
use crate::{Effect, Error, Result, acted, clock, sys};

/// Both directions of a connection. Each ends by itself: dropping the output ends sending, and what the other side
/// still has to say comes.
#[derive(Debug)]
pub struct Duplex {
    /// What the other side sends, up to its end of sending.
    pub input: Input,
    /// What it is sent.
    pub output: Output,
}

/// What came of [`Request::upgrade`].
#[derive(Debug)]
pub enum Upgraded {
    /// The connection is the caller's.
    Switched(Switched),
    /// The server answered and did not upgrade. Its body often says why.
    Refused(Response),
}

/// An upgraded connection.
#[derive(Debug)]
pub struct Switched {
    /// Of the answer, whose status is 101.
    pub headers: Headers,
    /// The connection from there on.
    pub io: Duplex,
}

#[derive(Clone, Copy, PartialEq)]
enum Woken {
    Answer,
    Time,
}

impl Request {
    /// Sends it with `Connection: Upgrade` and `Upgrade: protocol`, such as `websocket` or `tcp`, and waits for the
    /// answer. Of its times only [`Request::answer_within`] counts, for all of it.
    ///
    /// # Errors
    /// `permission-denied`: the origin was not granted. `unavailable`: there was no answer. `deadline-exceeded`,
    /// `cancelled`. The effect is that of the whole call, as with [`http`](crate::http).
    pub fn upgrade(&self, protocol: &str) -> Result<Upgraded> {
        let asked = self.asked()?;
        let request = wit::Request {
            method: self.method.clone(),
            url: self.url.to_string(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            protocol: protocol.to_owned(),
        };
        let outcome = settle(&sys::upgrade_open(&request), self.limits.answer, asked.is_safe())?;
        match outcome {
            sys::Outcome::Switched(headers, io) => {
                asked.answered(101);
                Ok(Upgraded::Switched(Switched { headers: Headers(headers), io: duplex(io) }))
            }
            sys::Outcome::Refused(answer) => Ok(Upgraded::Refused(Response::new(asked, answer, None))),
            sys::Outcome::Connected(_) => {
                Err(Error::internal("UpgradeMistaken", "the host answered an upgrade with a connection"))
            }
        }
    }
}

/// Opens a plain TCP or TLS connection to an origin such as `tcp://10.0.0.7:8080` or `tls://registry.example:443`.
///
/// # Errors
/// `permission-denied`: the origin was not granted. `unavailable`: it is not to be reached. `cancelled`.
pub fn connect(origin: &str) -> Result<Duplex> {
    match settle(&sys::upgrade_connect(origin), None, true)? {
        sys::Outcome::Connected(io) => {
            // What the bytes on it do is not known.
            acted::mark();
            Ok(duplex(io))
        }
        _ => Err(Error::internal("UpgradeMistaken", "the host answered a connection with an upgrade")),
    }
}

/// Waits for the end of an attempt. `safe`: it changes nothing on the server.
fn settle(pending: &sys::Connecting, limit: Option<Duration>, safe: bool) -> Result<sys::Outcome> {
    loop {
        if let Some(outcome) = sys::upgrade_take(pending) {
            return outcome.map_err(|error| of_call(error, safe));
        }
        let mut wait = Wait::new().on(Woken::Answer, Pollable::new(sys::upgrade_subscribe(pending)));
        if let Some(limit) = limit {
            wait = wait.after(Woken::Time, limit);
        }
        let ready = wait.first();
        if ready.has(Woken::Answer) {
            continue;
        }
        let ended = if ready.cancelled() {
            clock::Cancelled.into()
        } else {
            Error::deadline_exceeded("UpgradeTimeout", "there was no answer to an upgrade in time")
        };
        return Err(of_call(ended, safe));
    }
}

/// The effect of a failed attempt on the whole call.
fn of_call(error: Error, safe: bool) -> Error {
    let effect = if safe { Effect::None } else { error.effect };
    if effect == Effect::Unknown {
        acted::mark();
    }
    Error { effect: acted::so_far(effect), ..error }
}

fn duplex((input, output): (sys::Input, sys::Output)) -> Duplex {
    Duplex { input: Input::new(input), output: Output::new(output) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::call::Why;
    use crate::http::{Conflict, Endpoint, ErrorCode};
    use crate::testing::{self, Answer, Taken};

    #[test]
    fn a_switched_connection_carries_bytes_both_ways_and_ends_by_halves() {
        testing::reset();
        let taken = Taken::default();
        let sent = taken.clone();
        testing::serve(move |asked| {
            assert_eq!((asked.method.as_str(), asked.protocol.as_deref()), ("POST", Some("tcp")));
            assert_eq!((asked.path(), asked.body.as_slice()), ("/exec/4f/start", &b"{}"[..]));
            Answer::status(101).header("upgrade", "tcp").takes(&sent).then(Duration::from_secs(1), "bye")
        });
        let upgraded = Endpoint::named("engine").post("/exec/4f/start").body("{}").upgrade("tcp").unwrap();
        let Upgraded::Switched(Switched { headers, mut io }) = upgraded else { panic!("{upgraded:?}") };
        assert_eq!(headers.get("Upgrade"), Some("tcp"));
        io.output.write(b"ls\n").unwrap();
        io.output.finish().unwrap();
        assert_eq!((taken.bytes(), taken.is_ended()), (b"ls\n".to_vec(), true));
        assert_eq!((io.input.read(), io.input.read()), (Ok(Some(b"bye".to_vec())), Ok(None)));
    }

    #[test]
    fn a_refused_upgrade_is_an_answer() {
        testing::reset();
        testing::serve(|_| Answer::status(409).body(r#"{"message":"container is not running"}"#));
        let upgraded = Endpoint::named("engine").post("/exec/4f/start").upgrade("tcp").unwrap();
        let Upgraded::Refused(response) = upgraded else { panic!("{upgraded:?}") };
        let error = response.error(Conflict::Race);
        assert_eq!((error.code, error.effect), (Code::Aborted, Effect::None));
        assert!(error.message.ends_with("container is not running"), "{error}");
    }

    #[test]
    fn an_attempt_that_fails_says_what_the_host_says() {
        testing::reset();
        let error = connect("tcp://10.0.0.7:8080").unwrap_err();
        assert_eq!((error.code, error.effect), (Code::PermissionDenied, Effect::None), "nothing is granted by itself");
        testing::serve(|asked| {
            assert_eq!((asked.method.as_str(), asked.url.as_str()), ("CONNECT", "tcp://10.0.0.7:8080"));
            Answer::fails(ErrorCode::ConnectionRefused)
        });
        let error = connect("tcp://10.0.0.7:8080").unwrap_err();
        assert_eq!((error.code, error.effect), (Code::Unavailable, Effect::None));
    }

    #[test]
    fn an_attempt_ends_with_its_time_and_with_the_call() {
        testing::reset();
        testing::serve(|_| Answer::hangs());
        let start = testing::now();
        let request = Endpoint::named("engine").post("/exec/4f/start").answer_within(Duration::from_secs(3));
        let error = request.upgrade("tcp").unwrap_err();
        assert_eq!((error.code, error.effect), (Code::DeadlineExceeded, Effect::Unknown));
        assert_eq!(testing::now().since(start), Duration::from_secs(3));
        testing::cancel_after(Duration::from_secs(1), Why::ClientGone);
        assert_eq!(request.upgrade("tcp").unwrap_err().code, Code::Cancelled);
    }

    #[test]
    fn after_a_connection_nobody_knows_what_was_done() {
        testing::reset();
        testing::serve(|asked| match asked.method.as_str() {
            "CONNECT" => Answer::status(200),
            _ => Answer::fails(ErrorCode::ConnectionRefused),
        });
        let refused = || Error::from(Request::post("http://a.example/").send().unwrap_err()).effect;
        assert_eq!(refused(), Effect::None);
        connect("tls://registry.example:443").unwrap();
        assert_eq!(refused(), Effect::Unknown);
    }
}
