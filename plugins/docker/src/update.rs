//! New files for a volume of a pod that runs: a directory of their own beside the ones that count, and then one rename.

use vk_engine::archive::Pack;
use vk_provider::cluster::{self, Files};
use vk_provider::{DesiredPod, Error, Result, clock};

use crate::context::Context;
use crate::manifest::{Manifest, Spec};
use crate::volumes::files::{self, Filling};
use crate::volumes::{Layout, ROOT};
use crate::{pause, sandbox};

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
    let command = ["switch", &path, &directory];
    let ended = pause::call(context, &sandbox.id, &command)?;
    if ended.code == Some(0) {
        return Ok(());
    }
    let code = ended.code.map_or_else(|| "without a code".to_owned(), |code| format!("with {code}"));
    let message = format!("{} {} ended {code}: {}", pause::command(), command.join(" "), ended.words);
    Err(Error::unknown("VolumeNotSwitched", message))
}

fn pack(spec: &Spec, volume: &str, files: &Files) -> std::io::Result<Vec<u8>> {
    let mut filling = Filling::new(Pack::new(clock::now()), sandbox::group(spec));
    filling.revision(volume, files)?;
    filling.finish(None)
}
