//! A `vk-host` under test: the real program, as its users start it, with a node of its own.
//!
//! It runs as `system:node:NAME`, keeps its state in a directory of the test's own, listens on a free port and logs to a file.
//! Dropping it kills it, and so does the end of the test process, whatever way that ends.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control_plane::ControlPlane;
use crate::process::{self, Tie};

/// A stop takes as long as the drain of the kubelet API and the provider's `stop` at most.
pub const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How often a host that should end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Variables that the program inherits: none of them is one of its flags. The last is that of coverage.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// What a host is started with.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The node's name, unique in the control plane.
    pub node: String,
    /// The component.
    pub plugin: PathBuf,
    /// As `system:node:NAME` unless told otherwise.
    pub kubeconfig: PathBuf,
    /// Outlives the process, so that a restart finds it.
    pub state_dir: PathBuf,
    /// Text of `--provider-config`; none: not given.
    pub provider_config: Option<String>,
    /// Listen on 127.0.0.1 alone.
    pub loopback: bool,
    /// Further flags.
    pub flags: Vec<String>,
    /// Further variables, such as those that a plugin is granted.
    pub variables: Vec<(String, String)>,
}

/// A running host.
pub struct Host {
    config: HostConfig,
    child: Child,
    log: PathBuf,
}

/// `vk-host` of this build.
pub fn program() -> Result<PathBuf> {
    built("vk-host")
}

/// A program of this build, which is beside this one; `just` builds it.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not built beside {}: run `cargo build --workspace --bins`, or `just test`", own.display())
    })
}

/// Takes from a command of the program what the developer's own environment would tell it: most of its flags have a variable, and
/// plugins are granted some. Name by name: that all is cleared cannot be read from a command, and [`process::start`] makes another one.
pub fn isolate(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| !INHERITED.iter().any(|kept| name == kept)) {
        command.env_remove(name);
    }
}

/// A plugin by name, as `just plugins` builds it.
pub fn plugin(name: &str) -> Result<PathBuf> {
    let path = target().join("plugins").join(format!("{name}.wasm"));
    if !path.is_file() {
        bail!("{} is not there: run `just plugins`", path.display());
    }
    Ok(path)
}

/// The workspace's target directory.
pub fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

impl HostConfig {
    /// The mock as a node of this name, with its identity.
    pub fn mock(control_plane: &ControlPlane, node: &str) -> Result<Self> {
        let state_dir = control_plane.dir().join("hosts").join(node);
        fs::create_dir_all(&state_dir)?;
        Ok(Self {
            node: node.to_string(),
            plugin: plugin("mock")?,
            kubeconfig: control_plane.node_kubeconfig(node)?,
            state_dir,
            provider_config: Some("cpu = \"200\"\nmemory = \"1Ti\"\npods = \"2000\"\n".into()),
            loopback: true,
            flags: vec!["--log-level".into(), "info,vk_host=debug".into()],
            variables: Vec::new(),
        })
    }

    /// The same with one flag more.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// The same with one variable more.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Where the text of the provider's configuration is; it is read anew at each call.
    pub fn provider_config_file(&self) -> PathBuf {
        self.state_dir.with_extension("config")
    }

    /// Replaces the text of the provider's configuration, whole or not at all.
    pub fn write_provider_config(&self, text: &str) -> Result<()> {
        let file = self.provider_config_file();
        let new = file.with_extension("config-new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, file)?)
    }

    /// The command that starts it.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(program()?);
        command.arg("--plugin").arg(&self.plugin).args(["--nodename", &self.node]);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--state-dir").arg(&self.state_dir);
        command.arg("--cache-dir").arg(target().join("compiled")).args(["--port", "0"]);
        if self.loopback {
            command.args(["--address", "127.0.0.1"]);
        }
        if let Some(text) = &self.provider_config {
            self.write_provider_config(text)?;
            command.arg("--provider-config").arg(self.provider_config_file());
        }
        command.args(&self.flags);
        isolate(&mut command);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Starts it. It may still refuse; its node being Ready is the proof that it did not.
    pub fn start(self) -> Result<Host> {
        let log = self.state_dir.with_extension("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let child = process::start(&self.command()?, Tie::Killed, out.try_clone()?, out)?;
        Ok(Host { config: self, child, log })
    }

    /// Starts it, waits until it ends by itself, and returns how it did and what it said.
    pub fn run(&self, limit: Duration) -> Result<(ExitStatus, String)> {
        run(&self.command()?, &self.state_dir.with_extension("refusal.log"), limit)
    }
}

/// Runs a [`HostConfig::command`] that should end by itself; returns how it did and what it said into the log. An error if it
/// still ran after `limit`; then it was killed.
pub fn run(command: &Command, log: &Path, limit: Duration) -> Result<(ExitStatus, String)> {
    let out = File::create(log)?;
    let mut child = process::start(command, Tie::Killed, out.try_clone()?, out)?;
    let status = wait(&mut child, limit)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let said = fs::read_to_string(log)?;
    let status = status.with_context(|| format!("vk-host did not end within {limit:?}; it said:\n{said}"))?;
    Ok((status, said))
}

/// How the child ended; none: it still runs after `limit`.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        let status = child.try_wait()?;
        if status.is_some() || began.elapsed() > limit {
            return Ok(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

impl Host {
    /// Its node's name.
    pub fn node(&self) -> &str {
        &self.config.node
    }

    /// What it was started with.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// All that it has logged, over restarts.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Where the log ends now: a place for [`log_behind`](Self::log_behind).
    pub fn log_end(&self) -> Result<u64> {
        Ok(fs::metadata(&self.log)?.len())
    }

    /// What it has logged behind a place. A log of many restarts is not read again at each look.
    pub fn log_behind(&self, place: u64) -> Result<String> {
        let (mut file, mut said) = (File::open(&self.log)?, Vec::new());
        file.seek(SeekFrom::Start(place))?;
        file.read_to_end(&mut said)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Stops it in order and returns how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(STOP_LIMIT)
    }

    /// Waits for its own end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait(&mut self.child, limit)?.with_context(|| {
            format!("vk-host of node {} did not end within {limit:?}; its log is {}", self.node(), self.log.display())
        })
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the ended host anew, with the same state.
    pub fn restart(mut self) -> Result<Self> {
        if self.is_running()? {
            bail!("vk-host of node {} still runs", self.node());
        }
        self.config.clone().start()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
