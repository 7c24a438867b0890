//! What becomes of pods when answers get lost, and when the engine, the host and the provider are killed or exchanged: one
//! container for each attempt, as the engine itself lists them, and none left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, phase, pod_condition, within};
use vk_tests::engine::proxy::{Asked, Fault, Proxy};
use vk_tests::engine::{Engine, Kind, tagged};
use vk_tests::host::plugin;

use crate::corner::{change, container, corner_at, nothing_left, objects, pod, put, restarts, template};

/// How long things may take to be as they should, after the last fault.
const CONVERGED: Duration = Duration::from_secs(60);

/// A pod with an init container, two kinds of volumes and two containers.
async fn create(corner: &Corner<'_>, name: &str) -> Result<()> {
    let mut main = container("main", "echo $(hostname) >> /data/starts; exec sleep 100000");
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/conf"}]);
    let mut pod = pod(corner, name, main);
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(container("other", "exec sleep 100000"));
    pod["spec"]["initContainers"] = json!([container("init", "true")]);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "conf"}}]);
    corner.create(pod).await.map(drop)
}

async fn put_conf(corner: &Corner<'_>) -> Result<()> {
    put::<ConfigMap>(corner, json!({"metadata": {"name": "conf"}, "data": {"a": "1"}})).await.map(drop)
}

fn is_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && pod_condition(pod, "Ready").as_deref() == Some("True")
}

/// What is seen of a pod.
fn shown(pod: &Pod) -> String {
    format!("{}: {}", pod.name_any(), serde_json::to_string(&pod.status).unwrap_or_default())
}

/// Waits until these pods, and no others, are there and ready, and the engine runs each of their containers once.
async fn converged(corner: &Corner<'_>, engine: &Engine, names: &[&str]) -> Result<()> {
    within(CONVERGED, "all pods that should be there are ready", || async {
        let pods = corner.pods().list(&ListParams::default()).await?.items;
        let mut there: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
        there.sort();
        let unready: Vec<String> = pods.iter().filter(|pod| !is_ready(pod)).map(|pod| shown(pod)).collect();
        ensure!(there == names && unready.is_empty(), "{there:?}, of which {unready:?}");
        once_each(corner, engine, &pods).await?;
        Ok(Some(()))
    })
    .await
}

/// What runs at the engine: each container of each of these pods once, and nothing else of the node.
async fn once_each(corner: &Corner<'_>, engine: &Engine, pods: &[Pod]) -> Result<()> {
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
fn made_once(proxy: &Proxy) -> Result<()> {
    let mut made = BTreeMap::new();
    for name in proxy.created() {
        *made.entry(name).or_insert(0) += 1;
    }
    made.retain(|_, count| *count > 1);
    ensure!(made.is_empty(), "made more than once: {made:?}");
    Ok(())
}

async fn delete_all(corner: &Corner<'_>, engine: &Engine) -> Result<()> {
    corner.pods().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    eventually("no pod is left", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    nothing_left(corner, engine).await
}

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
    storm.store(false, Ordering::Relaxed);
    converged(&corner, engine, &["c", "d", "e", "f"]).await?;
    let (requests, happened) = proxy.counts();
    ensure!(happened > 20, "{happened} faults in {requests} requests");
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
            converged(&corner, &engine, &["a", "c"]).await?;
            ensure!(restarts(&corner.pods().get("a").await?, "main") == 1);
        }
        // It is no part of what it runs.
        Kind::Podman => {
            converged(&corner, &engine, &["a", "c", "never"]).await?;
            ensure!(restarts(&corner.pods().get("a").await?, "main") == 0);
        }
    }
    made_once(&proxy)?;
    delete_all(&corner, &engine).await
}

