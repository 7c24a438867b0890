//! `livenessProbe`, `readinessProbe`: Azure asks, and tells by events.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vk_tests::cluster::eventually;

use super::container as of;
use crate::corner::{Ground, container, status};

/// Answers each request with `200 OK`, one after the other, once it has been read; what was read is its log.
const SERVE: &str =
    "while true; do (sleep 0.2; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n') | nc -l -p 8080; done";

/// More often than probes may fail.
const MANY: usize = 4;

/// A pod that goes on, with a probe which may fail once, unless it says otherwise.
fn pod(ground: &Ground, name: &str, script: &str, probes: Value) -> Value {
    let mut pod = ground.pod(name, container(script));
    pod["spec"]["restartPolicy"] = json!("Always");
    for (kind, probe) in probes.as_object().into_iter().flatten() {
        let mut probe = probe.clone();
        for (name, usual) in [("periodSeconds", 1), ("failureThreshold", 2), ("timeoutSeconds", 10)] {
            if probe[name].is_null() {
                probe[name] = json!(usual);
            }
        }
        pod["spec"]["containers"][0][kind] = probe;
    }
    pod
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_liveness_probe_that_fails_starts_the_container_again() -> Result<()> {
    let ground = Ground::new("liveness").await?;
    let corner = &ground.corner;
    let exec = json!({"livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/well"]}}});
    corner.create(pod(&ground, "command", "touch /tmp/well; sleep 3; rm /tmp/well; sleep 100000", exec)).await?;
    // What it writes is the container's log.
    let succeeds = json!({"livenessProbe": {"exec": {"command": ["sh", "-c", "echo asked >> /tmp/asked"]}}});
    corner.create(pod(&ground, "well", "touch /tmp/asked; exec tail -f /tmp/asked", succeeds)).await?;
    let mut get = json!({"livenessProbe": {"httpGet": {"path": "/healthz", "port": "web"}, "initialDelaySeconds": 1}});
    let mut silent = pod(&ground, "silent", "sleep 100000", get.clone());
    // Between two answers nobody listens for a moment.
    get["livenessProbe"]["failureThreshold"] = json!(60);
    let mut answers = pod(&ground, "answers", SERVE, get);
    for pod in [&mut answers, &mut silent] {
        pod["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 8080}]);
        corner.create(pod.clone()).await?;
    }
    for name in ["command", "silent"] {
        let again = |pod: &_| status(pod).is_some_and(|status| status.restart_count > 0);
        corner.until(name, "was started again", again).await?;
        let told = corner.event(name, "Unhealthy").await?.message.unwrap_or_default();
        ensure!(told.contains("Liveness probe failed"), "{told}");
    }
    for (name, word) in [("answers", "GET /healthz "), ("well", "asked\n")] {
        eventually(&format!("{name} is asked again and again"), || async {
            let asked = corner.log(name).await?.matches(word).count();
            ensure!(asked > MANY, "{asked} times");
            Ok(Some(()))
        })
        .await?;
        let pod = corner.running(name).await?;
        ensure!(status(&pod).is_some_and(|status| status.restart_count == 0), "{:?}", pod.status);
    }
    let group = ground.group("answers").await?;
    let probe = &of(&group, "main")["livenessProbe"];
    let expected = json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "http"}, "initialDelaySeconds": 1,
        "periodSeconds": 1, "failureThreshold": 60, "successThreshold": 1, "timeoutSeconds": 10});
    ensure!(*probe == expected, "{probe}");
    ground.over(&["command", "well", "answers", "silent"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_readiness_probe_that_fails_is_told_and_the_container_goes_on() -> Result<()> {
    let ground = Ground::new("readiness").await?;
    let corner = &ground.corner;
    let probes = json!({"readinessProbe": {"exec": {"command": ["false"]}}});
    corner.create(pod(&ground, "web", "sleep 100000", probes)).await?;
    let told = corner.event("web", "Unhealthy").await?.message.unwrap_or_default();
    ensure!(told.contains("Readiness probe failed"), "{told}");
    let pod = corner.running("web").await?;
    ensure!(status(&pod).is_some_and(|status| status.restart_count == 0), "{:?}", pod.status);
    ground.over(&["web"]).await
}
