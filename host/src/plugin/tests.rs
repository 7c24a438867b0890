//! What is refused at load, and how it is said. The components are text and need no plugin built; what a running one does
//! is tested with the mock in `tests/plugin.rs`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::grants::Grants;
use super::{Config, Limits, LoadError, NodeInfo, Paths, Plugin, engine, load};

struct Place {
    directory: TempDir,
    config: Config,
}

fn place(bytes: &[u8]) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plugin.wasm");
    std::fs::write(&file, bytes).unwrap();
    let config = Config {
        file,
        provider_config: None,
        grants: Grants::default(),
        state_dir: directory.path().join("state"),
        cache_dir: directory.path().join("cache"),
        node: NodeInfo::default(),
        limits: Limits::default(),
    };
    Place { directory, config }
}

async fn refused(bytes: &[u8]) -> LoadError {
    match Plugin::load(place(bytes).config).await {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

async fn refused_text(text: &str) -> LoadError {
    refused(&wat::parse_str(text).unwrap()).await
}

/// Exports of the contract's names, with nothing in them.
fn exporting(names: &[&str]) -> String {
    let instances = names
        .iter()
        .enumerate()
        .map(|(n, name)| format!("(instance $i{n}) (export \"virtual-kubelet:provider/{name}\" (instance $i{n}))"));
    format!("(component {})", instances.collect::<String>())
}

#[tokio::test]
async fn a_missing_file_is_told() {
    let mut place = place(b"");
    place.config.file = place.directory.path().join("azure.wasm");
    let error = Plugin::load(place.config).await.err().unwrap();
    assert_eq!(error.reason(), "PluginMissing");
    assert!(error.to_string().contains("azure.wasm: give the path of a component"), "{error}");
}

#[tokio::test]
async fn a_file_above_the_limit_is_not_read() {
    let mut place = place(&[0; 101]);
    place.config.limits.plugin_file = 100;
    let error = Plugin::load(place.config).await.err().unwrap();
    assert_eq!(error.reason(), "PluginTooLarge");
}

#[tokio::test]
async fn what_is_no_webassembly_is_told() {
    for bytes in [&b""[..], b"\x7fELF\x02", b"(component)"] {
        assert_eq!(refused(bytes).await.reason(), "NotWebAssembly");
    }
}

#[tokio::test]
async fn a_core_module_is_told_how_to_become_a_component() {
    let error = refused_text("(module)").await;
    assert_eq!(error.reason(), "NotAComponent");
    assert!(error.to_string().contains("--target wasm32-wasip2"), "{error}");
}

#[tokio::test]
async fn a_damaged_component_is_told() {
    let mut bytes = wat::parse_str("(component (core module (func)))").unwrap();
    bytes.truncate(bytes.len() - 3);
    assert_eq!(refused(&bytes).await.reason(), "PluginInvalid");
}

#[tokio::test]
async fn each_required_export_is_named() {
    for (there, missing) in [
        (&[][..], "no plugin,"),
        (&["plugin@0.1.0"], "no node,"),
        (&["plugin@0.1.0", "node@0.1.0"], "neither `pods` nor `containers`"),
    ] {
        let error = refused_text(&exporting(there)).await;
        assert!(error.to_string().contains(missing), "{error}");
    }
}

#[tokio::test]
async fn a_plugin_runs_pods_or_containers_and_not_both() {
    let both = ["plugin@0.1.0", "node@0.1.0", "containers@0.1.0", "pods@0.1.0"];
    let error = refused_text(&exporting(&both)).await;
    assert_eq!(error.reason(), "TwoShapes");
    let error = refused_text(&exporting(&both[..3])).await;
    let LoadError::Mismatch { interface, .. } = error else { panic!("its functions are looked for: {error}") };
    assert_eq!(interface, "containers");
}

#[tokio::test]
async fn unknown_imports_are_all_named() {
    let error = refused_text(
        r#"(component
            (import "wasi:keyvalue/store@0.2.0" (instance))
            (import "wasi:io/poll@0.2.3" (instance))
            (import "virtual-kubelet:provider/telepathy@0.1.0" (instance)))"#,
    )
    .await;
    let LoadError::UnknownImports(names) = error else { panic!("{error}") };
    assert_eq!(names, ["wasi:keyvalue/store@0.2.0", "virtual-kubelet:provider/telepathy@0.1.0"]);
}

#[tokio::test]
async fn a_function_that_a_known_interface_lacks_is_named() {
    let error = refused_text(
        r#"(component (import "virtual-kubelet:provider/config@0.1.9" (instance (export "secrets" (func (result string))))))"#,
    )
    .await;
    assert!(matches!(error, LoadError::UnknownImports(_)), "{error}");
    assert!(error.to_string().contains("secrets"), "{error}");
}

#[tokio::test]
async fn another_version_of_the_contract_is_told() {
    let import = r#"(component (import "virtual-kubelet:provider/store@0.2.0" (instance)))"#;
    for text in [import, &exporting(&["plugin@0.2.0"])] {
        let error = refused_text(text).await;
        assert_eq!(error.reason(), "ContractVersion");
        assert!(error.to_string().contains("serves virtual-kubelet:provider@0.1.0"), "{error}");
    }
}

/// Names alone are compared when an export is looked up; this one has them all and a `ping` that takes a number.
#[tokio::test]
async fn a_capability_of_another_shape_is_refused_at_load() {
    let functions = |names: &[&str]| {
        let exports = names.iter().map(|name| format!("(export \"{name}\" (func $f))"));
        exports.collect::<String>()
    };
    let text = format!(
        r#"(component
            (core module $m (func (export "f") (param i32) unreachable))
            (core instance $c (instantiate $m))
            (func $f (param "surprise" u32) (canon lift (core func $c "f")))
            (instance $plugin {})
            (instance $node {})
            (instance $pods {})
            (export "virtual-kubelet:provider/plugin@0.1.0" (instance $plugin))
            (export "virtual-kubelet:provider/node@0.1.0" (instance $node))
            (export "virtual-kubelet:provider/pods@0.1.0" (instance $pods)))"#,
        functions(&["describe", "configure"]),
        functions(&[
            "node-details",
            "capacity",
            "node-conditions",
            "node-addresses",
            "node-daemon-endpoints",
            "operating-system",
            "ping",
            "stop"
        ]),
        functions(&["create-pod", "update-pod", "delete-pod", "get-pod", "get-pod-status", "get-pods"]),
    );
    let error = refused_text(&text).await;
    assert!(matches!(error, LoadError::Mismatch { interface: "plugin", .. }), "{error}");
}

