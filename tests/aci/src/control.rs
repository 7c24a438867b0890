//! The fake's own control, for clients in other languages: `/fake/…` beside the metadata service.
//!
//! | request | |
//! | --- | --- |
//! | `POST /fake/faults` | a [`Fault`](crate::Fault) more |
//! | `DELETE /fake/faults` | none any more |
//! | `GET /fake/faults` | those that are left |
//! | `POST /fake/release` | all requests that are held are done now |
//! | `GET /fake/requests`, `/fake/violations` | what went by |
//! | `GET /fake/made`, `/fake/changed`, `/fake/conflicts` | groups that were put, by their tag `UID` |
//! | `GET /fake/groups` | the groups that are there |
//! | `GET /fake/behaviour`, `PATCH /fake/behaviour` | how it behaves: a [`Behaviour`](crate::config::Behaviour), of which a part changes |
//! | `POST /fake/tokens/expire` | all tokens end now |
//! | `POST /fake/tokens/powerless`, `/fake/tokens/powerful` | all tokens lose their rights, or get them back |

use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::{Answer, bad};
use crate::asked::Asked;
use crate::config::Behaviour;
use crate::schema::merge;
use crate::world::{World, lock};

/// Answers.
pub(crate) fn answer(world: &World, asked: &Asked) -> Answer {
    let path: Vec<&str> = asked.path.iter().skip(1).map(String::as_str).collect();
    match (asked.method.as_str(), path.as_slice()) {
        ("POST", ["faults"]) => match serde_json::from_slice(&asked.body) {
            Ok(fault) => {
                lock(&world.faults).add(fault);
                Answer::empty(204)
            }
            Err(error) => bad("NoFault", error.to_string()),
        },
        ("DELETE", ["faults"]) => {
            lock(&world.faults).clear();
            Answer::empty(204)
        }
        ("GET", ["faults"]) => shown(&lock(&world.faults).left()),
        ("POST", ["release"]) => {
            world.releases.send_replace(());
            Answer::empty(204)
        }
        ("GET", ["requests"]) => shown(&lock(&world.record).requests),
        ("GET", ["violations"]) => shown(&lock(&world.record).violations),
        ("GET", ["made"]) => shown(&lock(&world.record).made),
        ("GET", ["changed"]) => shown(&lock(&world.record).changed),
        ("GET", ["conflicts"]) => shown(&lock(&world.record).conflicts),
        ("GET", ["groups"]) => {
            let groups = lock(&world.groups);
            shown(&groups.values().filter(|group| !group.is_gone()).map(|group| group.shown(true)).collect::<Vec<_>>())
        }
        ("GET", ["behaviour"]) => shown(&world.behaviour()),
        ("PATCH", ["behaviour"]) => behave(world, asked),
        ("POST", ["tokens", "expire"]) => {
            lock(&world.tokens).expire();
            Answer::empty(204)
        }
        ("POST", ["tokens", power @ ("powerless" | "powerful")]) => {
            lock(&world.tokens).set_powerless(*power == "powerless");
            Answer::empty(204)
        }
        _ => Answer::refusal(404, "NoSuchControl", "this fake has no such control"),
    }
}

fn behave(world: &World, asked: &Asked) -> Answer {
    let changed = || -> Result<Behaviour, serde_json::Error> {
        let mut behaviour = serde_json::to_value(world.behaviour())?;
        merge(&mut behaviour, &serde_json::from_slice::<Value>(&asked.body)?);
        serde_json::from_value(behaviour)
    };
    match changed() {
        Ok(behaviour) => {
            world.behave(|own| *own = behaviour.clone());
            shown(&behaviour)
        }
        Err(error) => bad("NoBehaviour", error.to_string()),
    }
}

fn shown(what: &impl Serialize) -> Answer {
    match serde_json::to_value(what) {
        Ok(value) => Answer::json(200, value),
        Err(error) => Answer::json(500, json!({"error": error.to_string()})),
    }
}
