//! The engine's own process: started with all its files and addresses apart from any other's, killed, and started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http::Method;
use tokio::sync::OnceCell;

use super::{Api, Kind, folder, image, namespace, program};
use crate::cluster::within;
use crate::control_plane::succeed;
use crate::process::{Process, Tie, start};

/// How long an engine may take to answer. After a kill it first ends what it finds running, with ten seconds' grace.
const START_LIMIT: Duration = Duration::from_secs(40);
/// Sockets and the like: a unix socket's path has 108 bytes at most, too few for a folder below `target`.
const RUN: &str = "/run";

/// A running engine of the test program's own.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    name: String,
    /// Its addresses are in 10.99.NUMBER.0/24.
    number: u8,
    folder: PathBuf,
    api: Api,
    process: Mutex<Option<Child>>,
}

impl Engine {
    /// The engine of all tests that do not break it. It ends with the namespace.
    ///
    /// # Errors
    ///
    /// It does not come up, or takes no image.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Engine> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::own("engine")).await
    }

    /// An engine of one test alone, which may break it. Only its own process ends when it is dropped: containers, as those of any
    /// engine that is killed, end with the namespace.
    ///
    /// # Errors
    ///
    /// As [`shared`](Self::shared).
    pub async fn own(name: &str) -> Result<Self> {
        let engine = Self::bare(name).await?;
        image::import(&engine.api).await.context("import the image of all tests")?;
        Ok(engine)
    }

    /// The same without any image.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub async fn bare(name: &str) -> Result<Self> {
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = folder()?.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let kind = Kind::chosen()?.unwrap_or(Kind::Docker);
        let api = Api::on(&socket(name))?;
        let engine = Self { kind, name: name.to_owned(), number, folder, api, process: Mutex::default() };
        engine.prepare()?;
        engine.start().await?;
        Ok(engine)
    }

    /// Whose it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        socket(&self.name)
    }

    /// What it says of itself.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Its process, which has made those of its own that run containers.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn process(&self) -> Result<Process> {
        let process = self.process.lock().map_err(|_| anyhow!("another test panicked"))?;
        Process::of(process.as_ref().context("the engine does not run")?.id())
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// It does not; the error says where its log is.
    pub async fn start(&self) -> Result<()> {
        let log = self.folder.with_extension("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let child = start(&self.command()?, Tie::Killed, out.try_clone()?, out)?;
        *self.process.lock().map_err(|_| anyhow!("another test panicked"))? = Some(child);
        let ready = || async { Ok(Some(self.api.send(Method::GET, "/_ping", &[], Vec::new()).await?)) };
        let answered = within(START_LIMIT, "the engine answers", ready).await;
        answered.map(drop).with_context(|| format!("its log is {}", log.display()))
    }

    /// SIGKILL. Containers run on.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&self) -> Result<()> {
        let child = self.process.lock().map_err(|_| anyhow!("another test panicked"))?.take();
        let mut child = child.context("the engine does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn subnet(&self) -> String {
        format!("10.99.{}", self.number)
    }

    fn interface(&self) -> String {
        format!("vk-engine{}", self.number)
    }

    /// What has to be there before it starts.
    fn prepare(&self) -> Result<()> {
        let (interface, address) = (self.interface(), format!("{}.1/24", self.subnet()));
        // A bridge has the lowest address of what is plugged in, unless it is given one: containers would send to one that is no more.
        let hardware = format!("02:42:0a:63:{:02x}:01", self.number);
        ip(&["link", "add", &interface, "address", &hardware, "type", "bridge"])?;
        ip(&["address", "add", &address, "dev", &interface])?;
        ip(&["link", "set", &interface, "up"])?;
        match self.kind {
            Kind::Docker => Ok(fs::write(self.file("daemon.json"), "{}")?),
            Kind::Podman => self.prepare_podman(),
        }
    }

    fn prepare_podman(&self) -> Result<()> {
        let (folder, subnet, interface) = (self.folder.display(), self.subnet(), self.interface());
        let containers = format!(
            r#"
            [containers]
            # Without CAP_SYS_RESOURCE the defaults cannot be set.
            default_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]
            [engine]
            # crun refuses to run where both kinds of cgroups are mounted.
            runtime = "runc"
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            tmp_dir = "{RUN}/{name}"
            [network]
            network_backend = "netavark"
            network_config_dir = "{folder}/networks"
            "#,
            name = self.name
        );
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{folder}/data\"\nrunroot = \"{RUN}/{}-storage\"\n",
            self.name
        );
        let registries = "[[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n";
        let network = serde_json::json!({
            "name": "podman", "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
            "driver": "bridge", "network_interface": interface, "created": "2026-01-01T00:00:00Z",
            "subnets": [{"subnet": format!("{subnet}.0/24"), "gateway": format!("{subnet}.1")}],
            "ipv6_enabled": false, "internal": false, "dns_enabled": false, "ipam_options": {"driver": "host-local"},
        });
        fs::create_dir_all(self.file("networks"))?;
        fs::write(self.file("networks/podman.json"), network.to_string())?;
        fs::write(self.file("containers.conf"), containers)?;
        fs::write(self.file("storage.conf"), storage)?;
        Ok(fs::write(self.file("registries.conf"), registries)?)
    }

    fn command(&self) -> Result<Command> {
        let listens = format!("unix://{}", self.socket().display());
        let mut command;
        match self.kind {
            Kind::Docker => {
                command = Command::new(program("dockerd").context("no dockerd")?);
                command.arg("--config-file").arg(self.file("daemon.json")).arg("--data-root").arg(self.file("data"));
                command
                    .arg(format!("--exec-root={RUN}/{}", self.name))
                    .arg(format!("--pidfile={RUN}/{}.pid", self.name));
                command.args([
                    "--host",
                    &listens,
                    "--group",
                    "root",
                    "--bridge",
                    &self.interface(),
                    "--log-level",
                    "warn",
                ]);
                let cgroup = format!("/{}", namespace::cgroup(&folder()?));
                command.args(["--cgroup-parent", &cgroup, "--exec-opt", "native.cgroupdriver=cgroupfs"]);
                // Nothing leaves the namespace: no rule is needed, and two engines would take away each other's.
                command.args(["--oom-score-adjust", "0", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
            }
            Kind::Podman => {
                command = Command::new(program("podman").context("no podman")?);
                command.args(["--log-level", "warn", "system", "service", "--time", "0", &listens]);
                // It leaves a file where it runs when a container runs out of memory.
                command.current_dir(&self.folder);
                command.env("CONTAINERS_CONF", self.file("containers.conf"));
                command.env("CONTAINERS_STORAGE_CONF", self.file("storage.conf"));
                command.env("CONTAINERS_REGISTRIES_CONF", self.file("registries.conf"));
            }
        }
        Ok(command)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

fn socket(name: &str) -> PathBuf {
    Path::new(RUN).join(format!("{name}.sock"))
}

fn ip(arguments: &[&str]) -> Result<()> {
    succeed(Command::new(program("ip").context("no ip")?).args(arguments)).map(drop)
}
