//! The node that the backend makes up. Every plugin has it.

pub use crate::bindings::node::exports::virtual_kubelet::provider::node::{Address, Amount, Condition, Details, Truth};

use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::bindings::node::exports::virtual_kubelet::provider::node as wit;
use crate::{Result, config};

impl Default for Details {
    /// Says nothing: the host's own values count.
    fn default() -> Self {
        Self {
            architecture: None,
            provider_id: None,
            runtime_version: None,
            os_image: None,
            kernel_version: None,
            labels: Vec::new(),
            annotations: Vec::new(),
        }
    }
}

impl Amount {
    /// So much of a resource, all of it for pods.
    pub fn new(resource: impl Into<String>, capacity: impl Into<String>) -> Self {
        Self { resource: resource.into(), capacity: capacity.into(), allocatable: None }
    }
}

/// The node that the backend makes up. The names are Virtual Kubelet's own.
pub trait Node {
    /// What else the Node object says.
    ///
    /// # Errors
    /// The backend does not tell.
    fn node_details() -> Result<Details> {
        Ok(Details::default())
    }

    /// What the node offers: `cpu`, `memory`, `pods` and whatever else the scheduler counts.
    ///
    /// # Errors
    /// The backend does not tell.
    fn capacity() -> Result<Vec<Amount>>;

    /// Conditions beside those that the host keeps.
    ///
    /// # Errors
    /// The backend does not tell.
    fn node_conditions() -> Result<Vec<Condition>> {
        Ok(Vec::new())
    }

    /// none: the host's own addresses, which is nearly always right.
    ///
    /// # Errors
    /// The backend does not tell.
    fn node_addresses() -> Result<Option<Vec<Address>>> {
        Ok(None)
    }

    /// The port of the kubelet API; none: the host's own.
    ///
    /// # Errors
    /// The backend does not tell.
    fn node_daemon_endpoints() -> Result<Option<u16>> {
        Ok(None)
    }

    /// `linux` or `windows`: what the operator asked for, unless the backend knows better.
    ///
    /// # Errors
    /// The backend does not tell.
    fn operating_system() -> Result<String> {
        Ok(config::node().operating_system.to_ascii_lowercase())
    }

    /// Cheap proof that the backend answers.
    ///
    /// # Errors
    /// It does not answer.
    fn ping() -> Result<()>;

    /// The node goes away. Workloads stay.
    ///
    /// # Errors
    /// The backend must know and could not be told.
    fn stop() -> Result<()> {
        Ok(())
    }
}

impl<T: Node> wit::Guest for T {
    fn node_details() -> Result<Details, types::Error> {
        Ok(<T as Node>::node_details()?)
    }

    fn capacity() -> Result<Vec<Amount>, types::Error> {
        Ok(<T as Node>::capacity()?)
    }

    fn node_conditions() -> Result<Vec<Condition>, types::Error> {
        Ok(<T as Node>::node_conditions()?)
    }

    fn node_addresses() -> Result<Option<Vec<Address>>, types::Error> {
        Ok(<T as Node>::node_addresses()?)
    }

    fn node_daemon_endpoints() -> Result<Option<u16>, types::Error> {
        Ok(<T as Node>::node_daemon_endpoints()?)
    }

    fn operating_system() -> Result<String, types::Error> {
        Ok(<T as Node>::operating_system()?)
    }

    fn ping() -> Result<(), types::Error> {
        Ok(<T as Node>::ping()?)
    }

    fn stop() -> Result<(), types::Error> {
        Ok(<T as Node>::stop()?)
    }
}
