//! Variables: azure-aci's, under the same names.

use std::fmt;
use std::str::FromStr;

use vk_aci::Redacted;
use vk_provider::config;
use vk_provider::plugin::Want;

use super::Reading;
use super::values::{Amount, Cidr, Count, FilePath, HeaderText, Name, Region, Server, SubnetRef, Switch};

/// What each of them is for.
const ALL: [(&str, &str); 18] = [
    ("ACI_RESOURCE_GROUP", "the resource group in which groups are made"),
    ("ACI_REGION", "the region in which groups are made"),
    ("ACI_SUBNET_NAME", "the subnet that groups are in"),
    ("ACI_SUBNET_CIDR", "the subnet's range"),
    ("ACI_VNET_NAME", "the subnet's virtual network"),
    ("ACI_VNET_RESOURCE_GROUP", "the virtual network's resource group"),
    ("ACI_VNET_SUBSCRIPTION_ID", "the virtual network's subscription"),
    ("ACI_QUOTA_CPU", "the cores that the node offers"),
    ("ACI_QUOTA_MEMORY", "the memory that the node offers"),
    ("ACI_QUOTA_POD", "the pods that the node offers"),
    ("ACI_EXTRA_USER_AGENT", "what requests say beside the program's name"),
    ("LOG_ANALYTICS_AUTH_LOCATION", "the file of the workspace that logs go to"),
    ("LOG_ANALYTICS_ID", "the workspace that logs go to"),
    ("LOG_ANALYTICS_KEY", "the key of that workspace"),
    ("CLUSTER_RESOURCE_ID", "the cluster's name in that workspace"),
    ("MASTER_URI", "the API server that kube-proxy beside a pod asks"),
    ("CLUSTER_CIDR", "the cluster's pods, as kube-proxy beside a pod has to know them"),
    ("ENABLE_REAL_TIME_METRICS", "whether Azure measures pods"),
];

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) resource_group: Option<Name>,
    pub(super) region: Option<Region>,
    pub(super) subnet: Option<SubnetRef>,
    pub(super) subnet_cidr: Option<Cidr>,
    pub(super) vnet: Option<Name>,
    pub(super) vnet_resource_group: Option<Name>,
    pub(super) vnet_subscription: Option<Name>,
    pub(super) cpu: Option<Amount>,
    pub(super) memory: Option<Amount>,
    pub(super) pods: Option<Count>,
    pub(super) user_agent: Option<HeaderText>,
    pub(super) analytics_file: Option<FilePath>,
    pub(super) workspace_id: Option<String>,
    pub(super) workspace_key: Option<Redacted>,
    pub(super) cluster: Option<String>,
    pub(super) master: Option<Server>,
    pub(super) cluster_cidr: Option<Cidr>,
    pub(super) realtime_metrics: Option<Switch>,
}

/// All of them.
pub(super) fn wants() -> Vec<Want> {
    ALL.into_iter().map(|(name, why)| Want::environment(name, why)).collect()
}

impl Variables {
    /// Those that are there; mistakes go into the reading.
    pub(super) fn read(reading: &mut Reading) -> Self {
        Self {
            resource_group: parsed(reading, "ACI_RESOURCE_GROUP"),
            region: parsed(reading, "ACI_REGION"),
            subnet: parsed(reading, "ACI_SUBNET_NAME"),
            subnet_cidr: parsed(reading, "ACI_SUBNET_CIDR"),
            vnet: parsed(reading, "ACI_VNET_NAME"),
            vnet_resource_group: parsed(reading, "ACI_VNET_RESOURCE_GROUP"),
            vnet_subscription: parsed(reading, "ACI_VNET_SUBSCRIPTION_ID"),
            cpu: parsed(reading, "ACI_QUOTA_CPU"),
            memory: parsed(reading, "ACI_QUOTA_MEMORY"),
            pods: parsed(reading, "ACI_QUOTA_POD"),
            user_agent: parsed(reading, "ACI_EXTRA_USER_AGENT"),
            analytics_file: parsed(reading, "LOG_ANALYTICS_AUTH_LOCATION"),
            workspace_id: trimmed("LOG_ANALYTICS_ID"),
            workspace_key: trimmed("LOG_ANALYTICS_KEY").map(Redacted::from),
            cluster: trimmed("CLUSTER_RESOURCE_ID"),
            master: parsed(reading, "MASTER_URI"),
            cluster_cidr: parsed(reading, "CLUSTER_CIDR"),
            realtime_metrics: parsed(reading, "ENABLE_REAL_TIME_METRICS"),
        }
    }
}

/// Without the blanks and line breaks that files and scripts leave; none: there is nothing else.
fn trimmed(name: &str) -> Option<String> {
    config::variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn parsed<T: FromStr<Err: fmt::Display>>(reading: &mut Reading, name: &str) -> Option<T> {
    trimmed(name)?.parse().map_err(|why: T::Err| reading.mistake(name, why.to_string())).ok()
}
