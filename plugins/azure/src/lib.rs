//! Pods as container groups of Azure Container Instances: the provider `azure`.
//!
//! A pod is one group, which Azure runs: order, restarts and probes are Azure's. What is kept is kept by Azure: tags say
//! whose a group is, its name follows from the pod's uid.
//!
//! ```text
//! annotations ─┐
//! manifest ────┼─▶ refusals ─▶ translate ─▶ vk_aci::Group            before anything is made
//! config ──────┘
//! names         of groups and volumes, tags     limits, resource     what groups and paths in Azure look like
//! budgets       Azure's published request rates context, place       what a call stands on
//!
//! create, remove, end           a pod's group is made, changed, removed      find, trouble
//! changes ─▶ poll ─▶ look       what is due is listed and looked at ─▶ observe, events ─▶ ledger ─▶ news
//! pods, orphans                 which groups are this node's       logs, node
//! ```

mod annotations;
mod budgets;
mod changes;
mod config;
mod context;
mod create;
mod end;
mod events;
mod find;
mod ledger;
mod limits;
mod logs;
mod look;
mod manifest;
mod names;
mod node;
mod observe;
mod orphans;
mod place;
mod pods;
mod poll;
mod refusals;
mod remove;
mod resource;
mod translate;
mod trouble;

#[cfg(test)]
mod played;
#[cfg(test)]
mod tests;

use std::time::Duration;

use vk_aci::{Account, Cloud};
use vk_provider::changes::Batch;
use vk_provider::container_logs::{Options, Sink};
use vk_provider::node::{Amount, Details};
use vk_provider::plugin::{Identity, PodNetwork, Settings};
use vk_provider::{
    Changes, ContainerLogs, Deletion, DesiredPod, Error, Node, ObservedPod, Page, Plugin, PodRef, Pods, Result, log,
};

use config::{Config, Reach, Reading};
use context::Context;

/// The provider.
pub struct Azure;

/// A request that Azure took and did not answer may still be done so much later, as the resource manager gives a request a
/// minute; and lists lag behind.
const SETTLE: Duration = Duration::from_secs(60);

impl Plugin for Azure {
    fn describe() -> Identity {
        Identity { name: "azure", version: env!("CARGO_PKG_VERSION"), state_version: 1, settle: SETTLE }
    }

    fn configure() -> Result<Settings, Vec<Error>> {
        let (account, mut mistakes) = match Account::configured() {
            Ok(account) => (account, Vec::new()),
            Err(mistakes) => (None, mistakes),
        };
        let reading = Reading::of(account.as_ref());
        for told in reading.told() {
            log!("{told}");
        }
        mistakes.extend(reading.mistakes());
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let own = reading.cloud;
        let account = account.map(|account| in_cloud(account, own));
        Ok(settings(account.as_ref(), reading.wants, reading.config.as_ref()))
    }
}

/// The account, in the cloud that the configuration names if it does.
fn in_cloud(account: Account, own: Option<Cloud>) -> Account {
    match own {
        Some(cloud) => Account { cloud, ..account },
        None => account,
    }
}

/// What follows from what is there as yet. Without an account or a configuration that is less, and the host asks again.
fn settings(account: Option<&Account>, wants: Vec<vk_provider::plugin::Want>, config: Option<&Config>) -> Settings {
    let origins = account.map(Account::origins).unwrap_or_default();
    let budgets =
        account.zip(config).map(|(account, config)| budgets::of(&account.cloud.resource_manager, &config.rates));
    Settings {
        wants: Account::wants().into_iter().chain(wants).chain(origins).collect(),
        budgets: budgets.unwrap_or_default(),
        pod_network: match config.map(|config| config.network.reach) {
            Some(Reach::FromHost) => PodNetwork::FromHost,
            Some(Reach::Unreachable) | None => PodNetwork::Unreachable,
        },
        // A group has its address only once it is made, with its environment.
        resolves_late: false,
    }
}

impl Node for Azure {
    fn node_details() -> Result<Details> {
        Ok(node::details(&Context::reach()?))
    }

    fn capacity() -> Result<Vec<Amount>> {
        Ok(node::capacity(&Context::reach()?.config.capacity))
    }

    fn ping() -> Result<()> {
        node::ping(&Context::reach()?)
    }
}

impl Pods for Azure {
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>> {
        create::create(&Context::reach()?, &pod).map(Some)
    }

    fn update_pod(pod: DesiredPod) -> Result<()> {
        create::update(&Context::reach()?, &pod)
    }

    fn delete_pod(id: PodRef, _: Option<DesiredPod>, _: Option<Duration>) -> Result<Deletion> {
        remove::delete(&Context::reach()?, &id)
    }

    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>> {
        pods::get(&Context::reach()?, &id)
    }

    fn get_pods(after: Option<String>) -> Result<Page<ObservedPod>> {
        pods::page(&Context::reach()?, after.as_deref())
    }
}

impl Changes for Azure {
    fn next(cursor: Option<String>, wait: Duration) -> Result<Batch> {
        changes::next(&Context::reach()?, cursor.as_deref(), wait)
    }
}

impl ContainerLogs for Azure {
    fn get_container_logs(id: PodRef, container: String, options: Options, to: Sink) -> Result<()> {
        logs::write(&Context::reach()?, &id, &container, options, &to)
    }
}

vk_provider::export!(Azure: pods, changes, container_logs);
