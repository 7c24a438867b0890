//! Between the contract's types and the host's own. Nowhere else.

pub(super) mod containers;

use std::time::Duration;

use super::NodeInfo;
use super::bindings::exports::virtual_kubelet::provider::{changes, container_logs, node, plugin, pods, stats};
use super::bindings::virtual_kubelet::provider as wit;
use super::bindings::virtual_kubelet::provider::types;
use super::store;
use crate::provider::{
    Address, Amount, Batch, Code, Condition, Credential, Deletion, DesiredPod, Effect, EnvVar, Error, File, Files,
    Identity, LogEntry, LogOptions, Network, NodeDetails, ObservedPod, PodRef, ResolvedContainer, Scope, Source, Truth,
    Usage, Why,
};

/// Longest reason: that of a Kubernetes Event.
const REASON: usize = 128;
/// Longest message, in bytes: it goes into pod statuses and events.
const MESSAGE: usize = 1 << 10;

/// Longest field, in bytes; one that is longer names nothing that people can find.
const FIELD: usize = 256;
/// Longest settle time: a backend that needs longer would keep pods that went for so long.
const SETTLE: Duration = Duration::from_secs(3600);

/// Milliseconds, as many as fit.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Why a call should end.
pub(super) fn why(why: Why) -> wit::call::Why {
    match why {
        Why::ClientGone => wit::call::Why::ClientGone,
        Why::PodDeleted => wit::call::Why::PodDeleted,
        Why::Replaced => wit::call::Why::Replaced,
        Why::Deadline => wit::call::Why::Deadline,
        Why::Shutdown => wit::call::Why::Shutdown,
    }
}

impl From<&NodeInfo> for wit::config::NodeInfo {
    fn from(node: &NodeInfo) -> Self {
        Self {
            name: node.name.clone(),
            cluster_id: node.cluster_id.clone(),
            cluster_domain: node.cluster_domain.clone(),
            internal_ip: node.internal_ip.clone(),
            daemon_port: node.daemon_port,
            operating_system: node.operating_system.clone(),
        }
    }
}

// What every interface speaks of.

impl From<types::PodRef> for PodRef {
    fn from(types::PodRef { namespace, name, uid }: types::PodRef) -> Self {
        Self { namespace, name, uid }
    }
}

impl From<PodRef> for types::PodRef {
    fn from(PodRef { namespace, name, uid }: PodRef) -> Self {
        Self { namespace, name, uid }
    }
}

impl From<EnvVar> for types::EnvVar {
    fn from(EnvVar { name, value, secret }: EnvVar) -> Self {
        Self { name, value, secret }
    }
}

impl From<ResolvedContainer> for types::ResolvedContainer {
    fn from(container: ResolvedContainer) -> Self {
        let ResolvedContainer { name, command, args, env, secret_args, revision, late } = container;
        Self { name, command, args, env: all(env), secret_args, revision, late }
    }
}

impl From<Network> for types::Network {
    fn from(Network { hostname, domain, nameservers, searches, options, hosts }: Network) -> Self {
        Self { hostname, domain, nameservers, searches, options, hosts }
    }
}

impl From<DesiredPod> for types::DesiredPod {
    fn from(DesiredPod { id, revision, manifest, containers, network }: DesiredPod) -> Self {
        Self {
            id: id.into(),
            revision,
            manifest: manifest.to_string(),
            containers: all(containers),
            network: network.into(),
        }
    }
}

impl From<types::ObservedPod> for ObservedPod {
    fn from(types::ObservedPod { id, revision, status }: types::ObservedPod) -> Self {
        Self { id: id.into(), revision, status }
    }
}

impl From<types::Deletion> for Deletion {
    fn from(deletion: types::Deletion) -> Self {
        match deletion {
            types::Deletion::Gone => Self::Gone,
            types::Deletion::Stopping => Self::Stopping,
        }
    }
}

