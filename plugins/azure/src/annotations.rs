//! What a pod's annotations ask for. One table: a name, what it means, how it is read. README.md shows it.
//!
//! A value that is not understood refuses the pod, and so does a name below one of the prefixes that is not known: a
//! typing mistake costs hours otherwise. An empty value counts as none, except where the pod would run without
//! protection for it.

mod values;

use std::collections::BTreeMap;

use vk_aci::group::{Priority, Sku, Tags};
use vk_provider::Result;

use crate::refusals::{annotation, refuse_annotation};
use crate::resource::{Identity, Subnet};
pub(crate) use values::{Identities, boolean, https, priority, sku, zone};

/// What annotations begin with that are read here: azure-aci's two, and Microsoft's virtual nodes'.
const PREFIXES: [&str; 3] = ["virtual-kubelet.io/", "virtualkubelet.io/", "microsoft.containerinstance.virtualnode."];

pub(crate) const DNS_LABEL: &str = "virtualkubelet.io/dnsnamelabel";
pub(crate) const PUBLIC_IP: &str = "virtual-kubelet.io/public-ip";
pub(crate) const SKU: &str = "virtual-kubelet.io/container-sku";
pub(crate) const PRIORITY: &str = "virtual-kubelet.io/priority";
const CCE_POLICY: &str = "virtual-kubelet.io/confidential-compute-cce-policy";
pub(crate) const PULL_IDENTITY: &str = "virtual-kubelet.io/pull-identity";
const CCE_POLICY_TOO: &str = "microsoft.containerinstance.virtualnode.ccepolicy";
pub(crate) const SUBNET: &str = "microsoft.containerinstance.virtualnode.subnets.primary";
pub(crate) const IDENTITY: &str = "microsoft.containerinstance.virtualnode.identity";
pub(crate) const KUBE_PROXY: &str = "microsoft.containerinstance.virtualnode.injectkubeproxy";
pub(crate) const DNS: &str = "microsoft.containerinstance.virtualnode.injectdns";
pub(crate) const ZONES: &str = "microsoft.containerinstance.virtualnode.zones";
pub(crate) const TAGS: &str = "microsoft.containerinstance.virtualnode.customtags";
pub(crate) const VAULT: &str = "microsoft.containerinstance.virtualnode.cmk.vaultbaseurl";
const KEY_NAME: &str = "microsoft.containerinstance.virtualnode.cmk.keyname";
const KEY_VERSION: &str = "microsoft.containerinstance.virtualnode.cmk.keyversion";
pub(crate) const KEY_IDENTITY: &str = "microsoft.containerinstance.virtualnode.cmk.identity";

/// One that is read.
struct Known {
    name: &'static str,
    read: fn(&mut Wishes, &str) -> Result<(), String>,
}

/// All that are read, in the order of README.md.
const KNOWN: [Known; 17] = [
    Known { name: DNS_LABEL, read: |wishes, text| set(&mut wishes.dns_label, values::label(text)) },
    Known { name: PUBLIC_IP, read: |wishes, text| set(&mut wishes.public_ip, values::boolean(text)) },
    Known { name: SKU, read: |wishes, text| set(&mut wishes.sku, values::sku(text)) },
    Known { name: CCE_POLICY, read: |wishes, text| wishes.policy(CCE_POLICY, text) },
    Known { name: PRIORITY, read: |wishes, text| set(&mut wishes.priority, values::priority(text)) },
    Known { name: PULL_IDENTITY, read: |wishes, text| set(&mut wishes.pull_identity, text.parse()) },
    Known { name: CCE_POLICY_TOO, read: |wishes, text| wishes.policy(CCE_POLICY_TOO, text) },
    Known { name: SUBNET, read: |wishes, text| set(&mut wishes.subnet, text.parse()) },
    Known { name: IDENTITY, read: |wishes, text| set(&mut wishes.identities, text.parse()) },
    Known { name: KUBE_PROXY, read: |wishes, text| set(&mut wishes.kube_proxy, values::boolean(text)) },
    Known { name: DNS, read: |wishes, text| set(&mut wishes.dns, values::boolean(text)) },
    Known { name: ZONES, read: |wishes, text| set(&mut wishes.zone, values::zone(text)) },
    Known { name: TAGS, read: |wishes, text| values::tags(text).map(|tags| wishes.tags = tags) },
    Known { name: VAULT, read: |wishes, text| set(&mut wishes.vault, values::https(text)) },
    Known { name: KEY_NAME, read: |wishes, text| set(&mut wishes.key_name, Ok(text.to_owned())) },
    Known { name: KEY_VERSION, read: |wishes, text| set(&mut wishes.key_version, Ok(text.to_owned())) },
    Known { name: KEY_IDENTITY, read: |wishes, text| set(&mut wishes.key_identity, text.parse()) },
];

