//! `kubectl logs`, as far as Azure goes; and what is not there at all says so.

use anyhow::{Context as _, Result, ensure};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use kube::api::LogParams;
use serde_json::json;
use vk_tests::cluster::eventually;

use crate::corner::{Ground, container, status};

/// What kubectl says when it fails.
fn refusal(ground: &Ground, arguments: &[&str]) -> Result<String> {
    let corner = &ground.corner;
    let all: Vec<&str> = ["-n", &corner.namespace].into_iter().chain(arguments.iter().copied()).collect();
    let output = corner.control_plane.kubectl(&all).output()?;
    ensure!(!output.status.success(), "{arguments:?} did not fail");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn logs_are_cut_as_one_asks() -> Result<()> {
    let ground = Ground::new("log").await?;
    let corner = &ground.corner;
    // More than a second apart, as the API tells times in seconds.
    corner
        .create(ground.pod("web", container("for n in 1 2 3; do echo line $n; sleep 2; done; echo other >&2")))
        .await?;
    let whole = ground.last_words("web").await?;
    ensure!(whole == "line 1\nline 2\nline 3\nother\n", "{whole}");
    let read = |params: LogParams| {
        let pods = corner.pods();
        async move { pods.logs("web", &params).await }
    };
    for (tail, expected) in [(2, "line 3\nother\n"), (0, ""), (9, whole.as_str())] {
        let log = read(LogParams { tail_lines: Some(tail), ..LogParams::default() }).await?;
        ensure!(log == expected, "{tail}: {log}");
    }
    let log = read(LogParams { limit_bytes: Some(9), ..LogParams::default() }).await?;
    ensure!(log == "line 1\nli", "{log}");
    let stamped = read(LogParams { timestamps: true, ..LogParams::default() }).await?;
    let times: Vec<Timestamp> = stamped
        .lines()
        .map(|line| line.split_once(' ').context("no time")?.0.parse().context("no time"))
        .collect::<Result<_>>()?;
    ensure!(times.len() == 4 && times.is_sorted(), "{stamped}");
    // kubectl's like round it, up as well as down.
    let since = LogParams { since_time: Some(times[2] - SignedDuration::from_secs(1)), ..LogParams::default() };
    let log = read(since.clone()).await?;
    ensure!(log == "line 3\nother\n", "since {:?}: {log}\nof {stamped}", times[2]);
    let log = read(LogParams { tail_lines: Some(1), ..since }).await?;
    ensure!(log == "other\n", "{log}");
    let log = read(LogParams { since_seconds: Some(100_000), ..LogParams::default() }).await?;
    ensure!(log == whole, "{log}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn follow_has_every_line_once_and_ends_with_the_container() -> Result<()> {
    let ground = Ground::new("follow").await?;
    let corner = &ground.corner;
    corner.create(ground.pod("web", container("for n in $(seq 40); do echo tick $n; sleep 0.2; done"))).await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let log = eventually("its log can be read", || async { Ok(Some(corner.pods().log_stream("web", &params).await?)) });
    let lines: Vec<String> = log.await?.lines().try_collect().await?;
    let expected: Vec<String> = (1..=40).map(|number| format!("tick {number}")).collect();
    ensure!(lines == expected, "{lines:?}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_azure_does_not_have_is_refused_with_the_reason() -> Result<()> {
    let ground = Ground::new("refused-logs").await?;
    let corner = &ground.corner;
    corner.create(ground.pod("first", container("echo first; sleep 100000"))).await?;
    let mut again =
        ground.pod("again", container("[ -e /notes/once ] && exec sleep 100000; touch /notes/once; exit 1"));
    again["spec"]["restartPolicy"] = json!("Always");
    again["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "notes", "mountPath": "/notes"}]);
    again["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    corner.create(again).await?;
    corner.running("first").await?;
    let is_again = |pod: &_| status(pod).is_some_and(|status| status.restart_count == 1);
    corner.until("again", "was started again", is_again).await?;
    for (arguments, says) in [
        (
            ["logs", "first", "--previous"].as_slice(),
            "previous terminated container \"main\" in pod \"first\" not found",
        ),
        (&["logs", "again", "--previous"], "Azure Container Instances keep that of the present one"),
        (&["exec", "first", "--", "true"], "exec is not served"),
        (&["attach", "first"], "attach is not served"),
        (&["port-forward", "first", ":80"], "port-forward is not served"),
    ] {
        let said = refusal(&ground, arguments)?;
        ensure!(said.contains(says), "{arguments:?}: {said}");
    }
    ground.over(&["first", "again"]).await
}
