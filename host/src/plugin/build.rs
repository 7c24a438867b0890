//! From a file to a plugin that may serve: read, compiled, admitted, described and configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::Store as Instances;
use wasmtime::component::{Instance, InstancePre, Linker};

use super::admission::{self, Admitted, Exports};
use super::bindings::exports::virtual_kubelet::provider::plugin as wit;
use super::call::{Class, Ended, Request, Runner};
use super::load::{self, Source};
use super::state::{Cpu, State};
use super::store::Store;
use super::store_access::StoreAccess;
use super::{LoadError, Paths, Want};
use crate::provider::{Call, Error, Identity};

/// What one file became.
pub(super) struct Build {
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
    pub(super) identity: Identity,
    /// Raised by the plugin when what it keeps in the store changes shape.
    pub(super) state_version: u32,
    pub(super) resolves_late: bool,
    /// SHA-256 of the file, in hex.
    pub(super) digest: String,
}

/// Reads the plugin's file.
pub(super) async fn read(runner: &Runner, paths: &Paths) -> Result<Source, LoadError> {
    let (file, limit) = (paths.file.clone(), runner.services.limits.plugin_file);
    blocking(move || load::read(&file, limit)).await
}

/// Compiles, checks and configures. The first one opens the store, which later ones share. `number` is for the log.
pub(super) async fn prepare(
    runner: &Arc<Runner>,
    linker: &Arc<Linker<State>>,
    paths: &Paths,
    source: Source,
    number: u64,
) -> Result<Build, LoadError> {
    let began = std::time::Instant::now();
    let (engine, linker, cache) = (runner.engine.clone(), Arc::clone(linker), paths.cache_dir.clone());
    let compiled = blocking(move || {
        let loaded = load::compile(&engine, &source, &cache)?;
        Ok((admission::admit(&linker, &loaded.component)?, loaded.cached, source.digest))
    });
    let (admitted, cached, digest) = compiled.await?;
    let probe = Probe { runner, number, admitted: &admitted };
    probe.load().await?;
    let identity = probe.describe().await?;
    open_store(runner, paths, &identity.name).await?;
    let settings = granted(probe.configure().await?)?;
    tracing::info!(
        plugin = %identity.name, version = %identity.version, generation = number, %digest, cached,
        took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), unused = ?admitted.exports.unused, "plugin loaded"
    );
    let Admitted { pre, exports } = admitted;
    Ok(Build {
        pre,
        exports,
        state_version: identity.state_version,
        identity: Identity::from(&identity),
        resolves_late: settings.resolves_late,
        digest,
    })
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, LoadError> + Send + 'static,
) -> Result<R, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| LoadError::Engine(e.to_string()))?
}

/// The store is named after the first build's name, which every later one has to have.
async fn open_store(runner: &Runner, paths: &Paths, name: &str) -> Result<(), LoadError> {
    if runner.services.opened().is_some() {
        let running = runner.services.name();
        return if *running == *name {
            Ok(())
        } else {
            Err(LoadError::OtherName { running: running.to_string(), found: name.to_owned() })
        };
    }
    let file = paths.store(name);
    let bounds = runner.services.limits.store;
    let path = file.clone();
    let opened = blocking(move || Store::open(&path, bounds).map_err(|error| LoadError::Store { file, error })).await?;
    runner.services.open(name, opened);
    Ok(())
}

/// Every want needs a grant, and this version has none to give.
pub(super) fn granted(settings: wit::Settings) -> Result<wit::Settings, LoadError> {
    if settings.wants.is_empty() {
        return Ok(settings);
    }
    Err(LoadError::NotGranted(settings.wants.into_iter().map(Want::from).collect()))
}

/// The name becomes a file's name and a metric's label.
fn proper(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Asks a component who it is, each time on a fresh instance.
pub(super) struct Probe<'a> {
    pub(super) runner: &'a Runner,
    pub(super) number: u64,
    pub(super) admitted: &'a Admitted,
}

impl Probe<'_> {
    /// Every capability is loaded on an instance: see [`admission::probe`].
    pub(super) async fn load(&self) -> Result<(), LoadError> {
        let exports = &self.admitted.exports;
        self.run("start", async |store: &mut Instances<State>, instance: &Instance| {
            Ok(admission::probe(exports, store, instance))
        })
        .await?
    }

    pub(super) async fn describe(&self) -> Result<wit::Identity, LoadError> {
        let plugin = &self.admitted.exports.plugin;
        let described = self.run("describe", async |store: &mut Instances<State>, instance: &Instance| {
            plugin.load(&mut *store, instance)?.call_describe(store).await
        });
        let identity = described.await?;
        if proper(&identity.name) { Ok(identity) } else { Err(LoadError::Name(identity.name)) }
    }

    pub(super) async fn configure(&self) -> Result<wit::Settings, LoadError> {
        let plugin = &self.admitted.exports.plugin;
        let configured = self.run("configure", async |store: &mut Instances<State>, instance: &Instance| {
            plugin.load(&mut *store, instance)?.call_configure(store).await
        });
        configured.await?.map_err(|mistakes| LoadError::Mistakes(mistakes.into_iter().map(Error::from).collect()))
    }

    /// Without a permit, as sixteen calls that hang must not keep a better build from coming; the pool has instances to spare.
    async fn run<R, F>(&self, function: &'static str, guest: F) -> Result<R, LoadError>
    where
        F: AsyncFnOnce(&mut Instances<State>, &Instance) -> wasmtime::Result<R>,
    {
        let limits = &self.runner.services.limits;
        let request = Request {
            operation: function,
            class: Class::Poll,
            deadline: Some(limits.load_deadline),
            cpu: Cpu::Budget(limits.cpu_budget),
            mutates: false,
            pod: None,
            call: Call::uncancelled(),
            replaced: None,
            reader: None,
            last: false,
        };
        let Ended { result, stderr } =
            self.runner.run(&self.admitted.pre, self.number, StoreAccess::none(), request, guest).await;
        result.map_err(|error| LoadError::Call { function, error: Box::new(error), stderr })
    }
}

impl Paths {
    /// The file's name, which stands for the plugin's until it has said its own.
    pub(super) fn file_name(&self) -> String {
        self.file.file_stem().unwrap_or_else(|| Path::new("plugin").as_os_str()).to_string_lossy().into_owned()
    }

    /// Where a plugin of this name keeps what it remembers.
    fn store(&self, name: &str) -> PathBuf {
        self.store_dir.join(format!("{name}.redb"))
    }

    /// Where that is kept as it was before a swap that changes its shape. Named by the shape that it has, so that going back by
    /// hand does not overwrite what there is to go back to.
    pub(super) fn snapshot(&self, name: &str, state_version: u32) -> PathBuf {
        self.store_dir.join(format!("{name}.state-{state_version}.redb"))
    }
}

impl From<wit::Want> for Want {
    fn from(want: wit::Want) -> Self {
        Self { access: want.access, target: want.target, why: want.why }
    }
}
