//! What the Node object says. Pure: facts in, object or patch out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::taint::{self, Taint};
use crate::pods::resolve::quantity::Quantity;
use crate::provider::{Address, Amount, Condition, NodeDetails, Truth};

/// All that the Node object is made from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The node's name.
    pub name: String,
    /// `linux` or `windows`.
    pub operating_system: String,
    /// Its own addresses and port, which the provider may replace.
    pub addresses: Vec<Address>,
    /// Port of the kubelet API.
    pub port: u16,
    /// Taints at registration.
    pub taints: Vec<Taint>,
    /// What the provider says of itself.
    pub details: NodeDetails,
    /// What it offers.
    pub capacity: Vec<Amount>,
    /// Its conditions beside the host's.
    pub conditions: Vec<Condition>,
    /// Ready, ProviderReachable: the host's own.
    pub own_conditions: Vec<Condition>,
    /// Resources that the provider once offered and does not any more.
    pub retired_resources: BTreeSet<String>,
    /// Types of conditions that it once told and does not any more.
    pub retired_conditions: BTreeSet<String>,
}

/// Version that the node shows: the Kubernetes release whose rules it follows, and its own.
const KUBELET_VERSION: &str = concat!("v1.36.0+vk-host.", env!("CARGO_PKG_VERSION"));

/// Conditions that schedulers and dashboards look for; a provider may tell others.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "KubeletHasSufficientMemory"),
    ("DiskPressure", "KubeletHasNoDiskPressure"),
    ("PIDPressure", "KubeletHasSufficientPID"),
    (NETWORK, "RouteCreated"),
];
/// Belongs to the cluster's network plugin or route controller, where there is one.
const NETWORK: &str = "NetworkUnavailable";

