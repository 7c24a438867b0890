//! Probes and hooks of a spec, with their defaults.

use std::time::Duration;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::defaults::machine::{PROBE_FAILURES, PROBE_PERIOD, PROBE_TIMEOUT};
use crate::pods::resolve::expand::expand;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pods::machine) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub(in crate::pods::machine) const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// As the kubelet's events name it.
    pub(in crate::pods::machine) const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
        }
    }
}

/// A port, by its number; an error is what is wrong with its name.
pub(in crate::pods::machine) type Port = Result<u16, String>;

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) enum Check {
    /// A command in the container, never empty.
    Exec(Vec<String>),
    Http(HttpGet),
    /// none: the pod's own IP.
    Tcp {
        host: Option<String>,
        port: Port,
    },
    /// The health service of gRPC, asked about `service`.
    Grpc {
        port: Port,
        service: String,
    },
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) struct HttpGet {
    pub(in crate::pods::machine) tls: bool,
    /// none: the pod's own IP.
    pub(in crate::pods::machine) host: Option<String>,
    pub(in crate::pods::machine) port: Port,
    pub(in crate::pods::machine) path: String,
    pub(in crate::pods::machine) headers: Vec<(String, String)>,
}

/// A probe of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) struct Probe {
    pub(in crate::pods::machine) check: Check,
    pub(in crate::pods::machine) initial_delay: Duration,
    pub(in crate::pods::machine) timeout: Duration,
    pub(in crate::pods::machine) period: Duration,
    /// Successes in a row that count.
    pub(in crate::pods::machine) successes: u32,
    /// Failures in a row that count.
    pub(in crate::pods::machine) failures: u32,
    /// How long a container may take to end that has failed it; none: as long as the pod says.
    pub(in crate::pods::machine) grace: Option<Duration>,
}

/// What is done when a container has started, or is about to be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) enum Hook {
    Exec(Vec<String>),
    Http(HttpGet),
    Sleep(Duration),
    /// What the API takes and no kubelet runs: it fails.
    Unknown,
}

/// The probe of this kind; none: the container has none. One without a handler, which the API server does not take, is none.
pub(super) fn probe(container: &api::Container, kind: ProbeKind) -> Option<Probe> {
    let probe = match kind {
        ProbeKind::Startup => &container.startup_probe,
        ProbeKind::Readiness => &container.readiness_probe,
        ProbeKind::Liveness => &container.liveness_probe,
    };
    let probe = probe.as_ref()?;
    let check = if let Some(exec) = &probe.exec {
        Check::Exec(command(exec, container)?)
    } else if let Some(get) = &probe.http_get {
        Check::Http(http_get(get, container))
    } else if let Some(tcp) = &probe.tcp_socket {
        Check::Tcp { host: tcp.host.clone().filter(|host| !host.is_empty()), port: port(&tcp.port, container) }
    } else {
        let grpc = probe.grpc.as_ref()?;
        Check::Grpc { port: number(grpc.port), service: grpc.service.clone().unwrap_or_default() }
    };
    Some(Probe {
        check,
        initial_delay: seconds(probe.initial_delay_seconds).unwrap_or_default(),
        timeout: seconds(probe.timeout_seconds).filter(|time| !time.is_zero()).unwrap_or(PROBE_TIMEOUT),
        period: seconds(probe.period_seconds).filter(|time| !time.is_zero()).unwrap_or(PROBE_PERIOD),
        successes: count(probe.success_threshold).unwrap_or(1),
        failures: count(probe.failure_threshold).unwrap_or(PROBE_FAILURES),
        grace: probe.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
    })
}

/// The hook of a lifecycle.
pub(super) fn hook(handler: &api::LifecycleHandler, container: &api::Container) -> Hook {
    if let Some(exec) = &handler.exec {
        // A hook's command is run as it stands.
        exec.command.clone().filter(|command| !command.is_empty()).map_or(Hook::Unknown, Hook::Exec)
    } else if let Some(get) = &handler.http_get {
        Hook::Http(http_get(get, container))
    } else if let Some(sleep) = &handler.sleep {
        Hook::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default()))
    } else {
        Hook::Unknown
    }
}

/// The command of a probe, which sees the values that stand in the spec itself; of other variables it sees nothing.
fn command(exec: &api::ExecAction, container: &api::Container) -> Option<Vec<String>> {
    let value = |name: &str| {
        let variable = container.env.iter().flatten().rev().find(|variable| variable.name == name)?;
        Some((variable.value.as_deref().unwrap_or_default(), false))
    };
    let command: Vec<String> = exec.command.iter().flatten().map(|word| expand(word, value).text).collect();
    Some(command).filter(|command| !command.is_empty())
}

fn http_get(get: &api::HTTPGetAction, container: &api::Container) -> HttpGet {
    let headers = get.http_headers.iter().flatten();
    HttpGet {
        tls: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        host: get.host.clone().filter(|host| !host.is_empty()),
        port: port(&get.port, container),
        path: get.path.clone().unwrap_or_default(),
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
    }
}

/// A port by number, or by the name of one of the container's.
fn port(port: &IntOrString, container: &api::Container) -> Port {
    let name = match port {
        IntOrString::Int(port) => return number(*port),
        IntOrString::String(name) => name,
    };
    let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
    match (named, name.parse()) {
        (Some(port), _) => number(port.container_port),
        (None, Ok(port)) => number(port),
        (None, Err(_)) => Err(format!("couldn't find port: {name:?}")),
    }
}

fn number(port: i32) -> Port {
    u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {port}"))
}

fn seconds(seconds: Option<i32>) -> Option<Duration> {
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

fn count(count: Option<i32>) -> Option<u32> {
    count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0)
}

impl Check {
    /// The field that says what is done, such as `httpGet`.
    const fn field(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Http(_) => "httpGet",
            Self::Tcp { .. } => "tcpSocket",
            Self::Grpc { .. } => "grpc",
        }
    }
}

/// The field of a probe's handler below its container's, such as `livenessProbe.httpGet`, and whether it is run in the container
/// rather than from the host.
pub(super) fn of_probe(kind: ProbeKind, probe: &Probe) -> (String, bool) {
    (format!("{}.{}", kind.field(), probe.check.field()), matches!(probe.check, Check::Exec(_)))
}

/// The same of a hook; none: it needs neither.
pub(super) fn of_hook(name: &str, hook: &Hook) -> Option<(String, bool)> {
    match hook {
        Hook::Exec(_) => Some((format!("lifecycle.{name}.exec"), true)),
        Hook::Http(_) => Some((format!("lifecycle.{name}.httpGet"), false)),
        Hook::Sleep(_) | Hook::Unknown => None,
    }
}