impl From<types::Code> for Code {
    fn from(code: types::Code) -> Self {
        match code {
            types::Code::Cancelled => Self::Cancelled,
            types::Code::Unknown => Self::Unknown,
            types::Code::InvalidArgument => Self::InvalidArgument,
            types::Code::DeadlineExceeded => Self::DeadlineExceeded,
            types::Code::NotFound => Self::NotFound,
            types::Code::AlreadyExists => Self::AlreadyExists,
            types::Code::PermissionDenied => Self::PermissionDenied,
            types::Code::ResourceExhausted => Self::ResourceExhausted,
            types::Code::FailedPrecondition => Self::FailedPrecondition,
            types::Code::Aborted => Self::Aborted,
            types::Code::OutOfRange => Self::OutOfRange,
            types::Code::Unimplemented => Self::Unimplemented,
            types::Code::Internal => Self::Internal,
            types::Code::Unavailable => Self::Unavailable,
            types::Code::DataLoss => Self::DataLoss,
            types::Code::Unauthenticated => Self::Unauthenticated,
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        let types::Error { code, reason, mut message, field, retry_after_ms, effect } = error;
        // A reason is an event's reason and a metric's label; a plugin that makes up others must not break either.
        let proper =
            !reason.is_empty() && reason.len() <= REASON && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE - '…'.len_utf8()));
            message.push('…');
            // What was cut off must not be kept: it may be a whole answer of a backend's.
            message.shrink_to_fit();
        }
        let field = field.filter(|field| field.len() <= FIELD);
        Self {
            code: code.into(),
            reason: if proper { reason.into() } else { "ProviderError".into() },
            message,
            field,
            retry_after: retry_after_ms.map(Duration::from_millis),
            effect: match effect {
                types::Effect::None => Effect::None,
                types::Effect::Unknown => Effect::Unknown,
            },
        }
    }
}

impl From<Code> for types::Code {
    fn from(code: Code) -> Self {
        match code {
            Code::Cancelled => Self::Cancelled,
            Code::Unknown => Self::Unknown,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::Aborted => Self::Aborted,
            Code::OutOfRange => Self::OutOfRange,
            Code::Unimplemented => Self::Unimplemented,
            Code::Internal => Self::Internal,
            Code::Unavailable => Self::Unavailable,
            Code::DataLoss => Self::DataLoss,
            Code::Unauthenticated => Self::Unauthenticated,
        }
    }
}

impl From<Error> for types::Error {
    fn from(Error { code, reason, message, field, retry_after, effect }: Error) -> Self {
        Self {
            code: code.into(),
            reason: reason.into_owned(),
            message,
            field,
            retry_after_ms: retry_after.map(millis),
            effect: match effect {
                Effect::None => types::Effect::None,
                Effect::Unknown => types::Effect::Unknown,
            },
        }
    }
}

// What it may ask of the cluster.

impl From<File> for wit::cluster::File {
    fn from(File { path, mode, uid, gid, content, secret }: File) -> Self {
        Self { path, mode, uid, gid, content: content.into(), secret }
    }
}

impl From<Files> for wit::cluster::Files {
    fn from(Files { revision, files, expires_ms }: Files) -> Self {
        Self { revision, files: all(files), expires_ms }
    }
}

impl From<Credential> for wit::cluster::Credential {
    fn from(Credential { server, username, password }: Credential) -> Self {
        Self { server, username, password }
    }
}

// The plugin and its node.

impl From<&plugin::Identity> for Identity {
    fn from(identity: &plugin::Identity) -> Self {
        Self {
            name: identity.name.clone(),
            version: identity.version.clone(),
            settle: Duration::from_millis(identity.settle_ms).min(SETTLE),
        }
    }
}

impl From<node::Details> for NodeDetails {
    fn from(details: node::Details) -> Self {
        let node::Details { architecture, provider_id, runtime_version, os_image, kernel_version, labels, annotations } =
            details;
        Self { architecture, provider_id, runtime_version, os_image, kernel_version, labels, annotations }
    }
}

impl From<node::Amount> for Amount {
    fn from(node::Amount { resource, capacity, allocatable }: node::Amount) -> Self {
        Self { resource, capacity, allocatable }
    }
}

