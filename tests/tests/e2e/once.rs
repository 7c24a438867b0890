//! Exactly once: pods come and go, calls about them act and lose their answers or come late, and the host is killed with SIGKILL
//! again and again. Of each pod one workload is made, and none is left behind.
//!
//! ```text
//! 100 chains:  create ─▶ a while ─▶ delete ─▶ create the next ─▶ …     every other chain's last pod stays
//! meanwhile:   kill -9 of the host at random moments, and a new one at once
//! then:        all that stay run, all that went are gone, within 60 s of the last kill
//! ```
//!
//! The mock's lines in the host's log tell of workloads made, but a kill may come between the deed and its line. So what is left
//! behind is told by hosts that start later: each names the workloads of its node that have no pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures::future::{try_join, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, eventually, mock, phase, within};

/// How often the host is killed.
const KILLS: usize = 50;
/// Pods that come and go side by side.
const PODS: u64 = 100;
/// How soon after the last kill all is as it should be.
const CONVERGENCE: Duration = Duration::from_secs(60);
/// A host lives so long, in milliseconds, once it has listed the pods: from before it has made anything to long enough for
/// back-offs to pass.
const LIFE: [u64; 2] = [10, 1300];
/// One host of so many is killed earlier: so long after its start, in milliseconds, whatever it has done by then.
const EARLY: usize = 5;
/// See [`EARLY`].
const EARLY_LIFE: [u64; 2] = [50, 600];
/// A pod lives so long, in milliseconds.
const POD_LIFE: [u64; 2] = [1000, 5000];
/// Of every so many pods this one has no fault.
const CREATE_FAULTS: [&str; 8] = [
    "",
    "lost times=1",
    "lost-trap times=1",
    "late for=200ms times=2",
    "late deaf for=300ms times=2",
    "trap times=1",
    "unavailable times=2 for=100ms",
    "lost times=2 for=100ms",
];
/// Another number of them, so that they meet in all ways.
const DELETE_FAULTS: [&str; 7] = [
    "",
    "lost times=1 for=100ms",
    "lost-trap times=1",
    "unavailable times=3 for=100ms",
    "late for=200ms times=2",
    "late deaf for=300ms times=1",
    "trap times=1",
];

/// Numbers that follow from a seed, which a failure names (xorshift64).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Milliseconds between these two.
    fn time(&mut self, [least, most]: [u64; 2]) -> Duration {
        Duration::from_millis(least + self.number() % (most - least))
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let length = u64::try_from(list.len()).ok()?;
        list.get(usize::try_from(self.number() % length).ok()?).copied()
    }
}

/// What became of a chain: UIDs of those that went, and the one that stays.
type Chain = (Vec<String>, Option<Pod>);

#[tokio::test]
async fn each_pod_has_one_workload_and_none_is_left_behind_though_the_host_is_killed_fifty_times() -> Result<()> {
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    converges(seed).await.with_context(|| format!("the seed was {seed}"))
}

