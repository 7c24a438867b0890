//! What a provider asks of its pods' volumes and registries, and that files follow their sources. The mock asks where an annotation
//! says so, and shows what it was given in the pod's log.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vk_tests::audit::{AuditEvent, Filter};
use vk_tests::cluster::{Corner, eventually, mock, phase, waiting_reason};

/// How long a change may take to a running pod. It takes a moment; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(20);

async fn put_config_map(corner: &Corner<'_>, name: &str, rest: Value) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let mut map = json!({"metadata": {"name": name}});
    merge(&mut map, &rest);
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    Ok(())
}

async fn put_secret(corner: &Corner<'_>, name: &str, rest: Value) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let mut secret = json!({"metadata": {"name": name}});
    merge(&mut secret, &rest);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}

async fn change_config_map(corner: &Corner<'_>, name: &str, data: Value) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(corner.client.clone(), &corner.namespace);
    maps.patch(name, &PatchParams::default(), &Patch::Merge(&json!({"data": data}))).await?;
    Ok(())
}

fn merge(object: &mut Value, more: &Value) {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
}

/// A pod whose volumes the mock asks for and shows, without the token that every pod has.
pub(super) fn pod(corner: &Corner<'_>, name: &str, volumes: Value) -> Value {
    let mut pod = corner.pod(name, json!({"log-volumes": "true", "reveal-secrets": "true"}));
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    pod["spec"]["volumes"] = volumes;
    pod
}

/// A line of a file in the mock's log: path, mode, user, group and content.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) path: String,
    pub(super) mode: String,
    pub(super) user: String,
    pub(super) group: String,
    pub(super) content: String,
}

/// The files of a volume that the mock shows.
pub(super) async fn files(corner: &Corner<'_>, pod: &str, volume: &str) -> Result<Vec<Shown>> {
    let log = corner.log(pod).await?;
    let lines = log.lines().filter_map(|line| line.strip_prefix(&format!("file {volume} ")));
    lines
        .map(|line| {
            let mut fields = line.splitn(6, ' ').map(ToString::to_string);
            let mut field = || fields.next().with_context(|| format!("half a line: {line}"));
            let (path, mode, user, group) = (field()?, field()?, field()?, field()?);
            field()?;
            let content = field()?;
            // Text is shown as JSON.
            let content = serde_json::from_str(&content).unwrap_or(content);
            Ok(Shown { path, mode, user, group, content })
        })
        .collect()
}

/// Path, mode and content of each file.
async fn shown(corner: &Corner<'_>, pod: &str, volume: &str) -> Result<Vec<(String, String, String)>> {
    let files = files(corner, pod, volume).await?;
    Ok(files.into_iter().map(|Shown { path, mode, content, .. }| (path, mode, content)).collect())
}

fn expected(files: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    files.iter().map(|(path, mode, content)| (path.to_string(), mode.to_string(), content.to_string())).collect()
}

/// Waits until a file has this content; none: until there is no such file. Returns how long that took.
async fn until_content(
    corner: &Corner<'_>,
    pod: &str,
    volume: &str,
    path: &str,
    content: Option<&str>,
) -> Result<Duration> {
    let began = Instant::now();
    eventually(&format!("{path} of {volume} is {content:?}"), || async {
        let files = files(corner, pod, volume).await?;
        let found = files.into_iter().find(|file| file.path == path).map(|file| file.content);
        Ok((found.as_deref() == content).then_some(()))
    })
    .await?;
    Ok(began.elapsed())
}

/// What the node has asked of ConfigMaps, Secrets and tokens in the test's namespace.
fn asked(corner: &Corner<'_>) -> Result<Vec<AuditEvent>> {
    let log = corner.control_plane.audit_log();
    log.wait_flushed(corner.control_plane)?;
    let user = format!("system:node:{}", corner.host.node());
    let filter = Filter { user: Some(&user), namespace: Some(&corner.namespace), ..Filter::default() };
    let mut asked = log.select(filter)?;
    asked.retain(|event| ["configmaps", "secrets", "serviceaccounts"].contains(&event.resource.as_str()));
    Ok(asked)
}

