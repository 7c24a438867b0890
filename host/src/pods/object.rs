//! A pod as the API server sends it: typed for the host, and as text for the provider.
//!
//! Typed structs drop every field that they do not know, so a provider gets the API server's own JSON, less
//! `managedFields`, which only the API server reads and which often is half of the object.
//!
//! Most of what a watch tells of a pod is a new status, often the host's own: a spec whose text is the same as before is
//! not decoded again but shared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::compact;
use super::status::normalize;
use crate::provider::PodRef;

/// A pod as it arrives: only its name is read yet. Of one that is gone nothing else is.
#[derive(Clone, Debug)]
pub struct Received {
    /// Namespace, name, UID and version alone.
    named: ObjectMeta,
    metadata: Box<RawValue>,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// What the host acts on of a pod's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are Kubernetes' own and documented there")]
pub struct Metadata {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<BTreeMap<String, String>>,
    pub finalizers: Option<Vec<String>>,
    pub deletion_timestamp: Option<Time>,
    pub deletion_grace_period_seconds: Option<i64>,
}

/// A resource version. Those of one object are ordered numbers (KEP-5504).
pub type Version = u128;

/// One state of a pod object.
#[derive(Clone, Debug)]
pub struct PodObject {
    /// What the API server told last.
    pub metadata: Arc<Metadata>,
    /// What is wanted.
    pub spec: Arc<PodSpec>,
    /// The status that the API server has, normalized ([`normalize`]).
    pub status: PodStatus,
    /// Digest of what a workload is made from: [`crate::pods::revision`].
    pub revision: Arc<str>,
    /// Of this status.
    pub version: Option<Version>,
    /// Of metadata and spec: the host's own write may be ahead of what the API server has told.
    told: Option<Version>,
    text: Arc<Text>,
}

/// The parts of a pod as the API server sent them.
#[derive(Debug)]
struct Text {
    /// Less `managedFields`.
    metadata: String,
    spec: Arc<str>,
    status: Box<str>,
}

impl PodObject {
    /// Decodes a pod; `before` is another state of the same pod, if there is one.
    pub fn decode(received: &Received, before: Option<&Self>) -> serde_json::Result<Self> {
        let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(received.metadata.get())?;
        fields.remove("managedFields");
        let metadata_text = serde_json::to_string(&fields)?;
        let [spec, status_text] =
            [&received.spec, &received.status].map(|part| part.as_deref().map_or("{}", RawValue::get));
        let mut status: PodStatus = serde_json::from_str(status_text)?;
        normalize(&mut status);
        compact::status(&mut status);
        let (spec_text, parsed, revision) = match before.filter(|before| *before.text.spec == *spec) {
            Some(before) => (before.text.spec.clone(), before.spec.clone(), before.revision.clone()),
            None => {
                let mut parsed = serde_json::from_str(spec)?;
                compact::spec(&mut parsed);
                (spec.into(), Arc::new(parsed), super::revision::of_pod(spec)?.into())
            }
        };
        let version = received.named.resource_version.as_deref().and_then(version);
        Ok(Self {
            metadata: Arc::new(serde_json::from_str(&metadata_text)?),
            spec: parsed,
            status,
            revision,
            version,
            told: version,
            text: Arc::new(Text { metadata: metadata_text, spec: spec_text, status: status_text.into() }),
        })
    }

    /// The core/v1 Pod as the API server told it, for the provider and whoever asks the node. A watch sends the kind with each
    /// object, a list only once; nobody shall see a difference.
    pub fn manifest(&self) -> String {
        let Text { metadata, spec, status } = &*self.text;
        format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{metadata},"spec":{spec},"status":{status}}}"#)
    }

    /// The object once the API server has taken a status, and given the object this version.
    pub fn written(&self, status: PodStatus, version: Option<Version>) -> Self {
        Self {
            metadata: self.metadata.clone(),
            spec: self.spec.clone(),
            status,
            revision: self.revision.clone(),
            version: version.or(self.version),
            told: self.told,
            text: self.text.clone(),
        }
    }

    /// What is known with this state, which the API server told, and `mine`: none if it is old. The host's own write may be
    /// ahead of it, and it ahead of what that was written upon.
    pub fn after(self: &Arc<Self>, mine: &Self) -> Option<Arc<Self>> {
        if matches!((self.told, mine.told), (Some(told), Some(known)) if told <= known) {
            return None;
        }
        let ahead = matches!((self.version, mine.version), (Some(told), Some(written)) if told < written);
        Some(if ahead { Arc::new(self.written(mine.status.clone(), mine.version)) } else { self.clone() })
    }

    /// Whether a status that was right for the other is right for this one too.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.metadata, &other.metadata);
        mine.generation == theirs.generation
            && mine.deletion_timestamp == theirs.deletion_timestamp
            && self.status == other.status
    }

    /// Namespace, name and UID.
    pub fn id(&self) -> PodRef {
        let Metadata { namespace, name, uid, .. } = &*self.metadata;
        id(namespace, name, uid)
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
}

/// Succeeded and Failed never change any more.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A resource version as the API server writes it; none: it is no number.
pub fn version(text: &str) -> Option<Version> {
    text.parse().ok()
}

impl Received {
    /// Namespace, name and UID.
    pub fn id(&self) -> PodRef {
        let ObjectMeta { namespace, name, uid, .. } = &self.named;
        id(namespace, name, uid)
    }

    /// The UID, without a copy.
    pub fn uid(&self) -> &str {
        self.named.uid.as_deref().unwrap_or_default()
    }
}

fn id(namespace: &Option<String>, name: &Option<String>, uid: &Option<String>) -> PodRef {
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
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            namespace: Option<String>,
            name: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
        }
        let Parts { metadata, spec, status } = Parts::deserialize(deserializer)?;
        let Named { namespace, name, uid, resource_version } =
            serde_json::from_str(metadata.get()).map_err(serde::de::Error::custom)?;
        let named = ObjectMeta { namespace, name, uid, resource_version, ..ObjectMeta::default() };
        Ok(Self { named, metadata, spec, status })
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
        &self.named
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.named
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
        let manifest: Value = serde_json::from_str(&object.manifest()).unwrap();
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
    fn a_state_counts_if_it_tells_more_than_is_known_and_an_own_write_stays_ahead_of_it() {
        let at = |version: &str, phase: &str| {
            Arc::new(pod(json!({
                "metadata": {"resourceVersion": version, "annotations": {"at": version}},
                "status": {"phase": phase},
            })))
        };
        let mine = at("10", "Pending");
        assert!(at("9", "Pending").after(&mine).is_none(), "versions are numbers");
        assert!(at("10", "Pending").after(&mine).is_none());
        let written = mine.written(at("", "Running").status.clone(), version("12"));
        let next = at("11", "Pending").after(&written).unwrap();
        assert_eq!((next.status.phase.as_deref(), next.version), (Some("Running"), Some(12)));
        assert_eq!(next.metadata.annotations.as_ref().unwrap()["at"], "11");
        let next = at("12", "Running").after(&next).unwrap();
        assert_eq!(next.metadata.annotations.as_ref().unwrap()["at"], "12");
        assert_eq!(at("13", "Failed").after(&next).unwrap().status.phase.as_deref(), Some("Failed"));
    }
}
