//! How far operations are.

use crate::answer::{Answer, Outcome};
use crate::world::{World, lock};

/// What an operation's URL answers: `is_status`, the one of `Azure-AsyncOperation`, else that of `Location`.
pub(super) fn answer(world: &World, region: &str, is_status: bool, id: &str) -> Outcome {
    let Some(operation) = lock(&world.operations).get(id) else {
        return Err(Answer::refusal(404, "OperationNotFound", format!("The operation '{id}' was not found.")));
    };
    let retry_after = world.behaviour().retry_after;
    let later = |answer: Answer| match retry_after {
        Some(seconds) => answer.header("retry-after", seconds.to_string()),
        None => answer,
    };
    if is_status {
        let subscription = &world.account.subscription;
        let path = format!(
            "/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/locations/{region}/operations/{id}"
        );
        let answer = Answer::json(200, operation.status(&path));
        return Ok(if operation.end().is_none() { later(answer) } else { answer });
    }
    match operation.end() {
        None => Ok(later(Answer::empty(202))),
        // What has come to nothing says so in the group, as the answer to the request that began it would.
        Some(_) if operation.gives_group => Ok(match world.group(&operation.key) {
            Ok(group) => Answer::json(200, group.shown(true)),
            Err(_) => Answer::empty(204),
        }),
        Some(Ok(())) => Ok(Answer::empty(204)),
        Some(Err(end)) => Err(Answer::refusal(409, &end.code, end.message.clone())),
    }
}
