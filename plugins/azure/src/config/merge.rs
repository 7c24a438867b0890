//! Of each thing the one that counts.

use std::fmt;

use vk_aci::group::{Priority, Sku};
use vk_aci::{Account, Cloud};

use super::file::File;
use super::values::{Amount, Count, HeaderText, Name, Region, Switch};
use super::variables::Variables;
use super::{Capacity, Config, Defaults, Network, Os, Reading, analytics, kube_proxy, network};

/// One thing, by who says so.
pub(super) struct Said<T> {
    /// Of the variable, and of the key.
    pub(super) names: (&'static str, &'static str),
    pub(super) variable: Option<T>,
    /// The AKS file.
    pub(super) account: Option<T>,
    pub(super) file: Option<T>,
}

impl<T: PartialEq + fmt::Display> Said<T> {
    /// The one that counts. Others that say something else are told.
    pub(super) fn counts(self, reading: &mut Reading) -> Option<T> {
        let Self { names: (variable, key), .. } = self;
        let all = [(variable, self.variable), ("the AKS file", self.account), (key, self.file)];
        let mut said = all.into_iter().filter_map(|(who, value)| value.map(|value| (who, value)));
        let (who, first) = said.next()?;
        for (other, value) in said {
            if value != first {
                reading.told.push(format!("{who} says {first}: {value} of {other} does not count"));
            }
        }
        Some(first)
    }

    /// Nothing is made of it, which is told of whoever says something.
    pub(super) fn idle(self, why: &str, reading: &mut Reading) {
        let Self { names: (variable, key), .. } = self;
        for who in self.variable.map(|_| variable).into_iter().chain(self.file.map(|_| key)) {
            reading.idle(who, why);
        }
    }
}

/// The configuration; none: something is missing or wrong, and noted, or nobody can tell as yet.
pub(super) fn config(
    file: File,
    variables: Variables,
    account: Option<&Account>,
    reading: &mut Reading,
) -> Option<Config> {
    tell_cloud(file.cloud.as_ref(), account, reading);
    reading.cloud = file.cloud;
    let resource_group = resource_group(variables.resource_group, account, file.resource_group, reading);
    let region = region(variables.region, account, file.region, reading);
    let pods = |count: Option<Count>| count.map(|Count(amount)| amount);
    let pods = (pods(variables.pods), pods(file.pods));
    let capacity = capacity((variables.cpu, file.cpu), (variables.memory, file.memory), pods, reading);
    let network = network::Parts {
        subnet: (variables.subnet, file.subnet),
        cidr: (variables.subnet_cidr, file.subnet_cidr),
        vnet: (variables.vnet, file.vnet),
        resource_group: (variables.vnet_resource_group, file.vnet_resource_group),
        subscription: (variables.vnet_subscription, file.vnet_subscription),
    };
    let defaults = Defaults {
        sku: file.sku,
        priority: file.priority,
        zone: file.zone,
        identities: file.identities,
        pull_identity: file.pull_identity,
        tags: file.tags,
        encryption: file.encryption,
    };
    let in_subnet = network.is_wanted();
    check_spot(&defaults, in_subnet, reading);
    let subnet = network.subnet(account, resource_group.as_deref(), reading);
    let log_analytics = analytics::Parts {
        table: file.log_analytics,
        file: variables.analytics_file,
        id: variables.workspace_id,
        key: variables.workspace_key,
        cluster: variables.cluster,
    };
    let log_analytics = log_analytics.workspace(reading);
    let kube_proxy =
        kube_proxy::Parts { table: file.kube_proxy, master: variables.master, cluster_cidr: variables.cluster_cidr };
    let kube_proxy = kube_proxy.read(in_subnet, reading);
    let user_agent = Said {
        names: ("ACI_EXTRA_USER_AGENT", "user-agent"),
        variable: variables.user_agent.map(|HeaderText(text)| text),
        account: None,
        file: file.user_agent.map(|HeaderText(text)| text),
    };
    let realtime_metrics = Said {
        names: ("ENABLE_REAL_TIME_METRICS", "realtime-metrics"),
        variable: variables.realtime_metrics.map(|Switch(on)| on),
        account: None,
        file: file.realtime_metrics,
    };
    let (user_agent, realtime_metrics) = (user_agent.counts(reading), realtime_metrics.counts(reading));
    let whole = account.is_some() && reading.is_whole();
    Some(Config {
        resource_group: resource_group.filter(|_| whole)?,
        region: region?,
        os: Os::of_host(),
        version: file.version.unwrap_or_default(),
        capacity,
        network: Network { subnet, public_ip: file.public_ip.unwrap_or(true), reach: file.reach.unwrap_or_default() },
        allowed: file.allowed,
        poll: file.poll.map_or(super::POLL, |poll| poll.0),
        rates: file.rates,
        user_agent,
        defaults,
        log_analytics,
        kube_proxy,
        realtime_metrics: realtime_metrics.unwrap_or(false),
    })
}