impl Facts {
    /// The labels that this host sets.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let architecture = self.details.architecture.clone().unwrap_or_else(|| host_architecture().into());
        let own = [
            ("kubernetes.io/os", self.operating_system.as_str()),
            ("kubernetes.io/arch", architecture.as_str()),
            ("kubernetes.io/hostname", self.name.as_str()),
            ("node.kubernetes.io/exclude-from-external-load-balancers", "true"),
            ("type", "virtual-kubelet"),
        ];
        let own = own.map(|(key, value)| (key.to_string(), value.to_string()));
        self.details.labels.iter().cloned().chain(own).collect()
    }

    /// The object to register.
    pub fn node(&self, now: Timestamp) -> Value {
        let taints: Vec<k8s_openapi::api::core::v1::Taint> = self.taints.iter().map(Into::into).collect();
        let annotations: BTreeMap<_, _> = self.details.annotations.iter().cloned().collect();
        let mut spec = Map::new();
        if !taints.is_empty() {
            spec.insert("taints".into(), json!(taints));
        }
        if let Some(id) = &self.details.provider_id {
            spec.insert("providerID".into(), json!(id));
        }
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels(), "annotations": annotations},
            "spec": spec,
            "status": self.status(None, now),
        })
    }

    /// The whole status as it should be, with the transition times of the current one.
    fn status(&self, current: Option<&Node>, now: Timestamp) -> Map<String, Value> {
        let mut status = Map::new();
        let amounts = |pick: &dyn Fn(&Amount) -> String| -> Value {
            self.capacity
                .iter()
                .map(|amount| (amount.resource.clone(), Value::String(pick(amount))))
                .collect::<Map<_, _>>()
                .into()
        };
        status.insert("capacity".into(), amounts(&|amount| amount.capacity.clone()));
        status.insert(
            "allocatable".into(),
            amounts(&|amount| amount.allocatable.clone().unwrap_or_else(|| amount.capacity.clone())),
        );
        let addresses: Vec<Value> =
            self.addresses.iter().map(|a| json!({"type": a.kind, "address": a.address})).collect();
        status.insert("addresses".into(), addresses.into());
        status.insert("daemonEndpoints".into(), json!({"kubeletEndpoint": {"Port": self.port}}));
        status.insert("conditions".into(), json!(self.conditions(current, now)));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let before = current
            .and_then(|node| node.status.as_ref())
            .and_then(|status| status.node_info.clone())
            .unwrap_or_default();
        status.insert(
            "nodeInfo".into(),
            json!({
                "architecture": self.details.architecture.clone().unwrap_or_else(|| host_architecture().into()),
                "operatingSystem": self.operating_system,
                "kubeletVersion": KUBELET_VERSION,
                "kubeProxyVersion": "",
                "containerRuntimeVersion": text(&self.details.runtime_version),
                "osImage": text(&self.details.os_image),
                "kernelVersion": text(&self.details.kernel_version),
                "machineID": before.machine_id, "systemUUID": before.system_uuid, "bootID": before.boot_id,
            }),
        );
        status
    }

    fn conditions(&self, current: Option<&Node>, now: Timestamp) -> Vec<NodeCondition> {
        let before = current.and_then(|node| node.status.as_ref()).and_then(|status| status.conditions.as_ref());
        let told = |kind: &str| self.own_conditions.iter().chain(&self.conditions).any(|c| c.kind == kind);
        let others = |kind: &str, reason: &str| {
            let theirs = |c: &NodeCondition| c.type_ == kind && c.reason.as_deref() != Some(reason);
            kind == NETWORK && before.into_iter().flatten().any(theirs)
        };
        let quiet = PRESSURES.into_iter().filter(|(kind, reason)| !told(kind) && !others(kind, reason));
        let quiet = quiet.map(|(kind, reason)| Condition {
            kind: kind.into(),
            status: Truth::False,
            reason: reason.into(),
            message: "vk-host does not run pods on this machine".into(),
        });
        let own = self.own_conditions.iter();
        let theirs =
            self.conditions.iter().filter(|theirs| !self.own_conditions.iter().any(|own| own.kind == theirs.kind));
        own.chain(theirs)
            .cloned()
            .chain(quiet)
            .map(|condition| {
                let status = match condition.status {
                    Truth::True => "True",
                    Truth::False => "False",
                    Truth::Unknown => "Unknown",
                };
                let old = before.into_iter().flatten().find(|old| old.type_ == condition.kind);
                let since = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
                NodeCondition {
                    type_: condition.kind,
                    status: status.into(),
                    reason: Some(condition.reason).filter(|text| !text.is_empty()),
                    message: Some(condition.message).filter(|text| !text.is_empty()),
                    last_heartbeat_time: Some(Time(now)),
                    last_transition_time: since.or(Some(Time(now))),
                }
            })
            .collect()
    }

    /// The patch of the status subresource that brings the current node up to date. With `heartbeat` the conditions are
    /// written even if nothing differs. A strategic merge: what others wrote stays (R32).
    pub fn status_patch(&self, current: &Node, now: Timestamp, heartbeat: bool) -> Option<Value> {
        let mut wanted = self.status(Some(current), now);
        let current = serde_json::to_value(current.status.clone().unwrap_or_default()).unwrap_or_default();
        self.retire(&current, &mut wanted);
        let mut patch = Map::new();
        for (field, value) in wanted {
            let before = current.get(&field).unwrap_or(&Value::Null);
            let differs = match field.as_str() {
                "conditions" => heartbeat || conditions_differ(before, &value) || retires(&value),
                "addresses" => *before != value,
                "capacity" | "allocatable" => !same_amounts(before, &value),
                _ => !contains(before, &value),
            };
            if differs {
                // Two addresses of one type cannot be merged by type: replace them all.
                let value = if field == "addresses" { replaced(value) } else { value };
                patch.insert(field, value);
            }
        }
        (!patch.is_empty()).then(|| json!({"status": patch}))
    }

    /// Adds to a wanted status what takes back that which was once told and is still there.
    fn retire(&self, current: &Value, wanted: &mut Map<String, Value>) {
        for field in ["capacity", "allocatable"] {
            let there = |resource: &&String| current.get(field).is_some_and(|amounts| amounts.get(*resource).is_some());
            let gone: Vec<&String> = self.retired_resources.iter().filter(there).collect();
            if let Some(amounts) = wanted.get_mut(field).and_then(Value::as_object_mut) {
                amounts.extend(gone.into_iter().map(|resource| (resource.clone(), Value::Null)));
            }
        }
        let there = |kind: &&String| {
            let conditions = current.get("conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|condition| condition["type"] == ***kind)
        };
        let gone: Vec<Value> = self
            .retired_conditions
            .iter()
            .filter(there)
            .map(|kind| json!({"$patch": "delete", "type": kind}))
            .collect();
        if let Some(conditions) = wanted.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.extend(gone);
        }
    }

    /// The patch that restores labels and annotations of ours which are missing or differ, and the provider's ID where there
    /// is none yet (it never changes); none: they are all there.
    pub fn metadata_patch(&self, current: &Node) -> Option<Value> {
        let missing = |ours: BTreeMap<String, String>, there: &Option<BTreeMap<String, String>>| -> BTreeMap<_, _> {
            ours.into_iter().filter(|(key, value)| there.as_ref().and_then(|t| t.get(key)) != Some(value)).collect()
        };
        let labels = missing(self.labels(), &current.metadata.labels);
        let annotations = missing(self.details.annotations.iter().cloned().collect(), &current.metadata.annotations);
        let mut metadata = Map::new();
        for (field, values) in [("labels", labels), ("annotations", annotations)] {
            if !values.is_empty() {
                metadata.insert(field.into(), json!(values));
            }
        }
        let id = current.spec.as_ref().and_then(|spec| spec.provider_id.as_deref()).unwrap_or_default();
        let provider_id = self.details.provider_id.as_ref().filter(|_| id.is_empty());
        let mut patch = Map::new();
        if !metadata.is_empty() {
            patch.insert("metadata".into(), metadata.into());
        }
        if let Some(id) = provider_id {
            patch.insert("spec".into(), json!({"providerID": id}));
        }
        (!patch.is_empty()).then(|| patch.into())
    }

    /// The patch that restores taints of ours which are missing; none: they are all there.
    pub fn taint_patch(&self, current: &Node) -> Option<Value> {
        let present = current.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let ours: Vec<k8s_openapi::api::core::v1::Taint> = self.taints.iter().map(Into::into).collect();
        let missing = |taint: &k8s_openapi::api::core::v1::Taint| {
            !present.iter().any(|p| p.key == taint.key && p.effect == taint.effect)
        };
        if !ours.iter().any(missing) {
            return None;
        }
        // The merge key is the key alone, which would let one effect replace another: send the whole list.
        let all: Vec<_> = ours.iter().filter(|taint| missing(taint)).chain(&present).cloned().collect();
        let resource_version = current.metadata.resource_version.clone();
        Some(json!({"metadata": {"resourceVersion": resource_version}, "spec": {"taints": all}}))
    }
}

