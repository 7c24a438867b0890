//! Probes of every kind, and what follows from them.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use vk_tests::cluster::{Corner, pod_condition};

use crate::corner::{container, corner, pod, restarts, status, told};

fn is_ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").as_deref() == Some("True")
}

async fn until_ready(corner: &Corner<'_>, name: &str, ready: bool) -> Result<Pod> {
    corner
        .until(name, &format!("is ready: {ready}"), |pod| is_ready(pod) == ready && status(pod, "main").is_some())
        .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn readiness_by_a_command_comes_and_goes_without_a_restart() -> Result<()> {
    let corner = corner("exec-probe").await?;
    let mut probed = container("main", "sleep 5; touch /tmp/ready; sleep 15; rm /tmp/ready; exec sleep 100000");
    probed["readinessProbe"] = json!({"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1});
    corner.create(pod(&corner, "web", probed)).await?;
    let early = corner
        .until("web", "runs", |pod| status(pod, "main").is_some_and(|status| status.started == Some(true)))
        .await?;
    ensure!(!is_ready(&early), "it is ready before its probe says so");
    until_ready(&corner, "web", true).await?;
    let late = until_ready(&corner, "web", false).await?;
    ensure!(restarts(&late, "main") == 0);
    told(&corner, "web", "Unhealthy", "Readiness probe failed").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_container_whose_http_probe_fails_is_started_again_once_it_had_started() -> Result<()> {
    let corner = corner("http-probe").await?;
    // The first time it stops to serve what is asked for; the second time it does not.
    let script = "mkdir /www; echo ok > /www/ok; sleep 2; httpd -p 8080 -h /www; \
                  [ -e /notes/second ] || { touch /notes/second; sleep 4; rm /www/ok; }; exec sleep 100000";
    let mut probed = container("main", script);
    let get = json!({"path": "/ok", "port": "web"});
    probed["ports"] = json!([{"name": "web", "containerPort": 8080}]);
    probed["volumeMounts"] = json!([{"name": "notes", "mountPath": "/notes"}]);
    // It would not survive its own slow start without the first.
    probed["startupProbe"] = json!({"httpGet": get, "periodSeconds": 1, "failureThreshold": 30});
    probed["livenessProbe"] = json!({"httpGet": get, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 2});
    let mut pod = pod(&corner, "web", probed);
    pod["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    corner.create(pod).await?;
    until_ready(&corner, "web", true).await?;
    let again = corner.until("web", "was started again", |pod| restarts(pod, "main") == 1 && is_ready(pod)).await?;
    let end = status(&again, "main").and_then(|s| s.last_state.clone()?.terminated).context("no last state")?;
    ensure!(end.exit_code == 137, "{end:?}");
    corner.event("web", "Killing").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn readiness_by_a_port_that_is_open() -> Result<()> {
    let corner = corner("tcp-probe").await?;
    let mut probed = container("main", "sleep 2; exec nc -ll -p 7000 -e true");
    probed["readinessProbe"] = json!({"tcpSocket": {"port": 7000}, "periodSeconds": 1});
    let mut never = container("other", "exec sleep 100000");
    never["readinessProbe"] = json!({"tcpSocket": {"port": 7001}, "periodSeconds": 1});
    corner.create(pod(&corner, "open", probed)).await?;
    corner.create(pod(&corner, "closed", never)).await?;
    until_ready(&corner, "open", true).await?;
    corner.event("closed", "Unhealthy").await?;
    ensure!(!is_ready(&corner.pods().get("closed").await?));
    Ok(())
}

/// A frame of HTTP/2 (RFC 9113), as printf writes it.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> String {
    let length = u8::try_from(payload.len()).unwrap_or_default();
    let head = [0, 0, length, kind, flags, 0, 0, 0, stream];
    head.iter().chain(payload).map(|byte| format!("\\{byte:03o}")).collect()
}

/// A health service of gRPC that says always the same: the first request of a connection is on stream 1, whatever it asks.
fn health(status: u8) -> String {
    let [data, headers, settings] = [0, 1, 4];
    let [end_stream, ack, end_headers] = [1, 1, 4];
    // HPACK (RFC 7541): `:status 200`, and names and values as they are.
    let head = [b"\x88\x0f\x10\x10".as_slice(), b"application/grpc"].concat();
    let trailers = [b"\x00\x0b".as_slice(), b"grpc-status", b"\x010"].concat();
    let hello = [frame(settings, 0, 0, &[]), frame(settings, ack, 0, &[])].concat();
    let answer = [
        frame(headers, end_headers, 1, &head),
        // HealthCheckResponse { status = 1 }, two bytes and not compressed.
        frame(data, 0, 1, &[0, 0, 0, 0, 2, 8, status]),
        frame(headers, end_headers | end_stream, 1, &trailers),
    ];
    // What answers a stream that is not there yet is an error of the protocol.
    format!("#!/bin/sh\nprintf '{hello}'\nsleep 0.3\nprintf '{}'\nsleep 0.5\n", answer.concat())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn readiness_by_the_health_service_of_grpc() -> Result<()> {
    let [serving, not_serving] = [1, 2];
    let corner = corner("grpc-probe").await?;
    for (name, says) in [("serves", serving), ("does-not", not_serving)] {
        let script = "printf '%s' \"$SERVE\" > /tmp/serve; chmod +x /tmp/serve; exec nc -ll -p 9000 -e /tmp/serve";
        let mut probed = container("main", script);
        probed["env"] = json!([{"name": "SERVE", "value": health(says)}]);
        probed["readinessProbe"] = json!({"grpc": {"port": 9000}, "periodSeconds": 1, "timeoutSeconds": 2});
        corner.create(pod(&corner, name, probed)).await?;
    }
    until_ready(&corner, "serves", true).await?;
    // Before the server listens the probe says something else.
    told(&corner, "does-not", "Unhealthy", "NOT_SERVING").await?;
    ensure!(!is_ready(&corner.pods().get("does-not").await?));
    Ok(())
}
