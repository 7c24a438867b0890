//! Versions of the API, and what each of them has.

use std::fmt;
use std::str::FromStr;

use crate::Group;
use crate::group::AzureFile;

/// A version of the API, by its date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What Microsoft's own clients speak.
    #[default]
    V2023_05_01,
    /// The newest.
    V2026_05_01,
}

/// What 2023-05-01 lacks, as far as anything here asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
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
            Feature::AzureFileIdentity => !matches!(self, Self::V2023_05_01),
        }
    }

    /// The first field of a group that this version lacks: it would drop it, or refuse the whole.
    pub(crate) fn lacks(self, group: &Group) -> Option<Lack> {
        if self.has(Feature::AzureFileIdentity) {
            return None;
        }
        let mut files = group.properties.volumes.iter().map(|volume| volume.azure_file.as_ref());
        let by_identity = |file: &AzureFile| file.user_managed_identity_client_id.is_some();
        let index = files.position(|file| file.is_some_and(by_identity))?;
        let field = format!("properties.volumes[{index}].azureFile.userManagedIdentityClientId");
        Some(Lack { field, version: self })
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
    /// By its path in the group.
    pub field: String,
    /// The version.
    pub version: Version,
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
    }

    #[test]
    fn a_newer_field_is_found_where_it_stands() {
        let lacks = |version: Version, properties: &str| {
            let group = Group { properties: serde_json::from_str(properties).unwrap(), ..Group::default() };
            version.lacks(&group).map(|lack| lack.field)
        };
        let newer = r#"{"volumes":[{"emptyDir":{}},{"azureFile":{"userManagedIdentityClientId":"i"}}]}"#;
        let field = "properties.volumes[1].azureFile.userManagedIdentityClientId";
        assert_eq!(lacks(Version::V2023_05_01, newer).as_deref(), Some(field));
        assert_eq!(lacks(Version::V2026_05_01, newer), None);
        let old = r#"{"volumes":[{"secret":{},"azureFile":{"storageAccountKey":"k"}}]}"#;
        assert_eq!(lacks(Version::V2023_05_01, old), None);
    }
}
