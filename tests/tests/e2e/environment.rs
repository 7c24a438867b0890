//! Environment, command and arguments from every source, and what happens while a source is missing.

use anyhow::Result;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vk_tests::audit::{AuditEvent, Filter};
use vk_tests::cluster::{Corner, eventually, phase, waiting_reason};

async fn config_map(corner: &Corner<'_>, name: &str, data: Value) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(corner.client.clone(), &corner.namespace);
    maps.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": name}, "data": data}))?)
        .await?;
    Ok(())
}

fn pod(corner: &Corner<'_>, name: &str, container: Value) -> Value {
    let mut pod = corner.pod(name, json!({"log-env": "true", "reveal-secrets": "true"}));
    if let Some(main) = pod.pointer_mut("/spec/containers/0").and_then(Value::as_object_mut) {
        main.extend(container.as_object().cloned().unwrap_or_default());
    }
    pod
}

#[tokio::test]
async fn every_source_reaches_the_container() -> Result<()> {
    let corner = Corner::new("env").await?;
    config_map(&corner, "cm", json!({"CM_A": "from-cm", "SHARED": "cm"})).await?;
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"TOKEN": "hush-hush", "SHARED": "secret"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let services: Api<Service> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let service = json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}});
    let service = services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    let ip = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();

    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let mut manifest = pod(
        &corner,
        "all",
        json!({
            "command": ["run", "$(PLAIN)"],
            "args": ["--host=$(DB_SERVICE_HOST)", "$$(PLAIN)", "$(UNKNOWN)"],
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
            "envFrom": [{"configMapRef": {"name": "cm"}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
            "env": [
                {"name": "PLAIN", "value": "plain"},
                {"name": "JOINED", "value": "$(PLAIN)-$(CM_A)-$(P_TOKEN)"},
                {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "CM_A"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}},
                {"name": "NAME", "valueFrom": field("metadata.name")},
                {"name": "NAMESPACE", "valueFrom": field("metadata.namespace")},
                {"name": "NODE", "valueFrom": field("spec.nodeName")},
                {"name": "ACCOUNT", "valueFrom": field("spec.serviceAccountName")},
                {"name": "HOST", "valueFrom": field("status.hostIP")},
                {"name": "LABEL", "valueFrom": field("metadata.labels['team']")},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
                {"name": "NODE_CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            ],
        }),
    );
    manifest["metadata"]["labels"] = json!({"team": "blue"});
    corner.create(manifest).await?;
    corner.running("all").await?;
    let log = corner.log("all").await?;
    let expected = [
        "command run plain".to_string(),
        format!("args --host={ip} $(PLAIN) $(UNKNOWN)"),
        "env CM_A=from-cm".into(),
        "env SHARED=cm".into(),
        "env P_SHARED=secret".into(),
        "env P_TOKEN=hush-hush".into(),
        "env JOINED=plain-from-cm-hush-hush".into(),
        "env KEY=from-cm".into(),
        "env SECRET=hush-hush".into(),
        "env NAME=all".into(),
        format!("env NAMESPACE={}", corner.namespace),
        format!("env NODE={}", corner.host.node()),
        "env ACCOUNT=default".into(),
        "env HOST=127.0.0.1".into(),
        "env LABEL=blue".into(),
        "env MEMORY=64".into(),
        "env CPU=250".into(),
        "env NODE_CPU=200".into(),
        format!("env DB_SERVICE_HOST={ip}"),
        "env DB_PORT_5432_TCP_PROTO=tcp".into(),
        "env KUBERNETES_SERVICE_PORT=443".into(),
    ];
    for line in expected {
        assert!(log.lines().any(|l| l == line), "{line:?} is missing in\n{log}");
    }
    assert!(!corner.host.log()?.contains("hush-hush"), "a secret reached the host's log");
    Ok(())
}

#[tokio::test]
async fn secrets_stay_marked_on_their_way() -> Result<()> {
    let corner = Corner::new("env-secret").await?;
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"TOKEN": "hush-hush"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let mut manifest = pod(
        &corner,
        "marked",
        json!({
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}}, {"name": "B", "value": "x$(A)"}],
            "args": ["$(B)"],
        }),
    );
    manifest["metadata"]["annotations"] = vk_tests::cluster::mock(json!({"log-env": "true"}));
    corner.create(manifest).await?;
    corner.running("marked").await?;
    let log = corner.log("marked").await?;
    assert!(!log.contains("hush"), "{log}");
    assert!(log.contains("env A=(secret, 9 bytes)") && log.contains("env B=(secret, 10 bytes)"), "{log}");
    Ok(())
}

