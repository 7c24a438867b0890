//! From a file to a plugin that may serve: read, compiled, admitted, described, configured and granted what it wants.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::Store as Instances;
use wasmtime::component::{Instance, InstancePre, Linker};

use super::admission::{self, Admitted, Exports};
use super::bindings::exports::virtual_kubelet::provider::plugin as wit;
use super::call::{Class, Ended, Request, Runner};
use super::egress::Rights;
use super::error::Ungranted;
use super::grants::{Granted, Grants, Weighed, weigh};
use super::load::{self, Source};
use super::state::{Cpu, State};
use super::store::Store;
use super::store_access::StoreAccess;
use super::{LoadError, Paths, Want};
use crate::defaults::call::CONFIGURE_ROUNDS;
use crate::provider::{Call, Error, Identity};

/// What one file became.
pub(super) struct Build {
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
    pub(super) identity: Identity,
    /// Raised by the plugin when what it keeps in the store changes shape.
    pub(super) state_version: u32,
    pub(super) resolves_late: bool,
    /// The host opens connections to the pods' IPs.
    pub(super) reaches_pods: bool,
    /// What its calls may have of the world outside.
    pub(super) rights: Rights,
    /// SHA-256 of the file, in hex.
    pub(super) digest: String,
}

/// Reads the plugin's file.
pub(super) async fn read(runner: &Runner, paths: &Paths) -> Result<Source, LoadError> {
    let (file, limit) = (paths.file.clone(), runner.services.limits.plugin_file);
    blocking(move || load::read(&file, limit)).await
}

/// Compiles, checks and configures. The first one opens the store, which later ones share. `number` is for the log; `before` are the
/// rights of the build that serves.
pub(super) async fn prepare(
    runner: &Arc<Runner>,
    linker: &Arc<Linker<State>>,
    paths: &Paths,
    source: Source,
    number: u64,
    before: &Rights,
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
    let configured = probe.configure().await?;
    let rights = configured.rights(before)?;
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
        resolves_late: configured.settings.resolves_late,
        reaches_pods: configured.settings.pod_network == wit::PodNetwork::FromHost,
        rights,
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

/// One of the host's variables: nobody changes them while it runs. One that is empty is not set, as with the host's own flags.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    let lost = |_: &_| tracing::warn!(variable = name, "the plugin is not given the variable: its value is not UTF-8");
    value.into_string().inspect_err(lost).ok()
}

