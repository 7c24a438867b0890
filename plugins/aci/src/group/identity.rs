//! What a group's containers may sign in to Azure as.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::or_default;
use super::words::words;

/// The identities of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Identity {
    /// Of its own identity. Answers only.
    #[serde(skip_serializing)]
    pub principal_id: Option<String>,
    /// Answers only.
    #[serde(skip_serializing)]
    pub tenant_id: Option<String>,
    /// Which kinds it has.
    pub r#type: IdentityType,
    /// By their path in Azure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub user_assigned_identities: BTreeMap<String, UserAssignedIdentity>,
}

/// An identity that is given to a group: `{}` in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UserAssignedIdentity {
    /// Answers only.
    #[serde(skip_serializing)]
    pub principal_id: Option<String>,
    /// Answers only.
    #[serde(skip_serializing)]
    pub client_id: Option<String>,
}

words! {
    /// Kinds of identities.
    IdentityType {
        /// One of its own, that ends with it.
        SystemAssigned => "SystemAssigned",
        /// Some that are given to it.
        UserAssigned => "UserAssigned",
        /// Both.
        SystemAssignedUserAssigned => "SystemAssigned, UserAssigned",
        /// None.
        None => "None",
    }
}
