//! May this component be a plugin? Decided before a line of it runs for real.

use std::collections::HashSet;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::LoadError;
use super::bindings::exports::virtual_kubelet::provider as exports;
use super::load::one_line;
use super::state::State;

/// The package that plugins are built for.
pub(super) const PACKAGE: &str = "virtual-kubelet:provider/";
/// The version that is served; others that are compatible by semver are too.
const SERVED: &str = "0.1.0";
/// Our interfaces that can be imported.
const IMPORTS: [&str; 8] = ["types", "call", "store", "config", "cluster", "upgrade", "terminal", "log-sink"];
/// Packages of WASI 0.2 that are linked.
const WASI: [&str; 7] =
    ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/", "wasi:sockets/", "wasi:http/"];

/// A component that imports only what there is and exports what it must: ready to be instantiated.
pub(super) struct Admitted {
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
}

/// Where the capabilities are found in an instance. Belongs to one compiled component: those of another one, even of the
/// same bytes, do not fit.
pub(super) struct Exports {
    pub(super) plugin: exports::plugin::GuestIndices,
    pub(super) node: exports::node::GuestIndices,
    pub(super) workloads: Workloads,
    pub(super) changes: Option<exports::changes::GuestIndices>,
    pub(super) container_logs: Option<exports::container_logs::GuestIndices>,
    pub(super) stats: Option<exports::stats::GuestIndices>,
    pub(super) volumes: Option<exports::volumes::GuestIndices>,
    pub(super) exec: Option<exports::exec::GuestIndices>,
    /// Those that this version of the host does not use.
    pub(super) unused: Vec<&'static str>,
    rest: Rest,
}

/// What a plugin's backend runs: one of the two, and never both.
pub(super) enum Workloads {
    /// Whole pods.
    Pods(exports::pods::GuestIndices),
    /// Single containers; the host runs the pod.
    Containers(exports::containers::GuestIndices),
}

impl Workloads {
    /// As the contract names it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Pods(_) => "pods",
            Self::Containers(_) => "containers",
        }
    }
}

/// Capabilities that are checked and not used yet.
struct Rest {
    attach: Option<exports::attach::GuestIndices>,
    port_forward: Option<exports::port_forward::GuestIndices>,
    resize: Option<exports::resize::GuestIndices>,
    ephemeral_containers: Option<exports::ephemeral_containers::GuestIndices>,
}

/// Links the component and finds its capabilities, by name alone: see [`probe`].
pub(super) fn admit(linker: &Linker<State>, component: &Component) -> Result<Admitted, LoadError> {
    let engine = linker.engine();
    imports(engine, component)?;
    // Names were checked; what is left is an import of a known interface that is not as the host has it.
    let pre = linker.instantiate_pre(component).map_err(|e| LoadError::UnknownImports(vec![one_line(&e)]))?;
    let exports = find(engine, &pre)?;
    Ok(Admitted { pre, exports })
}