/// The name becomes a file's name and a metric's label.
fn proper(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// What a plugin made of its configuration.
pub(super) struct Configured {
    /// But for its wants, which are in `weighed`.
    settings: wit::Settings,
    pub(super) weighed: Vec<Weighed>,
}

impl Configured {
    /// What calls may have, where somebody grants every want. `before` is what those of the build that serves have.
    pub(super) fn rights(&self, before: &Rights) -> Result<Rights, LoadError> {
        let missing: Vec<Ungranted> = self.weighed.iter().filter_map(Ungranted::of).collect();
        if !missing.is_empty() {
            return Err(LoadError::NotGranted(missing));
        }
        let budgets = before.budgets.successor(&self.settings.budgets).map_err(LoadError::Budgets)?;
        Ok(Rights { granted: Arc::new(Granted::new(&self.weighed, variable)), budgets: Arc::new(budgets) })
    }
}

/// What the plugin wants may follow from a variable or a file that it wants, so it is asked again with what is granted of them, until
/// that makes no difference.
async fn in_rounds<F>(grants: &Grants, ask: impl Fn(Rights) -> F) -> Result<Configured, LoadError>
where
    F: Future<Output = Result<wit::Settings, LoadError>>,
{
    let mut rights = Rights::none();
    for _ in 0..CONFIGURE_ROUNDS {
        let mut settings = ask(rights.clone()).await?;
        let wants = std::mem::take(&mut settings.wants).into_iter().map(Want::from).collect();
        let weighed = weigh(wants, grants, variable).map_err(LoadError::Wants)?;
        let granted = Granted::to_read(&weighed, variable);
        if granted.reads_as(&rights.granted) {
            return Ok(Configured { settings, weighed });
        }
        rights.granted = Arc::new(granted);
    }
    Err(LoadError::Unsettled(CONFIGURE_ROUNDS))
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
        self.run("start", Rights::none(), async |store: &mut Instances<State>, instance: &Instance| {
            Ok(admission::probe(exports, store, instance))
        })
        .await?
    }

    pub(super) async fn describe(&self) -> Result<wit::Identity, LoadError> {
        let plugin = &self.admitted.exports.plugin;
        let described =
            self.run("describe", Rights::none(), async |store: &mut Instances<State>, instance: &Instance| {
                plugin.load(&mut *store, instance)?.call_describe(store).await
            });
        let identity = described.await?;
        if proper(&identity.name) { Ok(identity) } else { Err(LoadError::Name(identity.name)) }
    }

    pub(super) async fn configure(&self) -> Result<Configured, LoadError> {
        in_rounds(&self.runner.services.grants, |rights| self.configure_with(rights)).await
    }

    async fn configure_with(&self, rights: Rights) -> Result<wit::Settings, LoadError> {
        let plugin = &self.admitted.exports.plugin;
        let configured = self.run("configure", rights, async |store: &mut Instances<State>, instance: &Instance| {
            plugin.load(&mut *store, instance)?.call_configure(store).await
        });
        configured.await?.map_err(|mistakes| LoadError::Mistakes(mistakes.into_iter().map(Error::from).collect()))
    }

    /// Without a permit, as sixteen calls that hang must not keep a better build from coming; the pool has instances to spare.
    async fn run<R, F>(&self, function: &'static str, rights: Rights, guest: F) -> Result<R, LoadError>
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
        let Admitted { pre, .. } = self.admitted;
        let Ended { result, stderr, .. } =
            self.runner.run(pre, self.number, StoreAccess::none(), rights, request, guest).await;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::plugin::grants::Grant;

    /// A plugin that wants the first of these files, and of the others those that stand behind one that it has.
    fn settings(rights: &Rights, files: &[&str]) -> wit::Settings {
        let read = files.iter().take_while(|file| rights.granted.file(file).is_some()).count();
        let want = |file: &&str| wit::Want { access: "file".into(), target: (*file).into(), why: "to go on".into() };
        wit::Settings {
            wants: files.iter().take(read + 1).map(want).collect(),
            budgets: Vec::new(),
            pod_network: wit::PodNetwork::Unreachable,
            resolves_late: false,
        }
    }

    /// How often it is asked, and what comes of it. All files are granted.
    async fn ask(plugin: impl Fn(&Rights) -> wit::Settings) -> (usize, Result<Configured, LoadError>) {
        let mut grants = Grants::default();
        for file in ["/1", "/2", "/3", "/4"] {
            grants.add(Grant::new("file", file).unwrap());
        }
        let asked = Cell::new(0);
        let configured = in_rounds(&grants, |rights| {
            asked.set(asked.get() + 1);
            std::future::ready(Ok(plugin(&rights)))
        });
        let configured = configured.await;
        (asked.get(), configured)
    }

    #[tokio::test]
    async fn a_plugin_is_asked_again_while_what_it_may_read_changes() {
        for (files, rounds) in [(&[][..], 1), (&["/1"], 2), (&["/1", "/2"], 3), (&["/1", "/2", "/3"], 4)] {
            let (asked, configured) = ask(|rights| settings(rights, files)).await;
            let rights = configured.unwrap_or_else(|error| panic!("{error}")).rights(&Rights::none());
            let granted = rights.unwrap_or_else(|error| panic!("{error}")).granted;
            assert!(asked == rounds && files.iter().all(|file| granted.file(file).is_some()), "{files:?}: {asked}");
        }
    }

    #[tokio::test]
    async fn what_is_not_granted_is_not_asked_for_again() {
        let (asked, configured) = ask(|rights| settings(rights, &["/1", "/other", "/2"])).await;
        assert_eq!(asked, 2);
        let refused = configured.ok().and_then(|configured| configured.rights(&Rights::none()).err());
        let Some(LoadError::NotGranted(missing)) = refused else { panic!("{refused:?}") };
        assert_eq!(missing.iter().map(|missing| missing.want.target.as_str()).collect::<Vec<_>>(), ["/other"]);
    }

    #[tokio::test]
    async fn a_plugin_that_never_makes_up_its_mind_is_refused() {
        let deep = ask(|rights| settings(rights, &["/1", "/2", "/3", "/4"])).await;
        // It forgets what it wanted once it has it.
        let restless = ask(|rights| match rights.granted.file("/1") {
            Some(_) => settings(rights, &[]),
            None => settings(rights, &["/1"]),
        });
        for (asked, configured) in [deep, restless.await] {
            assert!(
                matches!(configured.err(), Some(LoadError::Unsettled(CONFIGURE_ROUNDS))) && asked == CONFIGURE_ROUNDS
            );
        }
    }
}