/// A list that replaces what is there, instead of being merged with it.
fn replaced(list: Value) -> Value {
    let marker = json!({"$patch": "replace"});
    std::iter::once(marker).chain(list.as_array().cloned().unwrap_or_default()).collect()
}

/// Some condition is taken back.
fn retires(conditions: &Value) -> bool {
    conditions.as_array().into_iter().flatten().any(|condition| condition.get("$patch").is_some())
}

/// Some condition of ours is missing or says something else; times do not count.
fn conditions_differ(before: &Value, wanted: &Value) -> bool {
    let before = without_heartbeats(before);
    without_heartbeats(wanted).iter().any(|condition| !before.contains(condition))
}

fn without_heartbeats(conditions: &Value) -> Vec<Value> {
    let mut list = conditions.as_array().cloned().unwrap_or_default();
    for condition in &mut list {
        if let Some(map) = condition.as_object_mut() {
            map.remove("lastHeartbeatTime");
            map.remove("lastTransitionTime");
        }
    }
    list
}

/// Amounts are compared as numbers: the API server writes `2000` as `2k`.
fn same_amounts(before: &Value, wanted: &Value) -> bool {
    let amount = |value: Option<&Value>| value.and_then(Value::as_str).and_then(|text| Quantity::parse(text).ok());
    wanted.as_object().into_iter().flatten().all(|(key, value)| {
        // Taken back.
        if value.is_null() {
            return false;
        }
        let (now, then) = (amount(Some(value)), amount(before.get(key)));
        now.is_some() && now == then
    })
}

