//! What the operator set: the file (TOML, README.md has the keys), variables, and what the account's own files say.
//!
//! As with azure-aci, of one thing that is said more than once a variable counts before the AKS file, and that before the
//! configuration file, but for the cloud. What did not count is told.
//!
//! ```text
//! file ─────┐
//! variables ─┼─▶ Reading ─▶ Config, or what is missing or wrong, with what is wanted besides (files)
//! account ──┘
//! ```
//!
//! The host calls `configure` more than once, at first without variables and files. So what is missing is a mistake
//! only once the account is there, which comes of them, and nothing else is still awaited.

mod analytics;
mod file;
mod kube_proxy;
mod merge;
mod network;
mod values;
mod variables;

#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use vk_aci::group::{EncryptionProperties, LogAnalytics, OsType, Priority, Sku, Tags};
use vk_aci::{Account, Cloud, Redacted, Version};
use vk_provider::config::{self, Form};
use vk_provider::plugin::Want;
use vk_provider::{Code, Error, Result};

use crate::annotations::Identities;
use crate::budgets::Rates;
use crate::resource::{Identity, Subnet};
use file::File;
use variables::Variables;

/// Between two looks at a group that changes.
const POLL: Duration = Duration::from_secs(5);
/// What azure-aci's node offers: the scheduler counts on it, Azure has quotas of its own.
const CPU: &str = "10000";
const MEMORY: &str = "4Ti";
const PODS: &str = "5000";

/// What the operator set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Where groups are made.
    pub(crate) resource_group: String,
    /// Azure's name of a region: lower case, no blanks.
    pub(crate) region: String,
    pub(crate) os: Os,
    pub(crate) version: Version,
    pub(crate) capacity: Capacity,
    pub(crate) network: Network,
    pub(crate) allowed: Allowed,
    /// Between two looks at a group that changes.
    pub(crate) poll: Duration,
    /// The request rates of the subscription.
    pub(crate) rates: Rates,
    /// What follows the name of this program in requests.
    pub(crate) user_agent: Option<String>,
    /// What holds for pods that do not say otherwise.
    pub(crate) defaults: Defaults,
    pub(crate) log_analytics: Option<Workspace>,
    pub(crate) kube_proxy: Option<KubeProxy>,
    /// The extension that measures pods, for groups in a subnet.
    pub(crate) realtime_metrics: bool,
}

/// What the node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpu: String,
    pub(crate) memory: String,
    pub(crate) pods: String,
}

/// Where pods are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// none: groups are in no virtual network.
    pub(crate) subnet: Option<Subnet>,
    /// Whether the ports of pods outside of a subnet are open to the internet.
    pub(crate) public_ip: bool,
    /// Whether the host can open connections to pods.
    pub(crate) reach: Reach,
}

/// What pods may name; none: whatever the node's principal may assign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) identities: Option<Vec<Identity>>,
    pub(crate) subnets: Option<Vec<Subnet>>,
}

/// What holds for pods that do not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) sku: Option<Sku>,
    pub(crate) priority: Option<Priority>,
    pub(crate) zone: Option<String>,
    pub(crate) identities: Identities,
    pub(crate) pull_identity: Option<Identity>,
    pub(crate) tags: Tags,
    pub(crate) encryption: Option<EncryptionProperties>,
}

/// Where logs go besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Without what follows from the pod.
    pub(crate) analytics: LogAnalytics,
    /// Of the cluster; with it the tables are those of Container Insights.
    pub(crate) cluster: Option<String>,
}

/// What kube-proxy needs beside a group's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KubeProxy {
    /// In the file's own words.
    pub(crate) kubeconfig: Redacted,
    pub(crate) cluster_cidr: String,
}

/// What containers are made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Os {
    #[default]
    Linux,
    Windows,
}

impl Os {
    /// What `--os` says, which has a default.
    fn of_host() -> Self {
        config::node().operating_system.parse().unwrap_or_default()
    }

    /// As Kubernetes writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
        }
    }

    pub(crate) const fn on_the_wire(self) -> OsType {
        match self {
            Self::Linux => OsType::Linux,
            Self::Windows => OsType::Windows,
        }
    }
}

