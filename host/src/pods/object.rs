//! A pod as the API server sends it: typed for the host, and as text for the provider.
//!
//! Typed structs drop every field that they do not know, so a provider gets the API server's own JSON, less
//! `managedFields`, which only the API server reads and which often is half of the object.
//!
//! Most of what a watch tells of a pod is a new status, often the host's own: a spec whose text is the same as before is
//! not decoded again but shared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::status::normalize;
use crate::provider::PodRef;

/// A pod as it arrives: its metadata read, the rest not yet.
#[derive(Clone, Debug)]
pub struct Received {
    /// Less `managedFields`.
    metadata: ObjectMeta,
    /// The same as text.
    metadata_text: String,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// One state of a pod object.
#[derive(Clone, Debug)]
pub struct PodObject {
    /// Less `managedFields`.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: Arc<PodSpec>,
    /// The status that the API server has, normalized ([`normalize`]).
    pub status: PodStatus,
    /// What the provider gets.
    pub manifest: Arc<str>,
    /// Digest of what a workload is made from: [`crate::pods::revision`].
    pub revision: Arc<str>,
    /// Where the spec is in the manifest.
    spec_text: Range<usize>,
}

impl PodObject {
    /// Decodes a pod; `before` is another state of the same pod, if there is one.
    pub fn decode(received: &Received, before: Option<&Self>) -> serde_json::Result<Self> {
        let metadata = &received.metadata_text;
        let [spec, status] = [&received.spec, &received.status].map(|part| part.as_deref().map_or("{}", RawValue::get));
        // A watch sends the kind with each object, a list only once; the provider shall not see a difference.
        let mut manifest = String::with_capacity(metadata.len() + spec.len() + status.len() + 64);
        manifest.push_str(r#"{"apiVersion":"v1","kind":"Pod","metadata":"#);
        manifest.push_str(metadata);
        manifest.push_str(r#","spec":"#);
        let spec_text = manifest.len()..manifest.len() + spec.len();
        manifest.push_str(spec);
        manifest.push_str(r#","status":"#);
        manifest.push_str(status);
        manifest.push('}');
        let mut status: PodStatus = serde_json::from_str(status)?;
        normalize(&mut status);
        let (parsed, revision) = match before.filter(|before| before.spec_text() == Some(spec)) {
            Some(before) => (before.spec.clone(), before.revision.clone()),
            None => (Arc::new(serde_json::from_str(spec)?), super::revision::of_pod(spec)?.into()),
        };
        Ok(Self {
            metadata: received.metadata.clone(),
            spec: parsed,
            status,
            manifest: manifest.into(),
            revision,
            spec_text,
        })
    }

    /// The object once the API server has taken a status, and given the object this version.
    pub fn written(&self, status: PodStatus, version: Option<String>) -> Self {
        let resource_version = version.or_else(|| self.metadata.resource_version.clone());
        Self {
            metadata: ObjectMeta { resource_version, ..self.metadata.clone() },
            spec: self.spec.clone(),
            status,
            manifest: self.manifest.clone(),
            revision: self.revision.clone(),
            spec_text: self.spec_text.clone(),
        }
    }

    fn spec_text(&self) -> Option<&str> {
        self.manifest.get(self.spec_text.clone())
    }

    /// Namespace, name and UID.
    pub fn id(&self) -> PodRef {
        id(&self.metadata)
    }

    /// The UID, without a copy.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Somebody asked for its end.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Its phase in the API is final (R4).
    pub fn is_terminal(&self) -> bool {
        is_terminal(self.status.phase.as_deref())
    }

    /// Some container of it was started once: it has a workload, or it had one.
    pub fn has_run(&self) -> bool {
        let status = &self.status;
        let lists = [&status.container_statuses, &status.init_container_statuses];
        let started = lists.into_iter().flatten().flatten().any(|container| {
            let state = container.state.as_ref();
            state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
                || container.restart_count > 0
        });
        started || status.phase.as_deref() == Some("Running")
    }

    /// How long its containers may take to end.
    pub fn grace(&self) -> Duration {
        let asked = self.metadata.deletion_grace_period_seconds.or(self.spec.termination_grace_period_seconds);
        // Longer than any machine lives is as good as for ever, and can still be added to a time.
        Duration::from_secs(asked.unwrap_or(30).clamp(0, i32::MAX.into()).unsigned_abs())
    }

    /// Whether this state is older than the other. Resource versions of one object are ordered numbers (KEP-5504).
    pub fn is_older_than(&self, other: &Self) -> bool {
        let version = |object: &Self| object.metadata.resource_version.as_deref().and_then(|v| v.parse::<u128>().ok());
        matches!((version(self), version(other)), (Some(mine), Some(theirs)) if mine < theirs)
    }
}

/// Succeeded and Failed never change any more.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

impl Received {
    /// Namespace, name and UID.
    pub fn id(&self) -> PodRef {
        id(&self.metadata)
    }

    /// The UID, without a copy.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

fn id(ObjectMeta { namespace, name, uid, .. }: &ObjectMeta) -> PodRef {
    PodRef {
        namespace: namespace.clone().unwrap_or_default(),
        name: name.clone().unwrap_or_default(),
        uid: uid.clone().unwrap_or_default(),
    }
}

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Each part as it was sent.
        #[derive(Deserialize)]
        struct Parts {
            metadata: Box<RawValue>,
            spec: Option<Box<RawValue>>,
            status: Option<Box<RawValue>>,
        }
        let Parts { metadata, spec, status } = Parts::deserialize(deserializer)?;
        let read = |text: &str| -> serde_json::Result<(ObjectMeta, String)> {
            let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text)?;
            fields.remove("managedFields");
            let text = serde_json::to_string(&fields)?;
            Ok((serde_json::from_str(&text)?, text))
        };
        let (metadata, metadata_text) = read(metadata.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { metadata, metadata_text, spec, status })
    }
}

impl kube::Resource for Received {
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
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod object out of JSON, as tests of this module's neighbours need it.
    pub(crate) fn pod(value: Value) -> PodObject {
        PodObject::decode(&serde_json::from_value(value).expect("a pod"), None).expect("a pod")
    }

    #[test]
    fn the_manifest_keeps_unknown_fields_and_loses_managed_ones() {
        let object = pod(json!({
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
    fn a_spec_is_shared_as_long_as_it_stays_the_same() {
        let received = |image: &str, phase: &str| -> Received {
            let pod = json!({
                "metadata": {"name": "a", "uid": "u"},
                "spec": {"containers": [{"name": "c", "image": image}]},
                "status": {"phase": phase},
            });
            serde_json::from_value(pod).unwrap()
        };
        let first = PodObject::decode(&received("1", "Pending"), None).unwrap();
        let running = PodObject::decode(&received("1", "Running"), Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first.spec, &running.spec));
        assert_eq!(running.status.phase.as_deref(), Some("Running"));
        let updated = PodObject::decode(&received("2", "Running"), Some(&running)).unwrap();
        assert_eq!(updated.spec.containers[0].image.as_deref(), Some("2"));
        assert_ne!(updated.revision, running.revision);
    }

    #[test]
    fn resource_versions_are_compared_as_numbers() {
        let at = |version: &str| pod(json!({"metadata": {"resourceVersion": version}}));
        assert!(at("9").is_older_than(&at("10")));
        assert!(!at("10").is_older_than(&at("9")));
        assert!(!at("10").is_older_than(&at("10")));
    }
}
