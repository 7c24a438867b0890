//! Which version of the API is spoken, and which of its two dialects.
//!
//! An engine tells its newest version in the header `Api-Version` of `/_ping`, and serves some way back: Docker 20.10
//! from 1.12 to 1.41, Docker 29 from 1.44, Podman 4.3 up to 1.41. Spoken is the newest that both know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The oldest version whose requests are used here: Docker 19.03.
pub const OLDEST: Version = Version { major: 1, minor: 40 };
/// The newest version whose answers are known here. 1.52 takes fields away.
pub const NEWEST: Version = Version { major: 1, minor: 51 };

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    /// `MAJOR.MINOR`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    /// Podman writes three parts in some places; the third is none of the API's.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let mut parts = text.trim().split('.').map(str::parse::<u16>);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(NoVersion(text.to_owned())),
        }
    }
}

/// Why there is no version to speak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of the Engine API; it would be like 1.41")]
pub struct NoVersion(pub(crate) String);

/// How an engine is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// In each path.
    pub version: Version,
    /// It is Podman, whose API differs in places.
    pub podman: bool,
}

impl Dialect {
    /// Statistics at once, without a second of waiting for a difference.
    pub fn has_one_shot_statistics(&self) -> bool {
        self.version >= Version::new(1, 41)
    }

    /// The last messages of a log as they were written. Podman puts one without a line end behind the message before it, be it of
    /// the other stream, and tells both as one.
    pub fn has_last_messages(&self) -> bool {
        !self.podman
    }

    /// A followed log has all that the container wrote. Podman looks at its file once in a while and stops soon after the
    /// container has ended, on a busy machine before the last lines.
    pub fn follows_to_the_end(&self) -> bool {
        !self.podman
    }

    /// `/system/df` of volumes alone.
    pub fn has_disk_usage_by_type(&self) -> bool {
        self.version >= Version::new(1, 42)
    }
}

/// The newest version that both know.
///
/// # Errors
/// There is none: what the engine serves, as far as it told.
pub fn choose(newest: Version, oldest: Option<Version>) -> Result<Version, NoCommonVersion> {
    let chosen = newest.min(NEWEST);
    if chosen < OLDEST || oldest.is_some_and(|oldest| chosen < oldest) {
        return Err(NoCommonVersion { oldest, newest });
    }
    Ok(chosen)
}

/// The engine is too old or too new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine serves API versions {}up to {newest}; this provider speaks {OLDEST} to {NEWEST}", from(.oldest))]
pub struct NoCommonVersion {
    /// What the engine serves at least, if it told.
    pub oldest: Option<Version>,
    /// What it serves at most.
    pub newest: Version,
}

fn from(oldest: &Option<Version>) -> String {
    oldest.map_or_else(String::new, |oldest| format!("from {oldest} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_numbers_and_not_text() {
        assert!(version("1.9") < version("1.41"));
        assert_eq!(version("1.41.0"), Version::new(1, 41));
        assert_eq!(version("1.44").to_string(), "1.44");
        for wrong in ["", "1", "v1.41", "one.two", "1.-1"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (engine, newest, oldest, spoken) in [
            ("Docker 19.03", "1.40", Some("1.12"), Some("1.40")),
            ("Docker 20.10", "1.41", Some("1.12"), Some("1.41")),
            ("Docker 29", "1.52", Some("1.44"), Some("1.51")),
            ("Podman 4.3", "1.41", None, Some("1.41")),
            ("Docker 18.09", "1.39", Some("1.12"), None),
            ("one of some later day", "1.70", Some("1.60"), None),
        ] {
            let chosen = choose(version(newest), oldest.map(version));
            assert_eq!(chosen.ok(), spoken.map(version), "{engine}");
        }
    }

    #[test]
    fn an_engine_that_is_too_new_is_told_with_both_ranges() {
        let error = choose(version("1.70"), Some(version("1.60"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the engine serves API versions from 1.60 up to 1.70; this provider speaks 1.40 to 1.51"
        );
    }
}
