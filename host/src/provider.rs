//! What a node is made of: the only seam between the Kubernetes half (`node`, `pods`, `kubelet`) and the WebAssembly half (`plugin`).
//!
//! The Kubernetes half speaks [`Provider`] and knows no wasmtime; the plugin half implements it and knows no API server.
//! The thirteen methods of Virtual Kubelet's Go interface are all here under their own names; what was added is `ping`
//! (cheap reachability), `node_details`, `next_changes` (NotifyPods as a long poll with a cursor), `get_stats_summary`, and
//! what the host has to know before any call: `identity` and `capabilities`.
//!
//! A call may be *asked* to end through its [`Call`]; the provider then has a grace to finish well. A call whose future is
//! dropped ends at once. Neither undoes what the backend was told already: see [`Effect`].

pub mod containers;

use std::borrow::Cow;
use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// The only way to name a pod. A namesake with another UID is another pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl PodRef {
    /// What is done in it is about this pod: its lines of the log carry `pod` and `uid`. Within a pod's span it is that one: who
    /// serves a pod serves no other. It has the level of errors, so that no filter leaves it out and lets a line within it pass.
    pub fn span(&self) -> tracing::Span {
        let current = tracing::Span::current();
        match current.metadata() {
            Some(metadata) if metadata.name() == "pod" => current,
            _ => tracing::error_span!("pod", pod = %self, uid = %self.uid),
        }
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One variable of a container's environment, with its final value.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// A C identifier, or what Kubernetes' relaxed rule allows.
    pub name: String,
    /// The value after `$(VAR)` expansion.
    pub value: String,
    /// The value came from a Secret, wholly or in part.
    pub secret: bool,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A secret must not reach a log by way of `{:?}`.
        let value = if self.secret { "(secret)" } else { self.value.as_str() };
        write!(f, "{}={value}", self.name)
    }
}

/// What the host worked out for one container.
#[derive(Clone, PartialEq, Eq)]
pub struct ResolvedContainer {
    /// Unique in the pod, over init, ordinary and ephemeral containers.
    pub name: String,
    /// `command` after expansion; empty: the image's entrypoint.
    pub command: Vec<String>,
    /// `args` after expansion; empty: the image's default.
    pub args: Vec<String>,
    /// In the order in which Kubernetes defines them; names are unique.
    pub env: Vec<EnvVar>,
    /// `command` or `args` hold a value from a Secret.
    pub secret_args: bool,
    /// Digest of this container's part of the spec.
    pub revision: String,
    /// Some value needs the pod's IP, which is not known yet.
    pub late: bool,
}

impl fmt::Debug for ResolvedContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Command and args stay out: they may hold secrets (`secret_args`).
        f.debug_struct("ResolvedContainer").field("name", &self.name).field("env", &self.env).finish_non_exhaustive()
    }
}

/// What the pod's network is to be set up with, DNS policy worked out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The pod's host name, with its domain if `setHostnameAsFQDN` says so; empty: the backend's own (`hostNetwork`).
    pub hostname: String,
    /// Its own domain name, with subdomain; empty: none.
    pub domain: String,
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// As in resolv.conf, such as `ndots:5`.
    pub options: Vec<String>,
    /// hostAliases: an address and its names.
    pub hosts: Vec<(String, Vec<String>)>,
}

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the mount, with `/` between its parts.
    pub path: String,
    /// Permission bits, such as 0o644.
    pub mode: u32,
    /// Owner where runAsUser asks for one; none: the backend's default.
    pub uid: Option<u32>,
    /// Group where fsGroup asks for one; none: the backend's default.
    pub gid: Option<u32>,
    /// The whole file.
    pub content: Bytes,
    /// It came from a Secret or is a token.
    pub secret: bool,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content stays out: it may be secret, and long.
        write!(f, "{} {:04o} {:?}:{:?} ({} bytes)", self.path, self.mode, self.uid, self.gid, self.content.len())
    }
}

/// A volume, rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Changes when any file does.
    pub revision: String,
    /// All files, in the order of their paths.
    pub files: Vec<File>,
    /// When the first token in it expires, unix time in milliseconds; none: nothing in it does.
    pub expires_ms: Option<u64>,
}

/// What one registry takes.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The registry's host, with port if it has one; `docker.io` for Docker Hub by all of its names.
    pub server: String,
    /// Empty: an identity token stands in `password`.
    pub username: String,
    /// Never in a log.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {:?}", self.server, self.username)
    }
}

