//! The resource manager: who asks, in which version, how often; and then what is asked of Container Instances.

mod actions;
mod address;
mod content;
mod lists;
mod locations;
mod operations;
mod put;
mod removal;

use std::sync::Arc;

use http::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::answer::{Answer, Outcome, bad};
use crate::asked::Asked;
use crate::group::Key;
use crate::limits::Kind;
use crate::record::Violation;
use crate::schema::VERSIONS;
use crate::world::{World, lock};

const PROVIDER: &str = "microsoft.containerinstance";
/// What operations are asked for with, whatever version the client speaks.
const OPERATION_VERSIONS: &str = "2018-06-01";

/// What a request's body says that the schema has a say in; null: it has none. What the request breaks by that or by where it goes is
/// recorded, whatever becomes of it otherwise; a body that breaks something is to be refused.
pub(crate) fn checked(world: &World, asked: &Asked) -> Result<Value, Answer> {
    address::check(world, asked);
    content::content(world, asked)
}

fn note(world: &World, asked: &Asked, mistakes: Vec<(String, String)>) {
    let request = format!("{} {}", asked.method, asked.whole_path());
    let violations = mistakes.into_iter().map(|(place, what)| Violation { request: request.clone(), place, what });
    lock(&world.record).violations.extend(violations);
}

/// Answers a request. Every answer has ids, by which support finds it.
pub(crate) async fn answer(world: &Arc<World>, asked: &Asked) -> Answer {
    let correlation = asked.header("x-ms-correlation-request-id").map(str::to_owned);
    let answer = handle(world, asked).await.unwrap_or_else(|refused| refused);
    answer
        .header("x-ms-request-id", Uuid::new_v4().to_string())
        .header("x-ms-correlation-request-id", correlation.unwrap_or_else(|| Uuid::new_v4().to_string()))
}

async fn handle(world: &Arc<World>, asked: &Asked) -> Outcome {
    let what = action(asked);
    let account = &world.account;
    let principal =
        lock(&world.tokens).principal(asked.header("authorization"), &asked.base, &account.tenant, &what)?;
    let behaviour = world.behaviour();
    let mut left = None;
    if behaviour.arm_limits {
        left = Some(lock(&world.limits).take(&principal, Kind::of(&asked.method), behaviour.factor)?);
    }
    let answer = route(world, asked).await.unwrap_or_else(|refused| refused);
    Ok(match left {
        Some((name, value)) => answer.header(&name, value),
        None => answer,
    })
}

/// What roles call a request: `Microsoft.ContainerInstance/containerGroups/write`.
fn action(asked: &Asked) -> String {
    let verb = match asked.method {
        Method::GET | Method::HEAD => "read",
        Method::DELETE => "delete",
        Method::POST => "action",
        _ => "write",
    };
    format!("Microsoft.ContainerInstance/containerGroups/{verb}")
}

async fn route(world: &Arc<World>, asked: &Asked) -> Outcome {
    let lower = asked.lower();
    let path: Vec<&str> = lower.iter().map(String::as_str).collect();
    let is = |method: Method| asked.method == method;
    match path.as_slice() {
        ["providers", PROVIDER, "operations"] if is(Method::GET) => {
            version(asked)?;
            Ok(locations::provider_operations())
        }
        ["subscriptions", subscription, rest @ ..] => {
            if *subscription != world.account.subscription.to_lowercase() {
                let message = format!("The subscription '{subscription}' could not be found.");
                return Err(Answer::refusal(404, "SubscriptionNotFound", message));
            }
            match rest {
                ["providers", PROVIDER, "locations", region, kind @ ("operations" | "operationresults"), id] => {
                    if asked.parameter("api-version").is_none_or(|version| version < OPERATION_VERSIONS) {
                        return Err(missing_version());
                    }
                    operations::answer(world, region, *kind == "operations", id)
                }
                ["providers", PROVIDER, rest @ ..] => {
                    version(asked)?;
                    of_subscription(world, asked, rest)
                }
                ["resourcegroups", group, "providers", PROVIDER, "containergroups", rest @ ..] => {
                    version(asked)?;
                    let known = world.account.resource_groups.iter().any(|known| known.to_lowercase() == *group);
                    if !known {
                        let message = format!("Resource group '{}' could not be found.", asked.segment(3));
                        return Err(Answer::refusal(404, "ResourceGroupNotFound", message));
                    }
                    of_group(world, asked, rest).await
                }
                _ => Err(no_such_thing()),
            }
        }
        _ => Err(no_such_thing()),
    }
}

fn of_subscription(world: &Arc<World>, asked: &Asked, path: &[&str]) -> Outcome {
    if asked.method != Method::GET {
        return Err(no_such_thing());
    }
    match path {
        ["containergroups"] => lists::groups(world, asked, None),
        ["locations", region, what @ ("usages" | "capabilities" | "cachedimages")] => {
            locations::answer(world, region, what)
        }
        _ => Err(no_such_thing()),
    }
}

async fn of_group(world: &Arc<World>, asked: &Asked, path: &[&str]) -> Outcome {
    let key = Key { subscription: asked.segment(1), resource_group: asked.segment(3), name: asked.segment(7) };
    match (asked.method.as_str(), path) {
        ("GET", []) => lists::groups(world, asked, Some(&key.resource_group)),
        ("GET", [_]) => Ok(Answer::json(200, world.group(&key)?.shown(true))),
        ("PUT", [_]) => put::put(world, asked, key).await,
        ("PATCH", [_]) => put::patch(world, asked, &key),
        ("DELETE", [_]) => removal::remove(world, asked, &key),
        ("POST", [_, "start"]) => actions::start(world, asked, &key),
        ("POST", [_, "stop"]) => actions::stop(world, &key),
        ("POST", [_, "restart"]) => actions::restart(world, asked, &key),
        ("GET", [_, "containers", _, "logs"]) => actions::logs(world, asked, &key).await,
        ("POST", [_, "containers", _, "exec" | "attach"]) => actions::session(world, asked, &key),
        _ => Err(no_such_thing()),
    }
}

/// Whether a request speaks a version that is known here.
fn version(asked: &Asked) -> Result<(), Answer> {
    let Some(asked_for) = asked.parameter("api-version") else { return Err(missing_version()) };
    if VERSIONS.contains(&asked_for) {
        return Ok(());
    }
    Err(bad(
        "NoRegisteredProviderFound",
        format!(
            "No registered resource provider found for location '' and API version '{asked_for}' for type 'containerGroups'. The supported api-versions are '{}'.",
            VERSIONS.join(", ")
        ),
    ))
}

fn missing_version() -> Answer {
    bad("MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
}

fn no_such_thing() -> Answer {
    Answer::refusal(
        404,
        "InvalidResourceType",
        "The resource type could not be found in the namespace 'Microsoft.ContainerInstance' for this api version.",
    )
}

/// A region as it is called: `West Europe` is `westeurope`.
fn region(written: &str) -> String {
    written.replace(' ', "").to_lowercase()
}
