//! A machine's metadata service, as far as it gives tokens of managed identities.

use serde_json::json;

use crate::answer::{Answer, Outcome};
use crate::asked::Asked;
use crate::world::{World, lock};

/// A token. All numbers are strings here.
pub(crate) fn token(world: &World, asked: &Asked) -> Outcome {
    let refused = |why: &str| Answer::json(400, json!({"error": "invalid_request", "error_description": why}));
    if asked.header("metadata") != Some("true") {
        return Err(refused("Required metadata header not specified"));
    }
    // Whoever was led here by somebody else.
    if asked.header("x-forwarded-for").is_some() {
        return Err(refused("X-Forwarded-For is not allowed"));
    }
    if asked.parameter("api-version").is_none_or(|version| version < "2018-02-01") {
        return Err(refused("Required query variable 'api-version' is missing or not supported"));
    }
    let Some(resource) = asked.parameter("resource").filter(|resource| !resource.is_empty()) else {
        return Err(refused("Required query variable 'resource' is missing"));
    };
    let identities = &world.account.identities;
    let identity = match asked.parameter("client_id") {
        Some(chosen) => identities.iter().find(|identity| *identity == chosen),
        None => identities.first(),
    };
    let Some(identity) = identity else { return Err(refused("Identity not found")) };
    let life = world.behaviour().token_life;
    let token = lock(&world.tokens).issue(identity, &world.account.tenant, resource, life);
    let now = jiff::Timestamp::now().as_second();
    let seconds = life.as_secs();
    let end = now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    Ok(Answer::json(
        200,
        json!({
            "access_token": token, "refresh_token": "", "expires_in": seconds.to_string(), "expires_on": end.to_string(),
            "not_before": now.to_string(), "resource": resource, "token_type": "Bearer", "client_id": identity,
        }),
    ))
}