/// A pod as it should be.
#[derive(Clone, Debug)]
pub struct DesiredPod {
    /// Which pod.
    pub id: PodRef,
    /// Digest of the spec's fields that a workload is made from; the provider gives it back in [`ObservedPod`].
    pub revision: String,
    /// The core/v1 Pod as JSON text, less `managedFields`.
    pub manifest: std::sync::Arc<str>,
    /// One entry a container of the manifest: init, ordinary, ephemeral, in spec order.
    pub containers: Vec<ResolvedContainer>,
    /// DNS, host name and hosts file.
    pub network: Network,
}

/// A pod as the backend has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPod {
    /// Which pod.
    pub id: PodRef,
    /// The revision that was stored with the workload; none: the backend lost it.
    pub revision: Option<String>,
    /// A core/v1 PodStatus as JSON text.
    pub status: String,
}

/// How far a removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Nothing is left of it.
    Gone,
    /// Accepted; it still runs. A change or a later look tells the end.
    Stopping,
}

/// gRPC's canonical codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are gRPC's own and documented there")]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// Whether the backend may have acted before a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Surely not: the call may be repeated at once.
    None,
    /// Perhaps: look before repeating it.
    Unknown,
}

/// Why a call failed. Retry, pod reason, event and metric label all follow from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}{}", field.as_ref().map(|f| format!(" (field {f})")).unwrap_or_default())]
pub struct Error {
    /// The class of the failure, which decides what the host does next.
    pub code: Code,
    /// CamelCase and stable, such as `QuotaExceeded`.
    pub reason: Cow<'static, str>,
    /// One sentence for a person. Never a secret.
    pub message: String,
    /// The field that cannot be served, such as `spec.containers[0].securityContext.runAsUser`.
    pub field: Option<String>,
    /// What the backend asked for.
    pub retry_after: Option<Duration>,
    /// Whether the backend may have acted.
    pub effect: Effect,
}

impl Error {
    /// An error without field and retry-after whose call surely had no effect.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            field: None,
            retry_after: None,
            effect: Effect::None,
        }
    }

    /// The same, when the backend may have acted.
    #[must_use]
    pub fn with_unknown_effect(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }
}

/// Why the host wants a call to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The reader of a session has gone.
    ClientGone,
    /// A delete overtook the call.
    PodDeleted,
    /// A new generation of the provider took over.
    Replaced,
    /// Its time is up.
    Deadline,
    /// The host stops.
    Shutdown,
}

/// One call's own life: the provider's end of the request to end it. The caller's end is [`Canceller`].
#[derive(Clone, Debug)]
pub struct Call(Option<watch::Receiver<Option<Why>>>);

/// The caller's end of a [`Call`]. Dropping it asks for nothing.
#[derive(Debug)]
pub struct Canceller(watch::Sender<Option<Why>>);

impl Call {
    /// A call and the means to ask it to end.
    pub fn new() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(None);
        (Canceller(sender), Self(Some(receiver)))
    }

    /// A call that is never asked to end by its caller.
    pub const fn uncancelled() -> Self {
        Self(None)
    }

    /// Why the call should end; none: it should go on.
    pub fn reason(&self) -> Option<Why> {
        self.0.as_ref().and_then(|why| *why.borrow())
    }

    /// Waits until the caller asks the call to end; for ever if it never does.
    pub async fn cancelled(&mut self) -> Why {
        if let Some(receiver) = &mut self.0
            && let Ok(why) = receiver.wait_for(Option::is_some).await
            && let Some(why) = *why
        {
            return why;
        }
        std::future::pending().await
    }
}

impl Canceller {
    /// Asks the call to end. The first reason stands.
    pub fn cancel(&self, why: Why) {
        self.0.send_if_modified(|current| {
            current.is_none() && {
                *current = Some(why);
                true
            }
        });
    }
}

/// What a batch of changes says of the pods that are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Delta,
    /// Nothing yet: a page of a full list.
    Listing,
    /// The last page of a full list: what was in no page is absent.
    Listed,
}

