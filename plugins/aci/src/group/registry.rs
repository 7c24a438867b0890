//! Who pulls images.

use serde::{Deserialize, Serialize};

use crate::Redacted;

/// How a group signs in to one registry: with a password, or with one of its identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImageRegistryCredential {
    /// Its host, without a scheme.
    pub server: String,
    /// none: an identity's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// none: an identity's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Redacted>,
    /// The path in Azure of a user-assigned identity that the group has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Where that identity's tokens come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_url: Option<String>,
}
