//! Containers of both kinds.

use vk_aci::Redacted;
use vk_aci::group::{Container, ContainerProperties, InitContainer, InitContainerProperties, ResourceRequirements};
use vk_provider::pod::ResolvedContainer;
use vk_provider::{Error, Result};

use super::{Notice, Scene, env, ports, probes, security, volumes};
use crate::manifest::Placed;
use crate::refusals::refuse;

/// Those that run beside each other.
///
/// # Errors
/// A value that cannot be served.
pub(super) fn ordinary(
    scene: Scene<'_>,
    volumes: &volumes::Plan<'_>,
    sizes: Vec<ResourceRequirements>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<Container>> {
    let each = |(placed, resources): (Placed<'_>, ResourceRequirements)| {
        let resolved = resolved(scene, placed)?;
        let own = placed.container;
        let properties = ContainerProperties {
            image: own.image.clone(),
            command: command(placed, resolved)?,
            ports: ports::of_container(placed)?,
            environment_variables: env::of(placed, &resolved.env, notices)?,
            resources: Some(resources),
            volume_mounts: volumes.mounts(own),
            liveness_probe: probes::of(placed, "livenessProbe", own.liveness_probe.as_ref())?,
            readiness_probe: probes::of(placed, "readinessProbe", own.readiness_probe.as_ref())?,
            security_context: security::of(own, &scene.spec.security_context),
            ..ContainerProperties::default()
        };
        Ok(Container { name: own.name.clone(), properties })
    };
    scene.spec.ordinary().zip(sizes).map(each).collect()
}

/// Those that run before, one after the other.
///
/// # Errors
/// A value that cannot be served.
pub(super) fn init(
    scene: Scene<'_>,
    volumes: &volumes::Plan<'_>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<InitContainer>> {
    let each = |placed: Placed<'_>| {
        let resolved = resolved(scene, placed)?;
        let own = placed.container;
        let properties = InitContainerProperties {
            image: own.image.clone(),
            command: command(placed, resolved)?,
            environment_variables: env::of(placed, &resolved.env, notices)?,
            volume_mounts: volumes.mounts(own),
            security_context: security::of(own, &scene.spec.security_context),
            ..InitContainerProperties::default()
        };
        Ok(InitContainer { name: own.name.clone(), properties })
    };
    scene.spec.init().map(each).collect()
}

fn resolved<'a>(scene: Scene<'a>, placed: Placed<'_>) -> Result<&'a ResolvedContainer> {
    let name = &placed.container.name;
    let missing = || Error::internal("NotResolved", format!("the host resolved no container {name}"));
    scene.pod.container(name).ok_or_else(missing)
}

/// Azure has one list, which takes the place of the image's entrypoint and of its arguments.
fn command(placed: Placed<'_>, resolved: &ResolvedContainer) -> Result<Vec<Redacted>> {
    let ResolvedContainer { command, args, secret_args, .. } = resolved;
    if command.is_empty() && !args.is_empty() {
        let why = "Azure has one list for both, and does not tell the image's entrypoint: write that as command";
        return Err(refuse(placed.field("args"), why));
    }
    if *secret_args {
        let field = placed.field(if args.is_empty() { "command" } else { "args" });
        let why = "it holds a value of a Secret, which Azure would show to everybody who may read the group: let a shell \
                   take it from the environment, [\"sh\", \"-c\", \"exec … \\\"$VARIABLE\\\"\"]";
        return Err(refuse(field, why));
    }
    Ok(command.iter().chain(args).map(Redacted::from).collect())
}
