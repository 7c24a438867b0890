//! New files for a volume of a pod that runs: a directory of their own beside the ones that count, and then one rename.

use vk_engine::archive::Pack;
use vk_engine::exec::ExecSpec;
use vk_engine::frame::Frames;
use vk_provider::cluster::{self, Files};
use vk_provider::{DesiredPod, Error, Result, clock};

use crate::context::Context;
use crate::manifest::{Manifest, Spec};
use crate::volumes::files::{self, Filling};
use crate::volumes::{Layout, ROOT};
use crate::{pause, sandbox};

/// What the pause program may write: one line.
const WORDS: usize = 64 << 10;

/// Brings a volume's files up to date.
///
/// # Errors
/// `unimplemented`: the volume has no files of the host's. `aborted`: the sandbox does not run. Or the engine said no.
pub(crate) fn update(context: &Context, pod: &DesiredPod, manifest: &Manifest, volume: &str) -> Result<()> {
    let layout = Layout::of(&manifest.spec)?;
    if !layout.rendered().any(|rendered| rendered.name == volume) {
        let message = format!("volume {volume:?} has no files that change");
        return Err(Error::unimplemented("VolumeHasNoFiles", message));
    }
    let seen = context.pod(&pod.id)?;
    let sandbox = sandbox::running(&seen, &pod.id)?;
    let files = cluster::volume(&pod.id, volume)?;
    let (path, directory) = (format!("{ROOT}/{volume}"), files::directory(&files));
    let counts = context.engine.stat_path(&sandbox.id, &format!("{path}/{}", files::DATA))?;
    if counts.is_some_and(|link| link.link_target.ends_with(&format!("/{directory}")) || link.link_target == directory)
    {
        return Ok(());
    }
    let archive = pack(&manifest.spec, volume, &files).map_err(|error| pause::unpackable(&error))?;
    context.engine.put_archive(&sandbox.id, ROOT, archive)?;
    call(context, &sandbox.id, &[&pause::command(), "switch", &path, &directory])
}

fn pack(spec: &Spec, volume: &str, files: &Files) -> std::io::Result<Vec<u8>> {
    let mut filling = Filling::new(Pack::new(clock::now()), sandbox::group(spec));
    filling.revision(volume, files)?;
    filling.finish(None)
}

/// Calls the pause program in the sandbox.
fn call(context: &Context, sandbox: &str, command: &[&str]) -> Result<()> {
    let cmd = command.iter().map(|word| (*word).to_owned()).collect();
    let exec = context
        .engine
        .create_exec(sandbox, &ExecSpec { cmd, attach_stdout: true, attach_stderr: true, ..ExecSpec::default() })?;
    let written = context.engine.run_exec(&exec, WORDS)?;
    match context.engine.exit_code(&exec)? {
        Some(0) => Ok(()),
        code => {
            let code = code.map_or_else(|| "without a code".to_owned(), |code| format!("with {code}"));
            let message = format!("{} ended {code}: {}", command.join(" "), words(&written));
            Err(Error::unknown("VolumeNotSwitched", message))
        }
    }
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
