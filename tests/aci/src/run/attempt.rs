//! What a container is at the engine.

use super::volumes::Volumes;
use crate::engine::{Attempt, Login};
use crate::spec::{Container, Registry, Security, Spec};

/// An attempt at a container.
pub(super) fn of(container: &Container, volumes: &Volumes) -> Attempt {
    let of = &container.properties;
    let resources = of.resources.clone().unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let security = of.security_context.clone().unwrap_or_default();
    let variables = of.environment_variables.iter().map(|variable| {
        let value = variable.value.as_deref().or(variable.secure_value.as_deref());
        format!("{}={}", variable.name, value.unwrap_or_default())
    });
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

/// Who pulls an image, if it is no public one. An identity is nobody here: it is only pretended.
pub(crate) fn login(spec: &Spec, image: &str) -> Option<Login> {
    let fits = |registry: &&Registry| image.starts_with(&format!("{}/", registry.server));
    let Registry { server, username, password, .. } = spec.image_registry_credentials.iter().find(fits)?.clone();
    Some(Login { server, username: username?, password: password? })
}
