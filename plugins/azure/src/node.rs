//! The node: a region of Azure, and what the operator says of it.

use vk_provider::Result;
use vk_provider::node::{Amount, Details};

use crate::config::Capacity;
use crate::context::Context;

/// A group that is not there: asking for it proves that Azure answers, for the least that there is to answer.
const NOBODY: &str = "vk-host-ping";
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
    vec![Amount::new("cpu", cpu), Amount::new("memory", memory), Amount::new("pods", pods)]
}

/// Whether Azure answers, with these credentials, for this resource group.
///
/// # Errors
/// It does not.
pub(crate) fn ping(context: &Context) -> Result<()> {
    context.client.get_group(NOBODY)?;
    Ok(())
}
