//! A `vk-host` under test: the real program, as its users start it, with a node of its own.
//!
//! It runs as `system:node:NAME`, keeps its state in a directory of the test's own, listens on a free port and logs to a file.
//! Dropping it kills it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control_plane::ControlPlane;

/// A stop takes as long as the drain of the kubelet API and the provider's `stop` at most.
const STOP_LIMIT: Duration = Duration::from_secs(20);

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
    /// Further flags.
    pub flags: Vec<String>,
}

/// A running host.
pub struct Host {
    config: HostConfig,
    child: Child,
    log: PathBuf,
}

/// The program of this build; `just` builds it.
pub fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the test's own program")?;
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM.
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("vk-host")).find(|path| path.is_file());
    found.with_context(|| {
        format!("vk-host is not built beside {}: run `cargo build -p vk-host`, or `just test`", own.display())
    })
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
            flags: Vec::new(),
        })
    }

    /// The same with one flag more.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
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
        command.args([
            "--nodename",
            &self.node,
            "--address",
            "127.0.0.1",
            "--port",
            "0",
            "--log-level",
            "info,vk_host=debug",
        ]);
        command.arg("--plugin").arg(&self.plugin).arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--state-dir").arg(&self.state_dir).arg("--cache-dir").arg(target().join("compiled"));
        if let Some(text) = &self.provider_config {
            self.write_provider_config(text)?;
            command.arg("--provider-config").arg(self.provider_config_file());
        }
        command.args(&self.flags).env_remove("KUBECONFIG").stdin(Stdio::null());
        Ok(command)
    }

    /// Starts it. It may still refuse; its node being Ready is the proof that it did not.
    pub fn start(self) -> Result<Host> {
        let log = self.state_dir.with_extension("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let mut command = self.command()?;
        command.stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().context("start vk-host")?;
        Ok(Host { config: self, child, log })
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

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has logged, over restarts.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
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
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > limit {
                bail!(
                    "vk-host of node {} did not end within {limit:?}; its log is {}",
                    self.node(),
                    self.log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
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
