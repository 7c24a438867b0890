//! One loaded plugin: what a hot swap exchanges.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{InstancePre, Linker};

use super::admission::{self, Admitted, Exports};
use super::bindings::exports::virtual_kubelet::provider::plugin as wit;
use super::call::{Class, Ended, Request, Runner};
use super::state::{Cpu, State};
use super::store::Store;
use super::{LoadError, Paths, Want, load};
use crate::provider::{Call, Error, Identity};

/// A plugin that is ready to serve.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
    pub(super) identity: Identity,
    pub(super) resolves_late: bool,
}

/// Reads, checks and configures a plugin. The first one opens the store, which later ones share.
pub(super) async fn prepare(
    runner: &Arc<Runner>,
    linker: &Arc<Linker<State>>,
    paths: &Paths,
    number: u64,
) -> Result<Generation, LoadError> {
    let began = std::time::Instant::now();
    let (loaded, Admitted { pre, exports }) = compile(runner, linker, paths).await?;
    let mut generation = Generation {
        number,
        pre,
        exports,
        identity: Identity { name: String::new(), version: String::new(), settle: Duration::ZERO },
        resolves_late: false,
    };
    generation.probe(runner).await?;
    let identity = generation.describe(runner).await?;
    open_store(runner, paths, &identity.name).await?;
    let settings = generation.configure(runner).await?;
    generation.identity = Identity::from(&identity);
    generation.resolves_late = settings.resolves_late;
    tracing::info!(
        plugin = %identity.name, version = %identity.version, generation = number, digest = %loaded.digest, cached = loaded.cached,
        took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), unused = ?generation.exports.unused, "plugin loaded"
    );
    Ok(generation)
}

async fn compile(
    runner: &Arc<Runner>,
    linker: &Arc<Linker<State>>,
    paths: &Paths,
) -> Result<(load::Loaded, Admitted), LoadError> {
    let (runner, linker, paths) = (Arc::clone(runner), Arc::clone(linker), paths.clone());
    let work = move || {
        let loaded = load::load(&runner.engine, &paths.file, runner.services.limits.plugin_file, &paths.cache_dir)?;
        let admitted = admission::admit(&linker, &loaded.component)?;
        Ok((loaded, admitted))
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| LoadError::Engine(e.to_string()))?
}

async fn open_store(runner: &Runner, paths: &Paths, name: &str) -> Result<(), LoadError> {
    if runner.services.opened().is_some() {
        return Ok(());
    }
    let file = paths.store_dir.join(format!("{name}.redb"));
    let bounds = runner.services.limits.store;
    let path = file.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&path, bounds))
        .await
        .map_err(|e| LoadError::Engine(e.to_string()))?;
    runner.services.open(name, opened.map_err(|error| LoadError::Store { file, error })?);
    Ok(())
}

/// The name becomes a file's name and a metric's label.
fn proper(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn request(operation: &'static str, limits: &super::Limits) -> Request {
    Request {
        operation,
        class: Class::Poll,
        deadline: Some(limits.load_deadline),
        cpu: Cpu::Budget(limits.cpu_budget),
        mutates: false,
        pod: None,
        call: Call::uncancelled(),
        reader: None,
        last: false,
    }
}

fn ended<R>(function: &'static str, ended: Ended<R>) -> Result<R, LoadError> {
    let Ended { result, stderr } = ended;
    result.map_err(|error| LoadError::Call { function, error: Box::new(error), stderr })
}

impl Generation {
    /// Every capability is loaded on an instance: see [`admission::probe`].
    async fn probe(&self, runner: &Runner) -> Result<(), LoadError> {
        let exports = &self.exports;
        let probed = runner
            .run(
                &self.pre,
                self.number,
                request("start", &runner.services.limits),
                async |store: &mut wasmtime::Store<State>, instance: &wasmtime::component::Instance| {
                    Ok(admission::probe(exports, store, instance))
                },
            )
            .await;
        ended("start", probed)?
    }

    async fn describe(&self, runner: &Runner) -> Result<wit::Identity, LoadError> {
        let plugin = &self.exports.plugin;
        let described = runner
            .run(
                &self.pre,
                self.number,
                request("describe", &runner.services.limits),
                async |store: &mut wasmtime::Store<State>, instance: &wasmtime::component::Instance| {
                    plugin.load(&mut *store, instance)?.call_describe(store).await
                },
            )
            .await;
        let identity = ended("describe", described)?;
        if proper(&identity.name) { Ok(identity) } else { Err(LoadError::Name(identity.name)) }
    }

    async fn configure(&self, runner: &Runner) -> Result<wit::Settings, LoadError> {
        let plugin = &self.exports.plugin;
        let configured = runner
            .run(
                &self.pre,
                self.number,
                request("configure", &runner.services.limits),
                async |store: &mut wasmtime::Store<State>, instance: &wasmtime::component::Instance| {
                    plugin.load(&mut *store, instance)?.call_configure(store).await
                },
            )
            .await;
        let settings = ended("configure", configured)?
            .map_err(|mistakes| LoadError::Mistakes(mistakes.into_iter().map(Error::from).collect()))?;
        // Every want needs a grant, and this version has none to give.
        if settings.wants.is_empty() {
            return Ok(settings);
        }
        let wants =
            settings.wants.into_iter().map(|want| Want { access: want.access, target: want.target, why: want.why });
        Err(LoadError::NotGranted(wants.collect()))
    }
}

impl Paths {
    /// The file's name, which stands for the plugin's until it has said its own.
    pub(super) fn file_name(&self) -> String {
        self.file.file_stem().unwrap_or_else(|| Path::new("plugin").as_os_str()).to_string_lossy().into_owned()
    }
}
