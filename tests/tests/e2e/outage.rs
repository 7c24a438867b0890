//! The API server dies and comes back while pods come and go, on a control plane of the test's own.
//!
//! ```text
//! 8 chains:   create 0 ─▶ Running ─▶ delete 0, create 1 ─▶ Running ─▶ delete 1, create 2 ─▶ …   the last one stays
//! meanwhile:  kill -9 of the API server, twice, each time when pods come and go
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::{try_join, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, own_control_plane, phase, within};
use vk_tests::control_plane::{Component, ControlPlane, Ending};

/// Pods that come and go side by side.
const CHAINS: usize = 8;
/// How often the API server is killed.
const KILLS: usize = 2;
/// An API server that starts on a busy machine, and after it the longest pause of a watch that has failed, 30 s.
const LIMIT: Duration = Duration::from_secs(120);

/// Pods that came one after the other.
struct Chain {
    /// UIDs of those that went.
    went: Vec<String>,
    last: Pod,
}

/// What chains and outages know of each other.
#[derive(Default)]
struct Progress {
    /// Pods that have been Running.
    came: AtomicUsize,
    over: AtomicBool,
}

#[tokio::test]
async fn pods_that_come_and_go_converge_though_the_api_server_is_killed() -> Result<()> {
    let control_plane = Arc::new(own_control_plane("outage", &[])?);
    let mut corner = Corner::on(&control_plane, "outage", |config| config).await?;
    let progress = Progress::default();
    let chains = try_join_all((0..CHAINS).map(|number| chain(&corner, number, &progress)));
    let (chains, ()) = try_join(chains, outages(&control_plane, &progress)).await?;

    let stay: BTreeSet<String> = chains.iter().map(|chain| chain.last.name_any()).collect();
    eventually("those that stay run, and no other is there", || async {
        let pods = corner.pods().list(&ListParams::default()).await?.items;
        let there: BTreeSet<String> = pods.iter().map(|pod| pod.name_any()).collect();
        Ok((there == stay && pods.iter().all(|pod| phase(pod) == "Running")).then_some(()))
    })
    .await?;
    let went: Vec<&String> = chains.iter().flat_map(|chain| &chain.went).collect();
    eventually("the workloads of those that went are removed", || async {
        let log = corner.host.log()?;
        Ok(went.iter().all(|uid| log.contains(&format!("workload removed uid={uid}"))).then_some(()))
    })
    .await?;
    let log = corner.host.log()?;
    for uid in went.into_iter().chain(chains.iter().filter_map(|chain| chain.last.metadata.uid.as_ref())) {
        assert_eq!(log.matches(&format!("workload made uid={uid} ")).count(), 1, "{uid}");
    }
    for name in &stay {
        let log = eventually("its log can be read", || async { Ok(Some(corner.log(name).await?)) }).await?;
        assert!(log.starts_with("calls create=1 update=0 delete=0 workloads=1"), "{name}: {log}");
    }
    assert!(corner.host.stop()?.success(), "{}", corner.host.log()?);
    Ok(())
}

/// Kills the API server while pods come and go, and waits each time until they do so again.
async fn outages(control_plane: &Arc<ControlPlane>, progress: &Progress) -> Result<()> {
    for _ in 0..KILLS {
        progress.goes_on().await?;
        let control_plane = control_plane.clone();
        let kill = move || control_plane.restart(Component::ApiServer, Ending::Crash);
        tokio::task::spawn_blocking(kill).await??;
    }
    progress.goes_on().await?;
    progress.over.store(true, Ordering::Relaxed);
    Ok(())
}

impl Progress {
    async fn goes_on(&self) -> Result<()> {
        let before = self.came.load(Ordering::Relaxed);
        within(LIMIT, "pods come and go", || async {
            Ok((self.came.load(Ordering::Relaxed) >= before + CHAINS).then_some(()))
        })
        .await
    }
}

async fn chain(corner: &Corner<'_>, number: usize, progress: &Progress) -> Result<Chain> {
    // Every other chain takes its time, so that a kill finds pods that start and pods that stop.
    let script =
        if number.is_multiple_of(2) { json!({}) } else { json!({"start-after": "200ms", "stop-after": "200ms"}) };
    let mut went = Vec::new();
    loop {
        let name = format!("pod-{number}-{}", went.len());
        within(LIMIT, &format!("pod {name} is created"), || async {
            // The answer to an earlier try may have been lost.
            done(corner.create(corner.pod(&name, script.clone())).await.map(drop), 409)
        })
        .await?;
        let last = within(LIMIT, &format!("pod {name} is Running"), || async {
            let pod = corner.pods().get(&name).await?;
            Ok((phase(&pod) == "Running").then_some(pod))
        })
        .await?;
        progress.came.fetch_add(1, Ordering::Relaxed);
        if progress.over.load(Ordering::Relaxed) {
            return Ok(Chain { went, last });
        }
        within(LIMIT, &format!("pod {name} is deleted"), || async { done(corner.delete(&name, None).await, 404) })
            .await?;
        went.push(last.uid().context("no UID")?);
    }
}

/// Whether a request was done, now or by an earlier try, which this code tells.
fn done(result: Result<()>, already: u16) -> Result<Option<()>> {
    let code = |error: &anyhow::Error| match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    };
    match result {
        Err(error) if code(&error) != Some(already) => Err(error),
        _ => Ok(Some(())),
    }
}
