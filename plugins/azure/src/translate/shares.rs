//! Shares of Azure Files, in both of Kubernetes' spellings. The account's key is in a Secret, whose keys the host gives as
//! files of the volume.

use std::collections::BTreeMap;

use vk_aci::group::AzureFile;
use vk_aci::version::Feature;
use vk_aci::{Redacted, Version};
use vk_provider::{Error, PodRef, Result, cluster};

use super::Scene;
use crate::manifest::{self, Csi};
use crate::refusals::refuse;

/// The driver of such shares.
const DRIVER: &str = "file.csi.azure.com";
/// Keys of the Secret.
const ACCOUNT: &str = "azurestorageaccountname";
const KEY: &str = "azurestorageaccountkey";

/// A share.
#[derive(Debug)]
pub(super) struct Share<'a> {
    name: &'a str,
    read_only: bool,
    access: Access<'a>,
}

/// What opens it.
#[derive(Debug)]
enum Access<'a> {
    /// The account's key, in a Secret.
    Key,
    /// One of the group's identities.
    Identity { account: &'a str, client_id: &'a str },
}

impl<'a> Share<'a> {
    pub(super) fn of_azure_file(file: &'a manifest::AzureFile) -> Self {
        Self { name: &file.share_name, read_only: file.read_only, access: Access::Key }
    }

    /// # Errors
    /// Another driver, or an attribute that a group cannot honour.
    pub(super) fn of_csi(scene: Scene<'a>, csi: &'a Csi, field: &str) -> Result<Self> {
        if csi.driver != DRIVER {
            let why = format!("a group has no volumes of {:?}; it mounts shares of {DRIVER} alone", csi.driver);
            return Err(refuse(format!("{field}.driver"), why));
        }
        if !["", "smb", "cifs"].iter().any(|known| csi.fs_type.eq_ignore_ascii_case(known)) {
            let why = format!("a group mounts no {:?}; write smb, or leave it out", csi.fs_type);
            return Err(refuse(format!("{field}.fsType"), why));
        }
        let mut attributes = Attributes::of(csi, field);
        let name = attributes.take("shareName").filter(|name| !name.is_empty());
        let namespace = attributes.take("secretNamespace");
        if namespace.is_some_and(|namespace| namespace != scene.pod.id.namespace) {
            return Err(attributes.refused("secretNamespace", "a pod's volume has its Secret in the pod's namespace"));
        }
        let secret = attributes.take("secretName").is_some() || csi.node_publish_secret_ref.is_some();
        let access = attributes.access(secret, scene.config.version)?;
        attributes.check_rest()?;
        let name = name
            .ok_or_else(|| attributes.refused("shareName", "it is missing: the share has to be there, and be named"))?;
        Ok(Self { name, read_only: csi.read_only, access })
    }

    /// # Errors
    /// The Secret is not there as yet, or lacks a key.
    pub(super) fn render(&self, id: &PodRef, volume: &str) -> Result<AzureFile> {
        let share =
            AzureFile { share_name: self.name.to_owned(), read_only: Some(self.read_only), ..AzureFile::default() };
        if let Access::Identity { account, client_id } = self.access {
            let user_managed_identity_client_id = Some(client_id.to_owned());
            return Ok(AzureFile {
                storage_account_name: account.to_owned(),
                user_managed_identity_client_id,
                ..share
            });
        }
        // Nothing was made before.
        let files = cluster::volume(id, volume).map_err(Error::effect_none)?.files;
        let value = |key: &str| {
            let file = files.iter().find(|file| file.path == key);
            let text = file.and_then(|file| std::str::from_utf8(&file.content).ok()).map(str::trim);
            let lacks = || {
                let message = format!("the Secret of volume {volume:?} has no {key}, which opens the share");
                Error::failed_precondition("AzureFileSecretIncomplete", message)
            };
            text.filter(|text| !text.is_empty()).ok_or_else(lacks)
        };
        Ok(AzureFile {
            storage_account_name: value(ACCOUNT)?.to_owned(),
            storage_account_key: Some(Redacted::from(value(KEY)?)),
            ..share
        })
    }
}

/// `volumeAttributes`, whose names the driver takes in any case.
struct Attributes<'a> {
    left: BTreeMap<String, (&'a str, &'a str)>,
    field: String,
}

impl<'a> Attributes<'a> {
    fn of(csi: &'a Csi, field: &str) -> Self {
        let left = csi.volume_attributes.iter();
        let left = left.map(|(name, value)| (name.to_ascii_lowercase(), (name.as_str(), value.as_str())));
        Self { left: left.collect(), field: field.to_owned() }
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        self.left.remove(&name.to_ascii_lowercase()).map(|(_, value)| value)
    }

    fn refused(&self, name: &str, why: &str) -> Error {
        refuse(format!("{}.volumeAttributes[{name}]", self.field), why)
    }

    fn access(&mut self, secret: bool, version: Version) -> Result<Access<'a>> {
        let by_identity = self.take("mountWithManagedIdentity").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let (client_id, account) = (self.take("clientID"), self.take("storageAccount"));
        if !by_identity {
            let why = "it is missing: name the Secret with the storage account's name and key";
            return if secret {
                Ok(Access::Key)
            } else {
                Err(refuse(format!("{}.nodePublishSecretRef", self.field), why))
            };
        }
        if !version.has(Feature::AzureFileIdentity) {
            let why = format!("api-version {version} opens shares with keys alone; 2026-05-01 has identities");
            return Err(self.refused("mountWithManagedIdentity", &why));
        }
        let missing = |name: &str| self.refused(name, "it is missing: an identity opens a named account's share");
        let client_id = client_id.ok_or_else(|| missing("clientID"))?;
        Ok(Access::Identity { account: account.ok_or_else(|| missing("storageAccount"))?, client_id })
    }

    fn check_rest(&self) -> Result<()> {
        match self.left.values().next() {
            None => Ok(()),
            Some((name, _)) => Err(self.refused(name, "Azure mounts shares in one way: leave it out")),
        }
    }
}
