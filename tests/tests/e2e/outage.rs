//! The API server dies and comes back, or stands still for a while, as pods come and go: on a control plane of the test's own.
//!
//! ```text
//! 8 chains:   create 0 ─▶ Running ─▶ delete 0, create 1 ─▶ Running ─▶ delete 1, create 2 ─▶ …   the last one stays
//! meanwhile:  kill -9 of the API server, SIGSTOP … SIGCONT, kill -9 again, each time when pods come and go
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::{try_join, try_join_all};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, own_control_plane, phase, within};
use vk_tests::control_plane::{Component, ControlPlane, Ending};

/// Pods that come and go side by side.
const CHAINS: usize = 8;
/// What happens to the API server, one after the other.
const OUTAGES: [Outage; 3] = [Outage::Kill, Outage::Pause, Outage::Kill];
/// Longer than the host waits for the answer to a write (15 s), so that what it gave up is done all the same, later; shorter
/// than a lease (40 s) that was renewed 10 s before.
const PAUSE: Duration = Duration::from_secs(18);
/// An API server that starts on a busy machine, and after it the longest pause of a watch that has failed, 30 s.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
enum Outage {
    /// Connections break, and nobody listens for some seconds.
    Kill,
    /// Connections stay, new ones are taken by the kernel, and nobody answers; then everything is answered at once.
    Pause,
}

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
async fn pods_that_come_and_go_converge_though_the_api_server_is_killed_and_paused() -> Result<()> {
    let control_plane = Arc::new(own_control_plane("outage", &[])?);
    let mut corner = Corner::on(&control_plane, "outage", |config| config).await?;
    let lease = eventually("the lease is taken", || lease(&corner)).await?;
    let progress = Progress::default();
    let chains = try_join_all((0..CHAINS).map(|number| chain(&corner, number, &progress)));
    let (chains, ()) = try_join(chains, outages(&control_plane, &corner.client, &progress)).await?;

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
    assert_eq!(self::lease(&corner).await?, Some(lease), "the node has one holder all the time");
    assert!(corner.host.stop()?.success(), "{}", corner.host.log()?);
    Ok(())
}

/// Who holds the node's lease, and how many did before.
async fn lease(corner: &Corner<'_>) -> Result<Option<(String, i32)>> {
    let leases: Api<Lease> = Api::namespaced(corner.client.clone(), "kube-node-lease");
    let spec = leases.get_opt(corner.host.node()).await?.and_then(|lease| lease.spec);
    Ok(spec.and_then(|spec| Some((spec.holder_identity?, spec.lease_transitions.unwrap_or_default()))))
}

/// Takes the API server away while pods come and go, and waits each time until they do so again.
async fn outages(control_plane: &Arc<ControlPlane>, client: &Client, progress: &Progress) -> Result<()> {
    for outage in OUTAGES {
        progress.goes_on().await?;
        match outage {
            Outage::Kill => {
                let control_plane = control_plane.clone();
                let kill = move || control_plane.restart(Component::ApiServer, Ending::Crash);
                tokio::task::spawn_blocking(kill).await??;
            }
            Outage::Pause => {
                let _paused = control_plane.pause(Component::ApiServer)?;
                let answer = tokio::time::timeout(PAUSE, client.apiserver_version()).await;
                ensure!(answer.is_err(), "it is not paused: {answer:?}");
            }
        }
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
