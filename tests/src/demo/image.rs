//! The images that the demo makes at an engine: a web server in two versions, so that nothing has to be pulled or installed.
//!
//! It is written in Go, which is here for the control plane, and so is static and for whatever machine the engine is on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType};

use crate::control_plane::succeed;
use crate::engine::{Api, image};

/// The name of the images, of no registry.
pub const REPOSITORY: &str = "localhost/vk-demo-web";
/// Their tags, and what the web server says.
pub const VERSIONS: [&str; 2] = ["1", "2"];

/// Builds the web server for a machine of this architecture, in Go's words; none: for this machine.
pub fn build(folder: &Path, architecture: Option<&str>) -> Result<PathBuf> {
    let program = folder.join("web");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"]).arg(&program).arg(".");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/web"));
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOOS", "linux");
    if let Some(architecture) = architecture {
        go.env("GOARCH", architecture);
    }
    succeed(&mut go).context("build the web server that the demo runs in containers")?;
    Ok(program)
}

/// Makes the images of the built web server.
pub async fn make(api: &Api, program: &Path) -> Result<()> {
    let program = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    for version in VERSIONS {
        image::make(api, REPOSITORY, &[version], root(&program, version)?).await?;
    }
    api.remove(&format!("/images/{REPOSITORY}:latest")).await?;
    Ok(())
}

/// Names of those that are there, with their tags.
pub async fn names(api: &Api) -> Result<Vec<String>> {
    let mut names = api.images().await?;
    names.retain(|name| name.strip_prefix(REPOSITORY).is_some_and(|rest| rest.starts_with(':')));
    Ok(names)
}

/// The one that sandboxes are made of too.
pub fn sandbox() -> String {
    format!("{REPOSITORY}:{}", VERSIONS[0])
}

fn root(program: &[u8], version: &str) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    image::put(&mut tar, "web", EntryType::Regular, 0o755, program)?;
    image::put(&mut tar, "version", EntryType::Regular, 0o644, version.as_bytes())?;
    Ok(tar.into_inner()?)
}
