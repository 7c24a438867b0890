//! The WebAssembly half: a provider that is a component, loaded from a file.
//!
//! [`Plugin::load`] makes one of a [`Config`]; from then on it is a [`Provider`](crate::provider::Provider) like any other.
//!
//! ```text
//! file ▶ load (read, compile, cache) ▶ admission (imports, exports) ▶ build (describe, store, configure, grants) ▶ generation
//! Provider method ▶ call (permit, instance, bounds) ▶ guest ▶ imports (store, config, call, log-sink …), egress, output
//! file changed, SIGHUP, `plugin reload` ▶ swap ▶ the next generation, or the old one and the reason
//! ```
//!
//! Everything that a [`swap`] exchanges is one [`generation::Generation`] behind one pointer; permits, store and engine outlive it.

mod admission;
mod bindings;
mod build;
mod call;
mod config_text;
mod containers;
pub mod control;
mod convert;
mod cut;
pub mod egress;
mod engine;
mod error;
mod generation;
pub mod grants;
mod imports;
pub mod inspect;
mod load;
mod logs;
mod output;
mod places;
mod provider;
mod services;
mod stamp;
mod state;
pub mod store;
mod store_access;
pub mod swap;
#[cfg(test)]
mod tests;
mod whole_file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, RwLock};
use wasmtime::component::Linker;

use call::Runner;
use config_text::ConfigText;
use egress::{Rights, Surroundings};
pub use error::{LoadError, Ungranted, Want};
use generation::Generation;
use grants::Grants;
use services::Services;
use state::State;

use crate::defaults::call as defaults;

/// What a plugin is loaded from and may know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The component.
    pub file: PathBuf,
    /// Its configuration, read anew whenever it asks.
    pub provider_config: Option<PathBuf>,
    /// What its operator lets it have beside what is harmless.
    pub grants: Grants,
    /// Its store lives at `store/<identity.name>.redb` below.
    pub state_dir: PathBuf,
    /// Compiled components.
    pub cache_dir: PathBuf,
    /// What it is told of the node.
    pub node: NodeInfo,
    /// Bounds of its calls and its store.
    pub limits: Limits,
}

/// The node that a plugin serves.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// Of the Node object.
    pub name: String,
    /// Tells clusters that share one account apart.
    pub cluster_id: String,
    /// Such as `cluster.local`.
    pub cluster_domain: String,
    /// The host's own address.
    pub internal_ip: String,
    /// Of the kubelet API.
    pub daemon_port: u16,
    /// `linux` or `windows`: what the operator asked for.
    pub operating_system: String,
}

/// Bounds of calls and of the store; the defaults are in [`crate::defaults`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Short calls.
    pub deadline: Duration,
    /// `create-pod`.
    pub create_deadline: Duration,
    /// `pull-image`.
    pub pull_deadline: Duration,
    /// Ping and what the node is.
    pub node_deadline: Duration,
    /// Of `next_changes`, beyond the time that it may wait.
    pub changes_slack: Duration,
    /// `describe` and `configure`.
    pub load_deadline: Duration,
    /// Between asking a call to end and dropping it.
    pub cancel_grace: Duration,
    /// How long a swap that changes the state's shape waits for calls to end by themselves, before it asks them to.
    pub drain: Duration,
    /// Processor time of a call that is no session.
    pub cpu_budget: Duration,
    /// Processor time of a session in each `session_period`; beyond it the guest rests until the next.
    pub session_cpu: Duration,
    /// See `session_cpu`.
    pub session_period: Duration,
    /// How often a running guest gives way.
    pub epoch_tick: Duration,
    /// Linear memory of one instance, in bytes.
    pub guest_memory: usize,
    /// Strings and lists that one call of an import, or one answer, may hand to the host, in bytes.
    pub hostcall_fuel: usize,
    /// `create-pod` and `update-pod`, and what else makes something, at once.
    pub create_permits: usize,
    /// `pull-image` at once.
    pub pull_permits: usize,
    /// `delete-pod` at once.
    pub delete_permits: usize,
    /// Looks, lists and statistics at once.
    pub poll_permits: usize,
    /// Ping and what the node is, at once.
    pub node_permits: usize,
    /// Logs at once.
    pub session_permits: usize,
    /// Commands of probes and hooks at once.
    pub command_permits: usize,
    /// `next_changes` at once.
    pub changes_permits: usize,
    /// Pages of one list.
    pub pages: usize,
    /// A plugin file, in bytes.
    pub plugin_file: u64,
    /// The text of the configuration, or a granted file, in bytes.
    pub config_file: u64,
    /// The store.
    pub store: store::Bounds,
    /// What it asks of the network.
    pub egress: egress::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: defaults::DEADLINE,
            create_deadline: defaults::CREATE_DEADLINE,
            pull_deadline: defaults::PULL_DEADLINE,
            node_deadline: defaults::NODE_DEADLINE,
            changes_slack: defaults::CHANGES_SLACK,
            load_deadline: defaults::LOAD_DEADLINE,
            cancel_grace: defaults::CANCEL_GRACE,
            drain: crate::defaults::swap::DRAIN,
            cpu_budget: defaults::CPU_BUDGET,
            session_cpu: defaults::SESSION_CPU,
            session_period: defaults::SESSION_PERIOD,
            epoch_tick: defaults::EPOCH_TICK,
            guest_memory: defaults::GUEST_MEMORY,
            hostcall_fuel: defaults::HOSTCALL_FUEL,
            create_permits: defaults::CREATE_PERMITS,
            pull_permits: defaults::PULL_PERMITS,
            delete_permits: defaults::DELETE_PERMITS,
            poll_permits: defaults::POLL_PERMITS,
            node_permits: defaults::NODE_PERMITS,
            session_permits: defaults::SESSION_PERMITS,
            command_permits: defaults::COMMAND_PERMITS,
            changes_permits: defaults::CHANGES_PERMITS,
            pages: defaults::PAGES,
            plugin_file: defaults::PLUGIN_FILE,
            config_file: defaults::CONFIG_FILE,
            store: store::Bounds::default(),
            egress: egress::Limits::default(),
        }
    }
}

