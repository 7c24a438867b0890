//! What no real cluster and backend do on demand: a backend that shows workloads late, while the host is killed in a create (R9b);
//! one that does not answer, while the API server does not either; one whose next build tells changes; a stop while creates are
//! under way; and an API server that does not have a pod that it has told of (R14). Here both ends are played, and the time too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::provider::{
    self, Address, Amount, Batch, Call, Capabilities, Code, Condition, Deletion, DesiredPod, Error as Failure,
    Identity, LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Usage,
};

/// A workload can be seen so long after its create.
const LATE: Duration = Duration::from_secs(7);
/// What the provider says of that.
const SETTLE: Duration = Duration::from_secs(10);

/// A backend that acts at once, shows it late, and answers a create when the host stops, or never.
#[derive(Default)]
struct Backend(Mutex<Workloads>);

#[derive(Default)]
struct Workloads {
    /// Ends a create without effect.
    stop: CancellationToken,
    /// What it says of all pods.
    phase: Option<&'static str>,
    /// The build's version; none: the first. It tells no changes, though it says that it can.
    version: Option<&'static str>,
    /// How often it was asked for changes.
    followed: usize,
    /// Removals do not end, and count the seconds.
    removing: Option<u32>,
    made: usize,
    /// How often a removal was asked for.
    asked: usize,
    /// Those that are there, and when they can be seen and removed.
    there: BTreeMap<String, (PodRef, Instant)>,
}

impl Backend {
    fn with<T>(&self, look: impl FnOnce(&mut Workloads) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn made(&self) -> usize {
        self.with(|workloads| workloads.made)
    }

    fn is_empty(&self) -> bool {
        self.with(|workloads| workloads.there.is_empty())
    }

    fn seen(&self) -> Vec<ObservedPod> {
        self.with(|workloads| {
            let status = json!({"phase": workloads.phase.unwrap_or("Running"), "podIP": "10.0.0.1"}).to_string();
            let seen = workloads.there.values().filter(|(_, from)| *from <= Instant::now());
            seen.map(|(id, _)| ObservedPod { id: id.clone(), revision: None, status: status.clone() }).collect()
        })
    }
}

fn unimplemented() -> Failure {
    Failure::new(Code::Unimplemented, "Unimplemented", "this backend only makes and removes")
}

#[async_trait]
impl Provider for Backend {
    fn identity(&self) -> Identity {
        let version = self.with(|workloads| workloads.version.unwrap_or("1"));
        Identity { name: "late".into(), version: version.into(), settle: SETTLE }
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { changes: true, ..Capabilities::default() }
    }
    fn serve(&self, _: Weak<dyn provider::Cluster>) {}
    async fn create_pod(&self, _: Call, pod: DesiredPod) -> Result<Option<ObservedPod>, Failure> {
        let stop = self.with(|workloads| {
            workloads.made += 1;
            workloads.there.insert(pod.id.uid.clone(), (pod.id, Instant::now() + LATE));
            workloads.stop.clone()
        });
        stop.cancelled().await;
        Err(Failure::new(Code::Cancelled, "CallCancelled", "the host stops"))
    }
    async fn delete_pod(
        &self,
        _: Call,
        id: &PodRef,
        _: Option<DesiredPod>,
        _: Option<Duration>,
    ) -> Result<Deletion, Failure> {
        while self.with(|workloads| workloads.removing.as_mut().map(|seconds| *seconds += 1).is_some()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.with(|workloads| {
            workloads.asked += 1;
            workloads.there.retain(|uid, (_, from)| *uid != id.uid || *from > Instant::now());
        });
        Ok(Deletion::Gone)
    }
    async fn get_pod(&self, id: &PodRef) -> Result<Option<ObservedPod>, Failure> {
        Ok(self.seen().into_iter().find(|pod| pod.id == *id))
    }
    async fn get_pod_status(&self, id: &PodRef) -> Result<Option<String>, Failure> {
        Ok(self.get_pod(id).await?.map(|pod| pod.status))
    }
    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Failure> {
        Ok(self.seen())
    }
    async fn node_details(&self) -> Result<NodeDetails, Failure> {
        Err(unimplemented())
    }
    async fn capacity(&self) -> Result<Vec<Amount>, Failure> {
        Err(unimplemented())
    }
    async fn node_conditions(&self) -> Result<Vec<Condition>, Failure> {
        Err(unimplemented())
    }
    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Failure> {
        Err(unimplemented())
    }
    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Failure> {
        Err(unimplemented())
    }
    async fn operating_system(&self) -> Result<String, Failure> {
        Err(unimplemented())
    }
    async fn ping(&self) -> Result<(), Failure> {
        Ok(())
    }
    async fn stop(&self) -> Result<(), Failure> {
        Ok(())
    }
    async fn update_pod(&self, _: Call, _: DesiredPod) -> Result<(), Failure> {
        Err(unimplemented())
    }
    async fn update_volume(&self, _: Call, _: DesiredPod, _: &str) -> Result<(), Failure> {
        Err(unimplemented())
    }
    async fn next_changes(&self, _: Call, _: Option<String>, _: Duration) -> Result<Batch, Failure> {
        self.with(|workloads| workloads.followed += 1);
        Err(unimplemented())
    }
    async fn get_container_logs(&self, _: Call, _: &PodRef, _: &str, _: LogOptions, _: LogSink) -> Result<(), Failure> {
        Err(unimplemented())
    }
    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Failure> {
        Err(unimplemented())
    }
}

/// An API server of some pods or none: it lists, never has news, and takes every write, or none.
#[derive(Default)]
struct ApiServer {
    pods: Vec<Value>,
    /// Writes are answered that there is no such pod.
    absent: bool,
    /// Deletes are not answered.
    mute: bool,
    /// What was to be written.
    patches: Mutex<Vec<Value>>,
    /// What was to be made: events.
    posts: Mutex<Vec<Value>>,
    /// How often a pod was to be deleted.
    deletes: AtomicUsize,
}

impl ApiServer {
    fn client(self: &Arc<Self>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body: Value = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
                if parts.method == Method::DELETE {
                    server.deletes.fetch_add(1, Ordering::Relaxed);
                    if server.mute {
                        std::future::pending::<()>().await;
                    }
                }
                Ok::<_, kube::Error>(server.answer(&parts.method, &parts.uri, body))
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &Method, uri: &http::Uri, body: Value) -> Response<Body> {
        if uri.query().is_some_and(|query| query.contains("watch=true")) {
            return Response::new(Body::from_stream(futures::stream::pending::<std::io::Result<bytes::Bytes>>()));
        }
        let answer = match *method {
            Method::GET => {
                let pods = self.pods.iter().filter(|_| uri.path().ends_with("/pods")).collect::<Vec<_>>();
                json!({"metadata": {"resourceVersion": "1"}, "items": pods})
            }
            Method::PATCH => {
                self.patches().push(body);
                json!({"metadata": {"resourceVersion": "2"}})
            }
            Method::POST => {
                self.posts.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
                body
            }
            _ => body,
        };
        if !self.absent || *method != Method::PATCH {
            return Response::new(Body::from(answer.to_string()));
        }
        let status = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
        let mut response = Response::new(Body::from(status.to_string()));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
    }