/// What happened to this node's workloads since a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What it says of the others.
    pub scope: Scope,
    /// Pods with their new status.
    pub changed: Vec<ObservedPod>,
    /// Pods to look at again; most often they are gone.
    pub touched: Vec<PodRef>,
    /// The node's capacity or conditions changed.
    pub node_changed: bool,
    /// Where the next call goes on; opaque.
    pub cursor: Option<String>,
    /// The earliest time for the next call.
    pub again_after: Duration,
}

impl Batch {
    /// Nothing has happened.
    pub fn says_nothing(&self) -> bool {
        self.scope == Scope::Delta && self.changed.is_empty() && self.touched.is_empty() && !self.node_changed
    }
}

/// Which of the two a container wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of a log, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Unix time in nanoseconds, if the backend keeps it.
    pub time_ns: Option<u64>,
    /// Where the container wrote it.
    pub source: Source,
    /// The line goes on in the next entry of the same source.
    pub partial: bool,
    /// Without the newline.
    pub bytes: Bytes,
}

/// Where a provider's log entries go. A closed channel means that nobody reads any more.
pub type LogSink = mpsc::Sender<Vec<LogEntry>>;

/// What a reader of a log asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only so many of the last lines. The provider honours it.
    pub tail: Option<u32>,
    /// Nothing before this unix time in nanoseconds. The host filters again.
    pub since_ns: Option<u64>,
    /// About so many bytes. The host cuts again.
    pub limit_bytes: Option<u64>,
    /// The attempt before the present one.
    pub previous: bool,
    /// Exactly this attempt, counted from 0; `previous` then says nothing. Only the pod machine sets it.
    pub attempt: Option<u32>,
    /// Go on until the container ends.
    pub follow: bool,
}

/// Counters and gauges of one container; what the backend does not tell is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "units are in the names; wit/stats.wit documents each")]
pub struct Usage {
    pub pod: Option<PodRef>,
    pub container: Option<String>,
    pub time_ms: u64,
    pub started_ms: Option<u64>,
    pub cpu_nanoseconds: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
    pub memory_rss_bytes: Option<u64>,
    pub filesystem_used_bytes: Option<u64>,
    pub network_received_bytes: Option<u64>,
    pub network_sent_bytes: Option<u64>,
}

/// One resource that the scheduler counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// `cpu`, `memory`, `pods`, `nvidia.com/gpu` …
    pub resource: String,
    /// A Kubernetes quantity, such as `20` or `100Gi`.
    pub capacity: String,
    /// What pods may use of it; none: all.
    pub allocatable: Option<String>,
}

/// A node condition's status; `Unknown`: the backend did not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "Kubernetes' own names")]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// A node condition, without the times that the host adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `DiskPressure` … or a name of the provider's own.
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A node address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `InternalIP`, `ExternalIP`, `Hostname`, `InternalDNS` or `ExternalDNS`.
    pub kind: String,
    /// The address itself.
    pub address: String,
}

/// What else the Node object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDetails {
    /// `amd64`, `arm64` …; none: the host's own.
    pub architecture: Option<String>,
    /// `spec.providerID`.
    pub provider_id: Option<String>,
    /// Shown as container runtime.
    pub runtime_version: Option<String>,
    /// Shown as OS image.
    pub os_image: Option<String>,
    /// Shown as kernel version.
    pub kernel_version: Option<String>,
    /// Labels of the provider's own.
    pub labels: Vec<(String, String)>,
    /// Annotations of the provider's own.
    pub annotations: Vec<(String, String)>,
}

/// Who a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Short and lower case, such as `azure`.
    pub name: String,
    /// The provider's own version.
    pub version: String,
    /// How long the backend may still show or hide a workload after an unclear create or delete.
    pub settle: Duration,
}

/// What a provider can do beyond the required part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It tells changes; otherwise the host lists.
    pub changes: bool,
    /// It has logs.
    pub container_logs: bool,
    /// It has statistics.
    pub stats: bool,
    /// It fills in values that need the pod's IP by itself.
    pub resolves_late: bool,
    /// It brings files of running pods up to date.
    pub volumes: bool,
    /// It drives pods itself and is told what they should be: [`Provider::follow`].
    pub follows: bool,
}