#[tokio::test]
async fn an_optional_source_that_is_missing_is_skipped_with_an_event() -> Result<()> {
    let corner = Corner::new("env-optional").await?;
    corner
        .create(pod(
            &corner,
            "optional",
            json!({
                "envFrom": [{"configMapRef": {"name": "none", "optional": true}}],
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}}],
            }),
        ))
        .await?;
    corner.running("optional").await?;
    corner.event("optional", "OptionalConfigMapNotFound").await?;
    corner.event("optional", "OptionalSecretNotFound").await?;
    assert!(!corner.log("optional").await?.contains("env X="));
    Ok(())
}

#[tokio::test]
async fn a_config_map_that_appears_late_ends_the_wait() -> Result<()> {
    let corner = Corner::new("env-late").await?;
    corner
        .create(pod(
            &corner,
            "late",
            json!({
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}],
            }),
        ))
        .await?;
    corner.event("late", "MandatoryConfigMapNotFound").await?;
    let waiting =
        |pod: &k8s_openapi::api::core::v1::Pod| waiting_reason(pod).as_deref() == Some("CreateContainerConfigError");
    let pod = corner.until("late", "waits for its ConfigMap", waiting).await?;
    assert_eq!(phase(&pod), "Pending");
    config_map(&corner, "later", json!({"k": "here"})).await?;
    corner.running("late").await?;
    assert!(corner.log("late").await?.contains("env X=here"));
    Ok(())
}

#[tokio::test]
async fn a_mandatory_secret_that_never_comes_does_not_hinder_the_delete() -> Result<()> {
    let corner = Corner::new("env-never").await?;
    corner.create(pod(&corner, "never", json!({"envFrom": [{"secretRef": {"name": "none"}}]}))).await?;
    corner.event("never", "MandatorySecretNotFound").await?;
    corner.delete("never", None).await?;
    corner.gone("never").await
}

#[tokio::test]
async fn a_secret_that_is_no_text_is_named_and_never_changed() -> Result<()> {
    let corner = Corner::new("env-binary").await?;
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    // Four bytes that are no UTF-8, and three that are.
    let secret = json!({"metadata": {"name": "keys"}, "data": {"DER": "MIIB/w==", "TEXT": "YWJj"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let der = json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "DER"}}}]);
    corner.create(pod(&corner, "one", json!({"env": der}))).await?;
    corner.create(pod(&corner, "all", json!({"envFrom": [{"secretRef": {"name": "keys"}}]}))).await?;
    corner.running("all").await?;
    for name in ["one", "all"] {
        let event = corner.event(name, "InvalidEnvironmentVariableValues").await?;
        assert!(event.message.as_deref().is_some_and(|message| message.contains("DER")), "{:?}", event.message);
    }
    let log = corner.log("all").await?;
    assert!(log.contains("env TEXT=abc") && !log.contains("env DER="), "{log}");
    // Whoever made it can mend it.
    let mended = json!({"data": {"DER": "b2s="}});
    secrets.patch("keys", &PatchParams::default(), &Patch::Merge(&mended)).await?;
    corner.running("one").await?;
    assert!(corner.log("one").await?.contains("env X=ok"));
    Ok(())
}

