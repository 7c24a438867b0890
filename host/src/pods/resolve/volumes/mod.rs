//! A pod's volumes of files, rendered as the kubelet renders them: configMap, secret, downwardAPI and projected.
//!
//! ```text
//! spec.volumes ─▶ plan ─▶ needs: objects and tokens ──(read)──▶ found ─▶ render ─▶ files, revision, when to render again
//! ```
//!
//! A volume of one source is a projected one with a single source. Pure: what is needed is read by [`super::Resolver`].
//!
//! Volumes that the backend mounts by itself have what opens them in the place of files ([`opens`]).

mod config;
mod downward;
mod files;
mod opens;
mod projected;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, PodSpec, ServiceAccountTokenProjection, Volume};
use tokio::time::Instant;

use self::files::{Owner, Tree};
use super::objects::{Key, Kind, Lookup};
use super::token::{Failure, Token, Wanted};
use super::{Node, Place, Sources};
use crate::pods::object::PodObject;
use crate::provider::Files;

/// What the API server gives files that no mode is told for.
const MODE: u32 = 0o644;
/// What the API allows of a mode.
const MODE_BITS: u32 = 0o777;

/// Why a volume has no files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::pods) enum Error {
    /// The pod names none so.
    #[error("the pod has no volume of this name")]
    Unknown,
    /// It is of another kind.
    #[error("it has no files here: it is no configMap, secret, downwardAPI or projected volume, and names no Secret")]
    NoFiles,
    /// Never: it asks for what this host does not do.
    #[error("{field}: {message}")]
    Refused { field: String, message: String },
    /// Not yet: an object that it needs is missing.
    #[error("{0}")]
    Missing(String),
    /// Not now: the API server could not be asked.
    #[error("{0}")]
    Unread(String),
}

/// A volume with its files.
pub(in crate::pods) struct Rendered {
    pub(in crate::pods) files: Files,
    /// When a token in it should be another.
    pub(in crate::pods) renew_at: Option<Instant>,
    /// It is another when its sources are, while the pod runs.
    pub(in crate::pods) is_live: bool,
    /// What it was made from.
    pub(super) used: Vec<(Key, Arc<Lookup>)>,
}

/// A volume and where its files come from.
pub(super) struct Plan<'a> {
    field: String,
    default_mode: u32,
    sources: Vec<Source<'a>>,
    /// As the kubelet has it: what opens a volume counts when it is mounted, and not again.
    pub(super) is_live: bool,
}

/// One source, and its place in the pod, such as `spec.volumes[0].projected.sources[1].configMap`.
struct Source<'a> {
    field: String,
    what: What<'a>,
}

enum What<'a> {
    Object(config::Object<'a>),
    Fields(&'a [DownwardAPIVolumeFile]),
    Token(&'a ServiceAccountTokenProjection),
    /// The host has none of these; one that is optional is left out.
    Unserved {
        optional: bool,
    },
}

/// What a volume needs, by name.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) objects: BTreeSet<(Kind, String)>,
    pub(super) tokens: BTreeSet<Wanted>,
}

/// What became of it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) objects: Sources,
    pub(super) tokens: HashMap<Wanted, Result<Token, Failure>>,
}

/// What a volume is rendered for.
pub(super) struct Context<'a> {
    pub(super) pod: &'a PodObject,
    pub(super) node: &'a Node,
    /// Where `resourceFieldRef` looks.
    pub(super) containers: &'a [Place<'a>],
    pub(super) found: &'a Found,
}

/// The names of a pod's volumes of files.
pub(in crate::pods) fn names(spec: &PodSpec) -> impl Iterator<Item = &str> {
    spec.volumes.iter().flatten().filter(|volume| is_of_files(volume)).map(|volume| volume.name.as_str())
}

/// Its containers see files that are rendered here.
fn is_of_files(volume: &Volume) -> bool {
    let Volume { config_map, secret, downward_api, projected, .. } = volume;
    config_map.is_some() || secret.is_some() || downward_api.is_some() || projected.is_some()
}

