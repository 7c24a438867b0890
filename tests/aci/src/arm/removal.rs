//! Groups are removed.

use std::sync::Arc;
use std::time::Instant;

use crate::answer::{Answer, Outcome};
use crate::asked::Asked;
use crate::group::Key;
use crate::limits::Act;
use crate::operation::told;
use crate::run;
use crate::world::{World, lock};

/// Removes a group; what is not there is gone.
pub(super) fn remove(world: &Arc<World>, asked: &Asked, key: &Key) -> Outcome {
    let Ok(group) = world.group(key) else { return Ok(Answer::empty(204)) };
    let behaviour = world.behaviour();
    if behaviour.aci_limits {
        lock(&world.limits).count(&group.region, Act::Delete, &behaviour.rates())?;
    }
    let operation = lock(&world.operations).begin(key, false, Instant::now() + asked.plan.more);
    run::remove(world, &group, operation.clone(), asked.plan.clone());
    Ok(told(Answer::empty(202), &asked.base, &key.subscription, &group.region, &operation, &behaviour))
}
