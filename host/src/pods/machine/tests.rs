//! The machines on an engine in memory, through the eyes of the pods' half.

mod engine;

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Value, json};

use self::engine::{Engine, none};
use super::fixture::{container, containers, id, sandbox};
use super::*;
use crate::provider::containers::{Phase, SandboxState};
use crate::provider::{Call, Code, Deletion, DesiredPod, Error, LogOptions, Network, ResolvedContainer};

/// Longest that anything here may take; time is paused, so that it costs nothing.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A cluster that gives each container the pod's IP as its argument, but for one that it has an error for.
#[derive(Default)]
struct Resolves(Mutex<Option<(&'static str, Code)>>);

#[async_trait]
impl Cluster for Resolves {
    async fn volume(&self, _: &PodRef, _: &str) -> Result<crate::provider::Files, Error> {
        none()
    }

    async fn registry_credentials(&self, _: &PodRef, _: &str) -> Result<Vec<crate::provider::Credential>, Error> {
        none()
    }

    async fn resolve_container(&self, _: &PodRef, name: &str, ips: &[String]) -> Result<ResolvedContainer, Error> {
        match *self.0.lock().unwrap() {
            Some((refused, code)) if refused == name => Err(Error::new(code, "R", "it has no values now")),
            _ => Ok(ResolvedContainer { args: ips.to_vec(), ..resolved(name) }),
        }
    }

    fn event(&self, _: &PodRef, _: bool, _: &str, _: &str) {}
}

fn resolved(name: &str) -> ResolvedContainer {
    ResolvedContainer {
        name: name.into(),
        command: Vec::new(),
        args: Vec::new(),
        env: Vec::new(),
        secret_args: false,
        revision: "1".into(),
        late: false,
    }
}

/// A pod of this spec; more of it as the API server would send it.
fn desired(spec: &Value, metadata: Value, status: Value) -> DesiredPod {
    let id = id();
    let mut object = json!({"metadata": {"name": id.name, "namespace": id.namespace, "uid": id.uid}, "spec": spec, "status": status});
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    DesiredPod {
        revision: "1".into(),
        manifest: object.to_string().into(),
        containers: Vec::new(),
        network: Network::default(),
        id,
    }
}

/// A host: the machines on an engine, and what they have told so far.
struct Host {
    machine: Machine,
    engine: Arc<Engine>,
    cursor: Option<String>,
    shutdown: CancellationToken,
    events: Arc<Mutex<Vec<String>>>,
    /// The last status, and whether the pod has gone.
    told: (PodStatus, bool),
    cluster: Arc<Resolves>,
}

impl Host {
    async fn start(engine: &Arc<Engine>) -> Self {
        let shutdown = CancellationToken::new();
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = events.clone();
        let tell = move |_: &PodRef, event: &Event| heard.lock().unwrap().push(event.reason.to_string());
        let machine = Machine::new(engine.clone(), engine.clone(), Box::new(tell), shutdown.clone());
        let listener = machine.clone();
        let stop = shutdown.clone();
        tokio::spawn(async move { stop.run_until_cancelled(listener.listen()).await });
        let cluster = Arc::new(Resolves::default());
        let asked: Weak<Resolves> = Arc::downgrade(&cluster);
        machine.serve(asked);
        let told = (PodStatus::default(), false);
        let mut host = Self { machine, engine: engine.clone(), cursor: None, shutdown, events, told, cluster };
        host.hear().await;
        host
    }

    async fn hear(&mut self) {
        let batch = self.machine.next_changes(Call::uncancelled(), self.cursor.take(), PATIENCE).await.unwrap();
        for pod in &batch.changed {
            self.told.0 = serde_json::from_str(&pod.status).unwrap();
        }
        self.told.1 |= !batch.touched.is_empty();
        self.cursor = batch.cursor;
    }

    /// Hears until this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&PodStatus, bool) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.told.0, self.told.1) {
                self.hear().await;
            }
        });
        if waited.await.is_err() {
            panic!("never {what}: {:?} {:?} {:?}", self.told, self.engine.attempts(), self.events.lock().unwrap());
        }
    }

    async fn until_phase(&mut self, phase: &str) {
        self.until(phase, |status, _| status.phase.as_deref() == Some(phase)).await;
    }

    async fn until_count(&mut self, count: i32) {
        let runs = move |status: &PodStatus, _| {
            let container = status.container_statuses.as_deref().unwrap_or_default().first();
            container.is_some_and(|c| c.restart_count == count && c.state.as_ref().unwrap().running.is_some())
        };
        self.until(&format!("running for the {count}th time"), runs).await;
    }

    async fn create(&self, pod: DesiredPod) -> Result<Option<ObservedPod>, Error> {
        self.machine.create_pod(Call::uncancelled(), pod).await
    }

    async fn delete(&self, pod: Option<DesiredPod>, grace: u64) -> Deletion {
        let grace = Some(Duration::from_secs(grace));
        self.machine.delete_pod(Call::uncancelled(), &id(), pod, grace).await.unwrap()
    }

    /// As if it were killed: nothing of it is left but the engine.
    fn kill(self) -> Arc<Engine> {
        self.shutdown.cancel();
        self.engine
    }
}

