//! What a container is at the engine.

use super::volumes::Volumes;
use crate::engine::{Attempt, Login};
use crate::spec::{Container, Registry, Security, Spec};
use crate::world::World;

/// An attempt at a container.
pub(super) fn of(world: &World, spec: &Spec, container: &Container, volumes: &Volumes) -> Attempt {
    let of = &container.properties;
    let resources = of.resources.clone().unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let security = of.security_context.clone().unwrap_or_default();
    let variables = of.environment_variables.iter().map(|variable| {
        let vault = variable.secure_value_reference.as_ref().and_then(|name| secret(world, spec, name));
        let value = variable.value.clone().or_else(|| variable.secure_value.clone()).or(vault);
        format!("{}={}", variable.name, value.unwrap_or_default())
    });
    let map = of.config_map.iter().flat_map(|map| &map.key_value_pairs);
    let file = |(key, value): (&String, &String)| {
        (format!("/mnt/configmap/{}/{key}", container.name), value.clone().into_bytes())
    };
    Attempt {
        image: of.image.clone(),
        command: of.command.clone(),
        env: variables.collect(),
        mounts: of.volume_mounts.iter().filter_map(|mount| volumes.bind(mount)).collect(),
        cpu: limits.cpu.or(resources.requests.cpu),
        memory: limits.memory.or(resources.requests.memory),
        user: user(&security),
        cap_add: security.capabilities.add.clone(),
        cap_drop: security.capabilities.drop.clone(),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
        files: map.map(file).collect(),
        label: container.name.clone(),
    }
}

fn user(security: &Security) -> Option<String> {
    match (security.run_as_user, security.run_as_group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) => Some(format!("0:{group}")),
        (None, None) => None,
    }
}

/// What a key vault has under the URI that a reference names.
pub(super) fn secret(world: &World, spec: &Spec, name: &str) -> Option<String> {
    let reference = spec.secret_references.iter().find(|reference| reference.name == name)?;
    world.account.vault.get(&reference.secret_reference_uri).cloned()
}

/// Who pulls an image, if it is no public one.
pub(crate) fn login(world: &World, spec: &Spec, image: &str) -> Option<Login> {
    let fits = |registry: &&Registry| image.starts_with(&format!("{}/", registry.server));
    let Registry { server, username, password, password_reference, .. } =
        spec.image_registry_credentials.iter().find(fits)?.clone();
    let password = password.or_else(|| secret(world, spec, &password_reference?))?;
    Some(Login { server, username: username?, password })
}