    fn patches(&self) -> MutexGuard<'_, Vec<Value>> {
        self.patches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pending_pod() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u-1", "resourceVersion": "1"},
        "spec": {"nodeName": "n", "containers": [{"name": "main", "image": "i"}]},
        "status": {"phase": "Pending"},
    })
}

/// The same, running and to be deleted.
fn deleted_pod() -> Value {
    let mut pod = pending_pod();
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    pod["status"] = json!({"phase": "Running", "startTime": "2026-01-02T03:04:05Z"});
    pod
}

/// The pods' half of a host. Aborting it is a kill: nothing that it was doing goes on.
fn start(backend: &Arc<Backend>, server: &Arc<ApiServer>, state_dir: &Path) -> JoinHandle<()> {
    let client = server.client();
    let (_, reachable) = watch::channel(true);
    let config = Config {
        node_name: "n".into(),
        namespace: None,
        operating_system: "linux".into(),
        reads: client.clone(),
        writes: client.clone(),
        events: Events::start(client, "n"),
        node: Arc::default(),
        reachable,
        node_changed: Arc::default(),
        provider: backend.clone(),
        state_dir: state_dir.to_path_buf(),
        shutdown: backend.with(|workloads| workloads.stop.clone()),
    };
    tokio::spawn(config.build().unwrap().run())
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A host that was killed as soon as it had sent its create.
async fn killed_in_a_create(backend: &Arc<Backend>, state_dir: &Path) {
    let server = Arc::new(ApiServer { pods: vec![pending_pod()], ..ApiServer::default() });
    let host = start(backend, &server, state_dir);
    until("the create is sent", || backend.made() == 1).await;
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_host_has_made_is_not_made_again_though_it_cannot_be_seen_yet() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    killed_in_a_create(&backend, state_dir.path()).await;
    let server = Arc::new(ApiServer { pods: vec![pending_pod()], ..ApiServer::default() });
    let _host = start(&backend, &server, state_dir.path());
    until("the pod is adopted", || server.patches().iter().any(|patch| patch["status"]["phase"] == "Running")).await;
    assert_eq!(backend.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_host_has_made_for_a_pod_that_went_is_removed_once_it_can_be_seen() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    killed_in_a_create(&backend, state_dir.path()).await;
    let server = Arc::new(ApiServer::default());
    let _host = start(&backend, &server, state_dir.path());
    // Before there is anything to be seen.
    until("a removal is asked for", || backend.with(|workloads| workloads.asked) > 0).await;
    assert!(!backend.is_empty());
    until("it is removed", || backend.is_empty()).await;
    assert_eq!(backend.made(), 1);
    let file = state_dir.path().join("creates");
    let ended = || std::fs::read_to_string(&file).unwrap().contains(r#"{"end":"u-1"}"#);
    until("nothing is remembered any more", ended).await;
}

#[tokio::test(start_paused = true)]
async fn a_status_of_a_pod_that_is_gone_is_hardly_written_again() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    let server = Arc::new(ApiServer { pods: vec![pending_pod()], absent: true, ..ApiServer::default() });
    let _host = start(&backend, &server, state_dir.path());
    until("a status is written", || !server.patches().is_empty()).await;
    // The watch tells nothing of the pod, whatever the provider does.
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(server.patches().len(), 1);
    // Should the API server be mistaken, it is not for ever.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = server.patches().len();
    assert!((2..=11).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_nothing_of_pods_whose_creates_it_cuts() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    let server = Arc::new(ApiServer { pods: vec![pending_pod()], ..ApiServer::default() });
    let host = start(&backend, &server, state_dir.path());
    until("the create is sent", || backend.made() == 1).await;
    assert!(server.patches().is_empty());
    backend.with(|workloads| workloads.stop.cancel());
    host.await.unwrap();
    // Events are sent beside everything else.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.patches().as_slice(), &[] as &[Value]);
    let posts = server.posts.lock().unwrap().clone();
    assert!(posts.iter().all(|event| event["reason"] != "FailedToCreatePod"), "{posts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_goes_on_while_the_api_server_does_not_answer_and_the_api_delete_is_repeated_meanwhile() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    let server = Arc::new(ApiServer { pods: vec![deleted_pod()], mute: true, ..ApiServer::default() });
    let id = PodRef { namespace: "default".into(), name: "web".into(), uid: "u-1".into() };
    backend.with(|workloads| {
        workloads.removing = Some(0);
        workloads.there.insert(id.uid.clone(), (id, Instant::now()));
    });
    let _host = start(&backend, &server, state_dir.path());
    let seconds = || backend.with(|workloads| workloads.removing.unwrap_or_default());
    until("the removal is asked for", || seconds() > 0).await;
    backend.with(|workloads| workloads.phase = Some("Succeeded"));
    let deletes = || server.deletes.load(Ordering::Relaxed);
    until("its containers have ended, so that it leaves the API", || deletes() == 1).await;
    let before = seconds();
    until("the removal goes on", || seconds() >= before + 5).await;
    assert_eq!(deletes(), 1, "no answer yet");
    until("the API server is asked again", || deletes() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn another_build_is_asked_for_changes_though_this_one_has_none() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    let _host = start(&backend, &Arc::<ApiServer>::default(), state_dir.path());
    let followed = || backend.with(|workloads| workloads.followed);
    until("it is asked", || followed() == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(followed(), 1, "one that has none is left in peace");
    backend.with(|workloads| workloads.version = Some("2"));
    until("the next build is asked", || followed() == 2).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(followed(), 3, "now and then it is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_pods_are_asked_for_at_once_and_no_rate_limiter_of_the_host_keeps_them_waiting() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    let pods = (0..1000).map(|number| {
        let mut pod = pending_pod();
        pod["metadata"]["name"] = json!(format!("web-{number}"));
        pod["metadata"]["uid"] = json!(format!("u-{number}"));
        pod
    });
    let server = Arc::new(ApiServer { pods: pods.collect(), ..ApiServer::default() });
    let began = Instant::now();
    let _host = start(&backend, &server, state_dir.path());
    // The time is played: it passes only while everything waits.
    until("all are asked for", || backend.made() == 1000).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    until("all have their first status", || server.patches().len() == 1000).await;
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
}