/// Those that mean something to others of our kind, and what is not done here.
const REFUSED: [(&str, &str); 2] = [
    ("virtual-kubelet.io/gpu-type", "Azure retired graphics processors in container groups on 14 July 2025"),
    (
        "microsoft.containerinstance.virtualnode.imagecachepod",
        "no standby pools are kept here, so there is nothing to cache images on",
    ),
];

/// What a confidential group may run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The annotation that it is from.
    pub(crate) at: &'static str,
    /// In base64.
    pub(crate) text: String,
}

/// What a pod asks for beside its spec.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The first label of its public DNS name.
    pub(crate) dns_label: Option<String>,
    /// Whether its ports are open to the internet.
    pub(crate) public_ip: Option<bool>,
    pub(crate) sku: Option<Sku>,
    pub(crate) cce_policy: Option<Policy>,
    pub(crate) priority: Option<Priority>,
    pub(crate) subnet: Option<Subnet>,
    /// What its containers may sign in as.
    pub(crate) identities: Option<Identities>,
    /// What its images are pulled as.
    pub(crate) pull_identity: Option<Identity>,
    pub(crate) kube_proxy: Option<bool>,
    /// Whether it asks the cluster's name servers.
    pub(crate) dns: Option<bool>,
    pub(crate) zone: Option<String>,
    pub(crate) tags: Tags,
    /// The URL of a vault, and the key in it that encrypts what is stored of the group.
    pub(crate) vault: Option<String>,
    pub(crate) key_name: Option<String>,
    pub(crate) key_version: Option<String>,
    /// What may read the key.
    pub(crate) key_identity: Option<Identity>,
}

/// What a pod's annotations ask for.
///
/// # Errors
/// The first annotation that is not understood.
pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Result<Wishes> {
    let mut wishes = Wishes::default();
    let mut empty_policy = None;
    for Known { name, read } in &KNOWN {
        match annotations.get(*name).map(|text| text.trim()) {
            None => {}
            Some("") if [CCE_POLICY, CCE_POLICY_TOO].contains(name) => empty_policy = Some(*name),
            Some("") => {}
            Some(text) => read(&mut wishes, text).map_err(|why| annotation(name, why))?,
        }
    }
    for name in annotations.keys() {
        if let Some((name, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
            return Err(refuse_annotation(name, *why));
        }
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !KNOWN.iter().any(|known| known.name == name) {
            let known: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            return Err(annotation(name, format!("it is not known; known are {}", known.join(", "))));
        }
    }
    wishes.check(empty_policy)?;
    Ok(wishes)
}

impl Wishes {
    /// The policy may stand under two names.
    fn policy(&mut self, at: &'static str, text: &str) -> Result<(), String> {
        let policy = Policy { at, text: values::base64(text)? };
        match &self.cce_policy {
            Some(other) if other.text != policy.text => return Err(format!("{} has another policy", other.at)),
            Some(_) => {}
            None => self.cce_policy = Some(policy),
        }
        Ok(())
    }

    /// The annotation for which the pod runs confidentially; none: it is not the pod that asks for it.
    pub(crate) fn confidential_by(&self) -> Option<&'static str> {
        let by_policy = self.cce_policy.as_ref().map(|policy| policy.at);
        if self.sku.is_some() { Some(SKU) } else { by_policy }
    }

    /// Those that only go together.
    fn check(&self, empty_policy: Option<&'static str>) -> Result<()> {
        let confidential = self.sku.as_ref() == Some(&Sku::Confidential);
        if let Some(name) = empty_policy.filter(|_| self.cce_policy.is_none() && !confidential) {
            let why = format!(
                "it is empty, and the pod would not run confidentially: write the policy that `az confcom acipolicygen` \
                 makes, or {SKU}: Confidential"
            );
            return Err(annotation(name, why));
        }
        if self.cce_policy.is_some() && self.sku.is_some() && !confidential {
            return Err(annotation(SKU, "a group with a confidential policy is of sku Confidential"));
        }
        let key = [(VAULT, &self.vault), (KEY_NAME, &self.key_name), (KEY_VERSION, &self.key_version)];
        let any = self.key_identity.is_some() || key.iter().any(|(_, part)| part.is_some());
        match key.iter().find(|(_, part)| part.is_none()).filter(|_| any) {
            Some((name, _)) => Err(annotation(name, "a key is a vault, its name and its version: all three")),
            None => Ok(()),
        }
    }
}

fn set<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

#[cfg(test)]
mod tests;
