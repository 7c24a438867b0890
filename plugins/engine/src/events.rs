//! What happened in the engine, since some moment and from now on.
//!
//! Docker keeps the last 256 events, of all kinds, and forgets them with its end: whoever asks for more gets what is
//! left and is not told. The cure is to ask for an event that is known already. If it comes again, nothing between it
//! and now is missing.

use std::collections::BTreeMap;

use serde::Deserialize;
use vk_provider::http::{Body, Failure as Lost, Lines};
use vk_provider::time::Time;

use crate::client::Engine;
use crate::failure::{Failure, Result};
use crate::time::parameter;

/// The longest event: one with all labels of a container, which may be long.
const LONGEST: usize = 4 << 20;

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Event {
    /// `container`, `volume`, `image` …
    #[serde(rename = "Type")]
    pub kind: String,
    /// `start`, `die`, `destroy` …
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Unix nanoseconds, on the engine's clock.
    #[serde(rename = "timeNano")]
    time_nano: u64,
}

/// To whom it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// A container's id, a volume's name …
    #[serde(rename = "ID")]
    pub id: String,
    /// Labels of a container, and more.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// When it happened, on the engine's clock.
    pub const fn time(&self) -> Time {
        Time::from_nanos(self.time_nano)
    }

    /// What happened to a container, in Docker's word for it; none: it is about something else.
    pub fn of_container(&self) -> Option<&str> {
        (self.kind == "container").then_some(match self.action.as_str() {
            // Podman's words.
            "died" => "die",
            "remove" => "destroy",
            action => action,
        })
    }
}

/// Reads one event.
///
/// # Errors
/// It is none.
pub fn parse(line: &[u8]) -> Result<Event> {
    serde_json::from_slice(line).map_err(|error| Failure::Broken { request: "GET events", why: error.to_string() })
}

impl Engine {
    /// Events from a moment on, the moment among them, as they come: a line each. Ends with the engine.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn events(&self, since: Time) -> Result<Lines> {
        let response = self.send(&self.get("/events").query("since", parameter(since)))?;
        Ok(response.body.lines(LONGEST))
    }

    /// The last event between two moments; none: the engine remembers none. Waits until the second one has come.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn last_event(&self, since: Time, until: Time) -> Result<Option<Event>> {
        let all = self.get("/events").query("since", parameter(since)).query("until", parameter(until));
        last(self.send(&all)?.body)?.map(|line| parse(&line)).transpose()
    }
}

fn last(body: Body) -> Result<Option<Vec<u8>>, Lost> {
    let (mut lines, mut last) = (body.lines(LONGEST), None);
    while let Some(line) = lines.read()? {
        last = Some(line);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_tell_of_an_end_in_one_word() {
        let docker = br#"{"status":"die","id":"4f","from":"busybox","Type":"container","Action":"die","Actor":{"ID":"4f",
            "Attributes":{"exitCode":"0","io.kubernetes.pod.uid":"u"}},"scope":"local","time":1795514400,"timeNano":1795514400000000007}"#;
        let event = parse(docker).unwrap();
        assert_eq!((event.of_container(), event.actor.id.as_str()), (Some("die"), "4f"));
        assert_eq!(event.actor.attributes["io.kubernetes.pod.uid"], "u");
        assert_eq!(event.time().as_nanos(), 1_795_514_400_000_000_007);
        let podman = br#"{"Type":"container","Action":"died","Actor":{"ID":"4f","Attributes":{}},"timeNano":1}"#;
        assert_eq!(parse(podman).unwrap().of_container(), Some("die"));
        let removed = br#"{"Type":"container","Action":"remove","Actor":{"ID":"4f"}}"#;
        assert_eq!(parse(removed).unwrap().of_container(), Some("destroy"));
    }

    #[test]
    fn what_happens_to_others_is_not_of_a_container() {
        let volume = br#"{"Type":"volume","Action":"destroy","Actor":{"ID":"v"}}"#;
        assert_eq!(parse(volume).unwrap().of_container(), None);
        assert!(parse(b"<html>").is_err());
    }
}
