//! Calls of the provider, counted at the seam: [`Counted`] is a provider that asks another one and keeps count.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

use super::Registrar;
use crate::provider::{
    Address, Amount, Batch, Call, Capabilities, Cluster, Code, Condition, Deletion, DesiredPod, Error, Identity,
    LogOptions, LogSink, NodeDetails, ObservedPod, PodRef, Provider, Usage,
};

/// Upper ends in seconds: from a call that the mock answers to the deadline of create-pod and beyond. Sessions and long polls
/// last as long as they last; their durations are told too, but say little.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0, 62.0];

/// A label and its value.
type Label = (&'static str, &'static str);

/// A provider whose calls are counted.
pub struct Counted {
    inner: Arc<dyn Provider>,
    counts: Arc<Counts>,
}

/// What is counted of calls.
pub struct Counts {
    calls: Family<[Label; 2], Counter>,
    durations: Family<[Label; 1], Histogram>,
    in_flight: Family<[Label; 1], Gauge>,
}

/// One call that runs. Dropped before its end, it is counted as that.
struct Running<'a> {
    of: &'a Counts,
    method: &'static str,
    began: Instant,
    code: &'static str,
}

impl Counted {
    /// Counts the calls of `inner`, which also wait for a place among those of their kind.
    pub fn new(inner: Arc<dyn Provider>, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }

    async fn count<T>(&self, method: &'static str, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.counts.count(method, call).await
    }
}

impl Counts {
    /// None yet, shown in the registry.
    pub fn new(registrar: &mut Registrar) -> Self {
        let counted = Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Family::default(),
        };
        registrar.register(
            "vk_provider_calls",
            "Calls of the provider that have ended, by method and gRPC code; Dropped: given up by the host",
            counted.calls.clone(),
        );
        registrar.register(
            "vk_provider_call_duration_seconds",
            "How long calls of the provider took, with what they waited for a place",
            counted.durations.clone(),
        );
        registrar.register(
            "vk_provider_calls_in_flight",
            "Calls of the provider that run now",
            counted.in_flight.clone(),
        );
        counted
    }

    pub(super) async fn count<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.in_flight.get_or_create(&[("method", method)]).inc();
        let mut running = Running { of: self, method, began: Instant::now(), code: "Dropped" };
        let result = call.await;
        running.code = result.as_ref().map_or_else(|error| name(error.code), |_| "OK");
        result
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { of, method, began, code } = *self;
        of.in_flight.get_or_create(&[("method", method)]).dec();
        of.durations.get_or_create(&[("method", method)]).observe(began.elapsed().as_secs_f64());
        of.calls.get_or_create(&[("method", method), ("code", code)]).inc();
    }
}

/// gRPC's own spelling.
fn name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[async_trait]
impl Provider for Counted {
    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn serve(&self, cluster: Weak<dyn Cluster>) {
        self.inner.serve(cluster);
    }

    fn follow(&self, pod: DesiredPod) -> Option<ObservedPod> {
        self.inner.follow(pod)
    }

    async fn node_details(&self) -> Result<NodeDetails, Error> {
        self.count("node_details", self.inner.node_details()).await
    }

    async fn capacity(&self) -> Result<Vec<Amount>, Error> {
        self.count("capacity", self.inner.capacity()).await
    }

    async fn node_conditions(&self) -> Result<Vec<Condition>, Error> {
        self.count("node_conditions", self.inner.node_conditions()).await
    }

    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Error> {
        self.count("node_addresses", self.inner.node_addresses()).await
    }

    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Error> {
        self.count("node_daemon_endpoints", self.inner.node_daemon_endpoints()).await
    }

    async fn operating_system(&self) -> Result<String, Error> {
        self.count("operating_system", self.inner.operating_system()).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.count("ping", self.inner.ping()).await
    }

    async fn stop(&self) -> Result<(), Error> {
        self.count("stop", self.inner.stop()).await
    }

    async fn create_pod(&self, call: Call, pod: DesiredPod) -> Result<Option<ObservedPod>, Error> {
        self.count("create_pod", self.inner.create_pod(call, pod)).await
    }

    async fn update_pod(&self, call: Call, pod: DesiredPod) -> Result<(), Error> {
        self.count("update_pod", self.inner.update_pod(call, pod)).await
    }

    async fn update_volume(&self, call: Call, pod: DesiredPod, volume: &str) -> Result<(), Error> {
        self.count("update_volume", self.inner.update_volume(call, pod, volume)).await
    }

    async fn delete_pod(
        &self,
        call: Call,
        id: &PodRef,
        pod: Option<DesiredPod>,
        grace: Option<Duration>,
    ) -> Result<Deletion, Error> {
        self.count("delete_pod", self.inner.delete_pod(call, id, pod, grace)).await
    }

    async fn get_pod(&self, id: &PodRef) -> Result<Option<ObservedPod>, Error> {
        self.count("get_pod", self.inner.get_pod(id)).await
    }

    async fn get_pod_status(&self, id: &PodRef) -> Result<Option<String>, Error> {
        self.count("get_pod_status", self.inner.get_pod_status(id)).await
    }

    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Error> {
        self.count("get_pods", self.inner.get_pods()).await
    }

    async fn next_changes(&self, call: Call, cursor: Option<String>, wait: Duration) -> Result<Batch, Error> {
        self.count("next_changes", self.inner.next_changes(call, cursor, wait)).await
    }

    async fn get_container_logs(
        &self,
        call: Call,
        id: &PodRef,
        container: &str,
        options: LogOptions,
        sink: LogSink,
    ) -> Result<(), Error> {
        self.count("get_container_logs", self.inner.get_container_logs(call, id, container, options, sink)).await
    }

    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Error> {
        self.count("get_stats_summary", self.inner.get_stats_summary()).await
    }
}
