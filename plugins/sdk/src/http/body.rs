//! The body of an answer: as it comes, by lines, or whole.

use std::task::Poll;

use serde::de::DeserializeOwned;

use super::failure::{Asked, Cause, Failure};
use super::upload::Sending;
use crate::Effect;
use crate::stream::Input;
use crate::wait::Pollable;

/// The body of an answer, as far as it was not read. Dropping it gives up the rest.
#[derive(Debug)]
pub struct Body {
    input: Input,
    pub(super) asked: Asked,
    /// That of the answer, which no failure of its body changes.
    pub(super) effect: Effect,
    /// The request's, if it was answered before its end.
    _unfinished: Option<Box<Sending>>,
}

impl Body {
    pub(crate) fn new(asked: Asked, effect: Effect, input: Input, unfinished: Option<Sending>) -> Self {
        Self { input, asked, effect, _unfinished: unfinished.map(Box::new) }
    }

    fn failed(&self, cause: impl Into<Cause>) -> Failure {
        Failure { effect: self.effect, ..self.asked.unsent(cause.into()) }
    }

    /// The next bytes, at most 64 KiB; none: the end. Waits for them.
    ///
    /// # Errors
    /// The answer broke off, or the host wants the call to end.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.input.read().map_err(|broken| self.failed(broken))
    }

    /// The next bytes if they are there; none: the end. Pending: wait for [`Body::subscribe`].
    pub fn poll_chunk(&mut self) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        self.input.poll().map_err(|broken| self.failed(broken))
    }

    /// Ready when [`Body::poll_chunk`] is.
    pub fn subscribe(&self) -> Pollable<'_> {
        self.input.subscribe()
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`Body::chunk`], or it has more than `most` bytes.
    pub fn bytes(mut self, most: usize) -> Result<Vec<u8>, Failure> {
        self.whole(most)
    }

    fn whole(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk()? {
            if whole.len() + chunk.len() > most {
                return Err(self.failed(Cause::TooLong(most)));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    /// All of it, as text.
    ///
    /// # Errors
    /// As [`Body::bytes`], or it is no UTF-8.
    pub fn text(mut self, most: usize) -> Result<String, Failure> {
        String::from_utf8(self.whole(most)?).map_err(|error| self.failed(Cause::Unreadable(error.to_string())))
    }

    /// All of it, as JSON.
    ///
    /// # Errors
    /// As [`Body::bytes`], or it is not the JSON that is expected.
    pub fn json<T: DeserializeOwned>(mut self, most: usize) -> Result<T, Failure> {
        serde_json::from_slice(&self.whole(most)?).map_err(|error| self.failed(Cause::Unreadable(error.to_string())))
    }

    /// Its lines as they come, none of them longer than `most` bytes.
    pub const fn lines(self, most: usize) -> Lines {
        Lines { body: self, most, held: Vec::new(), searched: 0, ended: false }
    }

    /// Its beginning, as much as comes in so many bytes.
    pub(crate) fn beginning(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < most
            && let Ok(Some(chunk)) = self.chunk()
        {
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(most);
        bytes
    }
}

/// Lines of an answer that may go on for long: events, logs, progress.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    most: usize,
    held: Vec<u8>,
    /// In what is held there is no newline before here.
    searched: usize,
    ended: bool,
}

impl Lines {
    /// The next line without its newline, the last one whether it has one or not; none: the end. Waits for it.
    ///
    /// # Errors
    /// The answer broke off, a line is too long, or the host wants the call to end.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(line) = self.held()? {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(self.rest());
            }
            let chunk = self.body.chunk()?;
            self.take(chunk);
        }
    }

    /// As [`Lines::read`], of what is there. Pending: wait for [`Lines::subscribe`].
    pub fn poll(&mut self) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        loop {
            match self.held() {
                Ok(None) if self.ended => return Poll::Ready(Ok(self.rest())),
                Ok(None) => {}
                ready => return Poll::Ready(ready),
            }
            match self.body.poll_chunk() {
                Poll::Ready(Ok(chunk)) => self.take(chunk),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready when [`Lines::poll`] may have something. Poll first: it may hold lines that have come already.
    pub fn subscribe(&self) -> Pollable<'_> {
        self.body.subscribe()
    }

    fn take(&mut self, chunk: Option<Vec<u8>>) {
        match chunk {
            Some(chunk) => self.held.extend_from_slice(&chunk),
            None => self.ended = true,
        }
    }

    /// A whole line of what is held.
    fn held(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let unsearched = self.held.get(self.searched..).unwrap_or_default();
        let end = unsearched.iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        if end.unwrap_or(self.held.len()) > self.most {
            return Err(self.body.failed(Cause::TooLong(self.most)));
        }
        let Some(end) = end else {
            self.searched = self.held.len();
            return Ok(None);
        };
        self.searched = 0;
        let mut line: Vec<u8> = self.held.drain(..=end).collect();
        line.pop();
        Ok(Some(line))
    }

    /// What is left without a newline at the end.
    fn rest(&mut self) -> Option<Vec<u8>> {
        self.searched = 0;
        Some(std::mem::take(&mut self.held)).filter(|rest| !rest.is_empty())
    }
}