impl From<node::Condition> for Condition {
    fn from(node::Condition { kind, status, reason, message }: node::Condition) -> Self {
        let status = match status {
            node::Truth::True => Truth::True,
            node::Truth::False => Truth::False,
            node::Truth::Unknown => Truth::Unknown,
        };
        Self { kind, status, reason, message }
    }
}

impl From<node::Address> for Address {
    fn from(node::Address { kind, address }: node::Address) -> Self {
        Self { kind, address }
    }
}

// Pods.

impl From<changes::Batch> for Batch {
    fn from(batch: changes::Batch) -> Self {
        let changes::Batch { scope, changed, touched, node_changed, cursor, again_after_ms } = batch;
        let scope = match scope {
            changes::Scope::Delta => Scope::Delta,
            changes::Scope::Listing => Scope::Listing,
            changes::Scope::Listed => Scope::Listed,
        };
        let again_after = Duration::from_millis(again_after_ms.into());
        Self { scope, changed: all(changed), touched: all(touched), node_changed, cursor, again_after }
    }
}

/// A page and where the next begins.
pub(super) fn pods_page(pods::Page { pods, next }: pods::Page) -> (Vec<ObservedPod>, Option<String>) {
    (all(pods), next)
}

// Containers.

impl From<wit::log_sink::Entry> for LogEntry {
    fn from(wit::log_sink::Entry { time_ns, source, partial, bytes }: wit::log_sink::Entry) -> Self {
        let source = match source {
            wit::log_sink::Source::Stdout => Source::Stdout,
            wit::log_sink::Source::Stderr => Source::Stderr,
        };
        Self { time_ns, source, partial, bytes: bytes.into() }
    }
}

impl From<LogOptions> for container_logs::Options {
    fn from(LogOptions { tail, since_ns, limit_bytes, previous, attempt, follow }: LogOptions) -> Self {
        Self { tail, since_ns, limit_bytes, previous, attempt, follow }
    }
}

/// A page and where the next begins.
pub(super) fn usage_page(stats::Page { usage, next }: stats::Page) -> (Vec<Usage>, Option<String>) {
    (all(usage), next)
}

impl From<stats::Usage> for Usage {
    fn from(usage: stats::Usage) -> Self {
        Self {
            pod: usage.pod.map(PodRef::from),
            container: usage.container,
            time_ms: usage.time_ms,
            started_ms: usage.started_ms,
            cpu_nanoseconds: usage.cpu_nanoseconds,
            memory_working_set_bytes: usage.memory_working_set_bytes,
            memory_rss_bytes: usage.memory_rss_bytes,
            filesystem_used_bytes: usage.filesystem_used_bytes,
            network_received_bytes: usage.network_received_bytes,
            network_sent_bytes: usage.network_sent_bytes,
        }
    }
}

// The store.

impl From<store::Entry> for wit::store::Entry {
    fn from(store::Entry { value, revision }: store::Entry) -> Self {
        Self { value: value.into(), revision }
    }
}

impl From<wit::store::Expect> for store::Expect {
    fn from(expect: wit::store::Expect) -> Self {
        match expect {
            wit::store::Expect::Anything => Self::Anything,
            wit::store::Expect::Absent => Self::Absent,
            wit::store::Expect::Revision(revision) => Self::Revision(revision),
        }
    }
}

impl From<store::Failure> for wit::store::Failure {
    fn from(failure: store::Failure) -> Self {
        match failure {
            store::Failure::Conflict(entry) => Self::Conflict(entry.map(wit::store::Entry::from)),
            store::Failure::TooLong => Self::TooLong,
            store::Failure::Quota => Self::Quota,
            store::Failure::Outworn => Self::Outworn,
            store::Failure::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

impl From<store::News> for wit::store::News {
    fn from(store::News { revision, changed }: store::News) -> Self {
        let changed =
            changed.into_iter().map(|(key, entry)| (key.to_string(), entry.map(wit::store::Entry::from))).collect();
        Self { revision, changed }
    }
}

/// Each one of a list.
pub(super) fn all<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(B::from).collect()
}