async fn converges(seed: u64) -> Result<()> {
    let corner = Corner::new("once").await?;
    let over = AtomicBool::new(false);
    let (pods, template) = (corner.pods(), corner.pod("", json!({})));
    let chains = (0..PODS).map(|number| chain(&pods, &template, number, Random(seed ^ ((number + 1) << 32)), &over));
    let ((corner, last_kill), chains) = try_join(kills(corner, Random(seed), &over), try_join_all(chains)).await?;
    let (went, stay): (Vec<Vec<String>>, Vec<Option<Pod>>) = chains.into_iter().unzip();
    let stay: BTreeSet<String> = stay.iter().flatten().map(|pod| pod.name_any()).collect();
    within(CONVERGENCE.saturating_sub(last_kill.elapsed()), "those that stay run, and no other is there", || async {
        let pods = pods.list(&ListParams::default()).await?.items;
        let there: BTreeSet<String> = pods.iter().map(|pod| pod.name_any()).collect();
        Ok((there == stay && pods.iter().all(|pod| phase(pod) == "Running")).then_some(()))
    })
    .await?;
    // Whoever was deleted by force is gone from the API before its workload is; a new host names what is still there.
    let (corner, place, found) = next_host(corner, "first").await?;
    within(CONVERGENCE, "what had no pod any more is removed", || async {
        let log = corner.host.log_behind(place)?;
        let done =
            |uid: &String| log.lines().any(|line| line.contains("nothing is left of the pod") && line.contains(uid));
        Ok(found.iter().all(done).then_some(()))
    })
    .await?;
    let (corner, _, found) = next_host(corner, "second").await?;
    ensure!(found.is_empty(), "left behind: {found:?}");

    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let log = corner.host.log()?;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("workload made uid=") {
            // A line that a kill has cut has no number.
            let number = rest.split_once("made=").and_then(|(_, rest)| rest.split_whitespace().next());
            ensure!(number.is_none_or(|number| number == "1"), "made more than once: {line}");
            *made.entry(rest.split_whitespace().next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let twice: Vec<_> = made.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(twice.is_empty(), "made more than once: {twice:?}");
    // Enough that it means something: some were deleted before they were made, and some lines were lost to a kill.
    let went: usize = went.iter().map(Vec::len).sum();
    ensure!(went >= 5 * stay.len() && made.len() >= went / 4, "only {} of {went} pods that went were made", made.len());
    ensure!(log.contains("a create of unknown outcome is remembered"), "no kill came while a create was under way");
    for name in &stay {
        let log = eventually("its log can be read", || async { Ok(Some(corner.log(name).await?)) }).await?;
        ensure!(log.lines().next().is_some_and(|calls| calls.ends_with("workloads=1")), "{name}: {log}");
    }
    Ok(())
}

/// Kills the host at random moments; the last one is returned.
async fn kills<'a>(mut corner: Corner<'a>, mut random: Random, over: &AtomicBool) -> Result<(Corner<'a>, Instant)> {
    let mut last = Instant::now();
    let mut place = 0;
    for number in 0..KILLS {
        if number % EARLY == EARLY - 1 {
            tokio::time::sleep(random.time(EARLY_LIFE)).await;
        } else {
            // A machine that is busy takes its time to get there.
            let host = &corner.host;
            let listed = || async { Ok(host.log_behind(place)?.contains("API server listed").then_some(())) };
            eventually("the host has listed the pods", listed).await?;
            tokio::time::sleep(random.time(LIFE)).await;
        }
        corner.host.kill()?;
        last = Instant::now();
        place = corner.host.log_end()?;
        corner = corner.restarted()?;
    }
    over.store(true, Ordering::Relaxed);
    Ok((corner, last))
}

async fn chain(pods: &Api<Pod>, template: &Value, number: u64, mut random: Random, over: &AtomicBool) -> Result<Chain> {
    // Not all in the same moment.
    tokio::time::sleep(random.time([0, POD_LIFE[1]])).await;
    let mut went = Vec::new();
    loop {
        let (create, delete) = (random.one_of(&CREATE_FAULTS), random.one_of(&DELETE_FAULTS));
        let mut annotations = json!({"start-after": "100ms", "stop-after": "100ms"});
        for (fault, kind) in [("create-fault", create), ("delete-fault", delete)] {
            if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
                annotations[fault] = json!(kind);
            }
        }
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(format!("pod-{number}-{}", went.len()));
        pod["metadata"]["annotations"] = mock(annotations);
        let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        if over.load(Ordering::Relaxed) && number.is_multiple_of(2) {
            return Ok((went, Some(pod)));
        }
        tokio::time::sleep(random.time(POD_LIFE)).await;
        let grace_period_seconds = random.one_of(&[None, Some(0), Some(1)]).flatten();
        pods.delete(&pod.name_any(), &DeleteParams { grace_period_seconds, ..DeleteParams::default() }).await?;
        went.push(pod.uid().context("no UID")?);
        if over.load(Ordering::Relaxed) && !number.is_multiple_of(2) {
            return Ok((went, None));
        }
    }
}

/// Has the next host start after an orderly end of this one. Returns where its log begins, and the UIDs of what it finds that
/// has no pod.
async fn next_host<'a>(mut corner: Corner<'a>, probe: &str) -> Result<(Corner<'a>, u64, Vec<String>)> {
    ensure!(corner.host.stop()?.success(), "the host did not stop well");
    let place = corner.host.log_end()?;
    let corner = corner.restarted()?;
    // By the time that a new pod runs, all that was there has been looked at.
    corner.create(corner.pod(probe, json!({}))).await?;
    corner.running(probe).await?;
    let said = corner.host.log_behind(place)?;
    let found = said.lines().filter(|line| line.contains("a workload whose pod does not exist"));
    let uid =
        |line: &str| line.split_once("uid=").and_then(|(_, rest)| rest.split_whitespace().next()).map(str::to_owned);
    let found = found.filter_map(uid).collect();
    Ok((corner, place, found))
}
