//! From a file to a compiled component, by way of a cache on disk.
//!
//! Compiling takes a tenth of a second to some seconds, so what came of it is kept: one file a component, named after the
//! digest of its bytes and of everything the machine code depends on (wasmtime's version, the engine's configuration, the processor).

use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::LoadError;

/// `\0asm`.
const MAGIC: &[u8] = b"\0asm";
/// Version and layer of a core module.
const CORE: &[u8] = &[1, 0, 0, 0];
/// Length of the digest in front of a cached component.
const DIGEST: usize = 32;
/// Compiled components that are kept: those that were used last. Far more plugins than one node has, and some of their builds.
const KEPT: usize = 16;

/// A file as it was read: WebAssembly of the right kind, by its first bytes.
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of the bytes, in hex.
    pub(super) digest: String,
}

/// What a file became.
pub(super) struct Loaded {
    pub(super) component: Component,
    /// It was compiled before.
    pub(super) cached: bool,
}

/// Reads at most `limit` bytes. Blocks.
pub(super) fn read(file: &Path, limit: u64) -> Result<Source, LoadError> {
    let bytes = content(file, limit)?;
    check(file, &bytes)?;
    let digest = hex(&Sha256::digest(&bytes));
    Ok(Source { file: file.to_owned(), bytes, digest })
}

/// Compiles, or takes what was compiled before. Blocks, and keeps the processors busy.
pub(super) fn compile(engine: &Engine, source: &Source, cache: &Path) -> Result<Loaded, LoadError> {
    let entry = cache.join(format!("{}-{:016x}.bin", source.digest, compatibility(engine)));
    if let Some(component) = from_cache(engine, &entry) {
        return Ok(Loaded { component, cached: true });
    }
    let component = translate(engine, source)?;
    if let Err(error) = to_cache(&component, &entry) {
        // The next start is slower, nothing else.
        tracing::warn!(file = %entry.display(), %error, "cannot keep the compiled plugin");
    }
    sweep(cache);
    Ok(Loaded { component, cached: false })
}

/// Compiles. Blocks, and keeps the processors busy.
pub(super) fn translate(engine: &Engine, source: &Source) -> Result<Component, LoadError> {
    Component::from_binary(engine, &source.bytes)
        .map_err(|e| LoadError::Invalid { file: source.file.clone(), reason: one_line(&e) })
}

fn content(file: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => LoadError::Missing(file.to_owned()),
        _ => LoadError::Unreadable { file: file.to_owned(), error },
    };
    let mut bytes = Vec::new();
    // Read to the limit instead of asking for the size: the file may grow meanwhile, or be none.
    File::open(file)
        .and_then(|opened| opened.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { file: file.to_owned(), limit });
    }
    Ok(bytes)
}

fn check(file: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    match bytes.strip_prefix(MAGIC) {
        None => Err(LoadError::NotWasm(file.to_owned())),
        Some(rest) if rest.starts_with(CORE) => Err(LoadError::CoreModule(file.to_owned())),
        Some(_) => Ok(()),
    }
}

fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// none: not there, not ours, damaged, or of another wasmtime; it is then compiled anew.
fn from_cache(engine: &Engine, entry: &Path) -> Option<Component> {
    let code = match trusted(entry) {
        Ok(code) => code,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %entry.display(), %error, "the compiled plugin is not used");
            return None;
        }
    };
    // SAFETY: `deserialize` runs what it is given as machine code. `trusted` gives only files that belong to this user, that
    // nobody else can write, and whose digest says that they are as `to_cache` left them; so the code is our own compiler's.
    #[expect(
        unsafe_code,
        reason = "compiled code can only be taken over unchecked; the file's owner, mode and digest are checked"
    )]
    let component = unsafe { Component::deserialize(engine, code) };
    component.map_err(|error| tracing::warn!(file = %entry.display(), error = %one_line(&error), "the compiled plugin is not used")).ok()
}

fn trusted(entry: &Path) -> std::io::Result<Vec<u8>> {
    // No link is followed: the owner and mode are those of the very file that is read.
    let mut opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(entry)?;
    let metadata = opened.metadata()?;
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(std::io::Error::other("not a file that this user alone can write"));
    }
    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes)?;
    match bytes.split_at_checked(DIGEST) {
        Some((digest, code)) if Sha256::digest(code).as_slice() == digest => {
            // Its time says when it was used last, for `sweep`. A cache that cannot be written is not swept either.
            let _ = opened.set_modified(std::time::SystemTime::now());
            Ok(bytes.split_off(DIGEST))
        }
        _ => Err(std::io::Error::other("it is damaged")),
    }
}

/// Removes entries, and what killed processes left aside, but for those that were used last. Another process may want one of
/// them: it compiles anew.
fn sweep(cache: &Path) {
    let Ok(directory) = std::fs::read_dir(cache) else { return };
    let used = |path: PathBuf| Some((path.metadata().ok()?.modified().ok()?, path));
    let mut entries: Vec<_> =
        directory.flatten().map(|entry| entry.path()).filter(|path| is_entry(path)).filter_map(used).collect();
    entries.sort_by(|(one, _), (other, _)| other.cmp(one));
    for (_, path) in entries.into_iter().skip(KEPT) {
        // Gone already, or not ours to remove: there is no harm in either.
        let _ = std::fs::remove_file(path);
    }
}

/// Something of ours, by its name: nothing else is removed.
fn is_entry(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ours = name.get(..2 * DIGEST).is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    ours && [".bin", ".tmp"].iter().any(|end| name.ends_with(end))
}

/// Written aside and renamed, so that a reader sees all or nothing.
fn to_cache(component: &Component, entry: &Path) -> Result<(), String> {
    let code = component.serialize().map_err(|e| one_line(&e))?;
    let write = || -> std::io::Result<()> {
        if let Some(directory) = entry.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let aside = aside(entry);
        // Of a process with our id that was killed.
        let _ = std::fs::remove_file(&aside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(&Sha256::digest(&code))?;
        file.write_all(&code)?;
        file.sync_all()?;
        std::fs::rename(&aside, entry)
    };
    write().map_err(|e| e.to_string())
}

/// Another name each time: two plugins of this process may compile the same file at once.
fn aside(entry: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    entry.with_extension(format!("{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// An error and its causes, without their line breaks.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
