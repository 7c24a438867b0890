//! Each kind of volume as a table: what the pod says and what was found, and the files that follow.

mod opens;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::objects::Data;
use super::super::{Node, containers};
use super::*;
use crate::pods::object::tests::pod;
use crate::provider::File;

const NOON: u64 = 1_700_000_000_000;

fn data(values: &[(&str, &'static str)], binary: &[(&str, &'static [u8])]) -> Arc<Lookup> {
    let values = values.iter().map(|(key, text)| (key.to_string(), Bytes::from_static(text.as_bytes()))).collect();
    let binary = binary.iter().map(|(key, bytes)| (key.to_string(), Bytes::from_static(bytes))).collect();
    Arc::new(Lookup::Found(Data { values, binary, ..Data::default() }))
}

fn token(text: &'static str, expires_ms: u64, renew_in: u64) -> Token {
    Token::new(Bytes::from_static(text.as_bytes()), expires_ms, Instant::now() + Duration::from_secs(renew_in))
}

fn wanted(audience: &str, seconds: i64) -> Wanted {
    Wanted { audience: audience.into(), seconds }
}

fn found() -> Found {
    let objects = [
        (Kind::ConfigMap, "cm", data(&[("a.txt", "one"), ("b.txt", "two")], &[("c.bin", &[0xff, 0x00])])),
        (Kind::ConfigMap, "gone", Arc::new(Lookup::Absent)),
        (Kind::ConfigMap, "unread", Arc::new(Lookup::Failed("timeout".into()))),
        (Kind::Secret, "s", data(&[("key", "hush"), ("other", "hush too")], &[])),
        (Kind::Secret, "gone", Arc::new(Lookup::Absent)),
        (Kind::Secret, "forbidden", Arc::new(Lookup::Failed("forbidden: no relationship found".into()))),
    ];
    let tokens = [
        (wanted("", 3600), Ok(token("default token", NOON + 2, 20))),
        (wanted("vault", 600), Ok(token("vault token", NOON + 1, 30))),
        (wanted("refused", 3600), Err(Failure::Refused("serviceaccounts \"x\" not found".into()))),
        (wanted("unreached", 3600), Err(Failure::Unreached("connection refused".into()))),
    ];
    let objects = objects.into_iter().map(|(kind, name, found)| ((kind, name.to_string()), found));
    Found { objects: objects.collect(), tokens: tokens.into() }
}

/// A pod with this as its second volume, and more of its spec.
fn with(volume: Value, more: Value) -> PodObject {
    let mut pod_value = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"b": "2", "a": "1"}, "annotations": {"n": "x\ny"}},
        "spec": {
            "containers": [{"name": "main", "image": "i", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}}],
            "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "files"}],
        },
    });
    pod_value["spec"]["volumes"][1].as_object_mut().unwrap().extend(volume.as_object().unwrap().clone());
    pod_value["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pod(pod_value)
}

fn render(pod: &PodObject, name: &str) -> Result<(Files, Option<Instant>), Error> {
    let (node, found) = (Node { allocatable: vec![("cpu".into(), "4".into())], ..Node::default() }, found());
    let plan = Plan::of(pod, name)?;
    plan.render(&Context { pod, node: &node, containers: &containers(pod), found: &found })
}

fn files(volume: Value) -> Result<Files, Error> {
    render(&with(volume, json!({})), "files").map(|(files, _)| files)
}

/// Paths, modes and contents, as text where they are text.
fn shown(files: &[File]) -> Vec<(&str, u32, String)> {
    files
        .iter()
        .map(|file| (file.path.as_str(), file.mode, String::from_utf8_lossy(&file.content).into_owned()))
        .collect()
}

fn expect(volume: Value, expected: &[(&str, u32, &str)]) {
    let rendered = files(volume.clone()).unwrap();
    let expected: Vec<_> = expected.iter().map(|(path, mode, text)| (*path, *mode, text.to_string())).collect();
    assert_eq!(shown(&rendered.files), expected, "{volume}");
}

#[tokio::test]
async fn each_key_is_a_file_or_those_that_items_name() {
    expect(
        json!({"configMap": {"name": "cm", "defaultMode": 0o640}}),
        &[("a.txt", 0o640, "one"), ("b.txt", 0o640, "two"), ("c.bin", 0o640, "\u{fffd}\0")],
    );
    let items = json!([{"key": "b.txt", "path": "deep/er/b"}, {"key": "c.bin", "path": "c", "mode": 0o400}]);
    expect(
        json!({"configMap": {"name": "cm", "items": items}}),
        &[("c", 0o400, "\u{fffd}\0"), ("deep/er/b", 0o644, "two")],
    );
    expect(
        json!({"secret": {"secretName": "s", "defaultMode": 0o400}}),
        &[("key", 0o400, "hush"), ("other", 0o400, "hush too")],
    );
    expect(
        json!({"secret": {"secretName": "s", "items": [{"key": "key", "path": "id_rsa", "mode": 0o600}]}}),
        &[("id_rsa", 0o600, "hush")],
    );
}

