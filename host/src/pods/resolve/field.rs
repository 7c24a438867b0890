//! Downward API: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ResourceFieldSelector, ResourceRequirements};

use super::quantity::Quantity;
use super::{Node, Place};
use crate::pods::object::PodObject;

/// What a field is worth.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// Known now.
    Known(String),
    /// Known once the pod has an IP.
    Late,
}

/// What a `fieldPath` stands for; an error names what may be asked for. `ips`: the pod's, the main one first, if they are known
/// before the API server knows them.
pub fn field(pod: &PodObject, node: &Node, ips: &[String], path: &str) -> Result<Value, String> {
    let metadata = &pod.metadata;
    let status = &pod.status;
    let known = |value: Option<&str>| Ok(Value::Known(value.unwrap_or_default().to_string()));
    match path {
        "metadata.name" => known(metadata.name.as_deref()),
        "metadata.namespace" => known(metadata.namespace.as_deref()),
        "metadata.uid" => known(metadata.uid.as_deref()),
        "metadata.labels" => Ok(Value::Known(map(metadata.labels.as_ref()))),
        "metadata.annotations" => Ok(Value::Known(map(metadata.annotations.as_ref()))),
        "spec.nodeName" => known(pod.spec.node_name.as_deref()),
        "spec.serviceAccountName" => known(pod.spec.service_account_name.as_deref()),
        "status.hostIP" => known(Some(&node.internal_ip)),
        "status.hostIPs" => Ok(Value::Known(host_ips(node))),
        // A pod that runs already was given its IP: the same value then, so that an update does not change it.
        "status.podIP" => {
            let ip = ips.first().or(status.pod_ip.as_ref()).filter(|ip| !ip.is_empty());
            Ok(ip.cloned().map_or(Value::Late, Value::Known))
        }
        "status.podIPs" => {
            let told: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
            let all = if ips.is_empty() { told.join(",") } else { ips.join(",") };
            Ok(if all.is_empty() { Value::Late } else { Value::Known(all) })
        }
        _ => match subscript(path) {
            Some(("metadata.labels", key)) => {
                known(metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str))
            }
            Some(("metadata.annotations", key)) => {
                known(metadata.annotations.as_ref().and_then(|a| a.get(key)).map(String::as_str))
            }
            _ => Err(format!(
                "fieldPath {path:?} is not supported: use metadata.{{name,namespace,uid,labels,annotations}}, metadata.labels['KEY'], \
                 metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP or status.podIPs"
            )),
        },
    }
}

/// The node's InternalIP, and the first one of the other family if there is one. (kubernetes/pkg/util/node, GetNodeHostIPs)
fn host_ips(node: &Node) -> String {
    let own = &node.internal_ip;
    let is_v4 = |ip: &str| ip.parse::<IpAddr>().ok().map(|ip| ip.is_ipv4());
    let internal = node.addresses.iter().filter(|address| address.kind == "InternalIP").map(|a| a.address.as_str());
    let other = internal.filter(|ip| is_v4(ip).is_some_and(|v4| is_v4(own).is_some_and(|own| own != v4))).take(1);
    std::iter::once(own.as_str()).chain(other).collect::<Vec<_>>().join(",")
}

/// `metadata.labels['a']` → (`metadata.labels`, `a`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = path.split_once("['")?;
    Some((name, rest.strip_suffix("']")?))
}

/// A map as the downward API prints it: `key="value"` a line, sorted. (fieldpath.FormatMap)
fn map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// A text as Go's `%q` writes it (strconv.Quote), which is not how Rust does.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            _ if is_printable(c) => out.push(c),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space, as with Go's `unicode.IsPrint`.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\x7f' => false,
        // The standard library knows it, and tells it where it escapes. A mark is escaped at the beginning only.
        _ => format!("a{c}").escape_debug().count() == 2,
    }
}

