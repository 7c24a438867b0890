//! What a request says, and whether it may.

use serde_json::Value;

use crate::answer::{Answer, bad};
use crate::asked::Asked;
use crate::record::Violation;
use crate::schema::Sent;
use crate::world::{World, lock};

/// The body of a request, which keeps to the schema. What does not is recorded, and refused.
pub(super) fn read(world: &World, asked: &Asked, version: &str, sent: Sent) -> Result<Value, Answer> {
    let body: Value = serde_json::from_slice(&asked.body)
        .map_err(|_| bad("InvalidRequestContent", "The request content was invalid and could not be deserialized."))?;
    let mistakes = world.schemas.mistakes(version, sent, &body);
    let Some((place, what)) = mistakes.first().cloned() else { return Ok(body) };
    let request = format!("{} /{}", asked.method, asked.path.join("/"));
    let violations = mistakes.into_iter().map(|(place, what)| Violation { request: request.clone(), place, what });
    lock(&world.record).violations.extend(violations);
    Err(bad("InvalidRequestContent", format!("The request content was invalid at '{place}': {what}.")))
}