#[tokio::test]
async fn what_comes_from_a_secret_is_marked() {
    let sources = json!([
        {"configMap": {"name": "cm", "items": [{"key": "a.txt", "path": "a"}]}},
        {"secret": {"name": "s", "items": [{"key": "key", "path": "s"}]}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]);
    let rendered = files(json!({"projected": {"sources": sources}})).unwrap();
    let secret: Vec<&str> = rendered.files.iter().filter(|file| file.secret).map(|file| file.path.as_str()).collect();
    assert_eq!(secret, ["s", "token"]);
    assert!(!format!("{rendered:?}").contains("hush"));
}

#[tokio::test]
async fn an_optional_object_or_key_is_left_out_and_a_mandatory_one_waited_for() {
    for (volume, missing) in [
        (json!({"configMap": {"name": "gone"}}), "configmap \"gone\" not found"),
        (json!({"secret": {"secretName": "gone"}}), "secret \"gone\" not found"),
        (
            json!({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}),
            "configmap \"cm\" has no key \"z\"",
        ),
        (json!({"secret": {"secretName": "s", "items": [{"key": "z", "path": "z"}]}}), "secret \"s\" has no key \"z\""),
    ] {
        assert_eq!(files(volume.clone()).err(), Some(Error::Missing(missing.into())));
        let mut optional = volume;
        optional.as_object_mut().unwrap().values_mut().for_each(|source| source["optional"] = json!(true));
        assert!(files(optional.clone()).unwrap().files.is_empty(), "{optional}");
    }
    let unread = files(json!({"configMap": {"name": "unread", "optional": true}})).err().unwrap();
    assert!(matches!(&unread, Error::Unread(cause) if cause.contains("timeout")), "not read is not absent: {unread:?}");
}

#[tokio::test]
async fn fields_of_the_pod_are_files_as_the_kubelet_writes_them() {
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let resource = |path: &str, resource: &str, divisor: &str| json!({"path": path, "resourceFieldRef": {"containerName": "main", "resource": resource, "divisor": divisor}});
    let items = json!([
        field("labels", "metadata.labels"),
        field("annotations", "metadata.annotations"),
        field("one", "metadata.labels['a']"),
        field("name", "metadata.name"),
        field("namespace", "metadata.namespace"),
        field("uid", "metadata.uid"),
        resource("memory", "limits.memory", "1Mi"),
        resource("cpu", "requests.cpu", "1m"),
        resource("of-the-node", "limits.cpu", "1"),
        {"path": "own", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.name"}},
    ]);
    let expected = [
        ("annotations", 0o644, "n=\"x\\ny\""),
        ("cpu", 0o644, "250"),
        ("labels", 0o644, "a=\"1\"\nb=\"2\""),
        ("memory", 0o644, "64"),
        ("name", 0o644, "web"),
        ("namespace", 0o644, "shop"),
        ("of-the-node", 0o644, "4"),
        ("one", 0o644, "1"),
        ("own", 0o400, "web"),
        ("uid", 0o644, "u"),
    ];
    expect(json!({"downwardAPI": {"items": items}}), &expected);
    expect(json!({"projected": {"sources": [{"downwardAPI": {"items": items}}]}}), &expected);
}

#[tokio::test]
async fn a_projected_volume_is_all_of_its_sources_and_the_later_one_wins() {
    let sources = json!([
        {"configMap": {"name": "cm", "items": [{"key": "a.txt", "path": "x"}, {"key": "b.txt", "path": "conf/b"}]}},
        {"secret": {"name": "s", "items": [{"key": "key", "path": "x", "mode": 0o400}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
        {"configMap": {"name": "gone", "optional": true}},
        {"clusterTrustBundle": {"path": "ca.pem", "name": "b", "optional": true}},
    ]);
    expect(
        json!({"projected": {"defaultMode": 0o444, "sources": sources}}),
        &[("conf/b", 0o444, "two"), ("token", 0o444, "vault token"), ("x", 0o400, "hush")],
    );
}

#[tokio::test]
async fn a_volume_is_rendered_again_before_its_first_token_ends() {
    let sources = json!([
        {"serviceAccountToken": {"path": "default"}},
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}},
    ]);
    let (files, renew_at) = render(&with(json!({"projected": {"sources": sources}}), json!({})), "files").unwrap();
    assert_eq!(files.expires_ms, Some(NOON + 1));
    let renew_in = renew_at.unwrap().saturating_duration_since(Instant::now());
    assert!(renew_in > Duration::from_secs(10) && renew_in <= Duration::from_secs(20), "{renew_in:?}");
    let (files, renew_at) = render(&with(json!({"configMap": {"name": "cm"}}), json!({})), "files").unwrap();
    assert_eq!((files.expires_ms, renew_at), (None, None));
}

#[tokio::test]
async fn tokens_are_for_the_pod_s_user_and_group_alone() {
    let sources = json!([
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "cm", "items": [{"key": "a.txt", "path": "conf"}]}},
    ]);
    let volume = json!({"projected": {"sources": sources}});
    let table = [
        (json!({}), (0o644, None, None), (0o644, None, None)),
        (json!({"securityContext": {"runAsUser": 7}}), (0o644, None, None), (0o600, Some(7), None)),
        (json!({"securityContext": {"fsGroup": 9}}), (0o644, None, Some(9)), (0o640, None, Some(9))),
        (json!({"securityContext": {"runAsUser": 7, "fsGroup": 9}}), (0o644, None, Some(9)), (0o640, Some(7), Some(9))),
    ];
    for (spec, conf, token) in table {
        let (files, _) = render(&with(volume.clone(), spec.clone()), "files").unwrap();
        let access: Vec<_> = files.files.iter().map(|file| (file.mode, file.uid, file.gid)).collect();
        assert_eq!(access, [conf, token], "{spec}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_waited_for_and_one_that_was_not_asked_for_too() {
    let of = |audience: &str| {
        files(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": audience}}]}})).err()
    };
    let missing = "failed to fetch token: serviceaccounts \"x\" not found";
    assert_eq!(of("refused"), Some(Error::Missing(missing.into())));
    assert!(matches!(of("unreached"), Some(Error::Unread(_))));
}

#[tokio::test]
async fn what_this_host_does_not_do_is_refused_by_its_place() {
    let path = |path: &str| json!({"configMap": {"name": "cm", "items": [{"key": "a.txt", "path": path}]}});
    let both = json!([{"key": "a.txt", "path": "x"}, {"key": "b.txt", "path": "x/y"}]);
    let late = json!([{"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}}]);
    let other = json!([{"path": "x", "resourceFieldRef": {"containerName": "none", "resource": "limits.cpu"}}]);
    let projected = |source: Value| json!({"projected": {"sources": [{"configMap": {"name": "cm"}}, source]}});
    let table = [
        (path("../x"), "spec.volumes[1].configMap.items[0].path"),
        (path("/x"), "spec.volumes[1].configMap.items[0].path"),
        (json!({"configMap": {"name": "cm", "items": both}}), "spec.volumes[1]"),
        (json!({"downwardAPI": {"items": late}}), "spec.volumes[1].downwardAPI.items[0].fieldRef"),
        (json!({"downwardAPI": {"items": other}}), "spec.volumes[1].downwardAPI.items[0].resourceFieldRef"),
        (
            projected(json!({"clusterTrustBundle": {"path": "ca.pem", "name": "b"}})),
            "spec.volumes[1].projected.sources[1].clusterTrustBundle",
        ),
        (
            projected(json!({"podCertificate": {"signerName": "a/b", "keyType": "ED25519"}})),
            "spec.volumes[1].projected.sources[1].podCertificate",
        ),
        (
            projected(json!({"serviceAccountToken": {"path": "a/../../b"}})),
            "spec.volumes[1].projected.sources[1].serviceAccountToken.path",
        ),
    ];
    for (volume, expected) in table {
        let error = files(volume.clone()).err();
        assert!(matches!(&error, Some(Error::Refused { field, .. }) if field == expected), "{volume}: {error:?}");
    }
}

#[tokio::test]
async fn only_volumes_of_files_have_files() {
    let pod = with(json!({"configMap": {"name": "cm"}}), json!({}));
    assert_eq!(names(&pod.spec).collect::<Vec<_>>(), ["files"]);
    assert_eq!(render(&pod, "scratch").err(), Some(Error::NoFiles));
    assert_eq!(render(&pod, "other").err(), Some(Error::Unknown));
}

#[test]
fn a_plan_needs_what_its_sources_name_and_nothing_else() {
    let sources = json!([
        {"configMap": {"name": "cm"}},
        {"secret": {"name": "s"}},
        {"configMap": {"name": "cm", "items": []}},
        {"serviceAccountToken": {"path": "a"}},
        {"serviceAccountToken": {"path": "b", "expirationSeconds": 3600}},
        {"serviceAccountToken": {"path": "c", "audience": "vault"}},
    ]);
    let pod = with(json!({"projected": {"sources": sources}}), json!({}));
    let Needs { objects, tokens } = Plan::of(&pod, "files").unwrap().needs();
    let expected = [(Kind::ConfigMap, "cm".to_string()), (Kind::Secret, "s".to_string())];
    assert_eq!(objects.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(tokens.into_iter().collect::<Vec<_>>(), [wanted("", 3600), wanted("vault", 3600)]);
}
