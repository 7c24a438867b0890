//! The node: a region of Azure, and what the operator says of it.

use vk_provider::Result;
use vk_provider::node::{Amount, Details};
use vk_provider::quantity::Quantity;

use crate::config::Capacity;
use crate::context::Context;
use crate::limits::STORAGE;

/// A group that is not there: asking for it proves that Azure answers, for the least that there is to answer.
const NOBODY: &str = "vk-host-ping";
/// As Kubernetes counts them: `G`.
const GIGABYTE: i64 = 1_000_000_000;
/// Labels that a kubelet may set (Well-Known Labels, Annotations and Taints).
const REGION: &str = "topology.kubernetes.io/region";

/// What else the Node object says.
pub(crate) fn details(context: &Context) -> Details {
    Details {
        // Container Instances have no other machines.
        architecture: Some("amd64".to_owned()),
        runtime_version: Some(format!("aci://{}", context.client.version())),
        labels: vec![(REGION.to_owned(), context.config.region.clone())],
        ..Details::default()
    }
}

/// What the operator says, else what azure-aci's node offers. Azure's own quotas are counted when a group is made.
pub(crate) fn capacity(capacity: &Capacity) -> Vec<Amount> {
    let Capacity { cpu, memory, pods } = capacity;
    // Each group has a disk of its own, so that as much is there as all pods together can ask for.
    let disks = pods.parse().map_or(0, |pods: Quantity| pods.whole()).saturating_mul(STORAGE / GIGABYTE);
    vec![
        Amount::new("cpu", cpu),
        Amount::new("memory", memory),
        Amount::new("pods", pods),
        Amount::new("ephemeral-storage", format!("{disks}G")),
    ]
}

/// Whether Azure answers, with these credentials, for this resource group.
///
/// # Errors
/// It does not.
pub(crate) fn ping(context: &Context) -> Result<()> {
    context.client.get_group(NOBODY)?;
    Ok(())
}
