//! The image of all test containers: a static busybox and links to it, packed and imported on the spot, as nothing can be pulled.

use std::fs;

use anyhow::{Context as _, Result};
use http::Method;
use tar::{Builder, EntryType, Header};

use super::{Api, program};

/// Its name without a tag. Qualified, as Podman takes no other for what it is.
pub const IMAGE: &str = "images.test/busybox";
/// Under each of these it is known, so that an update of a workload has something to update to.
const TAGS: [&str; 2] = ["1", "2"];
/// Programs that tests run.
const APPLETS: &str = "[ awk base64 cat chmod chown cp cut date dd echo env false find grep head hostname httpd id ip kill ln ls md5sum \
                       mkdir mktemp mv nc ps printf pwd readlink rm sed seq sh sleep sort stat sync tail test timeout top touch tr \
                       true umount mount uname wc wget yes";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\n";

/// The image with one of its two tags, `1` or `2`.
pub fn tagged(tag: u32) -> String {
    format!("{IMAGE}:{tag}")
}

/// Makes the image of all tests.
pub(super) async fn import(api: &Api) -> Result<()> {
    make(api, IMAGE, &TAGS, root()?).await
}

/// Makes an image of a root directory, an archive. Its name has these tags, and `latest`: Podman gives no other to what it imports.
///
/// # Errors
///
/// The engine does not answer, or refuses.
pub async fn make(api: &Api, name: &str, tags: &[&str], root: Vec<u8>) -> Result<()> {
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest");
    api.send(Method::POST, &path, &[("content-type", "application/x-tar")], root).await?;
    for tag in tags {
        api.send(Method::POST, &format!("/images/{name}:latest/tag?repo={name}&tag={tag}"), &[], Vec::new()).await?;
    }
    Ok(())
}

/// Its root directory.
fn root() -> Result<Vec<u8>> {
    let busybox = fs::read(program("busybox").context("no busybox")?)?;
    let mut tar = Builder::new(Vec::new());
    for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        put(&mut tar, folder, EntryType::Directory, mode, &[])?;
    }
    put(&mut tar, "bin/busybox", EntryType::Regular, 0o755, &busybox)?;
    for (file, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP)] {
        put(&mut tar, file, EntryType::Regular, 0o644, text.as_bytes())?;
    }
    for applet in APPLETS.split_whitespace() {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(tar.into_inner()?)
}

/// Adds something of root's to an archive.
///
/// # Errors
///
/// The path is none that an archive can hold.
pub fn put(tar: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = header(kind, mode, u64::try_from(content.len())?);
    Ok(tar.append_data(&mut header, path, content)?)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}
