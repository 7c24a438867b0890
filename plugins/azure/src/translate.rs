//! A pod as a container group. All that can be refused is refused before anything is asked of the cluster, and that
//! before anything is made.
//!
//! ```text
//! manifest, annotations, config ─▶ placement ─▶ network, resources, volumes, containers     pure: refusals
//!                                                   └─▶ files and keys, registry credentials (cluster) ─▶ Group
//! ```

mod allowed;
mod container;
mod diagnostics;
mod dns;
mod encryption;
mod env;
mod extensions;
mod files;
mod identity;
mod network;
mod placement;
mod ports;
mod probes;
mod registry;
mod resources;
mod security;
mod shares;
mod volumes;

#[cfg(test)]
mod tests;

use vk_aci::Group;
use vk_aci::group::{Properties, RestartPolicy, Tags};
use vk_provider::config::NodeInfo;
use vk_provider::pod;
use vk_provider::{DesiredPod, Result, cluster};

use crate::annotations::{self, Wishes};
use crate::config::{Config, Os};
use crate::limits;
use crate::manifest::{Manifest, Spec};
use crate::names::{self, Mark};
use crate::refusals::{self, annotation};
use crate::resource::Subnet;
pub(crate) use volumes::is_service_account_token;

/// What a group is made of.
#[derive(Clone, Copy)]
struct Scene<'a> {
    config: &'a Config,
    node: &'a NodeInfo,
    pod: &'a DesiredPod,
    spec: &'a Spec,
    wishes: &'a Wishes,
}

impl<'a> Scene<'a> {
    /// The subnet that the pod is in: its own, or that of all.
    fn subnet(&self) -> Option<&'a Subnet> {
        self.wishes.subnet.as_ref().or(self.config.network.subnet.as_ref())
    }

    fn is_linux(&self) -> bool {
        self.config.os == Os::Linux
    }
}

/// A group that is to be made, and what is to be told of it once it is.
#[derive(Debug)]
pub(crate) struct Made {
    /// Of the group.
    pub(crate) name: String,
    pub(crate) group: Group,
    pub(crate) notices: Vec<Notice>,
}

/// Something of the pod that became less than it says, within what Kubernetes allows: an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    reason: &'static str,
    message: String,
}

impl Notice {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub(crate) fn tell(&self, id: &vk_provider::PodRef) {
        cluster::event(id, true, self.reason, &self.message);
    }
}

/// The group of a pod.
///
/// # Errors
/// With a field: it cannot be served as it is written. Else something that it needs is not there.
pub(crate) fn group(config: &Config, node: &NodeInfo, pod: &DesiredPod) -> Result<Made> {
    let manifest: Manifest = pod.read()?;
    let wishes = annotations::read(&manifest.metadata.annotations)?;
    let spec = &manifest.spec;
    refusals::check(spec, config.os)?;
    let scene = Scene { config, node, pod, spec, wishes: &wishes };
    allowed::check(scene)?;
    let mut notices = Vec::new();
    let placement = placement::of(scene)?;
    let network = network::of(scene, &placement, &mut notices)?;
    let sizes = resources::of(spec, placement.most, &mut notices)?;
    let volumes = volumes::Plan::of(scene)?;
    let containers = container::ordinary(scene, &volumes, sizes, &mut notices)?;
    let init_containers = container::init(scene, &volumes, &mut notices)?;
    let tags = tags(scene, manifest.metadata.creation_timestamp.as_deref())?;
    let encryption = encryption::of(scene);
    let extensions = extensions::of(scene, &placement)?;
    // From here on the cluster is asked.
    let registry = registry::of(scene)?;
    let properties = Properties {
        containers,
        init_containers,
        os_type: Some(config.os.on_the_wire()),
        restart_policy: Some(restart_policy(spec.restart_policy)),
        image_registry_credentials: registry.credentials,
        ip_address: network.ip,
        subnet_ids: network.subnet.into_iter().collect(),
        dns_config: network.dns,
        volumes: volumes.render(&pod.id)?,
        diagnostics: diagnostics::of(scene),
        extensions,
        sku: placement.sku,
        priority: placement.priority,
        confidential_compute_properties: placement.confidential,
        encryption_properties: encryption.clone(),
        ..Properties::default()
    };
    let identity = identity::of(scene, registry.identity, encryption.and_then(|key| key.identity));
    let group = Group {
        location: Some(config.region.clone()),
        tags,
        zones: placement.zone.into_iter().collect(),
        identity,
        properties,
        ..Group::default()
    };
    Ok(Made { name: names::group(node, &pod.id), group, notices })
}

const fn restart_policy(policy: pod::RestartPolicy) -> RestartPolicy {
    match policy {
        pod::RestartPolicy::Always => RestartPolicy::Always,
        pod::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
        pod::RestartPolicy::Never => RestartPolicy::Never,
    }
}

/// Whose the group is, and what else its tags say: the pod's own before those of all.
fn tags(scene: Scene<'_>, created: Option<&str>) -> Result<Tags> {
    let mark = Mark { id: scene.pod.id.clone(), revision: Some(scene.pod.revision.clone()) };
    let mut tags = scene.config.defaults.tags.clone();
    for (name, value) in &scene.wishes.tags {
        // To Azure they are the same.
        tags.retain(|other, _| !other.eq_ignore_ascii_case(name));
        tags.insert(name.clone(), value.clone());
    }
    tags.extend(mark.tags(scene.node, created));
    if tags.len() > limits::TAGS {
        let why = format!("with the node's own they are {}, and a group has at most {}", tags.len(), limits::TAGS);
        return Err(annotation(annotations::TAGS, why));
    }
    Ok(tags)
}
