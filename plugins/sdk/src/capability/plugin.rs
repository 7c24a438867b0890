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

impl Want {
    /// Requests to an origin such as `https://*.example.com:443`. The host grants those to public HTTPS hosts by itself.
    /// `why` is one sentence for the operator, here and below; without it nothing is granted by itself.
    pub fn http(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of("http", origin, why)
    }

    /// Upgraded connections to an origin ([`Request::upgrade`](crate::http::Request::upgrade)).
    pub fn upgrade(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of("upgrade", origin, why)
    }

    /// Plain connections to an origin such as `tcp://10.0.0.7:8080` ([`upgrade::connect`](crate::upgrade::connect)).
    pub fn connect(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of("connect", origin, why)
    }

    /// Requests and upgrades to what the operator calls so ([`Endpoint::named`](crate::http::Endpoint::named)).
    pub fn endpoint(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of("endpoint", name, why)
    }

    /// A variable of the host's environment ([`config::variable`](crate::config::variable)).
    pub fn environment(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of("environment", name, why)
    }

    /// A file by its absolute path ([`config::file`](crate::config::file)).
    pub fn file(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of("file", path, why)
    }

    /// Any access, also one that this SDK does not know.
    pub fn of(access: impl Into<String>, target: impl Into<String>, why: impl Into<String>) -> Self {
        Self { access: access.into(), target: target.into(), why: why.into() }
    }
}

impl Budget {
    /// So many requests to an origin, as in [`Want::http`], in any window of this length: all methods and paths, all of
    /// them at once after a rest. The host keeps it for all calls together, and lets a request wait for its turn.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vk_provider::plugin::Budget;
    ///
    /// let creates = Budget::new("https://management.azure.com:443", 300, Duration::from_secs(3600))
    ///     .methods(["PUT"])
    ///     .paths(["/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerInstance/**"])
    ///     .burst(100);
    /// assert_eq!((creates.requests, creates.window_ms, creates.burst), (300, 3_600_000, Some(100)));
    /// ```
    pub fn new(origin: impl Into<String>, requests: u32, window: Duration) -> Self {
        let (methods, paths) = (Vec::new(), Vec::new());
        Self { origin: origin.into(), methods, paths, requests, window_ms: millis(window), burst: None }
    }

    /// Counts these methods alone.
    #[must_use]
    pub fn methods<T: Into<String>>(mut self, methods: impl IntoIterator<Item = T>) -> Self {
        self.methods = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Counts these paths alone, `*` for one segment, `**` for the rest.
    #[must_use]
    pub fn paths<T: Into<String>>(mut self, paths: impl IntoIterator<Item = T>) -> Self {
        self.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// So many at once after a rest.
    #[must_use]
    pub const fn burst(mut self, requests: u32) -> Self {
        self.burst = Some(requests);
        self
    }
}

/// Who the plugin is and what it wants.
pub trait Plugin {
    /// Static. May call no import.
    fn describe() -> Identity;

    /// Checks the configuration, without network. What it wants may follow from a file or a variable that it wants: in
    /// the first round none is there, and the host asks again with what is granted so far, four times at most. So what is
    /// not there yet is no mistake, and what is wanted once stays wanted.
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