#[tokio::test]
async fn config_maps_and_secrets_are_files_with_their_modes() -> Result<()> {
    let corner = Corner::new("volumes").await?;
    // Two bytes that are no UTF-8.
    put_config_map(&corner, "cm", json!({"data": {"a.conf": "one\n", "b": "two"}, "binaryData": {"c": "/wA="}}))
        .await?;
    put_secret(&corner, "s", json!({"stringData": {"key": "hush-hush", "other": "x"}})).await?;
    let items = json!([{"key": "b", "path": "deep/er/b"}, {"key": "c", "path": "c", "mode": 0o400}]);
    let sources = json!([{"configMap": {"name": "cm", "items": items}}, {"secret": {"name": "s"}}]);
    let volumes = json!([
        {"name": "plain", "configMap": {"name": "cm"}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400, "items": [{"key": "key", "path": "id"}]}},
        {"name": "both", "projected": {"defaultMode": 0o640, "sources": sources}},
        {"name": "scratch", "emptyDir": {}},
    ]);
    corner.create(pod(&corner, "web", volumes.clone())).await?;
    let mut hidden = pod(&corner, "hidden", volumes);
    hidden["metadata"]["annotations"] = mock(json!({"log-volumes": "true"}));
    corner.create(hidden).await?;
    corner.running("web").await?;
    let plain = [("a.conf", "0644", "one\n"), ("b", "0644", "two"), ("c", "0644", "hex:ff00")];
    assert_eq!(shown(&corner, "web", "plain").await?, expected(&plain));
    assert_eq!(shown(&corner, "web", "secret").await?, expected(&[("id", "0400", "hush-hush")]));
    let both =
        [("c", "0400", "hex:ff00"), ("deep/er/b", "0640", "two"), ("key", "0640", "hush-hush"), ("other", "0640", "x")];
    assert_eq!(shown(&corner, "web", "both").await?, expected(&both));
    corner.running("hidden").await?;
    let secret = shown(&corner, "hidden", "secret").await?;
    assert_eq!(secret, expected(&[("id", "0400", "(secret, 9 bytes)")]));
    assert!(!corner.host.log()?.contains("hush-hush"), "a secret reached the host's log");
    Ok(())
}

#[tokio::test]
async fn fields_of_the_pod_are_files_and_follow_its_labels() -> Result<()> {
    let corner = Corner::new("volumes-fields").await?;
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let resource = json!({"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"});
    let items = json!([
        field("labels", "metadata.labels"),
        field("team", "metadata.labels['team']"),
        field("name", "metadata.name"),
        {"path": "memory", "mode": 0o444, "resourceFieldRef": resource},
    ]);
    let mut manifest = pod(&corner, "web", json!([{"name": "about", "downwardAPI": {"items": items}}]));
    manifest["metadata"]["labels"] = json!({"team": "blue", "app": "a-b"});
    manifest["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "64Mi"}});
    corner.create(manifest).await?;
    corner.running("web").await?;
    let files = [
        ("labels", "0644", "app=\"a-b\"\nteam=\"blue\""),
        ("memory", "0444", "64"),
        ("name", "0644", "web"),
        ("team", "0644", "blue"),
    ];
    assert_eq!(shown(&corner, "web", "about").await?, expected(&files));
    let red = json!({"metadata": {"labels": {"team": "red"}}});
    corner.pods().patch("web", &PatchParams::default(), &Patch::Merge(&red)).await?;
    assert!(until_content(&corner, "web", "about", "team", Some("red")).await? < SOON);
    Ok(())
}

#[tokio::test]
async fn a_change_of_a_source_reaches_running_pods_soon_and_one_watch_serves_them_all() -> Result<()> {
    let corner = Corner::new("volumes-change").await?;
    put_config_map(&corner, "cm", json!({"data": {"a": "1"}})).await?;
    put_secret(&corner, "s", json!({"stringData": {"b": "1"}})).await?;
    let volumes = json!([
        {"name": "conf", "configMap": {"name": "cm"}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "cm"}}, {"secret": {"name": "s"}}]}},
    ]);
    for name in ["one", "two"] {
        corner.create(pod(&corner, name, volumes.clone())).await?;
        corner.running(name).await?;
    }
    change_config_map(&corner, "cm", json!({"a": "2", "new": "file"})).await?;
    for name in ["one", "two"] {
        for volume in ["conf", "all"] {
            assert!(until_content(&corner, name, volume, "a", Some("2")).await? < SOON);
            assert!(until_content(&corner, name, volume, "new", Some("file")).await? < SOON);
        }
    }
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let two = json!({"stringData": {"b": "2"}});
    secrets.patch("s", &PatchParams::default(), &Patch::Merge(&two)).await?;
    assert!(until_content(&corner, "two", "all", "b", Some("2")).await? < SOON);
    assert!(corner.log("two").await?.contains("volume conf updates=1 "), "what did not change was left alone");
    for name in ["one", "two"] {
        corner.delete(name, None).await?;
        corner.gone(name).await?;
    }
    // An open watch is in no audit log: it ends with the last pod that needs it.
    let asked = eventually("the watches end", || async {
        let asked = asked(&corner)?;
        let ended = |resource: &str| asked.iter().any(|event| event.verb == "watch" && event.resource == resource);
        Ok((ended("configmaps") && ended("secrets")).then_some(asked))
    })
    .await?;
    let watches = |resource: &str| asked.iter().filter(|e| e.verb == "watch" && e.resource == resource).count();
    assert_eq!((watches("configmaps"), watches("secrets")), (1, 1), "{asked:?}");
    let one_at_a_time = |event: &AuditEvent| ["cm", "s"].contains(&event.name.as_str());
    assert!(asked.iter().all(one_at_a_time), "{asked:?}");
    Ok(())
}

