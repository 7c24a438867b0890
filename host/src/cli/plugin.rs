//! `vk-host plugin …`: what is done with a plugin beside running it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use super::grants::GrantFlags;
use super::{default_state_dir, node_name};
use crate::defaults::cli as defaults;
use crate::plugin::{control, inspect};

/// What is done with a plugin beside running it.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Tell what a plugin exports, imports and asks for, and whether this host would load it
    Inspect {
        /// The component
        file: PathBuf,
        /// The configuration that it is asked with; what it wants may follow from it [default: none]
        #[arg(long, value_name = "FILE")]
        provider_config: Option<PathBuf>,
        /// What it would be granted
        #[command(flatten)]
        grants: GrantFlags,
        /// How it is told
        #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Make a running host of this machine read its plugin's file anew, and tell how that ended
    Reload(Reload),
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For machines
    Json,
}

/// Which host.
#[derive(Args, Debug)]
pub struct Reload {
    /// Name of the host's node
    #[arg(long, value_name = "NAME", env = "DEFAULT_NODE_NAME", default_value = defaults::NODE_NAME, value_parser = node_name)]
    nodename: String,
    /// The host's state directory [default: as the host's own, from --nodename]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl PluginCommand {
    /// Does it. An error where a host would not load the plugin, or did not.
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::Inspect { file, provider_config, grants, output } => {
                let grants = grants.into_grants()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let inspection = runtime.block_on(inspect::inspect(&file, provider_config, grants))?;
                match output {
                    Output::Text => write!(out, "{inspection}")?,
                    Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&inspection)?)?,
                }
                if let Some(refusal) = inspection.refusal {
                    bail!("{} would be refused: {}", file.display(), refusal.reason);
                }
            }
            Self::Reload(Reload { nodename, state_dir }) => {
                let state_dir = state_dir.map_or_else(|| default_state_dir(&nodename), Ok)?;
                let control::Answer { outcome, message, success } = control::reload(&state_dir)?;
                if !success {
                    bail!("{outcome}: {message}");
                }
                writeln!(out, "{outcome}: {message}")?;
            }
        }
        Ok(())
    }
}
