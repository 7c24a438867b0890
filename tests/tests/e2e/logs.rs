//! `kubectl logs`, and who else may read them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually};
use vk_tests::control_plane::{ControlPlane, Credentials, Identity, succeed};

/// Sessions that the host serves at once; more wait for one to end.
const SESSIONS: usize = 256;

/// The time and the text of each line of a log that was read with timestamps.
fn stamped(log: &str) -> Result<Vec<(Timestamp, &str)>> {
    let lines = log.lines().map(|line| {
        let (time, text) = line.split_once(' ').with_context(|| format!("no time: {line}"))?;
        Ok((time.parse::<Timestamp>()?, text))
    });
    lines.collect()
}

#[tokio::test]
async fn tail_and_limit_cut_the_log() -> Result<()> {
    let corner = Corner::new("logs-tail").await?;
    corner.create(corner.pod("web", json!({"log-lines": "100"}))).await?;
    corner.running("web").await?;
    let all = corner.log("web").await?;
    assert!(all.lines().count() > 100, "{all}");
    let read = |params: LogParams| {
        let pods = corner.pods();
        async move { pods.logs("web", &params).await }
    };
    let tail = read(LogParams { tail_lines: Some(3), ..LogParams::default() }).await?;
    assert_eq!(tail.lines().collect::<Vec<_>>(), all.lines().skip(all.lines().count() - 3).collect::<Vec<_>>());
    assert_eq!(read(LogParams { tail_lines: Some(0), ..LogParams::default() }).await?, "");
    assert_eq!(read(LogParams { limit_bytes: Some(10), ..LogParams::default() }).await?, all[..10]);
    Ok(())
}

#[tokio::test]
async fn since_cuts_the_log_by_its_times() -> Result<()> {
    let corner = Corner::new("logs-since").await?;
    // It has ended when it is read, so that every reader finds the same lines.
    let mut pod = corner.pod("web", json!({"log-every": "200ms", "run-for": "3s"}));
    pod["spec"]["restartPolicy"] = json!("Never");
    corner.create(pod).await?;
    corner.in_phase("web", "Succeeded").await?;
    let read = |params: LogParams| {
        let pods = corner.pods();
        async move { pods.logs("web", &LogParams { timestamps: true, ..params }).await }
    };
    let log = read(LogParams::default()).await?;
    let all = stamped(&log)?;
    assert_eq!(all.len(), 1 + 15, "the calls, and a tick each 200 ms: {log}");
    // The API takes whole seconds; this one is half a second to one and a half after the first line.
    let (first, _) = all.first().context("no line")?;
    let since = first.round(Unit::Second)? + Duration::from_secs(1);
    let expected: Vec<_> = all.iter().filter(|(time, _)| *time >= since).copied().collect();
    assert!(!expected.is_empty() && expected.len() < all.len(), "{since}: {log}");
    let text = read(LogParams { since_time: Some(since), ..LogParams::default() }).await?;
    assert_eq!(stamped(&text)?, expected, "since {since}");
    eventually("all lines are older than a second", || async {
        let recent = read(LogParams { since_seconds: Some(1), ..LogParams::default() }).await?;
        Ok(recent.is_empty().then_some(()))
    })
    .await?;
    assert_eq!(read(LogParams { since_seconds: Some(3600), ..LogParams::default() }).await?, log);
    Ok(())
}