impl FromStr for Os {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            _ if text.eq_ignore_ascii_case("linux") => Ok(Self::Linux),
            _ if text.eq_ignore_ascii_case("windows") => Ok(Self::Windows),
            _ => Err(format!("{text:?} is neither \"Linux\" nor \"Windows\"")),
        }
    }
}

/// Whether the host can open connections to pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is in the pods' virtual network.
    FromHost,
    /// It is not.
    #[default]
    Unreachable,
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "from-host" => Ok(Self::FromHost),
            "unreachable" => Ok(Self::Unreachable),
            _ => Err(format!("{text:?} is neither \"from-host\" nor \"unreachable\"")),
        }
    }
}

/// What was read, as far as it is there.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// none: something is missing or wrong.
    pub(crate) config: Option<Config>,
    /// Variables and files.
    pub(crate) wants: Vec<Want>,
    /// The cloud, if the file names one: it counts before the account's.
    pub(crate) cloud: Option<Cloud>,
    /// What is wrong.
    mistakes: Vec<Error>,
    /// What is not there.
    missing: Vec<Error>,
    /// The account is there, and with it all that variables and its files say.
    has_account: bool,
    /// Something that was asked for is not granted as yet.
    awaited: bool,
    /// What did not count.
    told: Vec<String>,
}

impl Reading {
    /// What was set, with what the account says of it.
    pub(crate) fn of(account: Option<&Account>) -> Self {
        let mut reading = Self { wants: variables::wants(), ..Self::default() };
        let file = reading.file();
        let variables = Variables::read(&mut reading);
        reading.has_account = account.is_some();
        reading.config = file.and_then(|file| merge::config(file, variables, account, &mut reading));
        reading
    }

    fn file(&mut self) -> Option<File> {
        let read = Form::read().and_then(|mut form| {
            let file = File::of(&mut form);
            form.finish().map(|()| file)
        });
        read.map_err(|mistakes| self.mistakes.extend(mistakes)).ok()
    }

    /// What `configure` has to say of it; empty: it is as it should be, or nobody can tell as yet.
    pub(crate) fn mistakes(&self) -> Vec<Error> {
        let missing = if self.has_account && !self.awaited { self.missing.as_slice() } else { &[] };
        self.mistakes.iter().chain(missing).cloned().collect()
    }

    /// What did not count, for the log. Never a secret.
    pub(crate) fn told(&self) -> &[String] {
        &self.told
    }

    /// The configuration, for calls that can tell one error only.
    ///
    /// # Errors
    /// The first mistake, or what is missing.
    pub(crate) fn into_config(self) -> Result<Config> {
        let Self { config, mistakes, missing, .. } = self;
        let wrong: Vec<Error> = mistakes.into_iter().chain(missing).collect();
        if !wrong.is_empty() {
            return Err(config::first(wrong));
        }
        config.ok_or_else(|| Error::failed_precondition("NotGranted", "a file that is needed is not granted"))
    }

    /// A file that was wanted; none: it is not granted as yet, or cannot be read.
    fn read_file(&mut self, path: &str, field: &str, why: &str) -> Option<Vec<u8>> {
        self.wants.push(Want::file(path, why));
        match config::file(path) {
            Ok(content) => Some(content),
            Err(error) if error.code == Code::PermissionDenied => {
                self.awaited = true;
                None
            }
            Err(error) => {
                self.mistake(field, format!("{path}: {}", error.message));
                None
            }
        }
    }

    /// Nothing is wrong, missing or awaited.
    fn is_whole(&self) -> bool {
        self.mistakes.is_empty() && self.missing.is_empty() && !self.awaited
    }

    /// A key or a variable that has no effect. Before all is there it may have one yet.
    fn idle(&mut self, who: &str, why: &str) {
        if self.has_account && !self.awaited {
            self.told.push(format!("{who} does not count: {why}"));
        }
    }

    fn mistake(&mut self, field: &str, why: impl Into<String>) {
        self.mistakes.push(invalid(field, why));
    }

    fn miss(&mut self, field: &str, why: impl Into<String>) {
        self.missing.push(invalid(field, why));
    }
}

fn invalid(field: &str, why: impl Into<String>) -> Error {
    Error::invalid_argument("InvalidConfiguration", why).field(field)
}
