//! News: the engine's events, which pods they are about, and where the next call goes on.
//!
//! A cursor names the last event that was heard. The next call asks for events from that one on, and must hear it
//! again: then nothing between is missing. If it does not come, the engine has forgotten it (Docker keeps 256, and none
//! over its own end), and the host gets to know that its cursor is outworn.
//!
//! Events are dated before they are put in order, so that one may stand behind another of a later date; and an engine that
//! is asked for what came since a date looks back from the end and stops at the first that is older. So it is asked for
//! somewhat more, and what was told of that is remembered in the cursor.

use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_engine::events::{self, Event};
use vk_provider::changes::{Batch, Scope};
use vk_provider::clock::{Deadline, Instant};
use vk_provider::http::Lines;
use vk_provider::time::Time;
use vk_provider::wait::Wait;
use vk_provider::{Error, PodRef, Result};

use crate::context::Context;
use crate::labels::Mark;
use crate::{limits, list};

/// The contract's bound of a batch.
const MOST: usize = 500;
/// What happens together is told together; short beside anything that a person notices.
const GATHER: Duration = Duration::from_millis(10);
/// An event that is remembered comes at once.
const REMEMBERED: Duration = Duration::from_secs(5);
/// By how much events are out of order at most: 0.1 s with 64 starts at once on two busy processors.
const DISORDER: Duration = Duration::from_secs(1);
/// How far back the last event is looked for. Podman's memory has no end.
const BACK: Duration = Duration::from_secs(600);

/// Where the next call goes on. Later versions must understand it: add fields, keep these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// From here on, on the engine's clock, in nanoseconds.
    since: u64,
    /// The event that must come again; none: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<Heard>,
    /// Events that were heard before that one, and come again with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<Heard>,
    /// A full list, told up to this uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listing: Option<String>,
}

/// An event, as far as it is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    at: u64,
    actor: String,
    action: String,
}

impl Heard {
    fn of(event: &Event) -> Self {
        Self { at: event.time().as_nanos(), actor: event.actor.id.clone(), action: event.action.clone() }
    }
}

impl Cursor {
    /// From a moment on, before which nothing was heard.
    const fn from(since: u64) -> Self {
        Self { since, heard: None, before: Vec::new(), listing: None }
    }

    /// An event was heard. Podman leaves out what is exactly of the moment that it is asked for.
    fn hear(&mut self, event: Heard) {
        self.before.extend(self.heard.take());
        let latest = self.before.iter().map(|heard| heard.at).max().unwrap_or_default().max(event.at);
        self.since = latest.saturating_sub(nanos(DISORDER));
        self.before.retain(|heard| heard.at > self.since);
        // One that came late may be older than all that is asked for, and must come again.
        self.since = self.since.min(event.at.saturating_sub(1));
        self.heard = Some(event);
    }

    /// It was told already.
    fn has(&self, event: &Heard) -> bool {
        self.heard.as_ref() == Some(event) || self.before.contains(event)
    }

    /// As things are now.
    fn now(context: &Context) -> Result<Self> {
        let now = context
            .info_now()?
            .system_time
            .ok_or_else(|| Error::unknown("EngineAnswerUnreadable", "the engine does not tell its time"))?;
        let mut cursor = Self::from(now.as_nanos());
        if let Some(last) = context.engine.last_event(now - BACK, now)? {
            cursor.hear(Heard::of(&last));
        }
        Ok(cursor)
    }

    fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| outworn(format!("the cursor cannot be read: {error}")))
    }

    fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn outworn(why: impl Into<String>) -> Error {
    Error::out_of_range("CursorOutworn", why)
}

/// See [`vk_provider::Changes::next`].
///
/// # Errors
/// `out-of-range`: the cursor is outworn. Or the engine is not to be reached.
pub(crate) fn next(context: &Context, cursor: Option<&str>, wait: Duration) -> Result<Batch> {
    let deadline = Deadline::after(wait);
    match cursor.map(Cursor::read).transpose()? {
        None => full_list(context, Cursor::now(context)?),
        Some(cursor) if cursor.listing.is_some() => full_list(context, cursor),
        Some(cursor) => {
            limits::look(context);
            follow(context, cursor, deadline)
        }
    }
}