impl<'a> Plan<'a> {
    /// The plan of a volume that the pod names so.
    pub(super) fn of(pod: &'a PodObject, name: &str) -> Result<Self, Error> {
        let mut volumes = pod.spec.volumes.iter().flatten().enumerate();
        let (index, volume) = volumes.find(|(_, volume)| volume.name == name).ok_or(Error::Unknown)?;
        let field = format!("spec.volumes[{index}]");
        let single = |kind: &str, what| vec![Source { field: format!("{field}.{kind}"), what }];
        let (mode, sources) = match volume {
            Volume { config_map: Some(volume), .. } => {
                (volume.default_mode, single("configMap", What::Object(config::Object::of_config_map(volume))))
            }
            Volume { secret: Some(volume), .. } => {
                (volume.default_mode, single("secret", What::Object(config::Object::of_secret(volume))))
            }
            Volume { downward_api: Some(volume), .. } => {
                let items = volume.items.as_deref().unwrap_or_default();
                (volume.default_mode, single("downwardAPI", What::Fields(items)))
            }
            Volume { projected: Some(volume), .. } => (volume.default_mode, projected::sources(&field, volume)),
            Volume { azure_file: Some(volume), .. } => (None, opens::of_azure_file(volume, &field)),
            Volume { csi: Some(volume), .. } => (None, opens::of_csi(pod, volume, &field)?),
            _ => return Err(Error::NoFiles),
        };
        Ok(Self { default_mode: self::mode(mode, MODE), sources, is_live: is_of_files(volume), field })
    }

    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for Source { what, .. } in &self.sources {
            match what {
                What::Object(object) => {
                    needs.objects.insert((object.kind, object.name.to_string()));
                }
                What::Token(token) => {
                    needs.tokens.insert(projected::wanted(token));
                }
                What::Fields(_) | What::Unserved { .. } => {}
            }
        }
        needs
    }

    /// The volume's files, and when to render them again.
    pub(super) fn render(&self, context: &Context<'_>) -> Result<(Files, Option<Instant>), Error> {
        let mut drawn =
            Drawn { owner: Owner::of(context.pod), mode: self.default_mode, tree: Tree::default(), tokens: Vec::new() };
        for Source { field, what } in &self.sources {
            match what {
                What::Object(object) => object.draw(field, context, &mut drawn)?,
                What::Fields(items) => downward::draw(items, field, context, &mut drawn)?,
                What::Token(token) => projected::draw(token, field, context, &mut drawn)?,
                What::Unserved { optional: true } => {}
                What::Unserved { optional: false } => {
                    let message = "this host has none of these; a clusterTrustBundle may say optional: true".into();
                    return Err(Error::Refused { field: field.clone(), message });
                }
            }
        }
        let Drawn { tree, tokens, .. } = drawn;
        let (revision, files) = tree.finish().map_err(|path| {
            let message = format!("{path:?} is the path of a file and of a directory");
            Error::Refused { field: self.field.clone(), message }
        })?;
        let expires_ms = tokens.iter().map(|token| token.expires_ms).min();
        Ok((Files { revision, files, expires_ms }, tokens.iter().map(|token| token.renew_at).min()))
    }
}

/// What has been drawn of a volume so far.
struct Drawn {
    owner: Owner,
    /// Of files that have none of their own.
    mode: u32,
    tree: Tree,
    tokens: Vec<Token>,
}

/// A file's mode: its own, or the volume's.
fn mode(own: Option<i32>, default: u32) -> u32 {
    own.and_then(|mode| u32::try_from(mode).ok()).map_or(default, |mode| mode & MODE_BITS)
}

/// A path that cannot be one.
fn wrong_path(field: String, path: &str, wrong: &str) -> Error {
    Error::Refused { field, message: format!("{path:?} {wrong}") }
}

#[cfg(test)]
mod tests;
