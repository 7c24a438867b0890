//! The life of a pod as a container group.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use vk_tests::cluster::{eventually, phase};

use crate::corner::{Ground, container, status};

const SECRET: &str = "s3cret: \"quoted\" & more";

/// Waits until a pod has ended, however.
pub(crate) async fn ended(ground: &Ground, name: &str) -> Result<Pod> {
    ground.corner.until(name, "has ended", |pod| ["Succeeded", "Failed"].contains(&phase(pod))).await
}

/// Gives a pod's container another image.
pub(crate) async fn change_image(ground: &Ground, pod: &str, image: &str) -> Result<()> {
    let change = Patch::Strategic(json!({"spec": {"containers": [{"name": "main", "image": image}]}}));
    ground.corner.pods().patch(pod, &PatchParams::default(), &change).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_runs_with_its_environment_and_files_and_its_secrets_are_secret() -> Result<()> {
    let ground = Ground::new("given").await?;
    let corner = &ground.corner;
    ground.secret("keys", json!({"token": SECRET, "file": "in-a-file"})).await?;
    ground.config_map("settings", json!({"greeting": "hello", "app.toml": "a = 1"})).await?;
    let mut main =
        container("echo $GREETING; echo \"$TOKEN\"; cat /etc/app/app.toml /etc/keys/file; echo end; sleep 100000");
    main["env"] = json!([
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
    ]);
    main["volumeMounts"] =
        json!([{"name": "app", "mountPath": "/etc/app"}, {"name": "keys", "mountPath": "/etc/keys"}]);
    let mut pod = ground.pod("web", main);
    pod["spec"]["volumes"] =
        json!([{"name": "app", "configMap": {"name": "settings"}}, {"name": "keys", "secret": {"secretName": "keys"}}]);
    corner.create(pod).await?;
    corner.running("web").await?;
    let log = eventually("the container has said all", || async {
        let log = corner.log("web").await?;
        Ok(log.ends_with("end\n").then_some(log))
    })
    .await?;
    ensure!(log.starts_with(&format!("hello\n{SECRET}\na = 1")) && log.contains("in-a-file"), "{log:?}");

    let group = ground.group("web").await?;
    let variables = &group["properties"]["containers"][0]["properties"]["environmentVariables"];
    let of = |name: &str| variables.as_array().into_iter().flatten().find(|variable| variable["name"] == name).cloned();
    ensure!(of("GREETING") == Some(json!({"name": "GREETING", "value": "hello"})), "{variables}");
    ensure!(of("TOKEN") == Some(json!({"name": "TOKEN"})), "a secret is a plain value: {variables}");
    let told = corner.host.log()?;
    let escaped = Value::from(SECRET).to_string();
    ensure!(!told.contains(SECRET) && !told.contains(escaped.trim_matches('"')), "a secret is in the log");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_that_ends_has_its_real_exit_code() -> Result<()> {
    let ground = Ground::new("ends").await?;
    let corner = &ground.corner;
    corner.create(ground.pod("well", container("echo done"))).await?;
    corner.create(ground.pod("badly", container("echo broken >&2; exit 42"))).await?;
    for (name, wanted, code, said) in [("well", "Succeeded", 0, "done\n"), ("badly", "Failed", 42, "broken\n")] {
        let pod = ended(&ground, name).await?;
        ensure!(phase(&pod) == wanted, "{:?}", pod.status);
        let state = status(&pod).and_then(|status| status.state.as_ref()?.terminated.clone());
        let ended = state.with_context(|| format!("{name} has not ended: {:?}", pod.status))?;
        ensure!(ended.exit_code == code && ended.started_at.is_some(), "{ended:?}");
        let log = corner.log(name).await?;
        ensure!(log == said, "{name}: {log}");
    }
    ground.over(&["well", "badly"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_container_that_crashes_is_restarted_and_its_last_end_is_told() -> Result<()> {
    let ground = Ground::new("crash").await?;
    let corner = &ground.corner;
    let mut pod = ground.pod("again", container("exit 5"));
    pod["spec"]["restartPolicy"] = json!("Always");
    corner.create(pod).await?;
    let restarted = |pod: &_| status(pod).is_some_and(|status| status.restart_count > 1);
    let pod = corner.until("again", "was restarted", restarted).await?;
    let last = status(&pod).and_then(|status| status.last_state.as_ref()?.terminated.clone());
    ensure!(last.as_ref().is_some_and(|last| last.exit_code == 5), "{last:?}");
    ground.over(&["again"]).await
}