/// A page of a full list. What happens meanwhile is told afterwards, as the cursor was taken before.
fn full_list(context: &Context, cursor: Cursor) -> Result<Batch> {
    let all = list::all(context)?;
    let after = cursor.listing.as_deref();
    let mut rest = all.into_iter().map(|(id, _)| id).filter(|id| after.is_none_or(|after| id.uid.as_str() > after));
    let touched: Vec<PodRef> = rest.by_ref().take(MOST).collect();
    let listing = if rest.next().is_some() { touched.last().map(|id| id.uid.clone()) } else { None };
    let scope = if listing.is_some() { Scope::Listing } else { Scope::Listed };
    Ok(Batch { touched, ..Batch::empty(scope, Cursor { listing, ..cursor }.write()) })
}

#[derive(Clone, Copy, PartialEq)]
enum Woken {
    Event,
    Clock,
}

/// Waits for the first news, and gathers what comes with it.
fn follow(context: &Context, cursor: Cursor, deadline: Deadline) -> Result<Batch> {
    let lines = context.engine.events(Time::from_nanos(cursor.since))?;
    let awaited = cursor.heard.is_some().then(|| cursor.clone());
    Listener { context, lines, awaited, cursor, touched: BTreeSet::new() }.run(deadline)
}

/// Who listens to the engine's events.
struct Listener<'a> {
    context: &'a Context,
    lines: Lines,
    /// The cursor of the call, whose event is to come again; none: it has, or there is none.
    awaited: Option<Cursor>,
    cursor: Cursor,
    touched: BTreeSet<PodRef>,
}

impl Listener<'_> {
    fn run(mut self, deadline: Deadline) -> Result<Batch> {
        let begun = Instant::now();
        loop {
            if !self.read()? {
                return self.ended();
            }
            if !self.touched.is_empty() && self.awaited.is_none() {
                return self.gather();
            }
            let forgotten = REMEMBERED.saturating_sub(Instant::now().since(begun));
            if self.awaited.is_some() && forgotten.is_zero() {
                return Err(outworn("the engine has forgotten what came after it"));
            }
            // A short wait does not shorten the time that an event has to come again.
            let left = if self.awaited.is_none() { deadline.remaining() } else { forgotten };
            if left.is_zero() || !self.wait(left) {
                return Ok(self.batch());
            }
        }
    }

    /// Reads what is there. false: the engine has ended it.
    fn read(&mut self) -> Result<bool> {
        while self.touched.len() < MOST {
            match self.lines.poll() {
                Poll::Ready(Ok(Some(line))) => self.hear(&events::parse(&line)?)?,
                Poll::Ready(Ok(None)) => return Ok(false),
                Poll::Ready(Err(failure)) => return Err(failure.into()),
                Poll::Pending => break,
            }
        }
        Ok(true)
    }

    fn hear(&mut self, event: &Event) -> Result<()> {
        let heard = Heard::of(event);
        if let Some(awaited) = self.awaited.as_ref().and_then(|cursor| cursor.heard.as_ref()) {
            if *awaited == heard {
                self.awaited = None;
            } else if heard.at > awaited.at.saturating_add(nanos(DISORDER)) {
                return Err(outworn("the engine has forgotten what came after it"));
            }
        }
        if !self.cursor.has(&heard) {
            self.touched.extend(self.about(event));
            self.cursor.hear(heard);
        }
        Ok(())
    }

    /// The pod of ours that an event is about, if it changes what is told of it.
    fn about(&self, event: &Event) -> Option<PodRef> {
        matches!(event.of_container()?, "start" | "die" | "destroy").then(|| ())?;
        Mark::read(&self.context.node, &event.actor.attributes).map(|mark| mark.pod)
    }

    /// false: the host wants the call to end.
    fn wait(&self, time: Duration) -> bool {
        !Wait::new().on(Woken::Event, self.lines.subscribe()).after(Woken::Clock, time).first().cancelled()
    }

    /// What happens in the next moment belongs to it.
    fn gather(mut self) -> Result<Batch> {
        let until = Deadline::after(GATHER);
        while !until.is_over() && self.touched.len() < MOST && self.wait(until.remaining()) && self.read()? {}
        Ok(self.batch())
    }

    /// The engine ends. What was heard is told first.
    fn ended(self) -> Result<Batch> {
        if self.touched.is_empty() || self.awaited.is_some() {
            return Err(Error::unavailable("EngineEnded", "the engine has ended its events").effect_none());
        }
        Ok(self.batch())
    }

    /// What was heard before it is sure that nothing is missing is heard again by the next call.
    fn batch(self) -> Batch {
        if let Some(cursor) = self.awaited {
            return Batch::empty(Scope::Delta, cursor.write());
        }
        let touched = self.touched.into_iter().collect();
        Batch { touched, ..Batch::empty(Scope::Delta, self.cursor.write()) }
    }
}