/// The cache, with a component that is enough to be compiled.
struct Cache {
    _place: Place,
    engine: wasmtime::Engine,
    paths: Paths,
}

impl Cache {
    fn new() -> Self {
        let place = place(&wat::parse_str("(component (core module (func)))").unwrap());
        let Config { file, cache_dir, state_dir, limits, .. } = place.config.clone();
        let engine = engine::build(&limits).unwrap();
        Self { _place: place, engine, paths: Paths { file, cache_dir, store_dir: state_dir } }
    }

    fn loads_from_cache(&self) -> bool {
        let source = load::read(&self.paths.file, 1 << 20).unwrap();
        load::compile(&self.engine, &source, &self.paths.cache_dir).unwrap().cached
    }

    fn entry(&self) -> PathBuf {
        let mut entries: Vec<_> =
            std::fs::read_dir(&self.paths.cache_dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "one entry and nothing aside: {entries:?}");
        entries.pop().unwrap()
    }
}

#[test]
fn a_compiled_plugin_is_kept_for_its_owner_alone() {
    let cache = Cache::new();
    assert!(!cache.loads_from_cache());
    assert_eq!(std::fs::metadata(cache.entry()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(cache.loads_from_cache());
}

#[test]
fn a_damaged_entry_is_compiled_anew() {
    let cache = Cache::new();
    cache.loads_from_cache();
    let whole = std::fs::read(cache.entry()).unwrap();
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..middle], &whole[..10], b""] {
        std::fs::write(cache.entry(), damaged).unwrap();
        assert!(!cache.loads_from_cache());
        assert!(cache.loads_from_cache(), "and kept again");
    }
}

#[test]
fn an_entry_that_others_could_have_written_is_not_run() {
    let cache = Cache::new();
    cache.loads_from_cache();
    std::fs::set_permissions(cache.entry(), PermissionsExt::from_mode(0o660)).unwrap();
    assert!(!cache.loads_from_cache());
    let (entry, elsewhere) = (cache.entry(), cache.paths.file.with_extension("elsewhere"));
    std::fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(!cache.loads_from_cache(), "a link is not followed");
}

#[test]
fn entries_that_were_not_used_for_long_are_swept_away() {
    let cache = Cache::new();
    let directory = cache.paths.cache_dir.clone();
    cache.loads_from_cache();
    let (used, code) = (cache.entry(), std::fs::read(cache.entry()).unwrap());
    let old = |n: u64| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n);
    let write = |name: &str, n| {
        let file = std::fs::File::create(directory.join(name)).unwrap();
        file.set_modified(old(n)).unwrap();
    };
    for n in 0..40 {
        write(&format!("{n:064x}-0.{}", if n < 3 { "7.tmp" } else { "bin" }), n);
    }
    write("README.bin", 0);
    std::fs::File::options().append(true).open(&used).unwrap().set_modified(old(1)).unwrap();
    assert!(cache.loads_from_cache(), "which makes it the one that was used last");
    std::fs::write(&used, &code[..10]).unwrap();
    assert!(!cache.loads_from_cache(), "a new entry sweeps");
    let mut left: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left.len(), 17, "sixteen and what is not ours: {left:?}");
    assert!(used.exists() && directory.join("README.bin").exists() && left[0].ends_with("19-0.bin"), "{left:?}");
}

#[test]
fn an_engine_ends_its_clock() {
    let engine = engine::build(&Limits::default()).unwrap();
    let weak = engine.weak();
    drop(engine);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while weak.upgrade().is_some() {
        assert!(std::time::Instant::now() < until, "the clock keeps the engine");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn the_configuration_is_read_anew_when_it_changes() {
    let place = place(b"");
    let file = place.directory.path().join("config.toml");
    let config = super::config_text::ConfigText::new(Some(file.clone()), 10);
    assert!(config.read().await.unwrap_err().contains("cannot read the provider's configuration"));
    std::fs::write(&file, "a = 1").unwrap();
    let read = async || config.read().await.unwrap().unwrap();
    // What was just written may be written again within a tick of the file system's clock.
    assert!(!Arc::ptr_eq(&read().await, &read().await));
    let until = Instant::now() + Duration::from_secs(10);
    while !Arc::ptr_eq(&read().await, &read().await) {
        assert!(Instant::now() < until, "a file that has settled is read once");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(&file, "a = 2").unwrap();
    assert_eq!(&*config.read().await.unwrap().unwrap(), "a = 2");
    // As a ConfigMap volume changes.
    std::fs::write(place.directory.path().join("next"), "a = 3").unwrap();
    std::fs::rename(place.directory.path().join("next"), &file).unwrap();
    assert_eq!(&*config.read().await.unwrap().unwrap(), "a = 3");
    std::fs::write(&file, "far too long").unwrap();
    assert!(config.read().await.unwrap_err().contains("more than 10 bytes"));
}