/// Where things are.
#[derive(Clone, Debug)]
struct Paths {
    file: PathBuf,
    cache_dir: PathBuf,
    store_dir: PathBuf,
}

/// A loaded plugin.
pub struct Plugin {
    runner: Arc<Runner>,
    linker: Arc<Linker<State>>,
    paths: Paths,
    /// The one that new calls go to.
    current: ArcSwap<Generation>,
    /// Shared by the calls that run, but for sessions; a swap that changes the state's shape takes it alone.
    gate: RwLock<()>,
    /// A generation has trapped often.
    failing: Notify,
    swaps: swap::Counters,
}

impl Plugin {
    /// Reads, checks, compiles and configures the plugin, and opens its store.
    pub async fn load(config: Config) -> Result<Self, LoadError> {
        Self::load_within(config, Surroundings::of_process()).await
    }

    /// The same where names and proxies are others than this process'.
    pub async fn load_within(config: Config, surroundings: Surroundings) -> Result<Self, LoadError> {
        let Config { file, provider_config, grants, state_dir, cache_dir, node, limits } = config;
        let paths = Paths { file, cache_dir, store_dir: state_dir.join("store") };
        let config = ConfigText::new(provider_config, limits.config_file);
        let services = Services::new(&paths.file_name(), node, config, limits).with_grants(grants, surroundings);
        let services = Arc::new(services);
        let failed = |e: wasmtime::Error| LoadError::Engine(load::one_line(&e));
        let engine = engine::build(&limits).map_err(failed)?;
        let linker = Arc::new(engine::linker(&engine).map_err(failed)?);
        let runner = Arc::new(Runner::new(engine, services, limits));
        let source = build::read(&runner, &paths).await?;
        let build = build::prepare(&runner, &linker, &paths, source, 1, &Rights::none()).await?;
        Ok(Self {
            runner,
            linker,
            paths,
            current: ArcSwap::from_pointee(Generation::new(1, Arc::new(build))),
            gate: RwLock::new(()),
            failing: Notify::new(),
            swaps: swap::Counters::default(),
        })
    }

    /// It runs single containers, so that the host runs the pods: `pods::machine`. True of all its builds.
    pub fn has_containers(&self) -> bool {
        matches!(self.current.load().exports.workloads, admission::Workloads::Containers(_))
    }

    /// How attempts to swap it ended so far.
    pub fn swaps(&self) -> swap::Counts {
        self.swaps.read()
    }

    /// Calls that run now, sessions included.
    pub fn running_calls(&self) -> usize {
        self.runner.running()
    }

    /// Calls so far that did not end by an answer of their own, by the reason of their error.
    pub fn cut_calls(&self) -> Vec<(std::borrow::Cow<'static, str>, u64)> {
        self.runner.cut.read()
    }

    /// What came of its requests to the network so far, by outcome.
    pub fn egress(&self) -> Vec<(&'static str, u64)> {
        self.runner.services.denied.read()
    }

    /// Asks the running calls to end, and refuses later ones but [`Provider::stop`](crate::provider::Provider::stop).
    pub fn begin_shutdown(&self) {
        self.runner.begin_shutdown();
    }

    /// Ends what still runs and closes the store. Every later call is refused.
    pub async fn shutdown(&self) {
        self.runner.shutdown().await;
        if let Some(store) = self.runner.services.opened().cloned() {
            // A panic of the writer was logged where it happened.
            let _ = tokio::task::spawn_blocking(move || store.close()).await;
        }
    }
}
