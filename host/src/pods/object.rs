//! A pod as the API server sends it: typed for the host, and as text for the provider.
//!
//! Typed structs drop every field that they do not know, so a provider gets the API server's own JSON, less
//! `managedFields`, which only the API server reads and which often is half of the object.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::provider::PodRef;

/// One state of a pod object.
#[derive(Clone, Debug)]
pub struct PodObject {
    /// What the host reads.
    pub pod: Pod,
    /// What the provider gets.
    pub manifest: Arc<str>,
    /// Digest of what a workload is made from: [`crate::pods::revision`].
    pub revision: String,
}

impl PodObject {
    /// Namespace, name and UID.
    pub fn id(&self) -> PodRef {
        let ObjectMeta { namespace, name, uid, .. } = &self.pod.metadata;
        PodRef {
            namespace: namespace.clone().unwrap_or_default(),
            name: name.clone().unwrap_or_default(),
            uid: uid.clone().unwrap_or_default(),
        }
    }

    /// The UID, without a copy.
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The spec; an empty one if there is none.
    pub fn spec(&self) -> Cow<'_, PodSpec> {
        self.pod.spec.as_ref().map_or_else(|| Cow::Owned(PodSpec::default()), Cow::Borrowed)
    }

    /// The status that the API server has.
    pub fn status(&self) -> Cow<'_, PodStatus> {
        self.pod.status.as_ref().map_or_else(|| Cow::Owned(PodStatus::default()), Cow::Borrowed)
    }

    /// Somebody asked for its end.
    pub fn is_deleting(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Its phase in the API is final (R4).
    pub fn is_terminal(&self) -> bool {
        is_terminal(self.status().phase.as_deref())
    }

    /// How long its containers may take to end.
    pub fn grace(&self) -> Duration {
        let seconds = self
            .pod
            .metadata
            .deletion_grace_period_seconds
            .or_else(|| self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds))
            .unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Whether this state is older than the other. Resource versions of one object are ordered numbers (KEP-5504).
    pub fn is_older_than(&self, other: &Self) -> bool {
        let version =
            |object: &Self| object.pod.metadata.resource_version.as_deref().and_then(|v| v.parse::<u128>().ok());
        matches!((version(self), version(other)), (Some(mine), Some(theirs)) if mine < theirs)
    }
}

/// Succeeded and Failed never change any more.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

impl<'de> Deserialize<'de> for PodObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let pod = Pod::deserialize(&value).map_err(serde::de::Error::custom)?;
        // A watch sends the kind with each object, a list only once; the provider shall not see a difference.
        if let Some(object) = value.as_object_mut() {
            object.insert("apiVersion".into(), "v1".into());
            object.insert("kind".into(), "Pod".into());
        }
        let revision = super::revision::of_pod(value.get("spec"));
        Ok(Self { pod, manifest: value.to_string().into(), revision })
    }
}

impl kube::Resource for PodObject {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "Pod".into()
    }
    fn group(_: &()) -> Cow<'_, str> {
        "".into()
    }
    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural(_: &()) -> Cow<'_, str> {
        "pods".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.pod.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.pod.metadata
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pod object out of JSON, as tests of this module's neighbours need it.
    pub(crate) fn pod(value: Value) -> PodObject {
        serde_json::from_value(value).expect("a pod")
    }

    #[test]
    fn the_manifest_keeps_unknown_fields_and_loses_managed_ones() {
        let object = pod(serde_json::json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "c", "managedFields": [{"manager": "x"}]},
            "spec": {"containers": [{"name": "d", "fieldOfTheFuture": 1}]},
        }));
        let manifest: Value = serde_json::from_str(&object.manifest).unwrap();
        assert_eq!(manifest["spec"]["containers"][0]["fieldOfTheFuture"], 1);
        assert!(manifest["metadata"].get("managedFields").is_none());
        assert_eq!(manifest["kind"], "Pod");
        assert_eq!(object.id().to_string(), "b/a");
    }

    #[test]
    fn resource_versions_are_compared_as_numbers() {
        let at = |version: &str| pod(serde_json::json!({"metadata": {"resourceVersion": version}}));
        assert!(at("9").is_older_than(&at("10")));
        assert!(!at("10").is_older_than(&at("9")));
        assert!(!at("10").is_older_than(&at("10")));
    }
}