/// A connection to the API server carries 100 requests at once, and each object that is followed takes one of them.
#[tokio::test]
async fn more_objects_are_followed_than_one_connection_carries() -> Result<()> {
    const PODS: usize = 150;
    let corner = Corner::new("volumes-many").await?;
    let (pod_of, map_of) = (|number: usize| format!("web-{number}"), |number: usize| format!("cm-{number}"));
    let create = async |number: usize| -> Result<()> {
        put_config_map(&corner, &map_of(number), json!({"data": {"a": number.to_string()}})).await?;
        let volumes = json!([{"name": "conf", "configMap": {"name": map_of(number)}}]);
        corner.create(pod(&corner, &pod_of(number), volumes)).await?;
        Ok(())
    };
    let has_its_own = async |number: usize| -> Result<()> {
        corner.running(&pod_of(number)).await?;
        let content = number.to_string();
        assert_eq!(shown(&corner, &pod_of(number), "conf").await?, expected(&[("a", "0644", &content)]));
        Ok(())
    };
    for number in 0..PODS {
        create(number).await?;
    }
    for number in 0..PODS {
        has_its_own(number).await?;
    }
    for number in [0, PODS / 2, PODS - 1] {
        change_config_map(&corner, &map_of(number), json!({"a": "new"})).await?;
        assert!(until_content(&corner, &pod_of(number), "conf", "a", Some("new")).await? < SOON);
    }
    // The node is neither blind nor dumb.
    create(PODS).await?;
    has_its_own(PODS).await?;
    corner.delete(&pod_of(1), None).await?;
    corner.gone_within(SOON, &pod_of(1)).await?;
    for number in (0..=PODS).filter(|number| *number != 1) {
        corner.delete(&pod_of(number), None).await?;
    }
    let asked = eventually("the watches end", || async {
        let asked = asked(&corner)?;
        let watches = asked.iter().filter(|event| event.verb == "watch").count();
        Ok((watches > PODS).then_some(asked))
    })
    .await?;
    let names = |verb: &str| {
        let mut names: Vec<&String> = asked.iter().filter(|e| e.verb == verb).map(|e| &e.name).collect();
        names.sort_unstable();
        names
    };
    let mut all: Vec<String> = (0..=PODS).map(map_of).collect();
    all.sort_unstable();
    assert_eq!((names("list"), names("watch")), (all.iter().collect(), all.iter().collect()));
    Ok(())
}

#[tokio::test]
async fn an_optional_source_that_appears_later_is_an_update_and_so_is_its_end() -> Result<()> {
    let corner = Corner::new("volumes-optional").await?;
    let volume = json!({"name": "conf", "configMap": {"name": "later", "optional": true}});
    corner.create(pod(&corner, "web", json!([volume]))).await?;
    corner.running("web").await?;
    assert!(files(&corner, "web", "conf").await?.is_empty());
    put_config_map(&corner, "later", json!({"data": {"a": "here"}})).await?;
    assert!(until_content(&corner, "web", "conf", "a", Some("here")).await? < SOON);
    let maps: Api<ConfigMap> = Api::namespaced(corner.client.clone(), &corner.namespace);
    maps.delete("later", &DeleteParams::default()).await?;
    assert!(until_content(&corner, "web", "conf", "a", None).await? < SOON);
    Ok(())
}

