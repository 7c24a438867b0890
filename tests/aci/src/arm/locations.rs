//! What a region has.

use serde_json::{Value, json};

use super::region;
use crate::answer::{Answer, Outcome, bad};
use crate::world::{World, lock};

/// Usages, capabilities or cached images.
pub(super) fn answer(world: &World, place: &str, what: &str) -> Outcome {
    let place = region(place);
    if !world.account.regions.contains(&place) {
        let message = format!(
            "The provided location '{place}' is not available for resource type 'Microsoft.ContainerInstance/locations'."
        );
        return Err(bad("LocationNotAvailableForResourceType", message));
    }
    Ok(Answer::json(
        200,
        match what {
            "usages" => usages(world, &place),
            "capabilities" => capabilities(&place),
            _ => {
                json!({"value": [{"osType": "Linux", "image": "ubuntu:16.04"}, {"osType": "Linux", "image": "alpine:3.6"}]})
            }
        },
    ))
}

fn usages(world: &World, place: &str) -> Value {
    let behaviour = world.behaviour();
    let groups = lock(&world.groups);
    let there = groups.values().filter(|group| !group.is_gone() && group.region == place);
    let count = there.clone().count();
    let cores: f64 = there.map(|group| group.state().spec.cores()).sum();
    let path = format!(
        "/subscriptions/{}/providers/Microsoft.ContainerInstance/locations/{place}/usages",
        world.account.subscription
    );
    let of = |name: &str, shown: &str, used: Value, limit: Value| {
        json!({
            "id": format!("{path}/{name}"), "unit": "Count", "currentValue": used, "limit": limit,
            "name": {"value": name, "localizedValue": shown},
        })
    };
    // Both are integers in the schema.
    let whole = |number: f64| json!(format!("{:.0}", number.ceil()).parse::<i64>().unwrap_or(i64::MAX));
    json!({"value": [
        of("ContainerGroups", "Container Groups", json!(count), json!(behaviour.groups)),
        of("StandardCores", "Standard Cores", whole(cores), whole(behaviour.cores)),
    ]})
}

fn capabilities(place: &str) -> Value {
    let of = |os: &str, address: &str, cores: f64, memory: f64| {
        json!({
            "resourceType": "containerGroups", "osType": os, "location": place, "ipAddressType": address, "gpu": "None",
            "capabilities": {"maxMemoryInGB": memory, "maxCpu": cores, "maxGpuCount": 0.0},
        })
    };
    json!({"value": [
        of("Linux", "Public", 31.0, 240.0),
        of("Linux", "Private", 31.0, 240.0),
        of("Windows", "Public", 4.0, 16.0),
    ]})
}

/// What the provider can do.
pub(super) fn provider_operations() -> Answer {
    let names = ["read", "write", "delete", "start/action", "stop/action", "restart/action"];
    let of = |name: &str| {
        json!({
            "name": format!("Microsoft.ContainerInstance/containerGroups/{name}"), "origin": "User",
            "display": {"provider": "Microsoft Container Instance", "resource": "Container Group", "operation": name, "description": name},
        })
    };
    Answer::json(200, json!({"value": names.map(of)}))
}
