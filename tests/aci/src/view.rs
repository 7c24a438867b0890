//! How a container runs, and what happened.

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

/// How a container runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) restarts: u32,
    pub(crate) current: Stage,
    pub(crate) previous: Option<Stage>,
    pub(crate) events: Vec<Event>,
}

/// What a container does, or did.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Waiting { since: Timestamp, why: String },
    Running { since: Timestamp },
    Terminated { since: Timestamp, until: Timestamp, code: i64, why: String },
}

impl Default for Stage {
    fn default() -> Self {
        Self::waiting(String::new())
    }
}

impl Stage {
    /// From now on it waits.
    pub(crate) fn waiting(why: String) -> Self {
        Self::Waiting { since: Timestamp::now(), why }
    }

    pub(crate) fn shown(&self) -> Value {
        match self {
            Self::Waiting { since, why } => {
                json!({"state": "Waiting", "startTime": shown(*since), "detailStatus": why})
            }
            Self::Running { since } => {
                json!({"state": "Running", "startTime": shown(*since), "detailStatus": ""})
            }
            Self::Terminated { since, until, code, why } => json!({
                "state": "Terminated", "startTime": shown(*since), "finishTime": shown(*until), "exitCode": code, "detailStatus": why,
            }),
        }
    }
}

impl View {
    pub(crate) fn event(&mut self, name: &str, kind: &str, message: &str) {
        Event::add(&mut self.events, name, kind, message);
    }

    pub(crate) fn shown(&self) -> Value {
        let events: Vec<Value> = self.events.iter().map(Event::shown).collect();
        let mut shown = json!({"restartCount": self.restarts, "currentState": self.current.shown(), "events": events});
        if let (Some(previous), Some(shown)) = (&self.previous, shown.as_object_mut()) {
            shown.insert("previousState".to_owned(), previous.shown());
        }
        shown
    }
}

/// Something that happened, as often as it happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    name: String,
    kind: String,
    message: String,
    count: u32,
    first: Timestamp,
    last: Timestamp,
}

impl Event {
    pub(crate) fn add(events: &mut Vec<Self>, name: &str, kind: &str, message: &str) {
        let now = Timestamp::now();
        match events.iter_mut().find(|event| event.name == name && event.message == message) {
            Some(event) => {
                event.count += 1;
                event.last = now;
            }
            None => events.push(Self {
                name: name.to_owned(),
                kind: kind.to_owned(),
                message: message.to_owned(),
                count: 1,
                first: now,
                last: now,
            }),
        }
    }

    pub(crate) fn shown(&self) -> Value {
        json!({
            "count": self.count, "firstTimestamp": shown(self.first), "lastTimestamp": shown(self.last), "name": self.name,
            "message": self.message, "type": self.kind,
        })
    }
}

/// A time as Azure writes it, to the millisecond.
fn shown(time: Timestamp) -> String {
    time.round(Unit::Millisecond).unwrap_or(time).to_string()
}