/// Every field of `part` is in `whole`; what else `whole` has does not matter.
fn contains(whole: &Value, part: &Value) -> bool {
    match part {
        Value::Object(map) => map.iter().all(|(key, value)| contains(whole.get(key).unwrap_or(&Value::Null), value)),
        other => whole == other,
    }
}

/// Whether a node may have this label: a valid value, and no key that NodeRestriction forbids.
pub fn may_label(key: &str, value: &str) -> bool {
    if !(value.is_empty() || taint::is_name(value, 63)) || !may_annotate(key) {
        return false;
    }
    let Some((domain, _)) = key.split_once('/') else { return true };
    let reserved = ["kubernetes.io", "k8s.io"]
        .iter()
        .any(|r| domain == *r || domain.strip_suffix(r).is_some_and(|d| d.ends_with('.')));
    let allowed_domain = ["kubelet.kubernetes.io", "node.kubernetes.io"]
        .iter()
        .any(|a| domain == *a || domain.ends_with(&format!(".{a}")));
    let allowed_key =
        ["topology.kubernetes.io/zone", "topology.kubernetes.io/region", "node.kubernetes.io/instance-type"]
            .contains(&key);
    !reserved || allowed_domain || allowed_key
}

/// Whether an annotation, or a resource, may have this name.
pub fn may_annotate(key: &str) -> bool {
    taint::check_key(key).is_ok()
}

