//! What a file is, before it is deployed: `vk-host plugin inspect`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use wasmtime::component::Component;

use super::admission::{self, PACKAGE};
use super::bindings::exports::virtual_kubelet::provider::plugin as wit;
use super::build::Probe;
use super::call::Runner;
use super::config_text::ConfigText;
use super::egress::{Rights, Surroundings};
use super::grants::{Grants, Verdict, Weighed};
use super::services::Services;
use super::{Limits, LoadError, NodeInfo, Want, engine, load};

/// All that can be told of a component, also of one that a host refuses.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The component.
    pub file: PathBuf,
    /// In bytes.
    pub size: usize,
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// `virtual-kubelet:provider@VERSION`, as its exports say; none: it exports nothing of the contract.
    pub contract: Option<String>,
    /// As the component names them.
    pub exports: Vec<String>,
    /// As the component names them.
    pub imports: Vec<String>,
    /// What `describe` says; none: it did not come so far.
    pub identity: Option<Described>,
    /// What `configure` asks for; none: it did not come so far.
    pub wants: Option<Vec<Asked>>,
    /// Why a host would not load it; none: it would.
    pub refusal: Option<Refusal>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    /// Names its store.
    pub name: String,
    /// For people.
    pub version: String,
    /// Of what it keeps in the store.
    pub state_version: u32,
    /// In milliseconds.
    pub settle_ms: u64,
}

/// What a plugin asks for, and whether it would have it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What, and why.
    #[serde(flatten)]
    pub want: Want,
    /// Who grants it.
    pub granted: Verdict,
    /// The flag to add, and the line of the file of `--config` that says the same; none: nothing is missing.
    pub remedy: Option<String>,
}

/// Why a host would not load it.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// [`LoadError::reason`].
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Looks at a component, and lets it describe and configure itself on instances that reach nothing, with the variables and files that
/// `grants` lets it have. An error: it is no component.
pub async fn inspect(file: &Path, provider_config: Option<PathBuf>, grants: Grants) -> Result<Inspection, LoadError> {
    let limits = Limits::default();
    let failed = |e: wasmtime::Error| LoadError::Engine(load::one_line(&e));
    let engine = engine::build(&limits).map_err(failed)?;
    let source = load::read(file, limits.plugin_file)?;
    let component = load::translate(&engine, &source)?;
    let kind = component.component_type();
    let exports: Vec<String> = kind.exports(&engine).map(|(name, _)| name.to_owned()).collect();
    let mut inspection = Inspection {
        file: source.file,
        size: source.bytes.len(),
        digest: source.digest,
        contract: exports.iter().find_map(|name| contract(name)),
        exports,
        imports: kind.imports(&engine).map(|(name, _)| name.to_owned()).collect(),
        identity: None,
        wants: None,
        refusal: None,
    };
    let config = ConfigText::new(provider_config, limits.config_file);
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let services = Services::new(&name, NodeInfo::default(), config, limits);
    let services = Arc::new(services.with_grants(grants, Surroundings::of_process()));
    let runner = Runner::new(engine, services, limits);
    if let Err(error) = inspection.ask(&runner, &component).await {
        inspection.refusal = Some(Refusal { reason: error.reason(), message: error.to_string() });
    }
    Ok(inspection)
}

impl Inspection {
    async fn ask(&mut self, runner: &Runner, component: &Component) -> Result<(), LoadError> {
        let linker = engine::linker(&runner.engine).map_err(|e| LoadError::Engine(load::one_line(&e)))?;
        let admitted = admission::admit(&linker, component)?;
        let probe = Probe { runner, number: 0, admitted: &admitted };
        probe.load().await?;
        self.identity = Some(probe.describe().await?.into());
        let configured = probe.configure().await?;
        self.wants = Some(configured.weighed.iter().map(Asked::from).collect());
        configured.rights(&Rights::none()).map(drop)
    }
}

/// `virtual-kubelet:provider@0.1.0` of `virtual-kubelet:provider/plugin@0.1.0`.
fn contract(name: &str) -> Option<String> {
    let (_, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    Some(format!("{}@{version}", PACKAGE.trim_end_matches('/')))
}

impl From<wit::Identity> for Described {
    fn from(identity: wit::Identity) -> Self {
        let wit::Identity { name, version, state_version, settle_ms } = identity;
        Self { name, version, state_version, settle_ms }
    }
}

impl From<&Weighed> for Asked {
    fn from(weighed: &Weighed) -> Self {
        Self { want: weighed.want.clone(), granted: weighed.verdict, remedy: weighed.remedy() }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { want, granted, remedy } = self;
        let granted = match granted {
            Verdict::ByItself => "granted by itself",
            Verdict::ByOperator => "granted by the operator",
            Verdict::NotSet => "needs no grant, as it is not set here",
            Verdict::Missing => "needs ",
        };
        write!(f, "{want}: {granted}{}", remedy.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, size, digest, contract, exports, imports, identity, wants, refusal } = self;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<10}{value}");
        row(f, "file", &file.display())?;
        row(f, "size", &format_args!("{size} bytes"))?;
        row(f, "digest", &format_args!("sha256:{digest}"))?;
        row(f, "contract", contract.as_ref().map_or(&"none", |contract| contract as &dyn fmt::Display))?;
        if let Some(Described { name, version, state_version, settle_ms }) = identity {
            row(
                f,
                "plugin",
                &format_args!("{name} {version}, state version {state_version}, settles in {settle_ms} ms"),
            )?;
        }
        list(f, "exports", exports)?;
        list(f, "imports", imports)?;
        match wants {
            Some(wants) => list(f, "wants", wants)?,
            None => row(f, "wants", &"not known: it did not come so far")?,
        }
        match refusal {
            Some(Refusal { reason, message }) => row(f, "refused", &format_args!("{reason}: {message}")),
            None => row(f, "refused", &"no: this host loads it"),
        }
    }
}

/// One line each.
fn list(f: &mut fmt::Formatter<'_>, name: &str, items: &[impl fmt::Display]) -> fmt::Result {
    let Some((first, rest)) = items.split_first() else { return writeln!(f, "{name:<10}nothing") };
    writeln!(f, "{name:<10}{first}")?;
    rest.iter().try_for_each(|item| writeln!(f, "{:<10}{item}", ""))
}
