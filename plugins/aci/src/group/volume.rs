//! What containers can mount.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Redacted;

/// A volume: its name and one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    /// 5 to 63 of `a-z`, `0-9` and `-`, no two hyphens in a row.
    pub name: String,
    /// A share of a storage account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_file: Option<AzureFile>,
    /// A directory that ends with the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// Files by name, each with its content in base64. They come back without content, or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<BTreeMap<String, Redacted>>,
    /// A repository, cloned at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_repo: Option<GitRepo>,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyDir {}

/// A share of a storage account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AzureFile {
    /// It must be there.
    pub share_name: String,
    /// Whose it is.
    pub storage_account_name: String,
    /// none: it may be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// What opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_account_key: Option<Redacted>,
    /// The client id of one of the group's identities in its place, from 2026-05-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_managed_identity_client_id: Option<String>,
}

/// A repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GitRepo {
    /// Its URL, in which a private repository's token may stand.
    pub repository: Redacted,
    /// none: one of its name; `.`: the volume itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// A commit; none: the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