#[tokio::test]
async fn a_running_pod_does_not_care_when_its_config_map_goes() -> Result<()> {
    let mut corner = Corner::new("env-gone").await?;
    config_map(&corner, "cm", json!({"A": "1"})).await?;
    corner.create(pod(&corner, "web", json!({"envFrom": [{"configMapRef": {"name": "cm"}}]}))).await?;
    corner.running("web").await?;
    let maps: Api<ConfigMap> = Api::namespaced(corner.client.clone(), &corner.namespace);
    maps.delete("cm", &DeleteParams::default()).await?;
    // An update of the pod needs its ConfigMap again, and so does a host that comes back and finds the update undone.
    let image = json!({"spec": {"containers": [{"name": "main", "image": "mock:2"}]}});
    corner.pods().patch("web", &PatchParams::default(), &Patch::Strategic(&image)).await?;
    complaints(&corner, 1).await?;
    runs_on(&corner).await?;
    assert!(corner.host.stop()?.success());
    let corner = corner.restarted()?;
    complaints(&corner, 2).await?;
    runs_on(&corner).await
}

/// Waits until hosts have said so often that they cannot update the pod. One host says it once: its repeats are a series.
async fn complaints(corner: &Corner<'_>, hosts: usize) -> Result<()> {
    let events: Api<Event> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let params = ListParams::default().fields("involvedObject.name=web,reason=FailedToUpdatePod");
    eventually(&format!("{hosts} hosts cannot update the pod"), || async {
        Ok((events.list(&params).await?.items.len() >= hosts).then_some(()))
    })
    .await
}

async fn runs_on(corner: &Corner<'_>) -> Result<()> {
    // After a restart the API server has to learn the node's port first.
    let log = eventually("its log can be read", || async { Ok(Some(corner.log("web").await?)) }).await?;
    assert!(log.contains("env A=1") && log.contains("calls create=1 update=0 delete=0 workloads=1"), "{log}");
    corner.running("web").await?;
    Ok(())
}

#[tokio::test]
async fn config_maps_and_secrets_are_read_one_at_a_time() -> Result<()> {
    let corner = Corner::new("env-audit").await?;
    config_map(&corner, "cm", json!({"A": "1"})).await?;
    let secrets: Api<Secret> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"TOKEN": "hush-hush"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let sources = json!([{"configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}]);
    corner.create(pod(&corner, "web", json!({"envFrom": sources}))).await?;
    corner.running("web").await?;
    let user = format!("system:node:{}", corner.host.node());
    let log = corner.control_plane.audit_log();
    log.wait_flushed(corner.control_plane)?;
    let asked = log.select(Filter { user: Some(&user), ..Filter::default() })?;
    let sensitive: Vec<_> = asked.iter().filter(|e| matches!(e.resource.as_str(), "configmaps" | "secrets")).collect();
    for (resource, name) in [("configmaps", "cm"), ("secrets", "s")] {
        let read = |e: &&AuditEvent| e.resource == resource && e.verb == "get" && e.name == name && e.code == 200;
        assert!(sensitive.iter().any(read), "{resource} {name}: {sensitive:?}");
    }
    assert!(sensitive.iter().all(|e| e.verb == "get" && !e.name.is_empty()), "no list, no watch: {sensitive:?}");
    // The Node authorizer learns of a pod a moment after the node does; what it then allows was not asked for wrongly.
    let allowed_later = |refused: &AuditEvent| {
        let same = |e: &&AuditEvent| (&e.resource, &e.name) == (&refused.resource, &refused.name);
        sensitive.iter().any(|e| same(e) && e.code == 200 && e.received > refused.received)
    };
    let refused: Vec<_> = asked.iter().filter(|e| e.code == 403 && !allowed_later(e)).collect();
    assert!(refused.is_empty(), "the node asked for what it may not have: {refused:?}");
    Ok(())
}
