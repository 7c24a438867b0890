//! Containers of a Docker or Podman engine as pods: the provider `docker`.
//!
//! The host runs the pod (order, restarts, probes, hooks); here is what each of its steps means to an engine. Nothing
//! is kept but what the engine keeps: labels say whose a container is, names make creates idempotent.
//!
//! ```text
//! refusals        what cannot be honoured, by field, before anything is made      machine   what the engine's cannot
//! sandbox         network, IPC and volumes of a pod: a container of the pause program
//! volumes         named volumes, filled through the sandbox        update    new files in them
//! start, end      attempts at containers                           images    pulled with the cluster's credentials
//! list, observe   what the engine has, in the contract's words     changes   its events
//! logs, exec, stats, node, limits
//! ```

mod changes;
mod config;
mod container;
mod context;
mod end;
mod exec;
mod hosts;
mod images;
mod labels;
mod limits;
mod list;
mod logs;
mod machine;
mod manifest;
mod names;
mod node;
mod observe;
mod pause;
mod qos;
mod refusals;
mod resources;
mod sandbox;
mod security;
mod start;
mod stats;
mod sysctls;
#[cfg(test)]
mod tests;
mod update;
mod volumes;

use std::time::Duration;

use vk_provider::changes::Batch;
use vk_provider::container_logs::{Options, Sink};
use vk_provider::containers::{Page, PullPolicy, Sandbox, SandboxState};
use vk_provider::node::{Amount, Details};
use vk_provider::plugin::{Identity, PodNetwork, Settings, Want};
use vk_provider::pod::ResolvedContainer;
use vk_provider::sessions::{Exit, Stdio};
use vk_provider::stats::Usage;
use vk_provider::{
    Attach, Changes, ContainerLogs, Containers, Deletion, DesiredPod, Error, Exec, Node, Plugin, PodRef, Result, Stats,
    Volumes,
};

use config::{Config, Reach};
use context::Context;
use manifest::Manifest;

/// The provider.
pub struct Docker;

/// An engine that is asked to make something and loses the client may still make it, slowly if it is busy.
const SETTLE: Duration = Duration::from_secs(15);

impl Plugin for Docker {
    fn describe() -> Identity {
        Identity { name: "docker", version: env!("CARGO_PKG_VERSION"), state_version: 1, settle: SETTLE }
    }

    fn configure() -> Result<Settings, Vec<Error>> {
        let Config { endpoint, reach, .. } = Config::read()?;
        Ok(Settings {
            wants: vec![Want::endpoint(&endpoint, "its containers are the pods of this node")],
            pod_network: match reach {
                Reach::FromHost => PodNetwork::FromHost,
                Reach::Unreachable => PodNetwork::Unreachable,
            },
            // The host gives the final values when a container is started, after its sandbox has its addresses.
            resolves_late: true,
            ..Settings::default()
        })
    }
}

impl Node for Docker {
    fn node_details() -> Result<Details> {
        let context = Context::reach()?;
        Ok(node::details(&context.info()?, context.engine.dialect()))
    }

    fn capacity() -> Result<Vec<Amount>> {
        let context = Context::reach()?;
        Ok(node::capacity(&context.config, &context.info()?))
    }

    fn operating_system() -> Result<String> {
        Ok(Context::reach()?.info()?.os_type)
    }

    fn ping() -> Result<()> {
        Ok(Context::reach()?.engine.ping()?)
    }
}

impl Containers for Docker {
    fn ensure_sandbox(pod: DesiredPod) -> Result<Sandbox> {
        let manifest: Manifest = pod.read()?;
        refusals::check(&manifest.spec)?;
        limits::refuse_if_over(&pod.id)?;
        let context = Context::reach()?;
        machine::check(&context, &manifest.spec)?;
        sandbox::ensure(&context, &pod, &manifest)
    }

    fn pull_image(id: PodRef, image: String, policy: PullPolicy) -> Result<String> {
        images::pull(&Context::reach()?, &id, &image, policy)
    }

    fn start_container(
        pod: DesiredPod,
        container: ResolvedContainer,
        image_id: String,
        attempt: u32,
    ) -> Result<String> {
        let manifest: Manifest = pod.read()?;
        limits::refuse_if_over(&pod.id)?;
        start::start(&Context::reach()?, &pod, &manifest, &container, &image_id, attempt)
    }

    fn stop_container(id: PodRef, name: String, attempt: u32, grace: Duration) -> Result<Deletion> {
        end::stop(&Context::reach()?, &id, &name, attempt, grace.is_zero())
    }

    fn remove_container(id: PodRef, name: String, attempt: u32) -> Result<()> {
        end::remove(&Context::reach()?, &id, &name, attempt)
    }

    fn stop_sandbox(id: PodRef) -> Result<()> {
        end::stop_sandbox(&Context::reach()?, &id)
    }

    fn remove_sandbox(id: PodRef) -> Result<Deletion> {
        end::remove_all(&Context::reach()?, &id)
    }

    fn termination_message(id: PodRef, name: String, attempt: u32, _: String) -> Result<Option<Vec<u8>>> {
        // The container had the file at its path; the sandbox has it wherever that was.
        end::termination_message(&Context::reach()?, &id, &name, attempt)
    }

    fn get_sandbox(id: PodRef) -> Result<Option<SandboxState>> {
        list::get(&Context::reach()?, &id)
    }

    fn list_containers(after: Option<String>) -> Result<Page> {
        list::page(&Context::reach()?, after.as_deref())
    }
}

impl Changes for Docker {
    fn next(cursor: Option<String>, wait: Duration) -> Result<Batch> {
        changes::next(&Context::reach()?, cursor.as_deref(), wait)
    }
}

impl ContainerLogs for Docker {
    fn get_container_logs(id: PodRef, container: String, options: Options, to: Sink) -> Result<()> {
        logs::write(&Context::reach()?, &id, &container, options, &to)
    }
}

impl Exec for Docker {
    fn run_in_container(id: PodRef, container: String, command: Vec<String>, io: Stdio) -> Result<Exit> {
        exec::run(&Context::reach()?, &id, &container, command, io)
    }
}

impl Attach for Docker {
    fn attach_to_container(id: PodRef, container: String, io: Stdio) -> Result<Exit> {
        exec::attach(&Context::reach()?, &id, &container, io)
    }
}

impl Stats for Docker {
    fn get_stats_summary(after: Option<String>) -> Result<vk_provider::Page<Usage>> {
        stats::page(&Context::reach()?, after.as_deref())
    }
}

impl Volumes for Docker {
    fn update_volume(pod: DesiredPod, volume: String) -> Result<()> {
        let manifest: Manifest = pod.read()?;
        update::update(&Context::reach()?, &pod, &manifest, &volume)
    }
}

vk_provider::export!(Docker: containers, changes, container_logs, exec, attach, stats, volumes);
