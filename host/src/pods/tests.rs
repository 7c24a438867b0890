//! What no real cluster and backend do on demand: a backend that shows workloads late, while the host is killed in a create (R9b),
//! and an API server that does not have a pod that it has told of (R14). Here both ends are played, and the time too.

use std::collections::BTreeMap;
use std::path::Path;
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
    Address, Amount, Batch, Call, Capabilities, Code, Condition, Deletion, DesiredPod, Error as Failure, Identity,
    LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Usage,
};

/// A workload can be seen so long after its create.
const LATE: Duration = Duration::from_secs(7);
/// What the provider says of that.
const SETTLE: Duration = Duration::from_secs(10);

/// A backend that acts at once, shows it late, and never answers a create.
#[derive(Default)]
struct Backend(Mutex<Workloads>);

#[derive(Default)]
struct Workloads {
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
        let status = json!({"phase": "Running", "podIP": "10.0.0.1"}).to_string();
        self.with(|workloads| {
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
        Identity { name: "late".into(), version: "1".into(), settle: SETTLE }
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn create_pod(&self, _: Call, pod: DesiredPod) -> Result<Option<ObservedPod>, Failure> {
        self.with(|workloads| {
            workloads.made += 1;
            workloads.there.insert(pod.id.uid.clone(), (pod.id, Instant::now() + LATE));
        });
        std::future::pending().await
    }
    async fn delete_pod(
        &self,
        _: Call,
        id: &PodRef,
        _: Option<DesiredPod>,
        _: Option<Duration>,
    ) -> Result<Deletion, Failure> {
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
    async fn next_changes(&self, _: Call, _: Option<String>, _: Duration) -> Result<Batch, Failure> {
        Err(unimplemented())
    }
    async fn get_container_logs(&self, _: Call, _: &PodRef, _: &str, _: LogOptions, _: LogSink) -> Result<(), Failure> {
        Err(unimplemented())
    }
    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Failure> {
        Err(unimplemented())
    }
}

/// An API server of one pod or none: it lists, never has news, and takes every write, or none.
#[derive(Default)]
struct ApiServer {
    pod: Option<Value>,
    /// Writes are answered that there is no such pod.
    absent: bool,
    /// What was to be written.
    patches: Mutex<Vec<Value>>,
}

impl ApiServer {
    fn client(self: &Arc<Self>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body: Value = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
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
                let pods = self.pod.iter().filter(|_| uri.path().ends_with("/pods")).cloned().collect::<Vec<_>>();
                json!({"metadata": {"resourceVersion": "1"}, "items": pods})
            }
            Method::PATCH => {
                self.patches().push(body);
                json!({"metadata": {"resourceVersion": "2"}})
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
        shutdown: CancellationToken::new(),
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
    let server = Arc::new(ApiServer { pod: Some(pending_pod()), ..ApiServer::default() });
    let host = start(backend, &server, state_dir);
    until("the create is sent", || backend.made() == 1).await;
    host.abort();
    assert!(host.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_host_has_made_is_not_made_again_though_it_cannot_be_seen_yet() {
    let (backend, state_dir) = (Arc::<Backend>::default(), tempfile::tempdir().unwrap());
    killed_in_a_create(&backend, state_dir.path()).await;
    let server = Arc::new(ApiServer { pod: Some(pending_pod()), ..ApiServer::default() });
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
    let server = Arc::new(ApiServer { pod: Some(pending_pod()), absent: true, ..ApiServer::default() });
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
