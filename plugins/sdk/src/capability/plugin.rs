//! Who the plugin is and what it wants. Every plugin has it.

use std::time::Duration;

pub use crate::bindings::plugin::exports::virtual_kubelet::provider::plugin::{Budget, PodNetwork, Want};

use crate::Error;
use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::bindings::plugin::exports::virtual_kubelet::provider::plugin as wit;
use crate::time::millis;

/// True of the binary, whatever its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Short and lower case, such as `azure`. Names the plugin's part of the store.
    pub name: &'static str,
    /// The plugin's own version: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// Raised when what the plugin keeps in the store changes shape.
    pub state_version: u32,
    /// How long the backend may still show or hide a workload after a create, or an unclear create or delete. Until then "absent"
    /// proves nothing to the host.
    pub settle: Duration,
}

/// What follows from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Permissions that it asks for.
    pub wants: Vec<Want>,
    /// Request rates that the host keeps for it.
    pub budgets: Vec<Budget>,
    /// Whether the host can open connections to a pod's IP.
    pub pod_network: PodNetwork,
    /// The backend itself fills in values that need the pod's IP.
    pub resolves_late: bool,
}

impl Default for Settings {
    /// It wants nothing, and its pods cannot be reached.
    fn default() -> Self {
        Self { wants: Vec::new(), budgets: Vec::new(), pod_network: PodNetwork::Unreachable, resolves_late: false }
    }
}

/// Who the plugin is and what it wants.
pub trait Plugin {
    /// Static. May call no import.
    fn describe() -> Identity;

    /// Checks the configuration, without network.
    ///
    /// # Errors
    /// Every mistake at once; [`Form`](crate::config::Form) collects them.
    fn configure() -> Result<Settings, Vec<Error>> {
        Ok(Settings::default())
    }
}

impl<T: Plugin> wit::Guest for T {
    fn describe() -> wit::Identity {
        let Identity { name, version, state_version, settle } = <T as Plugin>::describe();
        wit::Identity { name: name.to_owned(), version: version.to_owned(), state_version, settle_ms: millis(settle) }
    }

    fn configure() -> Result<wit::Settings, Vec<types::Error>> {
        let Settings { wants, budgets, pod_network, resolves_late } =
            <T as Plugin>::configure().map_err(|mistakes| mistakes.into_iter().map(Into::into).collect::<Vec<_>>())?;
        Ok(wit::Settings { wants, budgets, pod_network, resolves_late })
    }
}
