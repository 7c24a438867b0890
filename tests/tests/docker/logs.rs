//! `kubectl logs` of what real processes write.

use anyhow::{Context as _, Result, ensure};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::api::LogParams;
use serde_json::json;
use vk_tests::cluster::eventually;

use crate::corner::{container, corner, kubectl, last_words, log_until, once, pod, restarts};

#[tokio::test]
#[ignore = "in a namespace"]
async fn follow_has_every_line_once_and_ends_with_the_container() -> Result<()> {
    let corner = corner("follow").await?;
    let script = "for i in $(seq 60); do echo tick $i; sleep 0.1; done";
    corner.create(once(&corner, "web", container("main", script))).await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let log = eventually("its log can be read", || async { Ok(Some(corner.pods().log_stream("web", &params).await?)) });
    let lines: Vec<String> = log.await?.lines().try_collect().await?;
    let expected: Vec<String> = (1..=60).map(|n| format!("tick {n}")).collect();
    ensure!(lines == expected, "{lines:?}");
    ensure!(last_words(&corner, "web").await?.lines().eq(&expected));
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn previous_is_the_attempt_before_and_both_are_whole() -> Result<()> {
    let corner = corner("previous").await?;
    let script = "n=$(cat /notes/n 2>/dev/null || echo 0); echo $((n + 1)) > /notes/n; echo attempt $n begins; sleep 1; echo attempt $n ends; [ $n = 0 ] || exec sleep 100000; exit 1";
    let mut crashing = container("main", script);
    crashing["volumeMounts"] = json!([{"name": "notes", "mountPath": "/notes"}]);
    let mut pod = pod(&corner, "web", crashing);
    pod["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    corner.create(pod).await?;
    // Followed, the first one ends with itself.
    let follow = eventually("it can be followed", || async {
        let log = kubectl(&corner, &["logs", "-f", "web"])?;
        Ok(Some(log))
    });
    let followed = follow.await?;
    ensure!(followed.matches("begins").count() <= 1 && followed.ends_with("ends\n"), "{followed}");
    corner.until("web", "runs again", |pod| restarts(pod, "main") == 1).await?;
    log_until(&corner, "web", "says all", |log| log.ends_with("ends\n")).await?;
    for (arguments, attempt) in [(["logs", "web"].as_slice(), 1), (&["logs", "--previous", "web"], 0)] {
        let log = kubectl(&corner, arguments)?;
        ensure!(log == format!("attempt {attempt} begins\nattempt {attempt} ends\n"), "{arguments:?}: {log}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn lines_come_whole_with_their_times_and_are_cut_where_one_asks() -> Result<()> {
    let corner = corner("lines").await?;
    // One that the engine cuts into pieces of 16 KiB, one of the other stream, and one without an end. An engine
    // reads each stream by itself: what is written to both at once may come in either order.
    let script =
        "echo first; head -c 40000 /dev/zero | tr '\\0' x; echo; sleep 1.1; echo other >&2; sleep 1.1; printf last";
    corner.create(once(&corner, "web", container("main", script))).await?;
    let log = last_words(&corner, "web").await?;
    let lines: Vec<&str> = log.lines().collect();
    let [first, long, other, last] = lines[..] else { anyhow::bail!("{lines:?}") };
    ensure!(
        (first, other, last) == ("first", "other", "last")
            && long.len() == 40_000
            && long.bytes().all(|byte| byte == b'x')
    );
    let read = |params: LogParams| {
        let pods = corner.pods();
        async move { pods.logs("web", &params).await }
    };
    let tail = read(LogParams { tail_lines: Some(2), ..LogParams::default() }).await?;
    ensure!(tail.trim_end() == "other\nlast", "{tail}");
    ensure!(read(LogParams { limit_bytes: Some(3), ..LogParams::default() }).await? == "fir");
    let stamped = read(LogParams { timestamps: true, ..LogParams::default() }).await?;
    let times: Vec<Timestamp> = stamped
        .lines()
        .map(|line| line.split_once(' ').context("no time")?.0.parse().context("no time"))
        .collect::<Result<_>>()?;
    ensure!(times.len() == 4 && times.is_sorted() && times[2].duration_since(times[1]).as_millis() > 0, "{times:?}");
    Ok(())
}
