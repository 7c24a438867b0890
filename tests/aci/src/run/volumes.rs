//! Volumes of a group.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64;
use tokio::process::Command;
use uuid::Uuid;

use crate::engine::{Bind, File, Source};
use crate::spec::{AzureFile, GitRepo, Mount, Spec, Volume};
use crate::world::World;

/// All volumes of a run.
pub(super) struct Volumes {
    volumes: Vec<Ready>,
    /// Goes with the run.
    folder: PathBuf,
}

struct Ready {
    name: String,
    source: Source,
    files: Vec<File>,
    read_only: bool,
}

impl Volumes {
    /// Makes them ready.
    pub(super) async fn prepare(world: &World, spec: &Spec) -> Result<Self> {
        let id = Uuid::new_v4().simple().to_string();
        let mut all = Self { volumes: Vec::new(), folder: world.folder.join("repositories").join(&id) };
        for volume in &spec.volumes {
            match all.ready(world, spec, volume, &id).await {
                Ok(ready) => all.volumes.push(ready),
                Err(error) => {
                    all.forget();
                    return Err(error.context(format!("volume {}", volume.name)));
                }
            }
        }
        Ok(all)
    }

    async fn ready(&self, world: &World, spec: &Spec, volume: &Volume, id: &str) -> Result<Ready> {
        let name = volume.name.clone();
        let own = Source::Volume(format!("aci-{id}-{name}"));
        if let Some(file) = &volume.azure_file {
            let source = Source::Folder(share(world, spec, file)?);
            return Ok(Ready { name, source, files: Vec::new(), read_only: file.read_only });
        }
        if let Some(repo) = &volume.git_repo {
            let folder = self.folder.join(&name);
            clone(repo, &folder).await?;
            return Ok(Ready { name, source: Source::Folder(folder), files: Vec::new(), read_only: false });
        }
        let mut files = Vec::new();
        for (path, content) in volume.secret.iter().flatten() {
            files.push((path.clone(), BASE64.decode(content.as_bytes()).context("it is not base64")?));
        }
        Ok(Ready { name, source: own, files, read_only: volume.empty_dir.is_none() })
    }

    /// The volumes of the engine's own, with what is in them.
    pub(super) fn files(&self) -> Vec<(String, Vec<File>)> {
        let own = self.volumes.iter().filter_map(|ready| match &ready.source {
            Source::Volume(name) => Some((name.clone(), ready.files.clone())),
            Source::Folder(_) => None,
        });
        own.collect()
    }

    /// How a container mounts one.
    pub(super) fn bind(&self, mount: &Mount) -> Option<Bind> {
        let ready = self.volumes.iter().find(|ready| ready.name == mount.name)?;
        let read_only = mount.read_only || ready.read_only;
        Some(Bind { source: ready.source.clone(), target: mount.mount_path.clone(), read_only })
    }

    /// Removes what goes with the run: all that can be removed, and the first error of the rest.
    pub(super) async fn remove(&self, world: &World) -> Result<()> {
        let mut result = Ok(());
        for (name, _) in self.files() {
            let removed = world.engine.remove_volume(&name).await;
            result = result.and(removed.with_context(|| format!("volume {name}")));
        }
        self.forget();
        result
    }

    /// Removes what of it is not the engine's.
    fn forget(&self) {
        // There is none unless a volume is a repository.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of a share, which must be there: account and key are right, or the group has an identity. Which one has which client id
/// nobody knows here: all that the machine has are as good.
fn share(world: &World, spec: &Spec, file: &AzureFile) -> Result<PathBuf> {
    let (account, name) = (&file.storage_account_name, &file.share_name);
    let shares = world.account.shares.iter();
    let Some(share) = shares.clone().find(|share| share.account == *account && share.name == *name) else {
        bail!("Output: mount error(2): No such file or directory (//{account}.file.core.windows.net/{name})");
    };
    let has_identity = !spec.identity.user_assigned_identities.is_empty();
    let is_known = |id: &String| has_identity && world.account.identities.contains(id);
    let by_identity = file.user_managed_identity_client_id.as_ref().is_some_and(is_known);
    let by_key = file.storage_account_key.as_ref() == Some(&share.key);
    ensure!(by_identity || by_key, "Output: mount error(13): Permission denied");
    let folder = share_folder(&world.folder, account, name);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Where the files of a share are.
pub(crate) fn share_folder(folder: &Path, account: &str, share: &str) -> PathBuf {
    folder.join("shares").join(account).join(share)
}

/// What a gitRepo volume has: the repository, in a directory of its name unless one is given.
async fn clone(repo: &GitRepo, volume: &Path) -> Result<()> {
    fs::create_dir_all(volume).with_context(|| format!("create {}", volume.display()))?;
    let last = repo.repository.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let directory = repo.directory.as_deref().unwrap_or_else(|| last.trim_end_matches(".git"));
    let into = volume.join(directory);
    git(volume, &["clone", "--quiet", "--", &repo.repository, &into.display().to_string()]).await?;
    match &repo.revision {
        Some(revision) => git(&into, &["checkout", "--quiet", revision, "--"]).await,
        None => Ok(()),
    }
}

async fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .kill_on_drop(true)
        .output()
        .await
        .context("git cannot be started")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