fn spec(more: Value) -> Value {
    json!({"containers": containers(&[("a", more)])})
}

fn deleted() -> Value {
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30})
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_goes() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    let pod = desired(&spec(json!({})), json!({}), json!({}));
    let first = host.create(pod.clone()).await.unwrap().unwrap();
    assert!(first.status.contains("ContainerCreating") && first.revision.as_deref() == Some("1"), "{first:?}");
    host.until_phase("Running").await;
    assert_eq!(engine.calls(), ["ensure", "start a 0 10.0.0.7"]);
    let going = desired(&spec(json!({})), deleted(), json!({}));
    assert_eq!(host.delete(Some(going), 30).await, Deletion::Stopping);
    host.until("gone", |_, gone| gone).await;
    assert_eq!(host.told.0.phase.as_deref(), Some("Failed"), "its last word comes before its end");
    assert_eq!(engine.calls(), ["stop a 0 30", "remove sandbox"]);
    assert_eq!(host.machine.get_pod(&id()).await.unwrap(), None);
    assert_eq!(host.delete(None, 0).await, Deletion::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_starts_anew_takes_over_what_it_finds() {
    let engine = Arc::new(Engine::default());
    let mut first = Host::start(&engine).await;
    first.create(desired(&spec(json!({})), json!({}), json!({}))).await.unwrap();
    first.until_phase("Running").await;
    let status = serde_json::to_value(&first.told.0).unwrap();
    engine.calls();
    let engine = first.kill();
    let mut second = Host::start(&engine).await;
    assert_eq!(second.told.0, PodStatus::default(), "there is something, and nobody has said yet what it should be");
    second.machine.follow(desired(&spec(json!({})), json!({}), status));
    second.until_phase("Running").await;
    engine.exit("a", 1);
    second.until_count(1).await;
    assert_eq!(engine.calls(), ["start a 1 10.0.0.7"], "its values are those of this attempt");
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_asks_for_in_vain_is_refused_before_anything_is_made() {
    let engine = Arc::new(Engine::default());
    let host = Host::start(&engine).await;
    let asks = spec(json!({"livenessProbe": {"httpGet": {"port": 80}}}));
    let error = host.create(desired(&asks, json!({}), json!({}))).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (Code::InvalidArgument, Some("spec.containers[0].livenessProbe.httpGet"))
    );
    assert!(engine.calls().is_empty());
    assert_eq!(host.machine.get_pod(&id()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_crashes_is_run_again_and_its_log_is_that_of_its_attempt() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    host.create(desired(&spec(json!({})), json!({}), json!({}))).await.unwrap();
    for attempt in 0..3 {
        host.until_count(attempt).await;
        engine.exit("a", 1);
    }
    host.until_count(3).await;
    for (previous, attempt) in [(false, 3), (true, 2)] {
        let (sink, mut entries) = tokio::sync::mpsc::channel(1);
        let options = LogOptions { previous, ..LogOptions::default() };
        host.machine.get_container_logs(Call::uncancelled(), &id(), "a", options, sink).await.unwrap();
        let entries = entries.recv().await.unwrap();
        assert_eq!(entries[0].bytes, format!("log of a Some({attempt})"));
    }
    assert_eq!(engine.attempts(), ["a 2 Exited", "a 3 Running"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_tells_whether_a_container_is_ready() {
    let engine = Arc::new(Engine::default());
    *engine.exec.lock().unwrap() = 1;
    let mut host = Host::start(&engine).await;
    let probe = json!({"readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 2}});
    host.create(desired(&spec(probe), json!({}), json!({}))).await.unwrap();
    host.until_phase("Running").await;
    let ready = |status: &PodStatus| status.container_statuses.as_ref().is_some_and(|list| list[0].ready);
    assert!(!ready(&host.told.0));
    *engine.exec.lock().unwrap() = 0;
    host.until("ready", |status, _| ready(status)).await;
    assert!(host.events.lock().unwrap().contains(&"Unhealthy".to_string()));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_back_finds_everything_again() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    host.create(desired(&spec(json!({})), json!({}), json!({}))).await.unwrap();
    host.until_phase("Running").await;
    engine.calls();
    engine.down.store(true, Ordering::Relaxed);
    engine.touch(&id());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(engine.calls().is_empty());
    // All that ran has ended with it.
    engine.change("a", |container| (container.phase, container.exit_code) = (Phase::Exited, Some(137)));
    engine.pods().get_mut(&id().uid).unwrap().sandbox.ready = false;
    let back = tokio::time::Instant::now();
    engine.down.store(false, Ordering::Relaxed);
    host.until_count(1).await;
    assert!(back.elapsed() < Duration::from_secs(60), "{:?}", back.elapsed());
    assert_eq!(engine.calls(), ["ensure", "start a 1 10.0.0.7"]);
    assert!(host.events.lock().unwrap().contains(&"SandboxChanged".to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_backend_lost_while_the_host_was_away_is_made_anew() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    let status = json!({
        "phase": "Running",
        "containerStatuses": [{
            "name": "a", "image": "i:1", "imageID": "", "ready": true, "restartCount": 4, "containerID": "fake://a4",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    });
    let told = host.machine.follow(desired(&spec(json!({})), json!({}), status));
    assert!(told.is_some(), "it is not absent: it is being made");
    host.until_count(5).await;
    assert_eq!(engine.calls(), ["ensure", "start a 5 10.0.0.7"]);
    let fresh =
        DesiredPod { id: PodRef { uid: "other".into(), ..id() }, ..desired(&spec(json!({})), json!({}), json!({})) };
    assert_eq!(host.machine.follow(fresh), None, "one that never ran is made when it is asked for");
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_nobody_knows_is_removed_when_that_is_asked_for() {
    let engine = Arc::new(Engine::default());
    let state = SandboxState { sandbox: sandbox(true), containers: vec![container("a", 0, Phase::Running)] };
    engine.pods().insert(id().uid, state);
    let mut host = Host::start(&engine).await;
    assert_eq!(host.machine.get_pods().await.unwrap().len(), 1);
    assert_eq!(host.delete(None, 0).await, Deletion::Stopping);
    host.until("gone", |_, gone| gone).await;
    assert_eq!(engine.calls(), ["stop a 0 2", "remove sandbox"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_past_its_deadline_keeps_its_attempts_until_it_is_deleted() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    let pod = desired(&spec(json!({})), json!({}), json!({}));
    host.create(pod.clone()).await.unwrap();
    host.until_phase("Running").await;
    assert_eq!(host.delete(Some(pod), 30).await, Deletion::Stopping);
    host.until_phase("Failed").await;
    assert_eq!(engine.attempts(), ["a 0 Exited"]);
    host.machine.follow(desired(&spec(json!({})), deleted(), json!({"phase": "Failed"})));
    host.until("gone", |_, gone| gone).await;
    assert!(engine.attempts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_image_in_the_api_is_another_attempt() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    host.create(desired(&spec(json!({})), json!({}), json!({}))).await.unwrap();
    host.until_phase("Running").await;
    engine.calls();
    let changed = desired(&spec(json!({"image": "i:2"})), json!({"generation": 2}), json!({}));
    host.machine.follow(DesiredPod { revision: "2".into(), ..changed });
    // The engine in memory always says `i:1`, so that this would go on for ever.
    host.until("on its way", |status, _| {
        status.container_statuses.as_ref().is_some_and(|list| list[0].restart_count == 1)
    })
    .await;
    assert_eq!(engine.calls()[..2], ["stop a 0 30", "start a 1 10.0.0.7"]);
    assert_eq!(host.machine.get_pod(&id()).await.unwrap().unwrap().revision.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn machines_come_to_rest_when_the_host_stops() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    host.create(desired(&spec(json!({})), json!({}), json!({}))).await.unwrap();
    host.until_phase("Running").await;
    host.shutdown.cancel();
    host.machine.stop().await.unwrap();
    assert!(host.machine.tasks.is_empty());
    assert_eq!(engine.attempts(), ["a 0 Running"], "pods stay where they are");
}

/// Why a container waits.
fn waits_for<'a>(status: &'a PodStatus, name: &str) -> Option<&'a str> {
    let status = status.container_statuses.as_ref()?.iter().find(|status| status.name == name)?;
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

#[tokio::test(start_paused = true)]
async fn values_are_worked_out_for_each_start_and_who_waits_for_them_holds_up_nobody() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    *host.cluster.0.lock().unwrap() = Some(("b", Code::FailedPrecondition));
    let two = json!({"containers": containers(&[("a", json!({})), ("b", json!({}))])});
    host.create(desired(&two, json!({}), json!({}))).await.unwrap();
    host.until("waiting", |status, _| waits_for(status, "b") == Some("CreateContainerConfigError")).await;
    host.until_count(0).await;
    assert_eq!(engine.calls(), ["ensure", "start a 0 10.0.0.7"]);
    *host.cluster.0.lock().unwrap() = None;
    host.until("running", |status, _| waits_for(status, "b").is_none()).await;
    assert_eq!(engine.calls(), ["start b 0 10.0.0.7"]);
    // What cannot be read is as it was; what is absent is waited for.
    *host.cluster.0.lock().unwrap() = Some(("a", Code::Unavailable));
    engine.exit("a", 1);
    host.until_count(1).await;
    *host.cluster.0.lock().unwrap() = Some(("a", Code::FailedPrecondition));
    engine.exit("a", 1);
    host.until("waiting", |status, _| waits_for(status, "a") == Some("CreateContainerConfigError")).await;
    assert_eq!(engine.calls(), ["start a 1 10.0.0.7"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_get_its_turn_says_nothing_of_its_container() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    let busy = engine.busy.write().await;
    let probe = json!({"livenessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 1, "failureThreshold": 1}});
    host.create(desired(&spec(probe), json!({}), json!({}))).await.unwrap();
    host.until_count(0).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(engine.attempts(), ["a 0 Running"]);
    assert!(host.events.lock().unwrap().contains(&"Unhealthy".to_string()), "it is told");
    // Its time counts from when it has begun.
    drop(busy);
    *engine.takes.lock().unwrap() = Duration::from_millis(900);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.attempts(), ["a 0 Running"]);
    *engine.takes.lock().unwrap() = Duration::from_millis(1100);
    host.until_count(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_get_its_turn_is_told() {
    let engine = Arc::new(Engine::default());
    let mut host = Host::start(&engine).await;
    let hook = spec(json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}));
    host.create(desired(&hook, json!({}), json!({}))).await.unwrap();
    host.until_count(0).await;
    let _busy = engine.busy.write().await;
    host.delete(Some(desired(&hook, deleted(), json!({}))), 30).await;
    host.until("gone", |_, gone| gone).await;
    assert!(host.events.lock().unwrap().contains(&"FailedPreStopHook".to_string()));
}
