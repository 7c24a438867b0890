//! Versions of the API, and what each of them has.

use std::fmt;
use std::str::FromStr;

use crate::Group;
use crate::group::{EnvironmentVariable, Volume};

/// A version of the API, by its date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What Microsoft's own clients speak.
    #[default]
    V2023_05_01,
    /// The newest.
    V2026_05_01,
}

/// What 2023-05-01 lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Secrets in a Key Vault, in place of values that the node has.
    SecretReferences,
    /// Who may use which identity of the group.
    IdentityAcls,
    /// Settings that stand elsewhere.
    ContainerGroupProfile,
    /// Groups that wait to be used.
    StandbyPool,
    /// Values that change while a container runs.
    ConfigMap,
    /// Azure Files without a key.
    AzureFileIdentity,
}

impl Version {
    /// All, the oldest first.
    pub const ALL: [Self; 2] = [Self::V2023_05_01, Self::V2026_05_01];

    /// As `api-version` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2023_05_01 => "2023-05-01",
            Self::V2026_05_01 => "2026-05-01",
        }
    }

    /// Whether it has this.
    pub const fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::SecretReferences
            | Feature::IdentityAcls
            | Feature::ContainerGroupProfile
            | Feature::StandbyPool
            | Feature::ConfigMap
            | Feature::AzureFileIdentity => !matches!(self, Self::V2023_05_01),
        }
    }

    /// The first field of a group that this version lacks: it would drop it, or refuse the whole.
    pub(crate) fn lacks(self, group: &Group) -> Option<Lack> {
        let used = used(group).into_iter().find(|(feature, _)| !self.has(*feature));
        used.map(|(_, field)| Lack { field, version: self })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a version that is known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of the API that is known here; known are 2023-05-01 and 2026-05-01")]
pub struct NotAVersion(String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

/// A field that a version lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("api-version {version} has no {field}; 2026-05-01 has")]
pub struct Lack {
    /// Such as `properties.secretReferences`.
    pub field: String,
    /// The version.
    pub version: Version,
}

/// What of the newer features a group uses, and where.
fn used(group: &Group) -> Vec<(Feature, String)> {
    let properties = &group.properties;
    let mut used = Vec::new();
    let mut note = |is_used: bool, feature, field: String| {
        if is_used {
            used.push((feature, field));
        }
    };
    let at = |name: &str| format!("properties.{name}");
    note(!properties.secret_references.is_empty(), Feature::SecretReferences, at("secretReferences"));
    note(properties.identity_acls.is_some(), Feature::IdentityAcls, at("identityAcls"));
    note(properties.container_group_profile.is_some(), Feature::ContainerGroupProfile, at("containerGroupProfile"));
    note(properties.standby_pool_profile.is_some(), Feature::StandbyPool, at("standbyPoolProfile"));
    for (index, credential) in properties.image_registry_credentials.iter().enumerate() {
        let field = at(&format!("imageRegistryCredentials[{index}].passwordReference"));
        note(credential.password_reference.is_some(), Feature::SecretReferences, field);
    }
    for (index, Volume { azure_file, secret_reference, .. }) in properties.volumes.iter().enumerate() {
        let at = |name: &str| at(&format!("volumes[{index}].{name}"));
        note(secret_reference.is_some(), Feature::SecretReferences, at("secretReference"));
        let Some(file) = azure_file else { continue };
        let key = file.storage_account_key_reference.is_some();
        note(key, Feature::SecretReferences, at("azureFile.storageAccountKeyReference"));
        let identity = file.user_managed_identity_client_id.is_some();
        note(identity, Feature::AzureFileIdentity, at("azureFile.userManagedIdentityClientId"));
    }
    let containers = properties.containers.iter().map(|container| &container.properties);
    for (index, container) in containers.enumerate() {
        let field = at(&format!("containers[{index}].properties.configMap"));
        note(container.config_map.is_some(), Feature::ConfigMap, field);
        let field = at(&format!("containers[{index}].properties.environmentVariables"));
        note(has_reference(&container.environment_variables), Feature::SecretReferences, field);
    }
    for (index, container) in properties.init_containers.iter().enumerate() {
        let field = at(&format!("initContainers[{index}].properties.environmentVariables"));
        note(has_reference(&container.properties.environment_variables), Feature::SecretReferences, field);
    }
    used
}

fn has_reference(variables: &[EnvironmentVariable]) -> bool {
    variables.iter().any(|variable| variable.secure_value_reference.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        let wrong = "2018-10-01".parse::<Version>().unwrap_err().to_string();
        assert!(Version::ALL.iter().all(|version| wrong.contains(version.as_str())), "{wrong}");
        assert!(Version::default().has(Feature::StandbyPool) != Version::V2026_05_01.has(Feature::StandbyPool));
    }

    #[test]
    fn every_newer_field_is_found_where_it_stands() {
        for (properties, field) in [
            (r#"{"secretReferences":[{"name":"s"}]}"#, "secretReferences"),
            (r#"{"identityAcls":{}}"#, "identityAcls"),
            (r#"{"containerGroupProfile":{}}"#, "containerGroupProfile"),
            (r#"{"standbyPoolProfile":{}}"#, "standbyPoolProfile"),
            (
                r#"{"imageRegistryCredentials":[{"server":"a"},{"server":"b","passwordReference":"s"}]}"#,
                "imageRegistryCredentials[1].passwordReference",
            ),
            (r#"{"volumes":[{"name":"v","secretReference":{"f":"s"}}]}"#, "volumes[0].secretReference"),
            (
                r#"{"volumes":[{"azureFile":{"storageAccountKeyReference":"s"}}]}"#,
                "volumes[0].azureFile.storageAccountKeyReference",
            ),
            (
                r#"{"volumes":[{"azureFile":{"userManagedIdentityClientId":"i"}}]}"#,
                "volumes[0].azureFile.userManagedIdentityClientId",
            ),
            (r#"{"containers":[{"properties":{"configMap":{}}}]}"#, "containers[0].properties.configMap"),
            (
                r#"{"containers":[{},{"properties":{"environmentVariables":[{"name":"E","secureValueReference":"s"}]}}]}"#,
                "containers[1].properties.environmentVariables",
            ),
            (
                r#"{"initContainers":[{"properties":{"environmentVariables":[{"secureValueReference":"s"}]}}]}"#,
                "initContainers[0].properties.environmentVariables",
            ),
        ] {
            let group = Group { properties: serde_json::from_str(properties).unwrap(), ..Group::default() };
            let lack = Version::V2023_05_01.lacks(&group).map(|lack| lack.field);
            assert_eq!(lack, Some(format!("properties.{field}")), "{properties}");
            assert_eq!(Version::V2026_05_01.lacks(&group), None);
        }
        let old = r#"{"containers":[{"properties":{"environmentVariables":[{"name":"E","secureValue":"s"}]}}],
            "volumes":[{"secret":{},"azureFile":{"storageAccountKey":"k"}}]}"#;
        let group = Group { properties: serde_json::from_str(old).unwrap(), ..Group::default() };
        assert_eq!(Version::V2023_05_01.lacks(&group), None);
    }
}
