//! A real Kubernetes control plane for tests: etcd, API server, controller
//! manager and scheduler on 127.0.0.1, with RBAC, NodeRestriction and an audit
//! log, ready in about three seconds.
//!
//! ```text
//! test process ── stdin pipe ──► vk-control-plane up ──┬─► etcd
//!      ▲                            │                  ├─► kube-apiserver
//!      └──── one JSON line ─────────┘                  ├─► kube-controller-manager
//!                                                      └─► kube-scheduler
//! ```
//!
//! Contract: the control plane ends when its stdin does. So it ends with
//! [`ControlPlane`]'s drop and, whatever happens, with this process; nothing
//! has to be cleaned up but files. All calls block; from async code they belong
//! in `spawn_blocking`, though a test that does nothing else may just call them.

mod program;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, Output, Stdio},
    sync::{
        Once, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;

pub use program::binary;

use crate::audit::AuditLog;
use crate::process::Process;

/// How long a drop waits for the orderly end, which takes some 50 ms, before it
/// kills; longer only helps a machine that is out of CPU.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How often a drop looks whether the control plane has ended.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// A running control plane. Dropping it stops it; its files stay for a look.
#[derive(Debug)]
pub struct ControlPlane {
    program: PathBuf,
    ready: Ready,
    child: Child,
    /// Closing it is what stops the control plane.
    stdin: Option<ChildStdin>,
    /// Numbers the issued kubeconfigs.
    issued: AtomicU32,
}

/// What `vk-control-plane up` prints, and keeps in `cluster.json`.
#[derive(Debug, Clone, Deserialize)]
struct Ready {
    server: String,
    kubeconfig: PathBuf,
    ca: PathBuf,
    dir: PathBuf,
    pids: BTreeMap<String, u32>,
    version: String,
    started_in_ms: u64,
}

/// A process of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The store, one member.
    Etcd,
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`, with all controllers of a default cluster.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
}

/// How a component is made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL: connections break, as in a crash.
    Crash,
    /// SIGTERM, and SIGKILL after 3 s; the API server, with watches open, uses
    /// all of it.
    Orderly,
}

/// Who a client certificate speaks for.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The certificate's common name.
    pub user: String,
    /// The certificate's organisations.
    pub groups: Vec<String>,
    /// Signed by an authority that has the cluster's name and is not the cluster's.
    pub impostor: bool,
}

/// A client certificate, three ways.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Self-contained.
    pub kubeconfig: PathBuf,
    /// PEM.
    pub certificate: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
}

impl ControlPlane {
    /// Starts a control plane whose files live in `dir`, and waits until it
    /// takes pods. What an earlier one left in `dir` is removed, nothing else.
    ///
    /// # Errors
    ///
    /// [`binary`] fails, another control plane runs in `dir`, or a component
    /// does not come up; the end of its log is then on stderr.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, &[])
    }

    /// As [`start`](Self::start), with flags added to components' command lines.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); a component refuses a flag.
    pub fn start_with(dir: &Path, flags: &[(Component, &str)]) -> Result<Self> {
        let program = binary()?;
        let mut command = Command::new(&program);
        command.arg("up").arg("--dir").arg(dir);
        for (component, flag) in flags {
            command.arg("--arg").arg(format!("{}={flag}", component.name()));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("read the ready line")?;
        }
        if line.is_empty() {
            let status = child.wait().context("wait for the control plane")?;
            bail!("the control plane in {} did not start ({status}), see its message above", dir.display());
        }
        let ready = serde_json::from_str(&line).with_context(|| format!("read the ready line {line:?}"))?;
        Ok(Self { program, ready, child, stdin, issued: AtomicU32::new(0) })
    }

    /// The control plane of this test process, started by the first call below
    /// `parent`, in a folder named by the process id. Folders of processes that
    /// are gone are removed. It ends with the process.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); later calls repeat the first one's error.
    pub fn shared(parent: &Path) -> Result<&'static Self> {
        static SHARED: OnceLock<Result<ControlPlane>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                remove_leftovers(parent);
                Self::start(&parent.join(process::id().to_string()))
            })
            .as_ref()
            .map_err(|error| anyhow!("{error:#}"))
    }

    /// A control plane beside the shared one, for a test that breaks it, in a
    /// folder below `parent` named by the process id and `name`, with flags
    /// added as by [`start_with`](Self::start_with).
    ///
    /// # Errors
    ///
    /// As [`start_with`](Self::start_with).
    pub fn own(parent: &Path, name: &str, flags: &[(Component, &str)]) -> Result<Self> {
        remove_leftovers(parent);
        Self::start_with(&parent.join(format!("{}-{name}", process::id())), flags)
    }

    /// URL of the API server; it survives [`restart`](Self::restart).
    pub fn server(&self) -> &str {
        &self.ready.server
    }

    /// kubeconfig of a user in `system:masters`.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.ready.kubeconfig
    }

    /// Certificate of the cluster's authority (PEM): it signs the serving
    /// certificate of the API server and all clients, so it is also what a node
    /// takes as its client CA.
    pub fn ca_file(&self) -> &Path {
        &self.ready.ca
    }

    /// Where its files are: `NAME.log` of each component, `audit.log`, `pki/`.
    pub fn dir(&self) -> &Path {
        &self.ready.dir
    }

    /// Kubernetes version, such as `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.ready.version
    }

    /// How long the start took, without building the program.
    pub fn started_in(&self) -> Duration {
        Duration::from_millis(self.ready.started_in_ms)
    }

    /// Process ids by component name, as they are now.
    ///
    /// # Errors
    ///
    /// `cluster.json` cannot be read.
    pub fn pids(&self) -> Result<BTreeMap<String, u32>> {
        let file = self.dir().join("cluster.json");
        let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let ready: Ready = serde_json::from_slice(&text).context("read cluster.json")?;
        Ok(ready.pids)
    }

    /// Process id of the supervisor, parent of all [`pids`](Self::pids).
    pub fn supervisor_pid(&self) -> u32 {
        self.child.id()
    }

    /// What the API server was asked for.
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.dir().join("audit.log"))
    }

    /// kubeconfig of a new client certificate for `user` in `groups`.
    ///
    /// # Errors
    ///
    /// The certificate cannot be written.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let identity = Identity { user: user.to_owned(), groups, impostor: false };
        Ok(self.issue(&identity)?.kubeconfig)
    }

    /// kubeconfig of the node `name`: user `system:node:NAME` in `system:nodes`.
    ///
    /// # Errors
    ///
    /// As [`kubeconfig_for`](Self::kubeconfig_for).
    pub fn node_kubeconfig(&self, name: &str) -> Result<PathBuf> {
        self.kubeconfig_for(&format!("system:node:{name}"), &["system:nodes"])
    }

    /// The identity with which the API server itself calls a node.
    pub fn kubelet_client() -> Identity {
        Identity {
            user: "kube-apiserver-kubelet-client".to_owned(),
            groups: vec!["system:masters".to_owned()],
            impostor: false,
        }
    }

    /// Signs a new client certificate. Each call makes new files.
    ///
    /// # Errors
    ///
    /// The certificate cannot be written.
    pub fn issue(&self, identity: &Identity) -> Result<Credentials> {
        let Identity { user, groups, impostor } = identity;
        let folder = self.dir().join("clients");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let readable = user.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let file = |end: &str| folder.join(format!("{readable}-{number}.{end}"));
        let made = Credentials { kubeconfig: file("kubeconfig"), certificate: file("crt"), key: file("key") };

        let mut command = self.command("kubeconfig");
        command.arg("--user").arg(user);
        for group in groups {
            command.arg("--group").arg(group);
        }
        if *impostor {
            command.arg("--foreign-ca");
        }
        command.arg("--out").arg(&made.kubeconfig);
        command.arg("--cert-out").arg(&made.certificate).arg("--key-out").arg(&made.key);
        succeed(&mut command)?;
        Ok(made)
    }

    /// kubectl as the admin. Nothing is read from or written to the user's home.
    pub fn kubectl(&self, args: &[&str]) -> Command {
        self.kubectl_as(self.admin_kubeconfig(), args)
    }

    /// kubectl with another kubeconfig.
    pub fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("kubectl")
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", self.dir())
            .env("KUBECACHEDIR", self.dir().join("kubectl-cache"))
            .stdin(Stdio::null());
        command
    }

    /// Ends a component and starts it again on the same port. Returns once the
    /// API server answers.
    ///
    /// # Errors
    ///
    /// It does not come up again.
    pub fn restart(&self, component: Component, ending: Ending) -> Result<()> {
        self.control("restart", component, ending)
    }

    /// Ends a component and leaves it down.
    ///
    /// # Errors
    ///
    /// The control plane has ended.
    pub fn stop(&self, component: Component, ending: Ending) -> Result<()> {
        self.control("stop", component, ending)
    }

    /// Starts a stopped component. Returns once the API server answers.
    ///
    /// # Errors
    ///
    /// It runs already, or does not come up.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.control("start", component, Ending::Crash)
    }

    /// Makes a component stand still, connections and all, until what is
    /// returned is dropped.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn pause(&self, component: Component) -> Result<Paused> {
        let pids = self.pids()?;
        let pid = pids.get(component.name()).with_context(|| format!("{} does not run", component.name()))?;
        let paused = Paused(Process::of(*pid)?);
        paused.0.pause()?;
        Ok(paused)
    }

    fn control(&self, what: &str, component: Component, ending: Ending) -> Result<()> {
        let signal = match ending {
            Ending::Crash => "kill",
            Ending::Orderly => "term",
        };
        succeed(self.command(what).args(["--signal", signal, component.name()])).map(drop)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).arg("--dir").arg(self.dir()).stdin(Stdio::null());
        command
    }
}

/// A component that stands still; dropping this makes it go on.
#[derive(Debug)]
#[must_use = "it goes on at once"]
pub struct Paused(Process);

impl Drop for Paused {
    fn drop(&mut self) {
        // One that has ended meanwhile need not go on.
        let _ = self.0.signal(Signal::SIGCONT);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let began = Instant::now();
        while began.elapsed() < STOP_LIMIT {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(POLL_EVERY),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // Its children die with it, by their parent-death signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Component {
    /// Name of the program, the log and the key in [`ControlPlane::pids`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// Runs a command and wants exit code 0; the error carries its stderr.
///
/// # Errors
///
/// It cannot be started, or fails.
pub fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}): {}", output.status, told.trim());
    Ok(output)
}

/// Removes folders named by the id of a process that is gone, or by this one's:
/// before its first control plane starts, nothing there is its own. What cannot
/// be removed only takes room, so errors are of no interest.
fn remove_leftovers(parent: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(entries) = fs::read_dir(parent) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.split('-').next()?.parse::<u32>().ok());
            if owner.is_some_and(|pid| pid == process::id() || !Path::new("/proc").join(pid.to_string()).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
}
