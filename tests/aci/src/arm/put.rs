//! Groups are made and changed.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::region;
use crate::answer::{Answer, Outcome, bad};
use crate::asked::Asked;
use crate::group::{Group, Key};
use crate::limits::Act;
use crate::operation::told;
use crate::record::Put;
use crate::run::{self, Order};
use crate::spec::Spec;
use crate::world::{World, lock};
use crate::{check, echo};

/// Makes a group, or changes one, which starts its containers again.
pub(super) async fn put(world: &Arc<World>, asked: &Asked, key: Key) -> Outcome {
    let body = asked.content.clone()?;
    let spec = Spec::of(&body)
        .map_err(|error| bad("InvalidRequestContent", format!("The request content was invalid: {error}.")))?;
    check::group(&key.name, &spec)?;
    let place = region(body.get("location").and_then(Value::as_str).unwrap_or_default());
    if place.is_empty() {
        return Err(bad("LocationRequired", "The location property is required for this definition."));
    }
    if !world.account.regions.contains(&place) {
        return Err(bad(
            "LocationNotAvailableForResourceType",
            format!(
                "The provided location '{place}' is not available for resource type 'Microsoft.ContainerInstance/containerGroups'. List of available regions for the resource type is '{}'.",
                world.account.regions.join(",")
            ),
        ));
    }
    accessible(world, &key.name, &spec).await?;
    let behaviour = world.behaviour();
    let spec = Arc::new(spec);
    // From here on nobody else makes or changes a group.
    let mut groups = lock(&world.groups);
    let there = groups.get(&key).filter(|group| !group.is_gone()).cloned();
    let note = |put| lock(&world.record).put(body.pointer("/tags/UID").and_then(Value::as_str), put);
    let (group, status) = match there {
        Some(group) => {
            is_changeable(&group, &place, &spec).inspect_err(|_| note(Put::Refused))?;
            change(&group, &body, &spec);
            note(Put::Changed);
            (group, 200)
        }
        None => {
            quota(&groups, &place, &spec, behaviour.groups, behaviour.cores)?;
            if behaviour.aci_limits {
                lock(&world.limits).count(&place, Act::Create, &behaviour.rates())?;
            }
            let group = Arc::new(Group::new(key.clone(), place.clone(), echo::of(&body), spec));
            groups.insert(key.clone(), group.clone());
            note(Put::Made);
            (group, 201)
        }
    };
    drop(groups);
    let operation = lock(&world.operations).begin(&key, true, Instant::now() + asked.plan.more);
    let order = Order { operation: Some(operation.clone()), plan: asked.plan.clone() };
    run::begin(world, &group, order);
    let answer = Answer::json(status, group.shown(false));
    Ok(told(answer, &asked.base, &key.subscription, &place, &operation, &behaviour))
}

/// Images are looked at before anything is made.
async fn accessible(world: &World, name: &str, spec: &Spec) -> Result<(), Answer> {
    for image in spec.all().map(|container| container.properties.image.as_str()) {
        let login = run::login(spec, image);
        if !world.engine.is_accessible(image, login.as_ref()).await {
            let message = format!(
                "The image '{image}' in container group '{name}' is not accessible. Please check the image and registry credential."
            );
            return Err(bad("InaccessibleImage", message));
        }
    }
    Ok(())
}

/// Changes a group's tags.
pub(super) fn patch(world: &Arc<World>, asked: &Asked, key: &Key) -> Outcome {
    let body = asked.content.clone()?;
    let group = world.group(key)?;
    if group.state().provisioning == "Deleting" {
        return Err(transitioning(&key.name));
    }
    if let Some(tags) = body.get("tags")
        && let Some(echo) = group.state().echo.as_object_mut()
    {
        echo.insert("tags".to_owned(), tags.clone());
    }
    Ok(Answer::json(200, group.shown(false)))
}

pub(super) fn transitioning(name: &str) -> Answer {
    let message = format!("The container group '{name}' is still transitioning, please retry later.");
    Answer::refusal(409, "ContainerGroupTransitioning", message)
}

fn is_changeable(group: &Group, place: &str, spec: &Spec) -> Result<(), Answer> {
    let name = &group.key.name;
    if group.region != place {
        return Err(Answer::refusal(
            409,
            "InvalidResourceLocation",
            format!(
                "The resource '{name}' already exists in location '{}' in resource group '{}'. A resource with the same name cannot be created in location '{place}'. Please select a new resource name.",
                group.region, group.key.resource_group
            ),
        ));
    }
    if group.is_transitioning() {
        return Err(transitioning(name));
    }
    let state = group.state();
    let old = &state.spec;
    let same = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let is_over = matches!(state.phase, "Succeeded" | "Failed") || state.provisioning == "Failed";
    let is_fixed = old.policy() != spec.policy()
        || old.os_type != spec.os_type
        || !same(old.cores(), spec.cores())
        || !same(old.memory(), spec.memory())
        || old.subnets() != spec.subnets()
        || old.zones != spec.zones;
    if is_over || is_fixed {
        return Err(bad(
            "InvalidContainerGroupUpdate",
            format!(
                "The updates on container group '{name}' are invalid. If you are going to update the os type, restart policy, network profile, CPU, memory or GPU resources for a container group, you must delete it first and then create a new one."
            ),
        ));
    }
    Ok(())
}

/// What is left out returns to its default.
fn change(group: &Group, body: &Value, spec: &Arc<Spec>) {
    let mut state = group.state();
    state.echo = echo::of(body);
    state.spec = spec.clone();
    state.provisioning = "Pending";
}

fn quota(
    groups: &std::collections::BTreeMap<Key, Arc<Group>>,
    place: &str,
    spec: &Spec,
    most_groups: u32,
    most_cores: f64,
) -> Result<(), Answer> {
    let there = groups.values().filter(|group| !group.is_gone() && group.region == place);
    let count = there.clone().count();
    let cores: f64 = there.map(|group| group.state().spec.cores()).sum();
    let reached = |name: &str, limit: f64, usage: f64, requested: f64| {
        let details = json!({"error": {
            "code": "ContainerGroupQuotaReached",
            "message": format!("Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota '{name}' exceeded in region '{place}'. Limit: '{limit}', Usage: '{usage}' Requested: '{requested}'."),
        }});
        Answer::json(409, details)
    };
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if count + 1.0 > f64::from(most_groups) {
        return Err(reached("ContainerGroups", most_groups.into(), count, 1.0));
    }
    if cores + spec.cores() > most_cores + 1e-6 {
        return Err(reached("StandardCores", most_cores, cores, spec.cores()));
    }
    Ok(())
}
