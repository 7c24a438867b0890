//! What a group is made of.

use serde::{Deserialize, Serialize};

use super::words::words;
use super::{
    ConfidentialComputeProperties, Container, ContainerView, Diagnostics, DnsConfig, EncryptionProperties, Extension,
    GroupView, ImageRegistryCredential, InitContainer, IpAddress, SubnetId, Volume, or_default,
};

/// What a group is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Properties {
    /// How far its making, change or removal is. Answers only.
    #[serde(skip_serializing)]
    pub provisioning_state: Option<ProvisioningState>,
    /// They run beside each other, on one machine with one address.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// They run before, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub init_containers: Vec<InitContainer>,
    /// What its images are made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<OsType>,
    /// none: `Always`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// none: `Standard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    /// none: `Regular`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Who pulls its images.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub image_registry_credentials: Vec<ImageRegistryCredential>,
    /// none: it has no address that others reach, or, in a subnet, one that Azure chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<IpAddress>,
    /// The subnet that it is in.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub subnet_ids: Vec<SubnetId>,
    /// none: the subnet's, or Azure's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    /// What its containers can mount.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub volumes: Vec<Volume>,
    /// Where logs go besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Diagnostics>,
    /// A key of one's own for what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_properties: Option<EncryptionProperties>,
    /// Of sku `Confidential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidential_compute_properties: Option<ConfidentialComputeProperties>,
    /// What Azure adds for a Virtual Kubelet.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub extensions: Vec<Extension>,
    /// How it runs. Answers only; lists, and groups that are new, lack it.
    #[serde(skip_serializing)]
    pub instance_view: Option<GroupView>,
}

impl Properties {
    /// All containers by their names, with what is said of how each runs: those that run before the others first.
    pub fn views(&self) -> impl Iterator<Item = (&str, Option<&ContainerView>)> {
        let init = self.init_containers.iter().map(|it| (it.name.as_str(), it.properties.instance_view.as_ref()));
        let ordinary = self.containers.iter().map(|it| (it.name.as_str(), it.properties.instance_view.as_ref()));
        init.chain(ordinary)
    }
}

words! {
    /// How far a group's making, change or removal is. Only `Succeeded`, `Failed` and `Canceled` are an end.
    ProvisioningState {
        /// Nobody says.
        NotSpecified => "NotSpecified",
        /// It was taken.
        Accepted => "Accepted",
        /// A place for it is looked for.
        Pending => "Pending",
        /// It is being changed.
        Updating => "Updating",
        /// It is being made.
        Creating => "Creating",
        /// It is being moved.
        Repairing => "Repairing",
        /// Its machine does not answer.
        Unhealthy => "Unhealthy",
        /// It came to nothing. Azure keeps trying, for money, until the group is stopped or deleted.
        Failed => "Failed",
        /// Somebody ended it.
        Canceled => "Canceled",
        /// It is done: how the group runs says its instance view.
        Succeeded => "Succeeded",
        /// It is being removed.
        Deleting => "Deleting",
        /// It is not to be reached.
        NotAccessible => "NotAccessible",
        /// It waits in a pool.
        PreProvisioned => "PreProvisioned",
    }
}

words! {
    /// An operating system.
    OsType {
        /// Linux.
        Linux => "Linux",
        /// Windows.
        Windows => "Windows",
    }
}

words! {
    /// What happens when a container ends.
    RestartPolicy {
        /// It is started again.
        Always => "Always",
        /// It is started again unless it ended with 0.
        OnFailure => "OnFailure",
        /// Nothing; after another code than 0 Azure may start it again all the same.
        Never => "Never",
    }
}

words! {
    /// What a group runs on.
    Sku {
        /// Nobody says.
        NotSpecified => "NotSpecified",
        /// What all groups run on.
        Standard => "Standard",
        /// A machine of its own.
        Dedicated => "Dedicated",
        /// A trusted execution environment.
        Confidential => "Confidential",
    }
}

words! {
    /// What a group costs, and whether Azure may take its machine away.
    Priority {
        /// It stays.
        Regular => "Regular",
        /// It is cheap and may be evicted.
        Spot => "Spot",
    }
}