/// Go's names for architectures, which Kubernetes uses.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let ready = Condition {
            kind: "Ready".into(),
            status: Truth::True,
            reason: "KubeletReady".into(),
            message: "ok".into(),
        };
        Facts {
            name: "n".into(),
            operating_system: "linux".into(),
            addresses: vec![Address { kind: "InternalIP".into(), address: "10.0.0.1".into() }],
            port: 10250,
            taints: vec!["a=b:NoSchedule".parse().unwrap()],
            capacity: vec![Amount { resource: "cpu".into(), capacity: "20".into(), allocatable: Some("18".into()) }],
            own_conditions: vec![ready],
            ..Facts::default()
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn registered() -> Node {
        serde_json::from_value(facts().node(at("2026-01-01T00:00:00Z"))).unwrap()
    }

    #[test]
    fn registration_says_all_at_once() {
        let node = facts().node(at("2026-01-01T00:00:00Z"));
        assert_eq!(node["spec"]["taints"], json!([{"key": "a", "value": "b", "effect": "NoSchedule"}]));
        assert_eq!(node["metadata"]["labels"]["type"], "virtual-kubelet");
        assert_eq!(node["status"]["allocatable"]["cpu"], "18");
        assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
        assert_eq!(node["status"]["conditions"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn nothing_changed_is_nothing_written_but_a_heartbeat_is() {
        let later = at("2026-01-01T00:05:00Z");
        let mut node = registered();
        let capacity = node.status.as_mut().unwrap().capacity.as_mut().unwrap();
        capacity.get_mut("cpu").unwrap().0 = "20000m".into();
        assert_eq!(facts().status_patch(&node, later, false), None, "an amount in other words is the same amount");
        let patch = facts().status_patch(&registered(), later, true).unwrap();
        let ready = &patch["status"]["conditions"][0];
        assert_eq!(
            (&ready["lastTransitionTime"], &ready["lastHeartbeatTime"]),
            (&json!("2026-01-01T00:00:00Z"), &json!("2026-01-01T00:05:00Z"))
        );
        assert_eq!(patch["status"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn what_someone_else_changed_is_mended_and_what_they_added_stays() {
        let mut node = registered();
        let status = node.status.as_mut().unwrap();
        status.conditions.as_mut().unwrap()[0].status = "Unknown".into();
        status
            .capacity
            .as_mut()
            .unwrap()
            .insert("example.com/dongle".into(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("2".into()));
        let patch = facts().status_patch(&node, at("2026-01-01T00:01:00Z"), false).unwrap();
        assert!(patch["status"].get("capacity").is_none(), "{patch}");
        assert_eq!(patch["status"]["conditions"][0]["status"], "True");
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:01:00Z");
    }

    #[test]
    fn what_a_provider_takes_back_leaves_the_node() {
        let mut told = facts();
        let amount = |resource: &str| Amount { resource: resource.into(), capacity: "1".into(), allocatable: None };
        told.capacity.push(amount("nvidia.com/gpu"));
        let condition = |kind: &str| Condition {
            kind: kind.into(),
            status: Truth::True,
            reason: "R".into(),
            message: String::new(),
        };
        told.conditions.push(condition("QuotaExhausted"));
        let node: Node = serde_json::from_value(told.node(at("2026-01-01T00:00:00Z"))).unwrap();
        let now = at("2026-01-01T00:01:00Z");
        let facts = Facts {
            retired_resources: ["nvidia.com/gpu".to_string()].into(),
            retired_conditions: ["QuotaExhausted".to_string()].into(),
            ..facts()
        };
        let patch = facts.status_patch(&node, now, false).unwrap();
        assert_eq!(patch["status"]["capacity"]["nvidia.com/gpu"], Value::Null);
        assert!(patch["status"]["capacity"].as_object().unwrap().contains_key("nvidia.com/gpu"));
        let gone = json!({"$patch": "delete", "type": "QuotaExhausted"});
        assert!(patch["status"]["conditions"].as_array().unwrap().contains(&gone), "{patch}");
        assert_eq!(facts.status_patch(&registered(), now, false), None, "it is not there any more");
    }

    #[test]
    fn the_network_plugin_s_condition_is_its_own() {
        let mut node = registered();
        let network = node.status.as_mut().unwrap().conditions.as_mut().unwrap();
        let network = network.iter_mut().find(|c| c.type_ == NETWORK).unwrap();
        (network.status, network.reason) = ("True".into(), Some("NoRouteCreated".into()));
        assert_eq!(facts().status_patch(&node, at("2026-01-01T00:01:00Z"), false), None);
    }

    #[test]
    fn what_a_provider_says_late_still_reaches_the_node() {
        let details = NodeDetails {
            provider_id: Some("mock://n".into()),
            annotations: vec![("example.com/a".into(), "b".into())],
            ..NodeDetails::default()
        };
        let facts = Facts { details, ..facts() };
        let patch = facts.metadata_patch(&registered()).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"annotations": {"example.com/a": "b"}}, "spec": {"providerID": "mock://n"}})
        );
        let node: Node = serde_json::from_value(facts.node(at("2026-01-01T00:00:00Z"))).unwrap();
        assert_eq!(facts.metadata_patch(&node), None);
    }

    #[test]
    fn labels_that_the_api_server_forbids_are_told_apart() {
        let forbidden = [
            ("kubernetes.io/role", "agent"),
            ("x.k8s.io/y", "1"),
            ("own", "no value!"),
            ("/x", "1"),
            ("", "1"),
            ("A_b/x", "1"),
            ("a//b", "1"),
        ];
        let allowed = [
            ("topology.kubernetes.io/zone", "z"),
            ("own", "1"),
            ("example.com/own", ""),
            ("node.kubernetes.io/x", "1"),
        ];
        assert!(forbidden.iter().all(|(key, value)| !may_label(key, value)));
        assert!(allowed.iter().all(|(key, value)| may_label(key, value)));
    }

    #[test]
    fn a_missing_taint_is_restored_beside_foreign_ones() {
        let mut node = registered();
        assert_eq!(facts().taint_patch(&node), None);
        node.spec.as_mut().unwrap().taints =
            serde_json::from_value(json!([{"key": "x", "effect": "NoExecute"}])).unwrap();
        let patch = facts().taint_patch(&node).unwrap();
        assert_eq!(patch["spec"]["taints"].as_array().unwrap().len(), 2);
    }
}