/// What a `resourceFieldRef` is worth: a request or limit over its divisor, rounded up. `own`: the container that is meant if none
/// is named.
pub fn resource(
    pod: &PodObject,
    containers: &[Place<'_>],
    own: &str,
    selector: &ResourceFieldSelector,
    node: &Node,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let container = containers
        .iter()
        .map(|place| &place.container)
        .find(|c| c.name == name)
        .ok_or_else(|| format!("there is no container {name:?}"))?;
    let (kind, resource) = selector
        .resource
        .split_once('.')
        .filter(|(kind, _)| matches!(*kind, "limits" | "requests"))
        .ok_or_else(|| format!("resource {:?} is neither limits.NAME nor requests.NAME", selector.resource))?;
    let limit = limit(container.resources.as_ref(), resource);
    let amount = match kind {
        "limits" => limit.filter(|amount| !is_zero(amount)).or_else(|| default_limit(pod, node, resource)),
        _ => {
            container.resources.as_ref().and_then(|r| r.requests.as_ref()?.get(resource)).map(|q| q.0.clone()).or(limit)
        }
    };
    let amount = Quantity::parse(amount.as_deref().unwrap_or("0")).map_err(|e| e.to_string())?;
    let divisor = selector.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    let divisor = Quantity::parse(divisor).map_err(|e| e.to_string())?;
    Ok(amount.divided_by(divisor).to_string())
}

fn limit(resources: Option<&ResourceRequirements>, resource: &str) -> Option<String> {
    resources?.limits.as_ref()?.get(resource).map(|amount| amount.0.clone())
}

fn is_zero(amount: &str) -> bool {
    Quantity::parse(amount).is_ok_and(|amount| amount == Quantity::default())
}

/// The limit of a container that has none, or one of 0: the pod's, else what the node can give. Huge pages have none then: they are
/// never overcommitted. (kubernetes/pkg/kubelet/kubelet_resources.go)
fn default_limit(pod: &PodObject, node: &Node, resource: &str) -> Option<String> {
    let of_pod = matches!(resource, "cpu" | "memory").then(|| limit(pod.spec.resources.as_ref(), resource)).flatten();
    let of_node =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage").then(|| node.allocatable(resource)).flatten();
    of_node.map(|of_node| of_pod.filter(|amount| !is_zero(amount)).unwrap_or(of_node))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use k8s_openapi::api::core::v1::Container;
    use serde_json::json;

    use super::*;
    use crate::pods::object::tests::pod;
    use crate::provider::Address;

    fn node() -> Node {
        Node { internal_ip: "10.0.0.1".into(), allocatable: vec![("cpu".into(), "4".into())], ..Node::default() }
    }

    #[test]
    fn every_field_of_the_downward_api() {
        let pod = pod(json!({
            "metadata": {"name": "n", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": "x\"y"}, "annotations": {"k/z": "v"}},
            "spec": {"nodeName": "node", "serviceAccountName": "sa"},
        }));
        let table = [
            ("metadata.name", "n"),
            ("metadata.namespace", "ns"),
            ("metadata.uid", "u"),
            ("metadata.labels", "a=\"x\\\"y\"\nb=\"2\""),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['k/z']", "v"),
            ("spec.nodeName", "node"),
            ("spec.serviceAccountName", "sa"),
            ("status.hostIP", "10.0.0.1"),
        ];
        for (path, expected) in table {
            assert_eq!(field(&pod, &node(), &[], path), Ok(Value::Known(expected.into())), "{path}");
        }
        assert!(field(&pod, &node(), &[], "status.phase").is_err());
    }

    #[test]
    fn a_node_of_two_families_has_an_address_of_each() {
        let of = |own: &str, addresses: &[(&str, &str)]| {
            let address =
                |(kind, address): &(&str, &str)| Address { kind: kind.to_string(), address: address.to_string() };
            let addresses = addresses.iter().map(address).collect();
            let node = Node { internal_ip: own.into(), addresses, ..Node::default() };
            field(&pod(json!({"metadata": {"name": "n"}})), &node, &[], "status.hostIPs").unwrap()
        };
        let (four, six, host) = (("InternalIP", "10.0.0.1"), ("InternalIP", "fd00::1"), ("Hostname", "fd00::9"));
        let known = |text: &str| Value::Known(text.into());
        assert_eq!(of("10.0.0.1", &[]), known("10.0.0.1"));
        assert_eq!(of("10.0.0.1", &[host, four, ("InternalIP", "10.0.0.2")]), known("10.0.0.1"));
        assert_eq!(of("10.0.0.1", &[four, six, ("InternalIP", "fd00::2")]), known("10.0.0.1,fd00::1"));
        assert_eq!(of("fd00::1", &[six, four]), known("fd00::1,10.0.0.1"));
    }

    #[test]
    fn addresses_of_the_pod_are_late_until_somebody_knows_them() {
        let new = pod(json!({"metadata": {"name": "n"}}));
        let status = json!({"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]});
        let runs = pod(json!({"metadata": {"name": "n"}, "status": status}));
        let known = ["10.0.0.9".to_string(), "fd00::9".to_string()];
        for (path, told, given) in
            [("status.podIP", "10.0.0.7", "10.0.0.9"), ("status.podIPs", "10.0.0.7,fd00::7", "10.0.0.9,fd00::9")]
        {
            assert_eq!(field(&new, &node(), &[], path), Ok(Value::Late), "{path}");
            assert_eq!(field(&new, &node(), &known, path), Ok(Value::Known(given.into())), "{path}");
            assert_eq!(field(&runs, &node(), &[], path), Ok(Value::Known(told.into())), "{path}");
            assert_eq!(field(&runs, &node(), &known, path), Ok(Value::Known(given.into())), "{path}");
        }
    }

    #[test]
    fn texts_are_quoted_as_go_does() {
        // What `fmt.Printf("%q")` prints.
        let table = [
            ("plain 'text'", r#""plain 'text'""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
            ("gr\u{fc}n \u{65e5}\u{672c} \u{1f600} e\u{301}", "\"gr\u{fc}n \u{65e5}\u{672c} \u{1f600} e\u{301}\""),
            ("\u{80}\u{a0}\u{200b}\u{feff}\u{e0001}", r#""\u0080\u00a0\u200b\ufeff\U000e0001""#),
        ];
        for (text, expected) in table {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn resources_are_divided_and_fall_back() {
        let containers: Vec<Container> = serde_json::from_value(json!([
            {"name": "a", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}},
            {"name": "b"},
            {"name": "z", "resources": {"limits": {"cpu": "0", "memory": "0"}}}
        ]))
        .unwrap();
        let place = |container| Place { path: String::new(), container: Cow::Borrowed(container) };
        let places: Vec<Place<'_>> = containers.iter().map(place).collect();
        let mut allocatable = node().allocatable;
        allocatable.extend([("memory".into(), "8Gi".into()), ("hugepages-2Mi".into(), "1Gi".into())]);
        let node = Node { allocatable, ..node() };
        let of = |limits: serde_json::Value, resource: &str, container: Option<&str>, divisor: Option<&str>| {
            let pod = pod(json!({"metadata": {"name": "n"}, "spec": {"resources": {"limits": limits}}}));
            let selector =
                serde_json::from_value(json!({"resource": resource, "containerName": container, "divisor": divisor}))
                    .unwrap();
            super::resource(&pod, &places, &containers[0].name, &selector, &node)
        };
        let ask = |resource: &str, container: Option<&str>, divisor: Option<&str>| {
            of(serde_json::Value::Null, resource, container, divisor)
        };
        assert_eq!(ask("limits.memory", None, Some("1Mi")), Ok("64".into()));
        assert_eq!(ask("requests.cpu", None, Some("1m")), Ok("250".into()));
        assert_eq!(ask("requests.cpu", None, None), Ok("1".into()));
        assert_eq!(ask("requests.memory", None, Some("1Mi")), Ok("64".into()), "a request falls back to its limit");
        assert_eq!(ask("limits.cpu", Some("b"), None), Ok("4".into()), "a limit falls back to the node");
        assert_eq!(ask("limits.cpu", Some("z"), None), Ok("4".into()), "a limit of nothing is none");
        assert_eq!(ask("limits.hugepages-2Mi", Some("b"), None), Ok("0".into()), "they are not the node's to promise");
        let limits = json!({"memory": "512Mi", "cpu": "0"});
        assert_eq!(of(limits.clone(), "limits.memory", Some("b"), Some("1Mi")), Ok("512".into()), "the pod's first");
        assert_eq!(of(limits.clone(), "limits.memory", Some("z"), Some("1Mi")), Ok("512".into()));
        assert_eq!(of(limits.clone(), "limits.memory", None, Some("1Mi")), Ok("64".into()), "its own before that");
        assert_eq!(of(limits, "limits.cpu", Some("b"), None), Ok("4".into()));
        assert!(ask("limits.cpu", Some("c"), None).is_err());
        assert!(ask("cpu", None, None).is_err());
    }
}
