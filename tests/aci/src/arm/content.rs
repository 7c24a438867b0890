//! What requests say, and whether they may.

use serde_json::Value;

use super::{PROVIDER, note};
use crate::answer::{Answer, bad};
use crate::asked::Asked;
use crate::schema::Sent;
use crate::world::World;

/// What a request's body says that the schema has a say in; null: it has none. What breaks it is recorded, and is to be refused.
pub(super) fn content(world: &World, asked: &Asked) -> Result<Value, Answer> {
    // Nothing more is to be said of it: whoever it is for, it is refused.
    if asked.is_too_long {
        note(world, asked, vec![("/".to_owned(), "it is longer than 4 MiB".to_owned())]);
        return Ok(Value::Null);
    }
    let Some(sent) = sent(asked) else { return Ok(Value::Null) };
    let Ok(body) = serde_json::from_slice(&asked.body) else {
        note(world, asked, vec![("/".to_owned(), "it is no JSON".to_owned())]);
        let message = "The request content was invalid and could not be deserialized.";
        return Err(bad("InvalidRequestContent", message));
    };
    // A version that nobody knows is refused for itself.
    let version = asked.parameter("api-version").unwrap_or_default();
    let mistakes = world.schemas.mistakes(version, sent, &body);
    let Some((place, what)) = mistakes.first().cloned() else { return Ok(body) };
    note(world, asked, mistakes);
    Err(bad("InvalidRequestContent", format!("The request content was invalid at '{place}': {what}.")))
}

fn sent(asked: &Asked) -> Option<Sent> {
    let lower = asked.lower();
    let path: Vec<&str> = lower.iter().map(String::as_str).collect();
    let ["subscriptions", _, "resourcegroups", _, "providers", PROVIDER, "containergroups", _, rest @ ..] =
        path.as_slice()
    else {
        return None;
    };
    match (asked.method.as_str(), rest) {
        ("PUT", []) => Some(Sent::Group),
        ("PATCH", []) => Some(Sent::Tags),
        ("POST", ["containers", _, "exec"]) => Some(Sent::Command),
        _ => None,
    }
}