/// What a provider may ask of Kubernetes: about this node's pods, and no others, for which each answer is `NotFound`.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The files of a volume, named as in `spec.volumes`. `FailedPrecondition`: an object that it needs is missing.
    async fn volume(&self, id: &PodRef, volume: &str) -> Result<Files, Error>;

    /// Credentials that fit the image, best first; empty: none are known.
    async fn registry_credentials(&self, id: &PodRef, image: &str) -> Result<Vec<Credential>, Error>;

    /// A container whose values need the pod's IPs, which are known now; the main one first.
    async fn resolve_container(
        &self,
        id: &PodRef,
        container: &str,
        pod_ips: &[String],
    ) -> Result<ResolvedContainer, Error>;

    /// An event on the pod; `reason` as in [`Error`]. It is only tried.
    fn event(&self, id: &PodRef, warning: bool, reason: &str, message: &str);
}

/// A backend that runs whole pods. Every method may take as long as its class of call allows (`defaults`); none may block a thread.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Who it is.
    fn identity(&self) -> Identity;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Whom it may ask about its pods, from before the first call about one. It must not keep the host's half alive.
    fn serve(&self, cluster: Weak<dyn Cluster>);

    /// Tells one with [`Capabilities::follows`] a pod as the API server has it: when it is first seen, and when its spec or its end
    /// changes. `containers` are empty. Returns how the pod is, as far as that is known; none: there is nothing of it.
    fn follow(&self, _pod: DesiredPod) -> Option<ObservedPod> {
        None
    }

    // The node.

    /// What else the Node object says.
    async fn node_details(&self) -> Result<NodeDetails, Error>;

    /// What the node offers.
    async fn capacity(&self) -> Result<Vec<Amount>, Error>;

    /// Conditions beside those that the host keeps.
    async fn node_conditions(&self) -> Result<Vec<Condition>, Error>;

    /// none: the host's own addresses.
    async fn node_addresses(&self) -> Result<Option<Vec<Address>>, Error>;

    /// The port of the kubelet API; none: the host's own.
    async fn node_daemon_endpoints(&self) -> Result<Option<u16>, Error>;

    /// `linux` or `windows`.
    async fn operating_system(&self) -> Result<String, Error>;

    /// Cheap proof that the backend answers.
    async fn ping(&self) -> Result<(), Error>;

    /// The node goes away. Workloads stay unless the provider decides otherwise.
    async fn stop(&self) -> Result<(), Error>;

    // Pods.

    /// Returns when the backend has accepted the pod. Idempotent by UID.
    async fn create_pod(&self, call: Call, pod: DesiredPod) -> Result<Option<ObservedPod>, Error>;

    /// Brings a running pod to a new revision, or says `Unimplemented`.
    async fn update_pod(&self, call: Call, pod: DesiredPod) -> Result<(), Error>;

    /// Brings the pod's copy of a volume up to date with [`Cluster::volume`]. Idempotent. `pod`'s `containers` are empty.
    /// `NotFound`: it does not have the pod; `Unimplemented`: the volume cannot change.
    async fn update_volume(&self, call: Call, pod: DesiredPod, volume: &str) -> Result<(), Error>;

    /// Starts the removal. `pod` is none when the API server no longer has it, and its `containers` are empty: nothing is
    /// resolved for a pod that goes. `grace` is none for the pod's own.
    async fn delete_pod(
        &self,
        call: Call,
        id: &PodRef,
        pod: Option<DesiredPod>,
        grace: Option<Duration>,
    ) -> Result<Deletion, Error>;

    /// none: surely absent. An error: not known.
    async fn get_pod(&self, id: &PodRef) -> Result<Option<ObservedPod>, Error>;

    /// As `get_pod`, the core/v1 PodStatus alone, as JSON text.
    async fn get_pod_status(&self, id: &PodRef) -> Result<Option<String>, Error>;

    /// All that this node owns in the backend, and nothing else.
    async fn get_pods(&self) -> Result<Vec<ObservedPod>, Error>;

    /// Returns at the first change or after `wait`. A cursor of none asks for a full list; an outworn cursor is
    /// `OutOfRange`. Loses nothing when it is dropped.
    async fn next_changes(&self, call: Call, cursor: Option<String>, wait: Duration) -> Result<Batch, Error>;

    // Containers.

    /// Writes entries into `sink`, oldest first; returns at the end of the log. A session: it has no deadline.
    async fn get_container_logs(
        &self,
        call: Call,
        id: &PodRef,
        container: &str,
        options: LogOptions,
        sink: LogSink,
    ) -> Result<(), Error>;

    /// Usage of every pod that this node owns.
    async fn get_stats_summary(&self) -> Result<Vec<Usage>, Error>;
}
