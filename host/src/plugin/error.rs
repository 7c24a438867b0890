//! Why a plugin was not loaded: what is wrong, and how to mend it.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::grants::{Mistaken, Weighed};
use super::store::{Failure, OpenError};
use crate::provider::Error;

/// Of a plugin's words about one want, in characters: lists of them end in events and terminals.
const WORDS: usize = 256;

/// A permission that a plugin asked for and was not given.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Want {
    /// `http`, `upgrade`, `connect`, `endpoint`, `environment` or `file`.
    pub access: String,
    /// An origin, a variable's name or a file's name.
    pub target: String,
    /// The plugin's own words.
    pub why: String,
}

/// A want that nobody granted, and how an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ungranted {
    /// Which.
    pub want: Want,
    /// The flag, and the line of the file of `--config` that says the same.
    pub remedy: String,
}

/// See the module. `Display` is one line, but for lists: there each has a line of its own.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such file.
    #[error("there is no plugin {}: give the path of a component, FILE.wasm", .0.display())]
    Missing(PathBuf),
    /// The file system says no.
    #[error("cannot read the plugin {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// Above the limit.
    #[error("the plugin {} has more than {limit} bytes: build it in release mode and stripped", file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// No WebAssembly at all.
    #[error("{} is not WebAssembly: a plugin is a component, as `cargo build --target wasm32-wasip2` makes it", .0.display())]
    NotWasm(PathBuf),
    /// A module where a component is needed.
    #[error("{} is a core module and not a component: build it with `cargo build --target wasm32-wasip2` or `cargo component build`", .0.display())]
    CoreModule(PathBuf),
    /// The compiler refuses it.
    #[error("{} is damaged or uses what this version does not know: {reason}", file.display())]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// The compiler's words.
        reason: String,
    },
    /// Imports that the host does not have.
    #[error("the plugin imports what the host does not have: {}; wit/worlds.wit says what there is", .0.join(", "))]
    UnknownImports(Vec<String>),
    /// Built for another version of the contract.
    #[error(
        "the plugin was built for {found}, and this host serves virtual-kubelet:provider@{served}: build it with the wit/ of that version"
    )]
    Contract {
        /// The interface as the plugin names it.
        found: String,
        /// The version that is served.
        served: &'static str,
    },
    /// A required export is not there.
    #[error("the plugin exports no {0}, which every plugin has to: wit/{0}.wit says how")]
    MissingExport(&'static str),
    /// Neither of the two that a backend can be.
    #[error(
        "the plugin exports neither `pods` nor `containers`: one of them it has to; wit/pods.wit and wit/containers.wit say which"
    )]
    NoShape,
    /// Both.
    #[error(
        "the plugin exports both `pods` and `containers`: it is one of the two, or the host would not know who runs the pod"
    )]
    TwoShapes,
    /// Another shape than the one that serves the node.
    #[error(
        "the plugin exports `{found}`, but the build that serves this node exports `{running}` and keeps its pods that way: drain the node and start the host anew"
    )]
    OtherShape {
        /// What the one that serves exports.
        running: &'static str,
        /// What the one in the file exports.
        found: &'static str,
    },
    /// The right name with the wrong functions or records.
    #[error("the plugin's {interface} is not that of the contract ({detail}): build it with the host's wit/")]
    Mismatch {
        /// Which interface.
        interface: &'static str,
        /// wasmtime's words.
        detail: String,
    },
    /// The plugin's name cannot be used.
    #[error(
        "the plugin calls itself {0:?}: a name has 1 to 63 lower-case letters, digits and `-`, and begins with a letter"
    )]
    Name(String),
    /// Another plugin than the one that serves the node.
    #[error(
        "the plugin calls itself {found:?}, but {running:?} serves this node and keeps its pods: a swap takes another build of the same plugin"
    )]
    OtherName {
        /// The one that serves.
        running: String,
        /// The one in the file.
        found: String,
    },
    /// What the plugin keeps could not be copied before a swap that changes its shape.
    #[error("cannot copy the plugin's store to {} before its state changes: {error}", file.display())]
    Snapshot {
        /// The copy.
        file: PathBuf,
        /// Why not.
        error: Failure,
    },
    /// The plugin's store.
    #[error("cannot open the plugin's store {}: {error}", file.display())]
    Store {
        /// Which file.
        file: PathBuf,
        /// Why not.
        error: OpenError,
    },
    /// `describe` or `configure` did not come to an end.
    #[error("the plugin's {function} failed: {error}{}", Stderr(stderr))]
    Call {
        /// Which of the two.
        function: &'static str,
        /// How it ended.
        error: Box<Error>,
        /// The last lines that the guest wrote to stderr; empty: none.
        stderr: String,
    },
    /// The plugin does not like its configuration.
    #[error("the plugin refuses its configuration:{}", Lines(.0))]
    Mistakes(Vec<Error>),
    /// The plugin wants what nobody could grant.
    #[error("the plugin asks for what this host does not understand, which its author has to mend:{}", Lines(.0))]
    Wants(Vec<Mistaken>),
    /// The plugin does not make up its mind.
    #[error(
        "the plugin's configure asks for other variables or files in each of {0} rounds, which its author has to mend: what it wants must not change once it is granted"
    )]
    Unsettled(usize),
    /// The plugin declares request rates that nobody can keep.
    #[error("the plugin declares budgets that cannot be kept, which its author has to mend:{}", Lines(.0))]
    Budgets(Vec<Error>),
    /// The plugin wants what it was not granted.
    #[error(
        "the plugin wants what its operator has not granted; start the host with the flag, or with the line in the file of --config, for each:{}",
        Lines(.0)
    )]
    NotGranted(Vec<Ungranted>),
    /// wasmtime itself.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
}

