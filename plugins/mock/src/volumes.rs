//! The annotation `log-volumes`: what the host makes of the pod's volumes, told in its logs and kept up to date by
//! `update-volume`.
//!
//! ```text
//! volume NAME updates=N expires=MS files=COUNT
//! file NAME PATH MODE UID GID SHA256 CONTENT        one each, in the host's order; `-` for what there is not
//! ```

use std::fmt::Display;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vk_provider::cluster::{self, File};
use vk_provider::{DesiredPod, PodRef, Result, Volumes, log, serde_json};

use crate::Mock;
use crate::backend;
use crate::fault::Fault;
use crate::manifest::Spec;
use crate::pods::{after, before, unknown};
use crate::record::{Record, hidden};
use crate::script::Script;

/// A volume as the host last gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    name: String,
    /// How often `update-volume` has replaced the files.
    updates: u32,
    /// When a token in it expires, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// A line each.
    files: Vec<String>,
}

/// Asks for all volumes of a pod that have files, if that is wanted.
///
/// # Errors
/// The host's own, of no effect: the workload is not made yet.
pub(crate) fn rendered(id: &PodRef, spec: &Spec<'_>, script: &Script) -> Result<Vec<Volume>> {
    if !script.log_volumes {
        return Ok(Vec::new());
    }
    let with_files = spec.volumes().iter().filter(|volume| volume.has_files());
    with_files.map(|volume| Volume::rendered(id, &volume.name, 0, script.reveal_secrets)).collect()
}

impl Volume {
    fn rendered(id: &PodRef, name: &str, updates: u32, reveal: bool) -> Result<Self> {
        let rendered = cluster::volume(id, name)?;
        let files = rendered.files.iter().map(|file| line(name, file, reveal)).collect();
        Ok(Self { name: name.to_owned(), updates, expires: rendered.expires_ms, files })
    }

    /// What the logs say of it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let Self { name, updates, expires, files } = self;
        let (expires, count) = (or_none(*expires), files.len());
        std::iter::once(format!("volume {name} updates={updates} expires={expires} files={count}"))
            .chain(files.iter().cloned())
    }
}

fn line(volume: &str, file: &File, reveal: bool) -> String {
    let File { path, mode, uid, gid, content, secret } = file;
    let (uid, gid, digest) = (or_none(*uid), or_none(*gid), HEXLOWER.encode(&Sha256::digest(content)));
    let content = if *secret && !reveal { hidden(content.len()) } else { text(content) };
    format!("file {volume} {path} {mode:04o} {uid} {gid} {digest} {content}")
}

/// One line of any content: JSON if it is text.
fn text(content: &[u8]) -> String {
    let json = std::str::from_utf8(content).ok().and_then(|text| serde_json::to_string(text).ok());
    json.unwrap_or_else(|| format!("hex:{}", HEXLOWER.encode(content)))
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl Volumes for Mock {
    fn update_volume(pod: DesiredPod, volume: String) -> Result<()> {
        let id = &pod.id;
        let there = backend::look(id, backend::now())?.ok_or_else(|| unknown(id))?;
        let fault = fault(id, &there.value)?;
        before(fault.as_ref())?;
        if there.value.updates(&volume).is_some() {
            let updated = backend::change(id, there, backend::now(), |there| {
                // Asked for each time: what another call has written meanwhile may be later than what was asked before.
                there.ok_or_else(|| unknown(id))?.with_volume(id, &volume)
            })?;
            let updates = updated.updates(&volume).unwrap_or_default();
            log!("volume updated uid={} volume={volume} updates={updates}", id.uid);
        }
        after(fault.as_ref())
    }
}

/// `volume-fault`, if it strikes this time.
fn fault(id: &PodRef, record: &Record) -> Result<Option<Fault>> {
    let Some(fault) = record.faults.volume.clone() else { return Ok(None) };
    let counts = backend::count(id, record.counts, |counts| counts.volume += 1)?;
    Ok(Some(fault).filter(|fault| fault.applies(counts.volume)))
}

impl Record {
    /// How often the files of a volume were replaced; none: it has no such volume.
    fn updates(&self, volume: &str) -> Option<u32> {
        self.volumes.iter().find(|there| there.name == volume).map(|there| there.updates)
    }

    /// The same with the files that a volume has now.
    fn with_volume(mut self, id: &PodRef, volume: &str) -> Result<Self> {
        for there in self.volumes.iter_mut().filter(|there| there.name == volume) {
            *there = Volume::rendered(id, volume, there.updates + 1, self.reveal_secrets)?;
        }
        Ok(self)
    }
}
