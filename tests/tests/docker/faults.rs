//! What becomes of pods when answers get lost and when the engine is killed: one container for each attempt, as the engine itself
//! lists them, and none left behind. What of it other files need is here too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, phase, pod_condition, within};
use vk_tests::engine::proxy::{Asked, Fault, Proxy};
use vk_tests::engine::{Engine, Kind};
use vk_tests::host::plugin;

use crate::corner::{container, corner_at, nothing_left, pod, put, restarts};

/// How long things may take to be as they should, after the last fault.
pub(crate) const CONVERGED: Duration = Duration::from_secs(60);

/// A pod with an init container, two kinds of volumes and two containers.
pub(crate) async fn create(corner: &Corner<'_>, name: &str) -> Result<()> {
    let mut main = container("main", "echo $(hostname) >> /data/starts; exec sleep 100000");
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf"}]);
    let mut pod = pod(corner, name, main);
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(container("other", "exec sleep 100000"));
    pod["spec"]["initContainers"] = json!([container("init", "true")]);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "conf"}}]);
    corner.create(pod).await.map(drop)
}

pub(crate) async fn put_conf(corner: &Corner<'_>) -> Result<()> {
    put::<ConfigMap>(corner, json!({"metadata": {"name": "conf"}, "data": {"a": "1"}})).await.map(drop)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && pod_condition(pod, "Ready").as_deref() == Some("True")
}

/// What is seen of a pod.
fn shown(pod: &Pod) -> String {
    format!("{}: {}", pod.name_any(), serde_json::to_string(&pod.status).unwrap_or_default())
}

/// Waits until these pods, and no others, are there and ready, and the engine runs each of their containers once.
pub(crate) async fn converged(
    corner: &Corner<'_>,
    engine: &Engine,
    names: impl IntoIterator<Item = impl Into<String>>,
) -> Result<()> {
    let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
    names.sort();
    within(CONVERGED, "all pods that should be there are ready", || async {
        let pods = corner.pods().list(&ListParams::default()).await?.items;
        let mut there: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
        there.sort();
        let unready: Vec<String> = pods.iter().filter(|pod| !is_ready(pod)).map(shown).collect();
        ensure!(there == names && unready.is_empty(), "{there:?}, of which {unready:?}");
        once_each(corner, engine, &pods).await?;
        Ok(Some(()))
    })
    .await
}

/// What runs at the engine: each container of each of these pods once, and nothing else of the node.
pub(crate) async fn once_each(corner: &Corner<'_>, engine: &Engine, pods: &[Pod]) -> Result<()> {
    let list = engine.api().containers(corner.host.node()).await?;
    let mut identities = BTreeMap::new();
    for container in &list {
        *identities.entry(container.identity()).or_insert(0) += 1;
    }
    ensure!(identities.values().all(|count| *count == 1), "two of one attempt: {identities:?}");
    let mut running: Vec<(String, String)> =
        list.iter().filter(|c| c.state == "running").map(|c| (c.identity().0, c.identity().1)).collect();
    running.sort();
    let of_pod = |pod: &Pod| {
        let uid = pod.uid().unwrap_or_default();
        let spec = pod.spec.as_ref().map(|spec| spec.containers.clone()).unwrap_or_default();
        let names = spec.into_iter().map(|container| container.name).chain(["(sandbox)".to_owned()]);
        names.map(|name| (uid.clone(), name)).collect::<Vec<_>>()
    };
    let mut expected: Vec<(String, String)> = pods.iter().flat_map(of_pod).collect();
    expected.sort();
    ensure!(running == expected, "{running:?} run, not {expected:?}");
    Ok(())
}

/// No container was made twice, in all of this time.
pub(crate) fn made_once(proxy: &Proxy) -> Result<()> {
    let mut made = BTreeMap::new();
    for name in proxy.created() {
        *made.entry(name).or_insert(0) += 1;
    }
    made.retain(|_, count| *count > 1);
    ensure!(made.is_empty(), "made more than once: {made:?}");
    Ok(())
}

