//! Lists of groups, in pages.

use serde_json::{Value, json};

use crate::answer::{Answer, Outcome, bad};
use crate::asked::Asked;
use crate::world::{World, lock};

/// A page of the groups of the subscription, or of one resource group. They have no instance view here.
pub(super) fn groups(world: &World, asked: &Asked, resource_group: Option<&str>) -> Outcome {
    let behaviour = world.behaviour();
    let begin: usize = match asked.parameter("$skiptoken") {
        Some(token) => token.parse().map_err(|_| bad("InvalidSkipToken", "The skip token is invalid."))?,
        None => 0,
    };
    let mut groups = lock(&world.groups);
    groups.retain(|_, group| !group.is_gone() || group.is_listed(behaviour.list_lag));
    let of = |name: &str| resource_group.is_none_or(|own| own.eq_ignore_ascii_case(name));
    let listed: Vec<_> = groups
        .values()
        .filter(|group| of(&group.key.resource_group) && group.is_listed(behaviour.list_lag))
        .cloned()
        .collect();
    drop(groups);
    let page = behaviour.page.max(1);
    let value: Vec<Value> = listed.iter().skip(begin).take(page).map(|group| group.shown(false)).collect();
    let mut body = json!({"value": value});
    let end = begin + page;
    if end < listed.len()
        && let Some(object) = body.as_object_mut()
    {
        let (base, path) = (&asked.base, asked.path.join("/"));
        let version = asked.parameter("api-version").unwrap_or_default();
        let next = format!("{base}/{path}?api-version={version}&%24skiptoken={end}");
        object.insert("nextLink".to_owned(), json!(next));
    }
    Ok(Answer::json(200, body))
}
