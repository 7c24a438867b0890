//! Named volumes of the driver `local`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::{Engine, of};
use crate::container::by_labels;
use crate::failure::{Result, absent};

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeSpec {
    /// At most 255 characters.
    pub name: String,
    /// Of the driver: `type`, `device` and `o` as for mount(8). Empty: a directory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// For whoever looks.
    pub labels: BTreeMap<String, String>,
}

/// A volume that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where it is on the engine's machine.
    pub mountpoint: String,
    /// As it was made; none: no labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// As it was made; none: no options.
    pub options: Option<BTreeMap<String, String>>,
}

impl Volume {
    /// It is what was asked for, and not another one of the same name, which an engine returns with success.
    pub fn is(&self, spec: &VolumeSpec) -> bool {
        let same = |there: &Option<BTreeMap<String, String>>, asked: &BTreeMap<String, String>| {
            there.as_ref().map_or(asked.is_empty(), |there| there == asked)
        };
        same(&self.labels, &spec.labels) && same(&self.options, &spec.driver_opts)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    volumes: Option<Vec<Volume>>,
}

impl Engine {
    /// Makes a volume, or finds one of its name whatever it is: see [`Volume::is`].
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        self.read(&self.post("/volumes/create").json(spec))
    }

    /// One volume; none: it is not there.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn volume(&self, name: &str) -> Result<Option<Volume>> {
        absent(self.read(&self.get(&of("volumes", name, ""))))
    }

    /// Volumes that have all of these labels.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn volumes(&self, labels: &[(&str, &str)]) -> Result<Vec<Volume>> {
        let listed: Listed = self.read(&self.get("/volumes").query("filters", by_labels(labels)))?;
        let has = |volume: &Volume, (key, value): &(&str, &str)| {
            volume.labels.as_ref().and_then(|labels| labels.get(*key)).is_some_and(|there| there == value)
        };
        let mut volumes = listed.volumes.unwrap_or_default();
        // Podman lists what has one of them.
        volumes.retain(|volume| labels.iter().all(|label| has(volume, label)));
        Ok(volumes)
    }

    /// Removes a volume. false: it was not there.
    ///
    /// # Errors
    /// A container has it, there was no answer, or the engine said no.
    pub fn remove_volume(&self, name: &str) -> Result<bool> {
        Ok(absent(self.send(&self.delete(&of("volumes", name, ""))))?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn another_volume_of_the_same_name_is_told_apart() {
        let spec =
            VolumeSpec { name: "v".to_owned(), driver_opts: map(&[("type", "tmpfs")]), labels: map(&[("uid", "1")]) };
        let there = |labels, options| Volume { labels, options, ..Volume::default() };
        assert!(there(Some(map(&[("uid", "1")])), Some(map(&[("type", "tmpfs")]))).is(&spec));
        assert!(!there(Some(map(&[("uid", "2")])), Some(map(&[("type", "tmpfs")]))).is(&spec));
        assert!(!there(None, None).is(&spec), "a create of a container made it");
        let plain = VolumeSpec { driver_opts: BTreeMap::new(), ..spec };
        assert!(there(Some(map(&[("uid", "1")])), None).is(&plain));
        assert!(there(Some(map(&[("uid", "1")])), Some(BTreeMap::new())).is(&plain), "as Podman writes it");
    }
}
