//! The real metrics-server, as a process beside a control plane: what `kubectl top` and autoscaling ask.
//!
//! ```text
//! kubectl top ─▶ API server ── APIService ▸ Service (ExternalName) ──▶ metrics-server ── GET /metrics/resource ──▶ nodes
//! ```
//!
//! Its rights are those of its release (`manifests/base/rbac.yaml`), its identity is a token of its service account, and it
//! trusts the certificates of nodes by the cluster's authority alone. Only the way to it is another one than in a cluster with
//! a network: a Service that is a name, as an EndpointSlice may not hold an address of loopback.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Child, Command},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::control_plane::{Component, ControlPlane, succeed};
use crate::go::GoProgram;
use crate::process::{Tie, start};

const PROGRAM: GoProgram = GoProgram {
    title: "metrics-server",
    name: "metrics-server",
    folder: "metrics-server",
    package: "sigs.k8s.io/metrics-server/cmd/metrics-server",
    module: "sigs.k8s.io/metrics-server",
    takes: "2 minutes",
    linker_flags: |_| "-s -w".to_owned(),
};

/// What it is to the API server.
const NAME: &str = "metrics-server";
/// Where its release runs it.
const NAMESPACE: &str = "kube-system";
/// Ports below Linux's ephemeral range, which no outgoing connection takes.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A running metrics-server. It is killed when this is dropped, or when the test process ends.
#[derive(Debug)]
pub struct MetricsServer {
    child: Child,
    log: PathBuf,
}

impl MetricsServer {
    /// A flag that the control plane has to be started with: asked by a Service that is a name, not by its endpoints.
    pub const NEEDS: (Component, &'static str) = (Component::ApiServer, "--enable-aggregator-routing=false");

    /// Its program; builds it first if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be built.
    pub fn program() -> Result<PathBuf> {
        PROGRAM.build()
    }

    /// Starts it with all that its release gives it in a cluster. Its first figures take two readings, ten seconds apart.
    ///
    /// # Errors
    ///
    /// It cannot be built, or the API server refuses one of its objects.
    pub fn start(control_plane: &ControlPlane) -> Result<Self> {
        let program = Self::program()?;
        let dir = control_plane.dir().join(NAME);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        apply(control_plane, &PROGRAM.module_file("manifests/base/rbac.yaml")?)?;
        let kubeconfig = kubeconfig(control_plane, &dir)?;
        let port = free_port()?;

        let mut command = Command::new(program);
        for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
            command.arg(format!("--{flag}={}", kubeconfig.display()));
        }
        command.arg(format!("--cert-dir={}", dir.display())).arg(format!("--secure-port={port}"));
        command.args([
            "--bind-address=127.0.0.1",
            // As its release.
            "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
            "--kubelet-use-node-status-port",
            // The shortest that it takes, and an answer has to come within 9/10 of it.
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ]);
        let log = dir.with_extension("log");
        let out = File::create(&log)?;
        let child = start(&command, Tie::Killed, out.try_clone()?, out)?;
        let server = Self { child, log };
        apply(control_plane, &registration(&dir, port)?)?;
        Ok(server)
    }

    /// All that it has logged.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its Service and its APIService, in a file.
fn registration(dir: &Path, port: u16) -> Result<PathBuf> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
    });
    let api_service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        // As its release, but for the port.
        "spec": {
            "service": {"name": NAME, "namespace": NAMESPACE, "port": port},
            "group": "metrics.k8s.io", "version": "v1beta1",
            "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 100,
        },
    });
    let file = dir.join("registration.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [service, api_service]});
    fs::write(&file, list.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// A kubeconfig with a token of its service account.
fn kubeconfig(control_plane: &ControlPlane, dir: &Path) -> Result<PathBuf> {
    let token = succeed(&mut control_plane.kubectl(&["-n", NAMESPACE, "create", "token", NAME]))?.stdout;
    let token = String::from_utf8(token).context("read the token")?;
    let cluster = json!({"server": control_plane.server(), "certificate-authority": control_plane.ca_file()});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": NAME,
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token.trim()}}],
    });
    let file = dir.join("kubeconfig");
    fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

fn apply(control_plane: &ControlPlane, file: &Path) -> Result<()> {
    let file = file.to_str().context("the path is no text")?;
    succeed(&mut control_plane.kubectl(&["apply", "-f", file])).map(drop)
}

/// A port that nobody listens on. Searched for from another place by each process.
fn free_port() -> Result<u16> {
    let count = u32::from(PORTS.end - PORTS.start);
    let first = u16::try_from(process::id() % count)?;
    let mut ports = (PORTS.start + first..PORTS.end).chain(PORTS.start..PORTS.start + first);
    let free = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.context("no free port on 127.0.0.1")
}