#[tokio::test]
async fn follow_goes_on_until_the_container_ends() -> Result<()> {
    let corner = Corner::new("logs-follow").await?;
    let mut pod = corner.pod("web", json!({"log-every": "100ms", "run-for": "5s"}));
    pod["spec"]["restartPolicy"] = json!("Never");
    corner.create(pod).await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let log = eventually("its log can be read", || async { Ok(Some(corner.pods().log_stream("web", &params).await?)) });
    let lines: Vec<String> = log.await?.lines().try_collect().await?;
    let ticks: Vec<&String> = lines.iter().filter(|line| line.starts_with("tick ")).collect();
    let expected: Vec<String> = (1..=50).map(|n| format!("tick {n}")).collect();
    assert_eq!(ticks, expected.iter().collect::<Vec<_>>(), "one each 100 ms for 5 s: none lost, none twice");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_session() -> Result<()> {
    let corner = Corner::new("logs-leave").await?;
    // It says one thing and then nothing: no write is going to tell the provider that nobody reads any more.
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let visits = stream::iter(0..SESSIONS).map(|_| async {
        let mut lines = corner.pods().log_stream("web", &params).await?.lines();
        lines.try_next().await?.context("no line")
    });
    let visits: Vec<String> = visits.buffer_unordered(8).try_collect().await?;
    assert_eq!(visits.len(), SESSIONS);
    // Were their sessions still there, this one would wait for ever.
    let log = tokio::time::timeout(Duration::from_secs(30), corner.log("web")).await;
    log.context("the sessions of readers that have gone go on")??;
    // Nor is one left that would hold up the end.
    let mut host = corner.host;
    assert!(host.stop()?.success());
    assert!(!host.log()?.contains("connections of the kubelet API are cut"), "{}", host.log()?);
    Ok(())
}

#[tokio::test]
async fn previous_reads_the_attempt_before() -> Result<()> {
    let corner = Corner::new("logs-previous").await?;
    // The first restart is at once; the second one would be after the back-off, longer than this test takes.
    let script = json!({"run-for": "6s", "exit-code": "1", "restart-backoff": "300s", "log-lines": "2"});
    corner.create(corner.pod("crash", script)).await?;
    let started = |pod: &Pod| {
        let container: &ContainerStatus = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
        let before = container.last_state.as_ref()?.terminated.as_ref()?.started_at.as_ref()?.0;
        let now = container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0;
        Some((before, now))
    };
    let pod = corner.until("crash", "runs again", |pod| started(pod).is_some()).await?;
    let (before, now) = started(&pod).context("it does not run again")?;
    assert!(before < now, "{before} {now}");
    for (previous, start) in [(true, before), (false, now)] {
        let params = LogParams { previous, timestamps: true, ..LogParams::default() };
        let log = corner.pods().logs("crash", &params).await?;
        let lines = stamped(&log)?;
        // Statuses have whole seconds.
        let of_attempt = |time: &Timestamp| time.as_second() == start.as_second();
        assert!(lines.len() == 3 && lines.iter().all(|(time, _)| of_attempt(time)), "{previous} {start}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_says_what_is_wrong() -> Result<()> {
    let corner = Corner::new("logs-errors").await?;
    corner.create(corner.pod("waits", json!({"start-after": "10m"}))).await?;
    corner.event("waits", "Created").await?;
    let kubectl = |args: &[&str]| {
        let args: Vec<&str> = ["-n", &corner.namespace, "logs"].into_iter().chain(args.iter().copied()).collect();
        let output = corner.control_plane.kubectl(&args).output()?;
        anyhow::Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (ok, text) = kubectl(&["waits"])?;
    assert!(!ok && text.contains("is waiting to start"), "{text}");
    let (ok, text) = kubectl(&["waits", "--previous"])?;
    assert!(!ok && text.contains("is waiting to start"), "{text}");
    // In the words of the provider, whatever it says.
    for fault in ["unavailable", "resource-exhausted", "permission-denied", "internal"] {
        corner.create(corner.pod(fault, json!({"logs-fault": fault}))).await?;
        corner.running(fault).await?;
        let (ok, text) = kubectl(&[fault])?;
        assert!(!ok && text.contains("this fault was asked for"), "{fault}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_log_that_is_followed_says_that_the_node_stops() -> Result<()> {
    let mut corner = Corner::new("logs-stop").await?;
    corner.create(corner.pod("web", json!({"log-every": "100ms"}))).await?;
    corner.running("web").await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let mut lines = corner.pods().log_stream("web", &params).await?.lines();
    lines.try_next().await?.context("no line")?;
    assert!(corner.host.stop()?.success());
    let rest: Vec<String> = lines.try_collect().await?;
    let last = rest.last().context("nothing more")?;
    assert!(last.contains("breaks off") && last.contains("shutting down"), "{rest:?}");
    Ok(())
}

#[tokio::test]
async fn the_node_s_port_is_closed_to_all_but_the_api_server() -> Result<()> {
    let corner = Corner::new("logs-closed").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let node = corner.node_ready().await?;
    let port =
        node.status.and_then(|s| s.daemon_endpoints).and_then(|d| d.kubelet_endpoint).context("no endpoint")?.port;
    let get_of = |container: &str, credentials: Option<Credentials>| {
        let url = format!("https://127.0.0.1:{port}/containerLogs/{}/web/{container}", corner.namespace);
        async move {
            let mut client = reqwest::Client::builder().danger_accept_invalid_certs(true);
            if let Some(Credentials { certificate, key, .. }) = credentials {
                let pem = [std::fs::read(certificate)?, std::fs::read(key)?].concat();
                client = client.identity(reqwest::Identity::from_pem(&pem)?);
            }
            anyhow::Ok(client.build()?.get(url).send().await?.status().as_u16())
        }
    };
    let get = |credentials: Option<Credentials>| get_of("main", credentials);
    let issue = |user: &str, impostor| {
        let groups = vec![if impostor { "system:masters".to_string() } else { "people".into() }];
        corner.control_plane.issue(&Identity { user: user.into(), groups, impostor })
    };
    assert_eq!(get(None).await?, 401, "nobody");
    assert_eq!(get(Some(issue("somebody", false)?)).await?, 403, "a user of the cluster who may not");
    assert_eq!(get(Some(issue("impostor", true)?)).await?, 401, "of a foreign authority");
    let api_server = corner.control_plane.issue(&ControlPlane::kubelet_client())?;
    assert_eq!(get(Some(api_server.clone())).await?, 200, "the API server");
    // The API server itself refuses such a container; the node does not rely on it.
    assert_eq!(get_of("none", Some(api_server)).await?, 404, "a container that the pod does not have");
    succeed(&mut corner.control_plane.kubectl(&["-n", &corner.namespace, "logs", "web"]))?;
    Ok(())
}
