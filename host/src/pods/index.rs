//! Pods by the name that people call them, for whoever is asked about one by namespace and name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::object::PodObject;

/// This node's pods as the API server last told them.
#[derive(Debug, Default)]
pub struct Index(RwLock<HashMap<(String, String), Arc<PodObject>>>);

impl Index {
    /// The pod that has this name now.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<PodObject>> {
        let pods = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(&(namespace.to_string(), name.to_string())).cloned()
    }

    /// Takes a new state of a pod and returns the namesake with another UID that it replaces, if there is one (R1).
    pub(super) fn put(&self, pod: Arc<PodObject>) -> Option<Arc<PodObject>> {
        let id = pod.id();
        let mut pods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        pods.insert((id.namespace, id.name), pod).filter(|before| before.uid() != id.uid)
    }

    /// Forgets a pod, unless its name belongs to another one by now.
    pub(super) fn remove(&self, pod: &PodObject) {
        let id = pod.id();
        let key = (id.namespace, id.name);
        let mut pods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if pods.get(&key).is_some_and(|current| current.uid() == pod.uid()) {
            pods.remove(&key);
        }
    }
}
