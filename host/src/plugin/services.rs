//! What all instances of a plugin share. Outlives every generation.

use std::sync::{Arc, OnceLock};

use super::config_text::ConfigText;
use super::egress::Denied;
use super::store::{Failure, Store};
use super::{Limits, NodeInfo};

/// See the module.
pub(super) struct Services {
    /// `identity.name`, once `describe` told it; the file's name before.
    name: OnceLock<Arc<str>>,
    file_name: Arc<str>,
    store: OnceLock<Store>,
    pub(super) node: NodeInfo,
    pub(super) config: ConfigText,
    pub(super) denied: Denied,
    pub(super) limits: Limits,
}

impl Services {
    pub(super) fn new(file_name: &str, node: NodeInfo, config: ConfigText, limits: Limits) -> Self {
        Self {
            name: OnceLock::new(),
            file_name: file_name.into(),
            store: OnceLock::new(),
            node,
            config,
            denied: Denied::default(),
            limits,
        }
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
}
