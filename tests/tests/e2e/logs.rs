//! `kubectl logs`, and who else may read them.

use anyhow::{Context as _, Result};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use kube::api::LogParams;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually};
use vk_tests::control_plane::{Credentials, Identity, succeed};

#[tokio::test]
async fn tail_since_and_limit_cut_the_log() -> Result<()> {
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
    let stamped = read(LogParams { timestamps: true, tail_lines: Some(1), ..LogParams::default() }).await?;
    let (time, line) = stamped.trim_end().split_once(' ').context("no time")?;
    assert!(time.parse::<jiff::Timestamp>().is_ok() && all.ends_with(&format!("{line}\n")), "{stamped}");
    Ok(())
}

#[tokio::test]
async fn follow_goes_on_until_the_container_ends() -> Result<()> {
    let corner = Corner::new("logs-follow").await?;
    let mut pod = corner.pod("web", json!({"log-every": "100ms", "run-for": "2s"}));
    pod["spec"]["restartPolicy"] = json!("Never");
    corner.create(pod).await?;
    corner.running("web").await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let lines: Vec<String> = corner.pods().log_stream("web", &params).await?.lines().try_collect().await?;
    let ticks = lines.iter().filter(|line| line.starts_with("tick ")).count();
    assert!((15..=21).contains(&ticks), "{ticks} ticks in two seconds, one each 100 ms: {lines:?}");
    let expected: Vec<String> = (1..=ticks).map(|n| format!("tick {n}")).collect();
    assert!(lines.ends_with(&expected), "none lost, none twice: {lines:?}");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_session() -> Result<()> {
    let corner = Corner::new("logs-leave").await?;
    corner.create(corner.pod("web", json!({"log-every": "50ms"}))).await?;
    corner.running("web").await?;
    for _ in 0..3 {
        let mut lines =
            corner.pods().log_stream("web", &LogParams { follow: true, ..LogParams::default() }).await?.lines();
        lines.try_next().await?.context("no line")?;
    }
    // The node serves on, and stops at once: no session is left that would hold it up.
    let mut host = corner.host;
    assert!(host.stop()?.success());
    assert!(!host.log()?.contains("connections of the kubelet API were cut"), "{}", host.log()?);
    Ok(())
}

#[tokio::test]
async fn previous_reads_the_attempt_before() -> Result<()> {
    let corner = Corner::new("logs-previous").await?;
    corner
        .create(
            corner.pod(
                "crash",
                json!({"run-for": "300ms", "exit-code": "1", "restart-backoff": "300ms", "log-lines": "2"}),
            ),
        )
        .await?;
    corner.event("crash", "Created").await?;
    let previous = LogParams { previous: true, ..LogParams::default() };
    let text =
        eventually("there is a previous attempt", || async { Ok(Some(corner.pods().logs("crash", &previous).await?)) })
            .await?;
    assert!(text.lines().count() >= 2, "{text}");
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
    let (ok, text) = kubectl(&["waits", "-c", "none"])?;
    assert!(!ok && text.contains("none"), "{text}");
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
    let url = format!("https://127.0.0.1:{port}/containerLogs/{}/web/main", corner.namespace);
    let get = |credentials: Option<Credentials>| {
        let url = url.clone();
        async move {
            let mut client = reqwest::Client::builder().danger_accept_invalid_certs(true);
            if let Some(Credentials { certificate, key, .. }) = credentials {
                let pem = [std::fs::read(certificate)?, std::fs::read(key)?].concat();
                client = client.identity(reqwest::Identity::from_pem(&pem)?);
            }
            anyhow::Ok(client.build()?.get(url).send().await?.status().as_u16())
        }
    };
    let issue = |user: &str, impostor| {
        let groups = vec![if impostor { "system:masters".to_string() } else { "people".into() }];
        corner.control_plane.issue(&Identity { user: user.into(), groups, impostor })
    };
    assert_eq!(get(None).await?, 401, "nobody");
    assert_eq!(get(Some(issue("somebody", false)?)).await?, 403, "a user of the cluster who may not");
    assert!(
        get(Some(issue("impostor", true)?)).await.is_err(),
        "a foreign authority does not get through the handshake"
    );
    let api_server = corner.control_plane.issue(&vk_tests::control_plane::ControlPlane::kubelet_client())?;
    assert_eq!(get(Some(api_server)).await?, 200, "the API server");
    succeed(&mut corner.control_plane.kubectl(&["-n", &corner.namespace, "logs", "web"]))?;
    Ok(())
}
