//! A mock that is granted what a test says, where names stand for what a test says.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::client::proxy::matcher::Matcher;
use tempfile::TempDir;
use tokio::sync::mpsc;
use vk_host::plugin::egress::{self, Resolve, Surroundings};
use vk_host::plugin::grants::{Grant, Grants, Named};
use vk_host::plugin::{Config, Limits, LoadError, NodeInfo, Plugin};
use vk_host::provider::{Call, Error, LogOptions, Provider as _};

use crate::common::{create, pod};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What names stand for. Tests change it as they go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>);

impl Names {
    pub(crate) fn set(&self, name: &str, address: &str) {
        self.0.lock().unwrap().insert(name.into(), vec![address.parse().unwrap()]);
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.0.lock().unwrap().get(name).cloned().ok_or_else(|| io::Error::other("nobody knows it"))
    }
}

/// What a mock is loaded with.
pub(crate) struct Setting {
    pub(crate) names: Names,
    /// `ACCESS=TARGET`, or an endpoint's `NAME=URL`.
    pub(crate) grants: Vec<String>,
    /// `ACCESS TARGET`.
    pub(crate) wants: Vec<String>,
    /// TOML of the mock's configuration, beside its wants.
    pub(crate) config: String,
    pub(crate) limits: Limits,
}

impl Default for Setting {
    fn default() -> Self {
        let (deadline, load_deadline, cpu_budget) = (PATIENCE, PATIENCE, PATIENCE);
        let limits = Limits { deadline, create_deadline: PATIENCE, load_deadline, cpu_budget, ..Limits::default() };
        Self { names: Names::default(), grants: vec![], wants: vec![], config: String::new(), limits }
    }
}

impl Setting {
    /// Grants an origin, and has the plugin want it.
    pub(crate) fn grant(mut self, access: &str, target: &str) -> Self {
        self.grants.push(format!("{access}={target}"));
        self.wants.push(format!("{access} {target}"));
        self
    }

    /// Grants an endpoint, and has the plugin want it.
    pub(crate) fn endpoint(mut self, name: &str, url: &str) -> Self {
        self.grants.push(format!("{name}={url}"));
        self.wants.push(format!("endpoint {name}"));
        self
    }

    pub(crate) fn limits(mut self, limits: egress::Limits) -> Self {
        self.limits.egress = limits;
        self
    }

    pub(crate) async fn load(self) -> Place {
        self.try_load().await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn try_load(self) -> Result<Place, LoadError> {
        let Self { names, grants, wants, config, limits } = self;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("mock.toml"), format!("wants = {wants:?}\n{config}")).unwrap();
        let config = Config {
            file: mock(),
            provider_config: Some(at("mock.toml")),
            grants: granted(&grants),
            state_dir: at("state"),
            cache_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"),
            node: NodeInfo { name: "node-1".into(), cluster_id: "test".into(), ..NodeInfo::default() },
            limits,
        };
        let surroundings = Surroundings::new(Arc::new(names.clone()), Matcher::builder().build());
        let plugin = Arc::new(Plugin::load_within(config, surroundings).await?);
        Ok(Place { names, plugin, pods: AtomicUsize::new(0), _directory: directory })
    }
}

fn mock() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/mock.wasm");
    let file = std::env::var_os("VK_MOCK_WASM").map_or(built, PathBuf::from);
    assert!(file.exists(), "{} is missing: run `just plugins` first", file.display());
    file
}

fn granted(texts: &[String]) -> Grants {
    let mut grants = Grants::default();
    for text in texts {
        match text.parse::<Grant>() {
            Ok(grant) => grants.add(grant),
            Err(_) => {
                let Named { name, url } = text.parse().unwrap();
                grants.endpoints.insert(name, url.into());
            }
        }
    }
    grants
}

/// A mock in service.
pub(crate) struct Place {
    pub(crate) names: Names,
    pub(crate) plugin: Arc<Plugin>,
    pods: AtomicUsize,
    _directory: TempDir,
}

impl Place {
    /// What comes of these commands in one call, one after the other.
    pub(crate) async fn fetch(&self, commands: &[&str]) -> Vec<String> {
        self.try_fetch(commands).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn try_fetch(&self, commands: &[&str]) -> Result<Vec<String>, Error> {
        let uid = format!("p{}", self.pods.fetch_add(1, Ordering::Relaxed));
        create(&self.plugin, &uid, &[("fetch", &commands.join("\n"))]).await?;
        let log = self.log(&uid).await;
        let told: Vec<&String> = log.iter().filter(|line| line.starts_with("fetch ")).collect();
        assert_eq!(told.len(), commands.len(), "{log:?}");
        let outcome = |(line, command): (&String, &&str)| {
            let outcome = line.strip_prefix(&format!("fetch {command}: "));
            outcome.unwrap_or_else(|| panic!("{line} does not tell of {command}")).to_owned()
        };
        Ok(told.into_iter().zip(commands).map(outcome).collect())
    }

    /// Without this nothing is made.
    pub(crate) async fn required(&self, command: &str) -> Result<(), Error> {
        let uid = format!("p{}", self.pods.fetch_add(1, Ordering::Relaxed));
        create(&self.plugin, &uid, &[("fetch", command), ("fetch-required", "true")]).await
    }

    async fn log(&self, uid: &str) -> Vec<String> {
        let (sink, mut entries) = mpsc::channel(16);
        let id = pod(uid, &[]).id;
        let reading = self.plugin.get_container_logs(Call::uncancelled(), &id, "main", LogOptions::default(), sink);
        let lines = async {
            let mut lines = Vec::new();
            while let Some(some) = entries.recv().await {
                lines.extend(some.iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()));
            }
            lines
        };
        let (read, lines) = tokio::join!(reading, lines);
        read.unwrap();
        lines
    }

    /// How often requests came to this.
    pub(crate) fn counted(&self, outcome: &str) -> u64 {
        self.plugin.egress().into_iter().find_map(|(of, count)| (of == outcome).then_some(count)).unwrap()
    }
}