impl LoadError {
    /// The metric label, the Event reason and the log field.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "PluginMissing",
            Self::Unreadable { .. } => "PluginUnreadable",
            Self::TooLarge { .. } => "PluginTooLarge",
            Self::NotWasm(_) => "NotWebAssembly",
            Self::CoreModule(_) => "NotAComponent",
            Self::Invalid { .. } => "PluginInvalid",
            Self::UnknownImports(_) => "UnknownImport",
            Self::Contract { .. } => "ContractVersion",
            Self::MissingExport(_) => "MissingExport",
            Self::NoShape => "MissingExport",
            Self::TwoShapes => "TwoShapes",
            Self::OtherShape { .. } => "ShapeChanged",
            Self::Mismatch { .. } => "ContractMismatch",
            Self::Name(_) => "PluginName",
            Self::OtherName { .. } => "PluginNameChanged",
            Self::Snapshot { .. } => "SnapshotFailed",
            Self::Store { .. } => "StoreUnusable",
            Self::Call { .. } => "PluginFailed",
            Self::Mistakes(_) => "ConfigurationInvalid",
            Self::Wants(_) => "WantInvalid",
            Self::Unsettled(_) => "WantsUnsettled",
            Self::Budgets(_) => "BudgetInvalid",
            Self::NotGranted(_) => "NotGranted",
            Self::Engine(_) => "EngineFailed",
        }
    }
}

impl Ungranted {
    /// none: nothing is missing.
    pub(super) fn of(weighed: &Weighed) -> Option<Self> {
        weighed.remedy().map(|remedy| Self { want: weighed.want.clone(), remedy })
    }
}

/// One line, whatever the plugin wrote.
impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access, target, why } = self;
        let why = if why.trim().is_empty() { "it does not say why" } else { why };
        write!(f, "{} {} ({})", Plain(access), Plain(target), Plain(why))
    }
}

impl fmt::Display for Ungranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.want, self.remedy)
    }
}

/// A plugin's own words within a line.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        self.0.chars().take(WORDS).map(plain).try_for_each(|c| f.write_char(c))
    }
}

/// One line each.
struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|item| write!(f, "\n  {item}"))
    }
}

struct Stderr<'a>(&'a str);

impl fmt::Display for Stderr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; it wrote: {}", self.0) }
    }
}
