//! Volumes: those that some container mounts. What no container sees stays where it is, secrets above all.
//!
//! | in the pod | in the group |
//! | --- | --- |
//! | configMap, secret, downwardAPI, projected | `secret`: files by name in memory, without directories, modes and owners |
//! | emptyDir, and files where there are none | `emptyDir` |
//! | gitRepo | `gitRepo` |
//! | azureFile, csi of file.csi.azure.com | `azureFile`, with the account's key or an identity |

use vk_aci::Redacted;
use vk_aci::group::{EmptyDir, GitRepo, Volume, VolumeMount};
use vk_provider::{PodRef, Result};

use super::shares::Share;
use super::{Scene, files};
use crate::limits;
use crate::manifest::{self, Container, Spec};
use crate::names;
use crate::refusals::{refuse, too_much};

/// What the volume with a service account's token begins with.
const TOKEN_PREFIX: &str = "kube-api-access-";
const KNOWN: &str =
    "known are configMap, secret, downwardAPI, projected, emptyDir, gitRepo, azureFile and csi of file.csi.azure.com";

/// What is made of a volume.
#[derive(Debug)]
enum Kind<'a> {
    Empty,
    /// The host renders them.
    Files,
    Git(&'a manifest::GitRepo),
    Share(Share<'a>),
}

/// A volume that is mounted.
#[derive(Debug)]
struct Planned<'a> {
    /// In the pod.
    name: &'a str,
    /// Its place there.
    field: String,
    kind: Kind<'a>,
}

/// The volumes of a group.
#[derive(Debug)]
pub(super) struct Plan<'a>(Vec<Planned<'a>>);

/// Whether it is the one that every pod is given: Windows cannot have it, and goes without.
pub(crate) fn is_service_account_token(volume: &manifest::Volume) -> bool {
    let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
    volume.name.starts_with(TOKEN_PREFIX) && sources.into_iter().any(|source| source.service_account_token.is_some())
}

impl<'a> Plan<'a> {
    /// # Errors
    /// A volume that a group cannot have, mounted or not.
    pub(super) fn of(scene: Scene<'a>) -> Result<Self> {
        let mut planned = Vec::new();
        for (index, volume) in scene.spec.volumes.iter().enumerate() {
            let field = format!("spec.volumes[{index}]");
            let kind = kind(scene, volume, &field)?;
            let goes_without = !scene.is_linux() && is_service_account_token(volume);
            if is_mounted(scene.spec, &volume.name) && !goes_without {
                planned.push(Planned { name: &volume.name, field, kind });
            }
        }
        if let Some(over) = planned.get(limits::VOLUMES) {
            return Err(too_much(over.field.clone(), format!("a group has at most {} volumes", limits::VOLUMES)));
        }
        Ok(Self(planned))
    }

    /// What a container sees of them.
    pub(super) fn mounts(&self, container: &Container) -> Vec<VolumeMount> {
        let each = |mount: &manifest::Mount| {
            let planned = self.0.iter().find(|planned| planned.name == mount.name)?;
            // As with the kubelet nobody writes files that are rendered.
            let read_only = mount.read_only || matches!(planned.kind, Kind::Files);
            Some(VolumeMount {
                name: names::volume(planned.name),
                mount_path: absolute(&mount.mount_path),
                read_only: Some(read_only),
            })
        };
        container.volume_mounts.iter().filter_map(each).collect()
    }

    /// With what the cluster has for them.
    ///
    /// # Errors
    /// Something is not there as yet, or cannot be in a group.
    pub(super) fn render(&self, id: &PodRef) -> Result<Vec<Volume>> {
        self.0.iter().map(|planned| planned.render(id)).collect()
    }
}

impl Planned<'_> {
    fn render(&self, id: &PodRef) -> Result<Volume> {
        let volume = Volume { name: names::volume(self.name), ..Volume::default() };
        let empty_dir = Some(EmptyDir::default());
        Ok(match &self.kind {
            Kind::Empty => Volume { empty_dir, ..volume },
            Kind::Git(repo) => Volume { git_repo: Some(git_repo(repo)), ..volume },
            Kind::Share(share) => Volume { azure_file: Some(share.render(id, self.name)?), ..volume },
            Kind::Files => match files::render(id, self.name, &self.field)? {
                // Azure has no volume of no files.
                files if files.is_empty() => Volume { empty_dir, ..volume },
                files => Volume { secret: Some(files), ..volume },
            },
        })
    }
}

fn kind<'a>(scene: Scene<'a>, volume: &'a manifest::Volume, field: &str) -> Result<Kind<'a>> {
    let at = |name: &str| format!("{field}.{name}");
    if let Some(kind) = volume.other.keys().next() {
        let why = match kind.as_str() {
            "persistentVolumeClaim" => {
                "a group mounts no claims: name the share itself, as azureFile or as csi of file.csi.azure.com"
            }
            _ => KNOWN,
        };
        return Err(refuse(at(kind), why));
    }
    files::check(volume, field)?;
    match volume {
        manifest::Volume { empty_dir: Some(dir), .. } => empty_dir(dir, &at("emptyDir")),
        manifest::Volume { git_repo: Some(repo), .. } => {
            let has_scheme = ["https://", "http://"].iter().any(|scheme| repo.repository.starts_with(scheme));
            let why = "Azure clones from http:// and https:// alone";
            if has_scheme { Ok(Kind::Git(repo)) } else { Err(refuse(at("gitRepo.repository"), why)) }
        }
        manifest::Volume { azure_file: Some(file), .. } => Ok(Kind::Share(Share::of_azure_file(file))),
        manifest::Volume { csi: Some(csi), .. } => Ok(Kind::Share(Share::of_csi(scene, csi, &at("csi"))?)),
        _ if volume.has_files() => Ok(Kind::Files),
        // As the API server fills it in.
        _ => Ok(Kind::Empty),
    }
}

fn empty_dir<'a>(dir: &manifest::EmptyDir, field: &str) -> Result<Kind<'a>> {
    if !dir.medium.is_empty() {
        return Err(refuse(format!("{field}.medium"), "Azure keeps it on disk: leave it out"));
    }
    if dir.size_limit.is_some_and(|limit| limit.whole() > limits::STORAGE) {
        return Err(too_much(format!("{field}.sizeLimit"), "a group has 50 GB"));
    }
    Ok(Kind::Empty)
}

fn git_repo(repo: &manifest::GitRepo) -> GitRepo {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    GitRepo {
        repository: Redacted::from(&repo.repository),
        directory: some(&repo.directory),
        revision: some(&repo.revision),
    }
}

fn is_mounted(spec: &Spec, name: &str) -> bool {
    spec.all().any(|placed| placed.container.volume_mounts.iter().any(|mount| mount.name == name))
}

/// As the kubelet makes it.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
