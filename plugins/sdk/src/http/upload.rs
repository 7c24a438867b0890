//! A request whose body is under way.

use std::task::Poll;

use super::code::ErrorCode;
use super::failure::{Asked, Cause, Failure};
use super::request::{Outgoing, Unsent};
use super::response::Response;
use crate::stream::{Output, PIECE};
use crate::sys;
use crate::wait::{Pollable, Wait};

/// A request whose body is written piece by piece: [`Request::upload`](super::Request::upload). Dropping it gives the
/// request up.
#[derive(Debug)]
pub struct Upload {
    asked: Asked,
    exchange: sys::Exchange,
    /// The answer, if it came before the body's end.
    early: Option<Result<sys::Answer, ErrorCode>>,
    /// none: the request has no body.
    body: Option<Sending>,
    /// The server takes no more: what is still written goes nowhere.
    refused: bool,
}

/// A body on its way. It ends after its stream, which the fields' order sees to.
#[derive(Debug)]
pub(crate) struct Sending {
    output: Output,
    end: sys::OutgoingBody,
}

#[derive(Clone, Copy, PartialEq)]
enum Woken {
    Room,
    Answer,
}

/// The host wants the call to end.
struct Cancelled;

impl Upload {
    pub(crate) fn start(asked: Asked, outgoing: &Outgoing<'_>) -> Result<Self, Failure> {
        let (exchange, body) = sys::http_send(outgoing).map_err(|unsent| {
            asked.unsent(match unsent {
                Unsent::Invalid(why) => Cause::Invalid(why),
                Unsent::Code(code) => Cause::Code(code),
            })
        })?;
        let body = body.map(|(output, end)| Sending { output: Output::new(output), end });
        Ok(Self { asked, exchange, early: None, body, refused: false })
    }

    /// Writes all of it, waiting until it is taken. A server may answer while it still reads; after one that said no,
    /// or went, what is written goes nowhere, and [`Upload::finish`] tells.
    ///
    /// # Errors
    /// The host wants the call to end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(PIECE) {
            if self.refused {
                break;
            }
            self.put(piece).map_err(|Cancelled| self.asked.lost(Cause::Cancelled))?;
        }
        Ok(())
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), Cancelled> {
        let Some(Sending { output, .. }) = &mut self.body else { return Ok(()) };
        output.put(piece);
        while !self.refused {
            match output.poll() {
                Poll::Ready(Ok(())) => break,
                // Why so the exchange tells.
                Poll::Ready(Err(_)) => self.refused = true,
                Poll::Pending => {
                    let mut wait = Wait::new().on(Woken::Room, output.subscribe());
                    if self.early.is_none() {
                        wait = wait.on(Woken::Answer, Pollable::new(sys::http_subscribe(&self.exchange)));
                    }
                    let ready = wait.first();
                    if ready.has(Woken::Answer) {
                        self.early = sys::http_take(&self.exchange);
                        self.refused = self.early.as_ref().is_some_and(is_refusal);
                    } else if ready.cancelled() {
                        return Err(Cancelled);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the body and waits for the start of the answer, whatever its status.
    ///
    /// # Errors
    /// There was no answer, or the host wants the call to end.
    pub fn finish(self) -> Result<Response, Failure> {
        let Self { asked, exchange, early, body, refused } = self;
        let unfinished = match body {
            // Kept as long as the answer is read: to drop it would end the connection, with what is left of the answer.
            Some(sending) if refused => Some(sending),
            Some(Sending { output, end }) => {
                drop(output);
                sys::http_finish(end).map_err(|code| asked.failed(code))?;
                None
            }
            None => None,
        };
        let answer = match early {
            Some(answer) => answer,
            None => awaited(&exchange).map_err(|Cancelled| asked.lost(Cause::Cancelled))?,
        };
        match answer {
            Ok(answer) => Ok(Response::new(asked, answer, unfinished)),
            Err(code) => Err(asked.failed(code)),
        }
    }
}

/// Whoever answers so reads no further.
fn is_refusal(answer: &Result<sys::Answer, ErrorCode>) -> bool {
    !matches!(answer, Ok(answer) if matches!(answer.status, 200..=299))
}

/// Waits for the start of the answer.
fn awaited(exchange: &sys::Exchange) -> Result<Result<sys::Answer, ErrorCode>, Cancelled> {
    loop {
        if let Some(answer) = sys::http_take(exchange) {
            return Ok(answer);
        }
        let ready = Wait::new().on(Woken::Answer, Pollable::new(sys::http_subscribe(exchange))).first();
        // An answer that is there is better than none, though the call ends.
        if !ready.has(Woken::Answer) {
            return Err(Cancelled);
        }
    }
}
