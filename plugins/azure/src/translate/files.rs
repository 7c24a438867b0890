//! Volumes of files, as Azure's `secret` volumes: no directories, and modes and owners are Azure's own.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use vk_aci::Redacted;
use vk_provider::{Error, PodRef, Result, cluster};

use crate::manifest::{Item, Source, Volume};
use crate::refusals::refuse;

/// Modes that files have here: everybody reads, and as nobody writes rendered files the owner's right to does not matter.
const MODES: [u32; 2] = [0o644, 0o444];

impl Volume {
    /// It is of a kind whose files the host renders.
    pub(super) const fn has_files(&self) -> bool {
        let Self { config_map, secret, downward_api, projected, .. } = self;
        config_map.is_some() || secret.is_some() || downward_api.is_some() || projected.is_some()
    }
}

/// # Errors
/// A path or a mode that files of a group cannot have.
pub(super) fn check(volume: &Volume, field: &str) -> Result<()> {
    let single = [("configMap", &volume.config_map), ("secret", &volume.secret), ("downwardAPI", &volume.downward_api)];
    for (name, source) in single {
        source.iter().try_for_each(|source| of_source(source, &format!("{field}.{name}")))?;
    }
    let Some(projected) = &volume.projected else { return Ok(()) };
    mode(projected.default_mode, || format!("{field}.projected.defaultMode"))?;
    for (index, source) in projected.sources.iter().enumerate() {
        let field = format!("{field}.projected.sources[{index}]");
        let sources =
            [("configMap", &source.config_map), ("secret", &source.secret), ("downwardAPI", &source.downward_api)];
        for (name, source) in sources {
            source.iter().try_for_each(|source| of_source(source, &format!("{field}.{name}")))?;
        }
        let files = [
            ("serviceAccountToken", &source.service_account_token),
            ("clusterTrustBundle", &source.cluster_trust_bundle),
        ];
        for (name, file) in files {
            file.iter().try_for_each(|file| of_item(file, &format!("{field}.{name}")))?;
        }
    }
    Ok(())
}

fn of_source(source: &Source, field: &str) -> Result<()> {
    mode(source.default_mode, || format!("{field}.defaultMode"))?;
    let mut items = source.items.iter().enumerate();
    items.try_for_each(|(index, item)| of_item(item, &format!("{field}.items[{index}]")))
}

fn of_item(item: &Item, field: &str) -> Result<()> {
    mode(item.mode, || format!("{field}.mode"))?;
    if item.path.contains('/') {
        let why = format!(
            "{:?} is in a directory, and Azure's volumes of files have none: mount another volume there",
            item.path
        );
        return Err(refuse(format!("{field}.path"), why));
    }
    Ok(())
}

fn mode(mode: Option<u32>, field: impl FnOnce() -> String) -> Result<()> {
    match mode.filter(|mode| !MODES.contains(mode)) {
        Some(mode) => {
            Err(refuse(field(), format!("files of a group have the mode 0644, and {mode:04o} cannot be had")))
        }
        None => Ok(()),
    }
}

/// The files by name, in base64.
///
/// # Errors
/// Something that they come from is not there as yet, or they cannot be in a group.
pub(super) fn render(id: &PodRef, volume: &str, field: &str) -> Result<BTreeMap<String, Redacted>> {
    // Nothing was made before.
    let files = cluster::volume(id, volume).map_err(Error::effect_none)?.files;
    let each = |file: cluster::File| match file.path.contains('/') {
        true => {
            Err(refuse(field, format!("{:?} is in a directory, and Azure's volumes of files have none", file.path)))
        }
        false => Ok((file.path, Redacted::from(BASE64.encode(&file.content)))),
    };
    files.into_iter().map(each).collect()
}
