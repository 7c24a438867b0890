//! What all instances of a plugin share. Outlives every generation.

use std::sync::{Arc, OnceLock, Weak};

use super::config_text::ConfigText;
use super::egress::{Clients, Denied, Surroundings};
use super::grants::Grants;
use super::store::{Failure, Store};
use super::{Limits, NodeInfo};
use crate::provider::Cluster;

/// See the module.
pub(super) struct Services {
    /// `identity.name`, once `describe` told it; the file's name before.
    name: OnceLock<Arc<str>>,
    file_name: Arc<str>,
    store: OnceLock<Store>,
    /// Whom it may ask about its pods, once somebody serves it.
    cluster: OnceLock<Weak<dyn Cluster>>,
    pub(super) node: NodeInfo,
    pub(super) config: ConfigText,
    /// What its operator lets it have.
    pub(super) grants: Grants,
    /// Its connections.
    pub(super) clients: Clients,
    /// What came of its requests.
    pub(super) denied: Denied,
    pub(super) limits: Limits,
}

impl Services {
    /// Of a plugin that is granted nothing.
    pub(super) fn new(file_name: &str, node: NodeInfo, config: ConfigText, limits: Limits) -> Self {
        Self {
            name: OnceLock::new(),
            file_name: file_name.into(),
            store: OnceLock::new(),
            cluster: OnceLock::new(),
            node,
            config,
            grants: Grants::default(),
            clients: Clients::new(&Grants::default(), Surroundings::of_process(), limits.egress),
            denied: Denied::default(),
            limits,
        }
    }

    /// Of one that is granted these.
    pub(super) fn with_grants(self, grants: Grants, surroundings: Surroundings) -> Self {
        let clients = Clients::new(&grants, surroundings, self.limits.egress);
        Self { grants, clients, ..self }
    }

    /// The plugin's name, for logs.
    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(self.name.get().unwrap_or(&self.file_name))
    }

    /// The first name and store stand: another `identity.name` is another plugin.
    pub(super) fn open(&self, name: &str, store: Store) {
        let _ = self.name.set(name.into());
        let _ = self.store.set(store);
    }

    pub(super) fn opened(&self) -> Option<&Store> {
        self.store.get()
    }

    pub(super) fn store(&self) -> Result<&Store, Failure> {
        self.store.get().ok_or_else(|| Failure::Unavailable("the store is not open yet".into()))
    }

    /// The first one stands: a plugin serves one host.
    pub(super) fn serve(&self, cluster: Weak<dyn Cluster>) {
        let _ = self.cluster.set(cluster);
    }

    pub(super) fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        self.cluster.get().and_then(Weak::upgrade)
    }
}
