//! A plugin in service whose file can be exchanged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use vk_host::plugin::grants::Grants;
use vk_host::plugin::swap::{Outcome, Reloader, Swapper};
use vk_host::plugin::{Config, Limits, NodeInfo, Plugin};
use vk_host::provider::Provider as _;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

fn built(name: &str, variable: &str) -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/plugins").join(name);
    let file = std::env::var_os(variable).map_or(built, PathBuf::from);
    assert!(file.exists(), "{} is missing: `just test` builds it", file.display());
    file
}

pub(crate) fn mock() -> PathBuf {
    built("mock.wasm", "VK_MOCK_WASM")
}

pub(crate) fn next() -> PathBuf {
    built("mock-next.wasm", "VK_MOCK_NEXT_WASM")
}

pub(crate) fn limits() -> Limits {
    Limits {
        deadline: PATIENCE,
        create_deadline: PATIENCE,
        node_deadline: PATIENCE,
        load_deadline: PATIENCE,
        cpu_budget: PATIENCE,
        drain: PATIENCE,
        ..Limits::default()
    }
}

/// A plugin in service, and its file.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) reloader: Reloader,
    pub(crate) told: Arc<std::sync::Mutex<Vec<Outcome>>>,
    _stop: DropGuard,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(limits()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::copy(mock(), at("plugin.wasm")).unwrap();
        std::fs::write(at("mock.toml"), "").unwrap();
        let config = Config {
            file: at("plugin.wasm"),
            provider_config: Some(at("mock.toml")),
            grants: Grants::default(),
            state_dir: at("state"),
            cache_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"),
            node: NodeInfo { name: "node-1".into(), cluster_id: "test".into(), ..NodeInfo::default() },
            limits,
        };
        let plugin = Arc::new(Plugin::load(config).await.unwrap());
        let (swapper, reloader) = Swapper::new(Arc::clone(&plugin));
        let (stop, told) = (CancellationToken::new(), Arc::default());
        let tell = Arc::clone(&told);
        tokio::spawn(swapper.run(stop.clone(), move |outcome: &Outcome| {
            let tell: &std::sync::Mutex<Vec<Outcome>> = &tell;
            tell.lock().unwrap().push(outcome.clone());
        }));
        Self { directory, plugin, reloader, told, _stop: stop.drop_guard() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As a careful operator does it: whole or not at all.
    pub(crate) fn put(&self, bytes: &[u8]) {
        std::fs::write(self.path("new"), bytes).unwrap();
        std::fs::rename(self.path("new"), self.path("plugin.wasm")).unwrap();
    }

    pub(crate) fn put_file(&self, file: &Path) {
        self.put(&std::fs::read(file).unwrap());
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path("new.toml"), text).unwrap();
        std::fs::rename(self.path("new.toml"), self.path("mock.toml")).unwrap();
    }

    pub(crate) async fn reload(&self) -> Outcome {
        self.reloader.reload().await.expect("the swapper runs")
    }

    pub(crate) fn version(&self) -> String {
        self.plugin.identity().version
    }

    pub(crate) fn last_told(&self) -> Outcome {
        self.told.lock().unwrap().last().unwrap().clone()
    }

    /// Lists pods, on which the plugin traps, until it is so.
    pub(crate) async fn trap_until(&self, what: &str, is: impl Fn() -> bool) {
        until(what, || async {
            // An answer of another kind changes nothing.
            self.plugin.ping().await.unwrap();
            let _ = self.plugin.get_pods().await;
            is()
        })
        .await;
    }

    /// The reason why this file is refused; the build before serves on.
    pub(crate) async fn refusal(&self, bytes: &[u8]) -> (&'static str, String) {
        let before = self.version();
        self.put(bytes);
        let Outcome::Refused { reason, message, .. } = self.reload().await else { panic!("it was not refused") };
        assert_eq!(self.version(), before);
        self.plugin.ping().await.expect("the old one serves");
        self.plugin.get_pods().await.expect("the old one serves");
        (reason, message)
    }
}

/// The same component in another file: with a custom section more.
pub(crate) fn other_bytes(build: &[u8]) -> Vec<u8> {
    [build, b"\0\x06\x05again"].concat()
}

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
