//! The configuration file, as it is written. azure-aci's keys keep their spelling, and have one in the manner of ours
//! besides.

use std::fmt;
use std::str::FromStr;

use vk_aci::group::{EncryptionProperties, Priority, Sku, Tags};
use vk_aci::{Cloud, Redacted, Version};
use vk_provider::config::{Form, Item, Value};

use super::values::{
    Amount, Cidr, Count, Factor, FilePath, HeaderText, Name, Origin, Poll, Region, SameOs, Server, SubnetRef,
};
use super::{Allowed, Reach};
use crate::annotations::{self, Identities};
use crate::budgets::{Rate, Rates};
use crate::resource::Identity;
use crate::{limits, names};

/// What stands in the file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) resource_group: Option<Name>,
    pub(super) region: Option<Region>,
    pub(super) cpu: Option<Amount>,
    pub(super) memory: Option<Amount>,
    pub(super) pods: Option<Count>,
    pub(super) subnet: Option<SubnetRef>,
    pub(super) subnet_cidr: Option<Cidr>,
    pub(super) vnet: Option<Name>,
    pub(super) vnet_resource_group: Option<Name>,
    pub(super) vnet_subscription: Option<Name>,
    pub(super) public_ip: Option<bool>,
    pub(super) reach: Option<Reach>,
    pub(super) version: Option<Version>,
    pub(super) poll: Option<Poll>,
    pub(super) user_agent: Option<HeaderText>,
    pub(super) sku: Option<Sku>,
    pub(super) priority: Option<Priority>,
    pub(super) zone: Option<String>,
    pub(super) identities: Identities,
    pub(super) pull_identity: Option<Identity>,
    pub(super) allowed: Allowed,
    pub(super) tags: Tags,
    pub(super) realtime_metrics: Option<bool>,
    pub(super) encryption: Option<EncryptionProperties>,
    pub(super) log_analytics: LogAnalyticsTable,
    pub(super) kube_proxy: Option<KubeProxyTable>,
    pub(super) rates: Rates,
    pub(super) cloud: Option<Cloud>,
}

/// `[log-analytics]`
#[derive(Debug, Default)]
pub(super) struct LogAnalyticsTable {
    pub(super) file: Option<FilePath>,
    pub(super) workspace_id: Option<String>,
    pub(super) workspace_key: Option<Redacted>,
    pub(super) cluster: Option<String>,
}

/// `[kube-proxy]`
#[derive(Debug, Default)]
pub(super) struct KubeProxyTable {
    pub(super) kubeconfig: Option<FilePath>,
    pub(super) server: Option<Server>,
    pub(super) cluster_cidr: Option<Cidr>,
}

impl File {
    /// All keys; mistakes stay in the form.
    pub(super) fn of(form: &mut Form) -> Self {
        let file = Self {
            resource_group: either(form, "ResourceGroup", "resource-group"),
            region: either(form, "Region", "region"),
            cpu: either(form, "CPU", "cpu"),
            memory: either(form, "Memory", "memory"),
            pods: either(form, "Pods", "pods"),
            subnet: either(form, "SubnetName", "subnet"),
            subnet_cidr: either(form, "SubnetCIDR", "subnet-cidr"),
            vnet: form.parsed("vnet"),
            vnet_resource_group: form.parsed("vnet-resource-group"),
            vnet_subscription: form.parsed("vnet-subscription"),
            public_ip: form.parsed("public-ip"),
            reach: form.parsed("pod-network"),
            version: form.parsed("api-version"),
            poll: form.parsed("poll-period"),
            user_agent: form.parsed("user-agent"),
            sku: read(form, "sku", annotations::sku),
            priority: read(form, "priority", annotations::priority),
            zone: read(form, "zone", annotations::zone),
            identities: identities(form),
            pull_identity: form.parsed("pull-identity"),
            allowed: Allowed { identities: form.list("allowed-identities"), subnets: form.list("allowed-subnets") },
            tags: tags(form),
            realtime_metrics: form.parsed("realtime-metrics"),
            encryption: form.table("encryption", encryption).flatten(),
            log_analytics: form.table("log-analytics", log_analytics).unwrap_or_default(),
            kube_proxy: form.table("kube-proxy", kube_proxy),
            rates: form.table("budgets", rates).unwrap_or_default(),
            cloud: form.table("cloud", cloud).flatten(),
        };
        // There is one right value: that it says no other is seen to here.
        let _: Option<SameOs> = either(form, "OperatingSystem", "operating-system");
        file
    }
}

/// A key with two spellings, of which one may be there.
fn either<T: FromStr<Err: fmt::Display>>(form: &mut Form, theirs: &'static str, ours: &'static str) -> Option<T> {
    let has = |form: &Form, key: &str| form.keys().any(|there| there == key);
    if has(form, theirs) && has(form, ours) {
        let line = form.line_of(ours);
        form.mistake(ours, line, format_args!("{theirs} is the same, and is there too"));
    }
    let value = form.parsed(theirs);
    form.parsed(ours).or(value)
}