pub(crate) async fn delete_all(corner: &Corner<'_>, engine: &Engine) -> Result<()> {
    corner.pods().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    eventually("no pod is left", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    nothing_left(corner, engine).await
}

/// So often something goes wrong in a storm, or more often.
const ENOUGH: u64 = 20;

/// A storm: of what acts more than a fifth is lost or late, of the rest a tenth.
fn blow(asked: &Asked) -> Fault {
    // Streams do not end by themselves: their answer is never whole.
    let is_endless = asked.path == "/events" || asked.path.ends_with("/logs");
    // Spread over requests that are alike, and the same in every run as far as these are.
    let dice = (asked.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 100;
    match dice {
        0..8 if asked.acts() => Fault::LoseAnswer,
        8..14 if asked.acts() => Fault::LoseRequest,
        14..22 if asked.acts() => Fault::Late(Duration::from_millis(700)),
        0..3 if !is_endless => Fault::LoseAnswer,
        3..6 => Fault::LoseRequest,
        6..10 => Fault::Late(Duration::from_millis(700)),
        _ => Fault::None,
    }
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn answers_that_are_late_or_lost_make_nothing_twice() -> Result<()> {
    let engine = Engine::shared().await?;
    let storm = Arc::new(AtomicBool::new(true));
    let blows = storm.clone();
    let faults = move |asked: &Asked| if blows.load(Ordering::Relaxed) { blow(asked) } else { Fault::None };
    let proxy = Proxy::before(engine, "storm", faults)?;
    let corner = corner_at("storm", proxy.socket(), plugin("docker")?).await?;
    put_conf(&corner).await?;
    for name in ["a", "b", "c", "d"] {
        create(&corner, name).await?;
    }
    // In the middle of it, whatever they are at.
    corner.delete("a", Some(1)).await?;
    eventually("one of them runs", || async { Ok((corner.count(is_ready).await? > 0).then_some(())) }).await?;
    corner.delete("b", Some(1)).await?;
    for name in ["e", "f"] {
        create(&corner, name).await?;
    }
    eventually("half of them run", || async { Ok((corner.count(is_ready).await? >= 2).then_some(())) }).await?;
    let mut pods = ["c", "d", "e", "f"].map(str::to_owned).to_vec();
    // An engine that is quick is asked little.
    while proxy.counts().1 <= ENOUGH {
        let name = format!("more-{}", pods.len());
        create(&corner, &name).await?;
        eventually("one more runs", || async { Ok(is_ready(&corner.pods().get(&name).await?).then_some(())) }).await?;
        pods.push(name);
    }
    storm.store(false, Ordering::Relaxed);
    converged(&corner, engine, pods).await?;
    made_once(&proxy)?;
    delete_all(&corner, engine).await
}

/// Longer than the host waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_answer_that_comes_when_nobody_waits_any_more_makes_nothing_twice() -> Result<()> {
    let engine = Engine::shared().await?;
    let creates = AtomicU32::new(0);
    // The sandbox, the init container, and then the one that is held.
    let faults = move |asked: &Asked| match asked.path.as_str() {
        "/containers/create" if creates.fetch_add(1, Ordering::Relaxed) == 2 => Fault::Late(TOO_LATE),
        _ => Fault::None,
    };
    let proxy = Proxy::before(engine, "late", faults)?;
    let corner = corner_at("late", proxy.socket(), plugin("docker")?).await?;
    put_conf(&corner).await?;
    let began = Instant::now();
    create(&corner, "a").await?;
    within(TOO_LATE + CONVERGED, "the pod is ready", || async {
        Ok(is_ready(&corner.pods().get("a").await?).then_some(()))
    })
    .await?;
    ensure!(began.elapsed() < TOO_LATE, "it has waited for the answer");
    ensure!(proxy.counts().1 == 1, "no answer was late");
    converged(&corner, engine, ["a"]).await?;
    made_once(&proxy)?;
    delete_all(&corner, engine).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn pods_come_back_after_their_engine_was_killed() -> Result<()> {
    let engine = Engine::own("killed").await?;
    let proxy = Proxy::before(&engine, "killed", |_| Fault::None)?;
    let corner = corner_at("engine-killed", proxy.socket(), plugin("docker")?).await?;
    put_conf(&corner).await?;
    for name in ["a", "b"] {
        create(&corner, name).await?;
    }
    let mut never = pod(&corner, "never", container("main", "trap 'exit 9' TERM; while true; do sleep 0.1; done"));
    never["spec"]["restartPolicy"] = json!("Never");
    corner.create(never).await?;
    for name in ["a", "b", "never"] {
        corner.running(name).await?;
    }
    engine.kill()?;
    // One that is wanted, and one that is not wanted any more, while nobody is there.
    create(&corner, "c").await?;
    corner.delete("b", Some(1)).await?;
    corner.event("c", "FailedCreatePodSandBox").await?;
    engine.start().await?;
    match engine.kind() {
        // It ends what it finds running.
        Kind::Docker => {
            corner.in_phase("never", "Failed").await?;
            corner.delete("never", None).await?;
            corner.gone("never").await?;
            converged(&corner, &engine, ["a", "c"]).await?;
            ensure!(restarts(&corner.pods().get("a").await?, "main") == 1);
        }
        // It is no part of what it runs.
        Kind::Podman => {
            converged(&corner, &engine, ["a", "c", "never"]).await?;
            ensure!(restarts(&corner.pods().get("a").await?, "main") == 0);
        }
    }
    made_once(&proxy)?;
    delete_all(&corner, &engine).await
}
