//! The provider as a whole, against an engine in memory: what it asks the engine for, and what the host sees of it.

mod engine;
mod news;
mod pods;
mod sandboxes;
mod sessions;
mod volumes;

use std::io::Read as _;

use serde_json::Value;
use vk_provider::cluster::{File, Files};
use vk_provider::{Containers as _, DesiredPod, testing};

use crate::Docker;
use engine::Engine;

/// A pod of this spec, in default/web with the uid `u`.
fn pod(spec: &str) -> DesiredPod {
    testing::desired(&format!(r#"{{"metadata":{{"name":"web","namespace":"default","uid":"u"}},"spec":{spec}}}"#))
}

/// A pod of one container, `c`.
fn plain() -> DesiredPod {
    pod(r#"{"containers":[{"name":"c","image":"busybox:1"}]}"#)
}

/// Makes the sandbox, with the pause image there already, and forgets what was asked for that.
fn sandboxed(engine: &Engine, pod: &DesiredPod) {
    let image = crate::pause::image(&crate::context::Context::reach().unwrap());
    engine.0.borrow_mut().images.insert(image, Value::Null);
    engine.0.borrow_mut().images.insert("busybox@1".to_owned(), serde_json::json!({"Id": "sha256:1d"}));
    Docker::ensure_sandbox(pod.clone()).unwrap();
    engine.asked();
}

/// Starts an attempt of a pod's container.
fn start(pod: &DesiredPod, name: &str, attempt: u32) -> vk_provider::Result<String> {
    let container = pod.container(name).unwrap().clone();
    Docker::start_container(pod.clone(), container, "busybox@1".to_owned(), attempt)
}

/// Paths and contents of an archive.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let (path, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    };
    archive.entries().unwrap().map(read).collect()
}

/// What the host renders for a volume.
fn rendered(revision: &str, key: &str, content: &str) -> Files {
    let file = File { path: key.to_owned(), mode: 0o644, uid: None, gid: None, content: content.into(), secret: false };
    Files { revision: revision.to_owned(), files: vec![file], expires_ms: None }
}