/// Of the cloud the file counts before all else, which nobody would expect who knows how it is with other things.
fn tell_cloud(own: Option<&Cloud>, account: Option<&Account>, reading: &mut Reading) {
    let Some((own, theirs)) = own.zip(account.map(|account| &account.cloud)).filter(|(own, theirs)| own != theirs)
    else {
        return;
    };
    let shown = |cloud: &Cloud| format!("{} and {}", cloud.authority, cloud.resource_manager);
    let (own, theirs) = (shown(own), shown(theirs));
    reading.told.push(format!("cloud leads to {own}: {theirs}, where the credentials lead, do not count"));
}

fn resource_group(
    variable: Option<Name>,
    account: Option<&Account>,
    file: Option<Name>,
    reading: &mut Reading,
) -> Option<String> {
    let said = Said {
        names: ("ACI_RESOURCE_GROUP", "ResourceGroup"),
        variable: variable.map(|Name(name)| name),
        account: account.and_then(|account| account.resource_group.clone()),
        file: file.map(|Name(name)| name),
    };
    let counts = said.counts(reading);
    if counts.is_none() {
        let why = "it is missing; write it like ResourceGroup = \"pods\", or set and grant ACI_RESOURCE_GROUP";
        reading.miss("ResourceGroup", why);
    }
    counts
}

fn region(
    variable: Option<Region>,
    account: Option<&Account>,
    file: Option<Region>,
    reading: &mut Reading,
) -> Option<String> {
    let plain = |region: Option<Region>| region.map(|Region(region)| region);
    let of_account = account.and_then(|account| account.location.as_deref()?.parse().ok());
    let said = Said {
        names: ("ACI_REGION", "Region"),
        variable: plain(variable),
        account: plain(of_account),
        file: plain(file),
    };
    let counts = said.counts(reading);
    if counts.is_none() {
        reading.miss("Region", "it is missing; write it like Region = \"westeurope\", or set and grant ACI_REGION");
    }
    counts
}

/// Each by variable and file.
type Amounts = (Option<Amount>, Option<Amount>);

fn capacity(cpu: Amounts, memory: Amounts, pods: Amounts, reading: &mut Reading) -> Capacity {
    let mut counts = |names, (variable, file): Amounts, default: &str| {
        let plain = |amount: Option<Amount>| amount.map(|Amount(amount)| amount);
        let said = Said { names, variable: plain(variable), account: None, file: plain(file) };
        said.counts(reading).unwrap_or_else(|| default.to_owned())
    };
    Capacity {
        cpu: counts(("ACI_QUOTA_CPU", "CPU"), cpu, super::CPU),
        memory: counts(("ACI_QUOTA_MEMORY", "Memory"), memory, super::MEMORY),
        pods: counts(("ACI_QUOTA_POD", "Pods"), pods, super::PODS),
    }
}

fn check_spot(defaults: &Defaults, in_subnet: bool, reading: &mut Reading) {
    if defaults.priority != Some(Priority::Spot) {
        return;
    }
    for (key, is_set) in
        [("subnet", in_subnet), ("zone", defaults.zone.is_some()), ("sku", defaults.sku == Some(Sku::Confidential))]
    {
        if is_set {
            reading.mistake(key, "a group of priority Spot cannot have it: leave one of the two to pods' annotations");
        }
    }
}