/// A step of the provider's at the engine: the first request like it is held until the host is dead.
#[derive(Clone, Copy, Debug)]
struct Step(&'static str, fn(&Asked) -> bool);

/// What makes a pod, in order, and what ends one.
const MAKING: [Step; 5] = [
    Step("a volume is made", |asked| asked.method == Method::POST && asked.path == "/volumes/create"),
    Step("a container is made", |asked| asked.method == Method::POST && asked.path == "/containers/create"),
    Step("files are put into a volume", |asked| asked.method == Method::PUT && asked.path.ends_with("/archive")),
    Step("a container is started", |asked| asked.method == Method::POST && asked.path.ends_with("/start")),
    Step("the pod is looked at", |asked| asked.method == Method::GET && asked.path == "/containers/json"),
];
const ENDING: [Step; 3] = [
    Step("a container is stopped", |asked| asked.method == Method::POST && asked.path.ends_with("/kill")),
    Step("a container is removed", |asked| asked.method == Method::DELETE && asked.path.starts_with("/containers/")),
    Step("a volume is removed", |asked| asked.method == Method::DELETE && asked.path.starts_with("/volumes/")),
];

/// Holds the n-th request like a step, and tells when it has come.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<Armed>>>);

struct Armed {
    step: Step,
    skip: u32,
    sprung: mpsc::Sender<()>,
}

impl Trap {
    fn arm(&self, step: Step, skip: u32) -> mpsc::Receiver<()> {
        let (sprung, told) = mpsc::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Armed { step, skip, sprung });
        told
    }

    fn fault(&self, asked: &Asked) -> Fault {
        let mut trap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(armed) = trap.as_mut().filter(|armed| armed.step.1(asked)) else { return Fault::None };
        if armed.skip > 0 {
            armed.skip -= 1;
            return Fault::None;
        }
        // Who waited for it may have given up.
        let _ = armed.sprung.send(());
        *trap = None;
        // The engine does it; the answer finds nobody.
        Fault::Late(Duration::from_secs(5))
    }
}

/// Waits until the trap has sprung, without standing in anybody's way.
async fn sprung(step: Step, told: mpsc::Receiver<()>) -> Result<()> {
    let wait = tokio::task::spawn_blocking(move || told.recv_timeout(CONVERGED)).await?;
    wait.with_context(|| format!("no request was as when {}", step.0))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_in_the_middle_of_any_step_goes_on_where_it_was() -> Result<()> {
    let engine = Engine::shared().await?;
    let trap = Trap::default();
    let holds = trap.clone();
    let proxy = Proxy::before(engine, "steps", move |asked| holds.fault(asked))?;
    let mut corner = corner_at("host-killed", proxy.socket(), plugin("docker")?).await?;
    put_conf(&corner).await?;
    // The sandbox's image is there from now on.
    create(&corner, "first").await?;
    corner.running("first").await?;
    let mut names = vec!["first".to_owned()];
    for (number, step) in MAKING.into_iter().enumerate() {
        // Of the first and of a later one: the sandbox's and a container's.
        for skip in [0, 1, 2] {
            let told = trap.arm(step, skip);
            let name = format!("make-{number}-{skip}");
            create(&corner, &name).await?;
            match sprung(step, told).await {
                Ok(()) => {}
                Err(_) if skip > 0 => continue,
                Err(error) => return Err(error),
            }
            corner.host.kill()?;
            corner = corner.restarted()?;
            corner.running(&name).await?;
            names.push(name);
        }
    }
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut list = list;
    list.sort_unstable();
    converged(&corner, engine, &list).await?;
    for step in ENDING {
        let told = trap.arm(step, 0);
        let name = names.pop().context("no pod is left")?;
        corner.delete(&name, Some(2)).await?;
        sprung(step, told).await?;
        corner.host.kill()?;
        corner = corner.restarted()?;
        corner.gone(&name).await?;
    }
    let mut list: Vec<&str> = names.iter().map(String::as_str).collect();
    list.sort_unstable();
    converged(&corner, engine, &list).await?;
    made_once(&proxy)?;
    delete_all(&corner, engine).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_again_and_again_loses_no_pod_and_makes_none_twice() -> Result<()> {
    let engine = Engine::shared().await?;
    let proxy = Proxy::before(engine, "kills", |_| Fault::None)?;
    let mut corner = corner_at("host-kills", proxy.socket(), plugin("docker")?).await?;
    put_conf(&corner).await?;
    // Printed, so that a run that fails can be told from others.
    let mut random = Random::new();
    let mut names: Vec<String> = Vec::new();
    for round in 0..8 {
        let name = format!("pod-{round}");
        create(&corner, &name).await?;
        names.push(name);
        if round % 3 == 2 {
            let gone = names.remove(random.below(names.len()));
            corner.delete(&gone, Some(1)).await?;
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(random.below(2_500))?)).await;
        corner.host.kill()?;
        corner = corner.restarted()?;
    }
    let mut list: Vec<&str> = names.iter().map(String::as_str).collect();
    list.sort_unstable();
    converged(&corner, engine, &list).await.with_context(|| random.to_string())?;
    made_once(&proxy).with_context(|| random.to_string())?;
    delete_all(&corner, engine).await
}

/// Numbers that nobody foresees, from a seed that is told.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let seed = u64::from(std::process::id()) ^ jiff::Timestamp::now().as_microsecond().unsigned_abs();
        Self { seed, state: seed }
    }

    /// Knuth's MMIX.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap_or_default() % bound.max(1)
    }
}

