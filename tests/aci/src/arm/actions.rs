//! What is done with a group that is there: stop, start, restart; logs.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::put::transitioning;
use crate::answer::{Answer, Outcome, bad};
use crate::asked::Asked;
use crate::engine::Tail;
use crate::group::{Group, Key, Log};
use crate::operation::told;
use crate::run::{self, Order};
use crate::world::{World, lock};

/// The longest log that is answered.
const MOST_LOG: usize = 4 << 20;

/// Starts a group that was stopped, from its images on.
pub(super) fn start(world: &Arc<World>, asked: &Asked, key: &Key) -> Outcome {
    let group = there(world, key)?;
    if group.state().phase == "Running" {
        return Ok(Answer::empty(204));
    }
    Ok(begun(world, asked, &group, 202))
}

/// Ends a group and starts it again.
pub(super) fn restart(world: &Arc<World>, asked: &Asked, key: &Key) -> Outcome {
    let group = there(world, key)?;
    Ok(begun(world, asked, &group, 204))
}

/// Ends all containers. What has ended by itself stays as it is.
pub(super) fn stop(world: &Arc<World>, key: &Key) -> Outcome {
    let group = world.group(key)?;
    if group.state().provisioning == "Deleting" {
        return Err(transitioning(&key.name));
    }
    run::stop(world, &group);
    Ok(Answer::empty(204))
}

fn there(world: &World, key: &Key) -> Result<Arc<Group>, Answer> {
    let group = world.group(key)?;
    if group.is_transitioning() { Err(transitioning(&key.name)) } else { Ok(group) }
}

fn begun(world: &Arc<World>, asked: &Asked, group: &Arc<Group>, status: u16) -> Answer {
    group.state().provisioning = "Pending";
    let key = &group.key;
    let operation = lock(&world.operations).begin(key, false, Instant::now() + asked.plan.more);
    run::begin(world, group, Order { operation: Some(operation.clone()), plan: asked.plan.clone() });
    told(Answer::empty(status), &asked.base, &key.subscription, &group.region, &operation, &world.behaviour())
}

/// Sessions in containers are not played.
pub(super) fn session(world: &World, asked: &Asked, key: &Key) -> Outcome {
    asked.content.clone()?;
    let group = world.group(key)?;
    let container = asked.segment(9);
    if !group.state().views.contains_key(&container) {
        return Err(no_container(&container, &key.name));
    }
    Err(Answer::refusal(501, "NotImplemented", "This fake has no sessions in containers."))
}

fn no_container(container: &str, group: &str) -> Answer {
    let message = format!("Container '{container}' in container group '{group}' is not found.");
    Answer::refusal(404, "ContainerNotFound", message)
}

/// What a container has written.
pub(super) async fn logs(world: &Arc<World>, asked: &Asked, key: &Key) -> Outcome {
    let container = asked.segment(9);
    let group = world.group(key)?;
    let tail = match asked.parameter("tail") {
        Some(text) => Some(text.parse::<u32>().map_err(|_| bad("InvalidTail", "The tail is invalid."))?),
        None => None,
    };
    let tail = Tail {
        lines: tail,
        timestamps: asked.parameter("timestamps").is_some_and(|is| is.eq_ignore_ascii_case("true")),
    };
    let log = {
        let state = group.state();
        if !state.views.contains_key(&container) {
            return Err(no_container(&container, &key.name));
        }
        state.logs.get(&container).cloned()
    };
    let unavailable = || {
        let name = &key.name;
        let message = format!("Log of container '{container}' in container group '{name}' is not available yet.");
        Answer::refusal(404, "ContainerLogNotAvailable", message)
    };
    let text = match log {
        Some(Log::Engine(id)) => world.engine.logs(&id, tail).await.map_err(|_| unavailable())?,
        Some(Log::Kept(text)) => tail.of(&text),
        None => return Err(unavailable()),
    };
    let begin = text.ceil_char_boundary(text.len().saturating_sub(MOST_LOG));
    Ok(Answer::json(200, json!({"content": text.get(begin..).unwrap_or_default()})))
}
