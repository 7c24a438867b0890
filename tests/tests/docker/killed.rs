//! The host is killed, in the middle of each step and at any time: pods are found again as they were, and none is made twice.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use vk_tests::engine::Engine;
use vk_tests::engine::proxy::{Asked, Fault, Proxy};
use vk_tests::host::plugin;

use crate::corner::{at_engine, corner, corner_at, idle, pod, restarts};
use crate::faults::{CONVERGED, converged, create, delete_all, is_ready, made_once, put_conf};

/// A step of the provider's at the engine: the request that is held until the host is dead.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: &'static str,
    is: fn(&Asked) -> bool,
    /// How many like it come before.
    skip: u32,
}

const fn step(what: &'static str, is: fn(&Asked) -> bool, skip: u32) -> Step {
    Step { what, is, skip }
}

/// What makes a pod: its sandbox first, and then its three containers.
const MAKING: [Step; 10] = [
    step("the first volume is made", is_volume, 0),
    step("the last volume is made", is_volume, 2),
    step("the sandbox is made", is_create, 0),
    step("the sandbox is started", is_start, 0),
    step("its volumes are filled", is_filling, 0),
    step("the init container is made", is_create, 1),
    step("the init container is started", is_start, 1),
    step("a container is made", is_create, 2),
    step("a container is started", is_start, 2),
    step("the last container is started", is_start, 3),
];

/// What ends one.
const ENDING: [Step; 4] = [
    step("a container is asked to end", is_kill, 0),
    step("the first container is removed", is_removal, 0),
    step("a later container is removed", is_removal, 2),
    step("a volume is removed", is_volume_removal, 0),
];

fn is_volume(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.path == "/volumes/create"
}

fn is_create(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.path == "/containers/create"
}

fn is_start(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.path.ends_with("/start")
}

fn is_filling(asked: &Asked) -> bool {
    asked.method == Method::PUT && asked.path.ends_with("/archive")
}

fn is_kill(asked: &Asked) -> bool {
    asked.method == Method::POST && asked.path.ends_with("/kill")
}

fn is_removal(asked: &Asked) -> bool {
    asked.method == Method::DELETE && asked.path.starts_with("/containers/")
}

fn is_volume_removal(asked: &Asked) -> bool {
    asked.method == Method::DELETE && asked.path.starts_with("/volumes/")
}

/// Holds the n-th request like a step, and tells when it has come.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<Armed>>>);

struct Armed {
    step: Step,
    sprung: mpsc::Sender<()>,
}

impl Trap {
    fn arm(&self, step: Step) -> mpsc::Receiver<()> {
        let (sprung, told) = mpsc::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Armed { step, sprung });
        told
    }

    fn fault(&self, asked: &Asked) -> Fault {
        let mut trap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(armed) = trap.as_mut().filter(|armed| (armed.step.is)(asked)) else { return Fault::None };
        if armed.step.skip > 0 {
            armed.step.skip -= 1;
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
    wait.with_context(|| format!("no request was as when {}", step.what))
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
        let told = trap.arm(step);
        let name = format!("make-{number}");
        create(&corner, &name).await?;
        sprung(step, told).await?;
        corner.host.kill()?;
        corner = corner.restarted()?;
        corner.running(&name).await.context(step.what)?;
        names.push(name);
    }
    converged(&corner, engine, names.clone()).await?;
    for step in ENDING {
        let told = trap.arm(step);
        let name = names.pop().context("no pod is left")?;
        corner.delete(&name, Some(2)).await?;
        sprung(step, told).await?;
        corner.host.kill()?;
        corner = corner.restarted()?;
        corner.gone(&name).await.context(step.what)?;
    }
    converged(&corner, engine, names).await?;
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
    converged(&corner, engine, names).await.with_context(|| random.to_string())?;
    made_once(&proxy).with_context(|| random.to_string())?;
    delete_all(&corner, engine).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_container_that_was_removed_while_the_host_was_away_is_made_anew() -> Result<()> {
    let engine = Engine::shared().await?;
    let mut corner = corner("removed-away").await?;
    corner.create(pod(&corner, "web", idle())).await?;
    corner.running("web").await?;
    corner.host.kill()?;
    let there = at_engine(&corner).await?;
    let main = there.iter().find(|container| container.identity().1 == "main").context("it is not there")?;
    let path = format!("/containers/{}?force=1&v=1", main.id);
    engine.api().send(Method::DELETE, &path, &[], Vec::new()).await?;
    // Nothing of this will ever be heard: it has happened.
    corner = corner.restarted()?;
    let again = corner.until("web", "has it again", |pod| restarts(pod, "main") == 1 && is_ready(pod)).await?;
    let there = at_engine(&corner).await?;
    let attempts: Vec<_> = there.iter().filter(|container| container.is_attempt()).collect();
    ensure!(attempts.len() == 1 && attempts[0].identity().2 == "1", "{attempts:?} {again:?}");
    Ok(())
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
