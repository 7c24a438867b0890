//! Where a provider's requests go, and whether they may.
//!
//! Whatever they are answered, they are below the container groups of a resource group and as Microsoft's schema has them, or ask how far
//! an operation is: the least roles of plugins/azure/README.md are good for nothing else.

use super::{PROVIDER, note};
use crate::asked::Asked;
use crate::world::World;

/// How the `User-Agent` of what is held to this begins; other clients ask for all that there is.
const HELD: &str = "vk-host/";

/// Records what is wrong with where a request goes.
pub(super) fn check(world: &World, asked: &Asked) {
    // Below the tenant is who signs in.
    let signs_in = asked.path.first().is_some_and(|first| first.eq_ignore_ascii_case(&world.account.tenant));
    if !signs_in && asked.header("user-agent").is_some_and(|agent| agent.starts_with(HELD)) {
        note(world, asked, mistakes(world, asked));
    }
}

fn mistakes(world: &World, asked: &Asked) -> Vec<(String, String)> {
    let lower = asked.lower();
    let path: Vec<&str> = lower.iter().map(String::as_str).collect();
    let is_below = match (asked.method.as_str(), path.as_slice()) {
        // Their URLs are the service's own, and no schema has them.
        ("GET", ["subscriptions", _, "providers", PROVIDER, "locations", _, "operations" | "operationresults", _]) => {
            return Vec::new();
        }
        (_, ["subscriptions", _, "resourcegroups", _, "providers", PROVIDER, "containergroups", ..]) => true,
        _ => false,
    };
    let mut mistakes = world.schemas.misaddressed(asked.method.as_str(), &path, &asked.query);
    if !is_below {
        let what = "it is not below a resource group's container groups, and so takes more than the least roles";
        mistakes.push(("path".to_owned(), what.to_owned()));
    }
    mistakes
}