/// A key that annotations have too, read as they read it.
fn read<T>(form: &mut Form, key: &'static str, read: fn(&str) -> Result<T, String>) -> Option<T> {
    let line = form.line_of(key);
    let text: String = form.parsed(key)?;
    read(&text).map_err(|why| form.mistake(key, line, why)).ok()
}

fn identities(form: &mut Form) -> Identities {
    let all: Vec<Identities> = form.list("identities").unwrap_or_default();
    let mut identities = Identities::default();
    for Identities { system, given } in all {
        identities.system |= system;
        let new: Vec<Identity> = given.into_iter().filter(|one| !identities.given.contains(one)).collect();
        identities.given.extend(new);
    }
    identities
}

fn tags(form: &mut Form) -> Tags {
    let line = form.line_of("tags");
    let tags = form.table("tags", table_of_tags).unwrap_or_default();
    let most = limits::TAGS - names::TAGS.len();
    if tags.len() > most {
        let (there, all, ours) = (tags.len(), limits::TAGS, names::TAGS.len());
        let why =
            format!("they are {there}; a group has at most {all}, and {ours} of them say whose it is: {most} are left");
        form.mistake("tags", line, why);
    }
    tags
}

fn table_of_tags(table: &mut Form) -> Tags {
    let lines: Vec<(String, usize)> = table.keys().map(|key| (key.to_owned(), table.line_of(key))).collect();
    let tags: Tags = table.rest::<String>().into_iter().collect();
    for (name, value) in &tags {
        if let Err(why) = names::check_tag(name, value) {
            let line = lines.iter().find(|(key, _)| key == name).map_or(1, |(_, line)| *line);
            table.mistake(name, line, why);
        }
    }
    tags
}

fn encryption(table: &mut Form) -> Option<EncryptionProperties> {
    for (key, example) in [
        ("vault-base-url", "vault-base-url = \"https://NAME.vault.azure.net\""),
        ("key-name", "key-name = \"pods\""),
        ("key-version", "key-version = \"…\""),
    ] {
        table.require(key, example);
    }
    let vault_base_url = read(table, "vault-base-url", annotations::https);
    let (key_name, key_version) = (table.text("key-name"), table.text("key-version"));
    let identity = table.parsed("identity").map(|identity: Identity| identity.as_str().to_owned());
    Some(EncryptionProperties {
        vault_base_url: vault_base_url?,
        key_name: key_name?,
        key_version: key_version?,
        identity,
    })
}

fn log_analytics(table: &mut Form) -> LogAnalyticsTable {
    LogAnalyticsTable {
        file: table.parsed("file"),
        workspace_id: table.text("workspace-id"),
        workspace_key: secret(table, "workspace-key"),
        cluster: table.text("cluster-resource-id"),
    }
}

/// A string that no message shows, whatever stands there in its place.
fn secret(table: &mut Form, key: &'static str) -> Option<Redacted> {
    let Item { line, value } = table.item(key)?;
    match value {
        Value::Text(text) => Some(Redacted::from(text)),
        _ => {
            table.mistake(key, line, "it must be a string");
            None
        }
    }
}

fn kube_proxy(table: &mut Form) -> KubeProxyTable {
    KubeProxyTable {
        kubeconfig: table.parsed("kubeconfig"),
        server: table.parsed("server"),
        cluster_cidr: table.parsed("cluster-cidr"),
    }
}

fn rates(table: &mut Form) -> Rates {
    let factor = table.parsed("factor").map_or(1, |Factor(factor)| factor);
    Rates { factor, creates: rates_of(table, "creates"), deletes: rates_of(table, "deletes") }
}

/// At least one: none at all would be no budget, and requests that are refused with 429.
fn rates_of(table: &mut Form, key: &'static str) -> Option<Vec<Rate>> {
    let line = table.line_of(key);
    let rates: Vec<Rate> = table.list(key)?;
    if rates.is_empty() {
        table.mistake(key, line, "it has no rate; write it like [\"100/5m\"], or leave it out to have Azure's own");
    }
    Some(rates)
}

/// One of Azure's, or endpoints of one's own.
fn cloud(table: &mut Form) -> Option<Cloud> {
    let name_line = table.line_of("name");
    let name = table.text("name");
    let mut endpoint = |key| table.parsed(key).map(|Origin(origin)| origin);
    let own = (endpoint("authority"), endpoint("resource-manager"), endpoint("audience"));
    match (name, own) {
        (Some(name), (None, None, None)) => {
            Cloud::named(&name).map_err(|why| table.mistake("name", name_line, why)).ok()
        }
        (None, (Some(authority), Some(resource_manager), audience)) => {
            let audience = audience.unwrap_or_else(|| resource_manager.clone());
            Some(Cloud { authority, resource_manager, audience })
        }
        _ => {
            let why = "it is a name, or authority and resource-manager, with audience if that is another";
            table.mistake("name", name_line, why);
            None
        }
    }
}