impl std::fmt::Display for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}", self.seed)
    }
}

/// The provider's build, and the same with a note at its end: another file, which the host takes for another build.
fn builds(folder: &Path) -> Result<(PathBuf, [Vec<u8>; 2])> {
    let build = std::fs::read(plugin("docker")?)?;
    // A custom section: its id, its length, its name with its length.
    let noted = [build.as_slice(), b"\x00\x05\x04note"].concat();
    let file = folder.join("swapped.wasm");
    std::fs::write(&file, &build)?;
    Ok((file, [noted, build]))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_provider_that_is_exchanged_in_the_middle_of_a_rolling_update_makes_nothing_twice() -> Result<()> {
    let engine = Engine::shared().await?;
    let proxy = Proxy::before(engine, "swap", |_| Fault::None)?;
    let (file, builds) = builds(&vk_tests::engine::folder()?)?;
    let corner = corner_at("swap", proxy.socket(), file.clone()).await?;
    let mut serving = container("main", "touch /tmp/ready; exec sleep 100000");
    serving["readinessProbe"] = json!({"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1});
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template(&corner, "web", serving)},
    });
    put::<Deployment>(&corner, deployment).await?;
    eventually("four are available", || async {
        let status = objects::<Deployment>(&corner).get("web").await?.status.unwrap_or_default();
        Ok((status.available_replicas == Some(4)).then_some(()))
    })
    .await?;
    for (round, build) in builds.iter().enumerate() {
        let mut spec = serde_json::to_value(objects::<Deployment>(&corner).get("web").await?.spec)?;
        let image = tagged(if round == 0 { 2 } else { 1 });
        spec["template"]["spec"]["containers"][0]["image"] = json!(image);
        change::<Deployment>(&corner, "web", json!({"spec": {"template": spec["template"]}})).await?;
        let of_image = |pod: &Pod| pod.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some(&image));
        eventually("the update has begun", || async { Ok((corner.count(of_image).await? > 0).then_some(())) }).await?;
        let new = file.with_extension("new");
        std::fs::write(&new, build)?;
        std::fs::rename(&new, &file)?;
        let swaps = |log: &str| log.matches("took over from").count();
        eventually("the other build serves", || async { Ok((swaps(&corner.host.log()?) > round).then_some(())) })
            .await?;
        within(CONVERGED, "four of the new image run, and no other", || async {
            let pods = corner.pods().list(&ListParams::default()).await?.items;
            ensure!(pods.len() == 4 && pods.iter().all(|pod| of_image(pod) && is_ready(pod)), "{} pods", pods.len());
            once_each(&corner, engine, &pods).await?;
            Ok(Some(()))
        })
        .await?;
    }
    made_once(&proxy)?;
    objects::<Deployment>(&corner).delete("web", &DeleteParams::foreground()).await?;
    eventually("no pod is left", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    nothing_left(&corner, engine).await
}
