//! A session's pump: it carries bytes between streams until the session is over.
//!
//! It hides what bites: the list that it polls is never empty, a stream that is at its end leaves it (it would be ready
//! for ever), an input is read only while what came before is taken, and the host's wish to end the call is always
//! heard.
//!
//! ```
//! # use std::time::Duration;
//! # use vk_provider::testing;
//! # testing::reset();
//! # let (connection, answers) = testing::input();
//! # answers.send_after(Duration::from_secs(1), "hello\n").end();
//! # let (to_connection, commands) = testing::output();
//! # let (stdin, typed) = testing::input();
//! # typed.send("echo hello\n");
//! # let (stdout, shown) = testing::output();
//! use vk_provider::pump::{Flow, Outcome, Pump};
//!
//! // What is typed goes to the connection. The session is over when the connection is.
//! let mut pump = Pump::new()
//!     .flow(Flow::new(Some(stdin), Some(to_connection)))
//!     .flow(Flow::new(Some(connection), Some(stdout)).decides());
//! assert_eq!(pump.run(None)?, Outcome::Over);
//! # assert_eq!((commands.bytes(), shown.bytes()), (b"echo hello\n".to_vec(), b"hello\n".to_vec()));
//! # Ok::<_, vk_provider::Error>(())
//! ```

#[cfg(test)]
mod tests;

use std::task::Poll;

use crate::stream::{Input, Output};
use crate::wait::{Pollable, Wait};
use crate::{Error, Result};

/// What a piece of an input is made of: for each part the index of its output, and its bytes.
pub type Parts = Vec<(usize, Vec<u8>)>;

/// Sorts what came: to which output each part goes. It may keep what is incomplete until more comes.
type Sort<'a> = Box<dyn FnMut(Vec<u8>) -> Result<Parts> + 'a>;

/// One direction of a session.
pub struct Flow<'a> {
    /// none: it has come to its end.
    from: Option<Input>,
    /// none: nobody takes it, and it is thrown away.
    to: Vec<Option<Output>>,
    sort: Sort<'a>,
    decides: bool,
}

/// All directions of a session.
pub struct Pump<'a> {
    flows: Vec<Flow<'a>>,
}

/// Why [`Pump::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session is over, and all that came is taken.
    Over,
    /// What was to be waited for besides is ready. Run again to go on.
    Woken,
    /// The host wants the call to end.
    Cancelled,
}

#[derive(Clone, Copy, PartialEq)]
enum Ready {
    Flow,
    Besides,
}

impl<'a> Flow<'a> {
    /// From one stream to another. Without an input it is at its end from the start, and its output is ended with it;
    /// without an output what comes is thrown away.
    pub fn new(from: Option<Input>, to: Option<Output>) -> Self {
        Self::sorted(from, vec![to], |bytes| Ok(vec![(0, bytes)]))
    }

    /// From one stream to several: `sort` says which part goes where, such as for a stream in frames. A part for an
    /// output that is not there is thrown away. An error ends the session.
    pub fn sorted(
        from: Option<Input>,
        to: Vec<Option<Output>>,
        sort: impl FnMut(Vec<u8>) -> Result<Parts> + 'a,
    ) -> Self {
        Self { from, to, sort: Box::new(sort), decides: false }
    }

    /// The session is over when this flow is, whatever the others do; with several such flows, when all of them are.
    /// Its input is read to the end also if nobody takes it any more, and that it breaks is an error. Without any such
    /// flow all of them decide when it is over.
    #[must_use]
    pub fn decides(mut self) -> Self {
        self.decides = true;
        self
    }

    fn is_over(&self) -> bool {
        self.from.is_none() && self.to.iter().all(Option::is_none)
    }

    /// Moves what can be moved without waiting: one piece at most, so that no flow holds up another.
    fn advance(&mut self) -> Result<()> {
        if !self.drain() {
            return Ok(());
        }
        if !self.decides && self.to.iter().all(Option::is_none) {
            // Nobody takes it: whoever sends it need not go on.
            self.from = None;
        }
        let Some(input) = &mut self.from else {
            // Its end is the outputs' end.
            self.to.clear();
            return Ok(());
        };
        match input.poll() {
            Poll::Pending => {}
            Poll::Ready(Ok(Some(bytes))) => self.deal(bytes)?,
            Poll::Ready(Ok(None)) => self.end(),
            Poll::Ready(Err(broken)) if self.decides => return Err(broken.into()),
            // The others go on: a client whose stdin is lost may still read.
            Poll::Ready(Err(_)) => self.end(),
        }
        Ok(())
    }

    /// The input has come to its end; so do the outputs, as they hold nothing.
    fn end(&mut self) {
        self.from = None;
        self.to.clear();
    }

    fn deal(&mut self, bytes: Vec<u8>) -> Result<()> {
        for (index, part) in (self.sort)(bytes)? {
            if let Some(Some(output)) = self.to.get_mut(index) {
                output.put(&part);
            }
        }
        self.drain();
        Ok(())
    }

    /// Moves on what the outputs hold. false: some is left. An output that takes nothing any more is given up.
    fn drain(&mut self) -> bool {
        let mut empty = true;
        for slot in &mut self.to {
            match slot.as_mut().map(Output::poll) {
                Some(Poll::Pending) => empty = false,
                Some(Poll::Ready(Err(_))) => *slot = None,
                Some(Poll::Ready(Ok(()))) | None => {}
            }
        }
        empty
    }

    /// What it waits for: the outputs that still hold something, else its input.
    fn awaits(&self) -> Vec<Pollable<'_>> {
        let held: Vec<_> = self.to.iter().flatten().filter(|output| output.is_busy()).map(Output::subscribe).collect();
        if held.is_empty() { self.from.iter().map(Input::subscribe).collect() } else { held }
    }
}

impl<'a> Pump<'a> {
    /// Without flows, which is a session that is over.
    #[expect(clippy::new_without_default, reason = "a pump without flows is no sensible default")]
    pub const fn new() -> Self {
        Self { flows: Vec::new() }
    }

    /// And this one.
    #[must_use]
    pub fn flow(mut self, flow: Flow<'a>) -> Self {
        self.flows.push(flow);
        self
    }

    /// Carries bytes until the session is over, the host wants the call to end, or `besides` is ready, such as for a
    /// window's new size.
    ///
    /// # Errors
    /// The input of a flow that decides has failed, or what it sent cannot be sorted. Of unknown effect.
    pub fn run(&mut self, besides: Option<&Pollable<'_>>) -> Result<Outcome> {
        loop {
            for flow in &mut self.flows {
                flow.advance().map_err(Error::effect_unknown)?;
            }
            if self.is_over() {
                return Ok(Outcome::Over);
            }
            let mut wait = Wait::new();
            for pollable in self.flows.iter().flat_map(Flow::awaits) {
                wait = wait.on(Ready::Flow, pollable);
            }
            if let Some(besides) = besides {
                wait = wait.on_lent(Ready::Besides, besides);
            }
            let ready = wait.first();
            if ready.cancelled() {
                return Ok(Outcome::Cancelled);
            }
            if ready.has(Ready::Besides) {
                return Ok(Outcome::Woken);
            }
        }
    }

    fn is_over(&self) -> bool {
        let mut deciding = self.flows.iter().filter(|flow| flow.decides).peekable();
        if deciding.peek().is_some() { deciding.all(Flow::is_over) } else { self.flows.iter().all(Flow::is_over) }
    }
}