fn imports(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let mut unknown = Vec::new();
    for (name, _) in component.component_type().imports(engine) {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let known = match interface.strip_prefix(PACKAGE) {
            Some(ours) if IMPORTS.contains(&ours) && !compatible(version) => return Err(contract(name)),
            Some(ours) => IMPORTS.contains(&ours),
            None => WASI.iter().any(|package| interface.starts_with(package)) && version.starts_with("0.2."),
        };
        if !known {
            unknown.push(name.to_owned());
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(LoadError::UnknownImports(unknown)) }
}

/// By semver's rule for 0.x, which is the linker's too.
fn compatible(version: &str) -> bool {
    let served = SERVED.rsplit_once('.').map_or(SERVED, |(line, _)| line);
    version.rsplit_once('.').is_some_and(|(line, _)| line == served)
}

fn contract(found: &str) -> LoadError {
    LoadError::Contract { found: found.to_owned(), served: SERVED }
}

fn find(engine: &Engine, pre: &InstancePre<State>) -> Result<Exports, LoadError> {
    let exported = Exported::of(engine, pre)?;
    if let Some(missing) = ["plugin", "node"].into_iter().find(|name| !exported.has(name)) {
        return Err(LoadError::MissingExport(missing));
    }
    let workloads = match (exported.has("pods"), exported.has("containers")) {
        (true, true) => return Err(LoadError::TwoShapes),
        (false, false) => return Err(LoadError::NoShape),
        (true, false) => Workloads::Pods(exports::pods::GuestIndices::new(pre).map_err(mismatch("pods"))?),
        (false, true) => {
            Workloads::Containers(exports::containers::GuestIndices::new(pre).map_err(mismatch("containers"))?)
        }
    };
    let rest = Rest {
        attach: exported.find("attach", || exports::attach::GuestIndices::new(pre))?,
        port_forward: exported.find("port-forward", || exports::port_forward::GuestIndices::new(pre))?,
        resize: exported.find("resize", || exports::resize::GuestIndices::new(pre))?,
        ephemeral_containers: exported
            .find("ephemeral-containers", || exports::ephemeral_containers::GuestIndices::new(pre))?,
    };
    Ok(Exports {
        plugin: exports::plugin::GuestIndices::new(pre).map_err(mismatch("plugin"))?,
        node: exports::node::GuestIndices::new(pre).map_err(mismatch("node"))?,
        workloads,
        changes: exported.find("changes", || exports::changes::GuestIndices::new(pre))?,
        container_logs: exported.find("container-logs", || exports::container_logs::GuestIndices::new(pre))?,
        stats: exported.find("stats", || exports::stats::GuestIndices::new(pre))?,
        volumes: exported.find("volumes", || exports::volumes::GuestIndices::new(pre))?,
        exec: exported.find("exec", || exports::exec::GuestIndices::new(pre))?,
        unused: rest.names(),
        rest,
    })
}

fn mismatch(interface: &'static str) -> impl Fn(wasmtime::Error) -> LoadError {
    move |error| LoadError::Mismatch { interface, detail: one_line(&error) }
}

/// Our interfaces that a component exports, without their versions.
struct Exported(HashSet<String>);

impl Exported {
    /// A capability that is there under another version is refused: it would go missing without a word.
    fn of(engine: &Engine, pre: &InstancePre<State>) -> Result<Self, LoadError> {
        let mut names = HashSet::new();
        for (name, _) in pre.component().component_type().exports(engine) {
            let Some((interface, version)) = name.strip_prefix(PACKAGE).and_then(|name| name.split_once('@')) else {
                continue;
            };
            if !compatible(version) {
                return Err(contract(name));
            }
            names.insert(interface.to_owned());
        }
        Ok(Self(names))
    }

    fn has(&self, interface: &str) -> bool {
        self.0.contains(interface)
    }

    /// none: not exported. Exported without one of its functions is an error, for the capability would go missing.
    fn find<T>(
        &self,
        interface: &'static str,
        new: impl FnOnce() -> wasmtime::Result<T>,
    ) -> Result<Option<T>, LoadError> {
        if self.has(interface) { new().map(Some).map_err(mismatch(interface)) } else { Ok(None) }
    }
}

impl Rest {
    fn names(&self) -> Vec<&'static str> {
        let names = [
            ("attach", self.attach.is_some()),
            ("port-forward", self.port_forward.is_some()),
            ("resize", self.resize.is_some()),
            ("ephemeral-containers", self.ephemeral_containers.is_some()),
        ];
        names.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
    }
}

/// Loads every capability on an instance. Finding them compared names only: a record with a field more loads, describes,
/// and fails at its first use.
pub(super) fn probe(
    exports: &Exports,
    store: &mut wasmtime::Store<State>,
    instance: &wasmtime::component::Instance,
) -> Result<(), LoadError> {
    /// The first error of a capability, if it is there at all.
    macro_rules! load {
        ($($interface:literal: $indices:expr),* $(,)?) => {
            $(if let Some(indices) = $indices {
                indices.load(&mut *store, instance).map_err(mismatch($interface))?;
            })*
        };
    }
    load! {
        "plugin": Some(&exports.plugin),
        "node": Some(&exports.node),
    }
    match &exports.workloads {
        Workloads::Pods(pods) => load! { "pods": Some(pods) },
        Workloads::Containers(containers) => load! { "containers": Some(containers) },
    }
    load! {
        "changes": exports.changes.as_ref(),
        "container-logs": exports.container_logs.as_ref(),
        "stats": exports.stats.as_ref(),
        "volumes": exports.volumes.as_ref(),
        "exec": exports.exec.as_ref(),
        "attach": exports.rest.attach.as_ref(),
        "port-forward": exports.rest.port_forward.as_ref(),
        "resize": exports.rest.resize.as_ref(),
        "ephemeral-containers": exports.rest.ephemeral_containers.as_ref(),
    }
    Ok(())
}