#[tokio::test]
async fn an_immutable_source_is_read_once_and_never_watched() -> Result<()> {
    let corner = Corner::new("volumes-immutable").await?;
    put_config_map(&corner, "fixed", json!({"immutable": true, "data": {"a": "1"}})).await?;
    put_config_map(&corner, "loose", json!({"data": {"b": "1"}})).await?;
    let volumes = json!([
        {"name": "fixed", "configMap": {"name": "fixed"}},
        {"name": "loose", "configMap": {"name": "loose"}},
    ]);
    for name in ["one", "two"] {
        corner.create(pod(&corner, name, volumes.clone())).await?;
        corner.running(name).await?;
    }
    change_config_map(&corner, "loose", json!({"b": "2"})).await?;
    until_content(&corner, "two", "loose", "b", Some("2")).await?;
    for name in ["one", "two"] {
        corner.delete(name, None).await?;
        corner.gone(name).await?;
    }
    let asked = eventually("the watch of the other ends", || async {
        let asked = asked(&corner)?;
        Ok(asked.iter().any(|event| event.verb == "watch" && event.name == "loose").then_some(asked))
    })
    .await?;
    let fixed: Vec<&AuditEvent> = asked.iter().filter(|event| event.name == "fixed" && event.code == 200).collect();
    assert!(matches!(&fixed[..], [read] if read.verb == "get"), "{fixed:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_waits_for_what_its_volume_needs_and_says_so_as_the_kubelet_does() -> Result<()> {
    let corner = Corner::new("volumes-missing").await?;
    let volume = json!({"name": "keys", "secret": {"secretName": "later", "items": [{"key": "k", "path": "k"}]}});
    corner.create(pod(&corner, "web", json!([volume]))).await?;
    let event = corner.event("web", "FailedMount").await?;
    let said = "MountVolume.SetUp failed for volume \"keys\" : secret \"later\" not found";
    assert_eq!(event.message.as_deref(), Some(said));
    let waits = |pod: &Pod| waiting_reason(pod).as_deref() == Some("ContainerCreating");
    let waiting = corner.until("web", "waits for its volume", waits).await?;
    assert_eq!(phase(&waiting), "Pending");
    put_secret(&corner, "later", json!({"stringData": {"other": "x"}})).await?;
    eventually("the missing key is told", || async {
        let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(corner.client.clone(), &corner.namespace);
        let events = events.list(&Default::default()).await?;
        let told = events.items.iter().filter_map(|event| event.message.as_deref());
        Ok(told.into_iter().any(|message| message.contains("secret \"later\" has no key \"k\"")).then_some(()))
    })
    .await?;
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let key = json!({"stringData": {"k": "v"}});
    secrets.patch("later", &PatchParams::default(), &Patch::Merge(&key)).await?;
    corner.running("web").await?;
    assert_eq!(shown(&corner, "web", "keys").await?, expected(&[("k", "0644", "v")]));
    assert!(corner.log("web").await?.contains(" workloads=1"), "it was made once");
    Ok(())
}

#[tokio::test]
async fn volumes_that_nobody_asks_for_cost_no_request() -> Result<()> {
    let mut corner = Corner::new("volumes-unasked").await?;
    put_config_map(&corner, "cm", json!({"data": {"a": "1"}})).await?;
    let mut manifest = corner.pod("web", json!({}));
    manifest["spec"]["volumes"] = json!([
        {"name": "conf", "configMap": {"name": "cm"}},
        {"name": "none", "secret": {"secretName": "missing"}},
    ]);
    corner.create(manifest).await?;
    corner.running("web").await?;
    assert!(corner.host.stop()?.success());
    let corner = corner.restarted()?;
    corner.create(corner.pod("next", json!({}))).await?;
    corner.running("next").await?;
    let asked = asked(&corner)?;
    assert!(asked.is_empty(), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_was_adopted_has_what_changed_while_the_host_was_away_and_after() -> Result<()> {
    let mut corner = Corner::new("volumes-adopted").await?;
    put_config_map(&corner, "cm", json!({"data": {"a": "1"}})).await?;
    corner.create(pod(&corner, "web", json!([{"name": "conf", "configMap": {"name": "cm"}}]))).await?;
    corner.running("web").await?;
    assert!(corner.host.stop()?.success());
    change_config_map(&corner, "cm", json!({"a": "2"})).await?;
    let corner = corner.restarted()?;
    until_content(&corner, "web", "conf", "a", Some("2")).await?;
    change_config_map(&corner, "cm", json!({"a": "3"})).await?;
    assert!(until_content(&corner, "web", "conf", "a", Some("3")).await? < SOON);
    Ok(())
}

#[tokio::test]
async fn an_update_that_fails_is_told_and_tried_again() -> Result<()> {
    let corner = Corner::new("volumes-retry").await?;
    put_config_map(&corner, "cm", json!({"data": {"a": "1"}})).await?;
    let mut manifest = pod(&corner, "web", json!([{"name": "conf", "configMap": {"name": "cm"}}]));
    let fault = json!({"log-volumes": "true", "volume-fault": "unavailable times=2"});
    manifest["metadata"]["annotations"] = mock(fault);
    corner.create(manifest).await?;
    corner.running("web").await?;
    change_config_map(&corner, "cm", json!({"a": "2"})).await?;
    until_content(&corner, "web", "conf", "a", Some("2")).await?;
    let event = corner.event("web", "FailedMount").await?;
    assert!(event.message.is_some_and(|message| message.starts_with("update of volume \"conf\" failed")));
    Ok(())
}

#[tokio::test]
async fn pull_secrets_are_credentials_for_the_images_that_they_fit() -> Result<()> {
    let corner = Corner::new("volumes-registry").await?;
    let auths = json!({"auths": {
        "registry.example:5000/team": {"auth": "dGVhbTpodXNoLWh1c2g="},
        "registry.example:5000": {"username": "all", "password": "p"},
        "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
    }});
    let config =
        json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": auths.to_string()}});
    put_secret(&corner, "registries", config).await?;
    let mut manifest = corner.pod("web", json!({"log-credentials": "true", "reveal-secrets": "true"}));
    manifest["spec"]["imagePullSecrets"] = json!([{"name": "missing"}, {"name": "registries"}]);
    manifest["spec"]["containers"] = json!([
        {"name": "main", "image": "registry.example:5000/team/app:1"},
        {"name": "hub", "image": "busybox"},
        {"name": "other", "image": "quay.io/a/b"},
    ]);
    corner.create(manifest).await?;
    corner.running("web").await?;
    let params = kube::api::LogParams { container: Some("main".into()), ..Default::default() };
    let log = corner.pods().logs("web", &params).await?;
    let credentials: Vec<&str> = log.lines().filter(|line| line.starts_with("credential ")).collect();
    let expected = [
        "credential registry.example:5000/team/app:1 registry.example:5000 team hush-hush",
        "credential registry.example:5000/team/app:1 registry.example:5000 all p",
        "credential busybox docker.io hub p",
    ];
    assert_eq!(credentials, expected);
    let event = corner.event("web", "FailedToRetrieveImagePullSecret").await?;
    assert!(event.message.is_some_and(|message| message.contains("\"missing\"")));
    assert!(!corner.host.log()?.contains("hush-hush"), "a password reached the host's log");
    Ok(())
}

#[tokio::test]
async fn a_container_that_needs_the_pod_s_ip_has_it_where_the_provider_asks_for_it() -> Result<()> {
    let late = |config: vk_tests::host::HostConfig| {
        let text = config.provider_config.clone().unwrap_or_default();
        vk_tests::host::HostConfig { provider_config: Some(format!("resolvesLate = true\n{text}")), ..config }
    };
    let corner = Corner::with("volumes-late", late).await?;
    let mut manifest = corner.pod("web", json!({"log-env": "true", "ip": "10.1.2.3"}));
    manifest["spec"]["containers"][0]["env"] = json!([
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "URL", "value": "http://$(IP):80"},
    ]);
    corner.create(manifest).await?;
    corner.running("web").await?;
    let log = corner.log("web").await?;
    assert!(log.contains("env IP=10.1.2.3") && log.contains("env URL=http://10.1.2.3:80"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_provider_may_tell_events_of_its_pods() -> Result<()> {
    let corner = Corner::new("volumes-event").await?;
    corner.create(corner.pod("web", json!({"event": "RackDegraded one of two disks is gone"}))).await?;
    corner.running("web").await?;
    let event = corner.event("web", "RackDegraded").await?;
    assert_eq!(event.message.as_deref(), Some("one of two disks is gone"));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    Ok(())
}
