//! The sandbox's program, and the image that it is in.
//!
//! The program is small and static, one for each architecture, and part of this plugin. It is uploaded as an image of
//! its own when an engine does not have it; or, into another image that the operator names, as a file before the
//! sandbox starts.

use std::time::Duration;

use vk_engine::archive::{Owner, Pack};
use vk_engine::exec::ExecSpec;
use vk_engine::frame::Frames;
use vk_provider::{Error, Result, clock, store};

use crate::context::Context;
use crate::names::digest;
use crate::volumes::ROOT;

/// Where the program is, in our own image as in others.
const PROGRAM: &str = "vk-pause";
/// Held while the image is uploaded, and no longer than this: it is a few kilobytes.
const UPLOAD: &str = "pause/upload";
const UPLOAD_LONGEST: Duration = Duration::from_secs(30);
/// So that no registry is asked for it.
const REPOSITORY: &str = "localhost/vk-pause";
/// What the program may write: one line.
const WORDS: usize = 64 << 10;

const AMD64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause-amd64"));
const ARM64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause-arm64"));

/// What starts the sandbox, and what is called in it.
pub(crate) fn command() -> String {
    format!("/{PROGRAM}")
}

/// The image of sandboxes: the operator's, or our own, whose name changes with the program.
pub(crate) fn image(context: &Context) -> String {
    context.config.pause_image.clone().unwrap_or_else(|| format!("{}:latest", own_repository()))
}

fn own_repository() -> String {
    format!("{REPOSITORY}-{}", digest(&[AMD64, ARM64].concat()))
}

/// Makes the image present, after a create that missed it.
///
/// # Errors
/// There is no program for the engine's architecture, or the engine or a registry said no.
pub(crate) fn provide_image(context: &Context) -> Result<()> {
    match &context.config.pause_image {
        Some(image) => crate::images::pull_anonymously(context, image).map(drop),
        None => {
            // One at a time: of an image that is uploaded twice the former loses its name, and stays in the engine without one.
            let turn = store::acquire(UPLOAD, UPLOAD_LONGEST);
            turn.wait()?;
            if context.engine.image(&image(context))?.is_some() {
                return Ok(());
            }
            let root = Some(ROOT.trim_start_matches('/'));
            let archive = pack(program(context)?, root).map_err(|error| unpackable(&error))?;
            Ok(context.engine.import_image(&own_repository(), archive)?)
        }
    }
}

/// An archive with the program, and a directory beside it.
fn pack(program: &[u8], directory: Option<&str>) -> std::io::Result<Vec<u8>> {
    let mut pack = Pack::new(clock::now());
    if let Some(directory) = directory {
        pack.directory(directory, 0o755, Owner::default())?;
    }
    pack.file(PROGRAM, 0o755, Owner::default(), program)?;
    pack.finish()
}

/// Puts the program into a sandbox of an image that is not ours, before it starts.
///
/// # Errors
/// As [`provide_image`].
pub(crate) fn provide_program(context: &Context, sandbox: &str) -> Result<()> {
    if context.config.pause_image.is_none() {
        return Ok(());
    }
    let archive = pack(program(context)?, None).map_err(|error| unpackable(&error))?;
    Ok(context.engine.put_archive(sandbox, "/", archive)?)
}

/// The program for the engine's machine.
fn program(context: &Context) -> Result<&'static [u8]> {
    let info = context.info()?;
    by_architecture(info.go_architecture())
}

fn by_architecture(architecture: &str) -> Result<&'static [u8]> {
    match architecture {
        "amd64" => Ok(AMD64),
        "arm64" => Ok(ARM64),
        other => {
            let why = format!("the engine runs on {other:?}: there are sandbox programs for amd64 and arm64");
            Err(Error::failed_precondition("ArchitectureNotSupported", why))
        }
    }
}

/// How a call of the program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// none: the engine does not tell.
    pub(crate) code: Option<i32>,
    /// What it wrote.
    pub(crate) words: String,
}

/// Calls the program in a sandbox that runs.
///
/// # Errors
/// The engine said no.
pub(crate) fn call(context: &Context, sandbox: &str, arguments: &[&str]) -> Result<Ended> {
    let cmd = std::iter::once(command()).chain(arguments.iter().map(|word| (*word).to_owned())).collect();
    let exec = context
        .engine
        .create_exec(sandbox, &ExecSpec { cmd, attach_stdout: true, attach_stderr: true, ..ExecSpec::default() })?;
    let written = context.engine.run_exec(&exec, WORDS)?;
    Ok(Ended { code: context.engine.exit_code(&exec)?, words: words(&written) })
}

/// What was written, without its frames.
fn words(written: &[u8]) -> String {
    let mut text = Vec::new();
    // What is no frame is an engine's own text.
    if Frames::default().feed(written, |piece| text.extend_from_slice(piece.bytes)).is_err() {
        text = written.to_vec();
    }
    String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An archive that could not be packed: a path that no archive holds.
pub(crate) fn unpackable(error: &std::io::Error) -> Error {
    Error::internal("FilesNotPacked", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `e_machine` of an ELF header, for a 64-bit little-endian executable.
    fn machine(program: &[u8]) -> u16 {
        assert_eq!(&program[..6], b"\x7fELF\x02\x01");
        assert_eq!(u16::from_le_bytes([program[16], program[17]]), 2, "it is loaded where it was linked: ET_EXEC");
        u16::from_le_bytes([program[18], program[19]])
    }

    #[test]
    fn programs_are_small_and_of_their_architecture() {
        let (amd64, arm64) = (by_architecture("amd64").unwrap(), by_architecture("arm64").unwrap());
        assert_eq!((machine(amd64), machine(arm64)), (62, 183));
        assert!(amd64.len() < 20_000 && arm64.len() < 20_000, "{} {}", amd64.len(), arm64.len());
        assert!(by_architecture("s390x").unwrap_err().message.contains("\"s390x\""));
    }

    #[test]
    fn our_image_is_of_no_registry() {
        let repository = own_repository();
        assert_eq!(vk_engine::image::Reference::parse(&repository).unwrap().registry, "localhost");
    }
}
