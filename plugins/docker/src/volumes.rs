//! A pod's volumes: each is a named volume of the engine, which the sandbox mounts and fills. They live as long as the
//! pod.
//!
//! ```text
//! the sandbox                       a container
//! /vols/_pod        our own         /dev/termination-log ◂── one file of it
//! /vols/VOLUME      one each        mountPath            ◂── the volume, or a file of one that we alone write (subPath)
//! ```
//!
//! A bind below a volume that containers write would follow a link that they plant there, to wherever it leads on the
//! engine's machine. So only what lies in a directory that we alone write is ever bound by path. A volume that containers
//! write and of which some mount a [part](parts) has such directories at its root.

pub(crate) mod files;
pub(crate) mod mounts;
pub(crate) mod parts;

use std::collections::{BTreeMap, BTreeSet};

use vk_engine::dialect::Dialect;
use vk_engine::volume::VolumeSpec;
use vk_provider::config::NodeInfo;
use vk_provider::{PodRef, Result};

use crate::labels;
use crate::manifest::{EmptyDir, Projected, Spec, Volume};
use crate::names::Names;
use crate::refusals::refuse;

/// Where the sandbox has the volumes.
pub(crate) const ROOT: &str = "/vols";
/// The pod's own volume below it. Kubernetes' names have no underscore.
pub(crate) const OWN: &str = "_pod";
/// A page of memory on most machines. Podman refuses `size=` and takes `nr_blocks`, which counts the kernel's pages; how
/// large they are it does not tell.
const PAGE: u64 = 4096;

/// Where a volume's files come from, and where they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Containers write it, on disk.
    Disk {
        /// Bytes, which are looked at from time to time.
        limit: Option<u64>,
    },
    /// Containers write it, in memory.
    Memory {
        /// Bytes, which the kernel keeps to.
        limit: Option<u64>,
    },
    /// The host renders it. Secrets are kept in memory, as the kubelet does.
    Files {
        /// Some of it is secret.
        secret: bool,
    },
}

impl Kind {
    /// What an entry of `spec.volumes` is.
    ///
    /// # Errors
    /// A kind that an engine does not have.
    pub(crate) fn of(volume: &Volume, index: usize) -> Result<Self> {
        let refused = |kind: &str, why: &str| Err(refuse(format!("spec.volumes[{index}].{kind}"), why));
        if let Some(kind) = volume.other.keys().next() {
            return refused(kind, "known are configMap, secret, downwardAPI, projected and emptyDir");
        }
        Ok(match volume {
            Volume { empty_dir: Some(EmptyDir { medium, size_limit }), .. } => {
                let limit = size_limit.and_then(|limit| u64::try_from(limit.whole()).ok()).filter(|bytes| *bytes > 0);
                match medium.as_str() {
                    "" => Self::Disk { limit },
                    "Memory" => Self::Memory { limit },
                    _ => return refused("emptyDir.medium", "known are the default and Memory"),
                }
            }
            Volume { secret: Some(_), .. } => Self::Files { secret: true },
            Volume { projected: Some(projected), .. } => Self::Files { secret: is_secret(projected) },
            Volume { config_map: Some(_), .. } | Volume { downward_api: Some(_), .. } => Self::Files { secret: false },
            // As the API server fills it in.
            _ => Self::Disk { limit: None },
        })
    }

    /// What mount(8) is told, through the engine's driver.
    fn options(self, dialect: Dialect) -> BTreeMap<String, String> {
        let size = match self {
            Self::Disk { .. } | Self::Files { secret: false } => return BTreeMap::new(),
            Self::Memory { limit: Some(limit) } if dialect.podman => {
                Some(("o", format!("nr_blocks={}", limit.div_ceil(PAGE).max(1))))
            }
            Self::Memory { limit: Some(limit) } => Some(("o", format!("size={limit}"))),
            Self::Memory { limit: None } | Self::Files { secret: true } => None,
        };
        let memory = [("type", "tmpfs".to_owned()), ("device", "tmpfs".to_owned())];
        memory.into_iter().chain(size).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// It outlives its sandbox, and is containers' own.
    pub(crate) const fn is_kept(self) -> bool {
        matches!(self, Self::Disk { .. })
    }

    const fn disk_limit(self) -> Option<u64> {
        match self {
            Self::Disk { limit } => limit,
            Self::Memory { .. } | Self::Files { .. } => None,
        }
    }
}

/// Sources of anything but ConfigMaps and the pod's own fields.
fn is_secret(projected: &Projected) -> bool {
    let open = |kind: &String| kind == "configMap" || kind == "downwardAPI";
    projected.sources.iter().any(|source| !source.keys().all(open))
}

/// One volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodVolume<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    /// Paths in it that some container mounts by themselves, of a volume that containers write.
    pub(crate) subs: BTreeSet<String>,
}

impl PodVolume<'_> {
    /// Containers see a directory of it, and not its root.
    pub(crate) fn has_parts(&self) -> bool {
        !self.subs.is_empty()
    }
}

/// All volumes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout<'a> {
    pub(crate) volumes: Vec<PodVolume<'a>>,
}

impl<'a> Layout<'a> {
    /// # Errors
    /// A kind that an engine does not have.
    pub(crate) fn of(spec: &'a Spec) -> Result<Self> {
        let volumes = spec.volumes.iter().enumerate().map(|(index, volume)| {
            let kind = Kind::of(volume, index)?;
            let subs = if matches!(kind, Kind::Files { .. }) { BTreeSet::new() } else { subs(spec, &volume.name) };
            Ok(PodVolume { name: &volume.name, kind, subs })
        });
        Ok(Self { volumes: volumes.collect::<Result<_>>()? })
    }

    pub(crate) fn volume(&self, name: &str) -> Option<&PodVolume<'a>> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// Those that the host renders.
    pub(crate) fn rendered(&self) -> impl Iterator<Item = &PodVolume<'a>> {
        self.volumes.iter().filter(|volume| matches!(volume.kind, Kind::Files { .. }))
    }

    /// All that is to be made, in any order.
    pub(crate) fn specs(&self, names: &Names<'_>, node: &NodeInfo, id: &PodRef, dialect: Dialect) -> Vec<VolumeSpec> {
        let make = |name, volume: &str, kind: Kind| VolumeSpec {
            name,
            driver_opts: kind.options(dialect),
            labels: labels::volume(node, id, volume, kind.disk_limit()),
        };
        let own = make(names.own_volume(), OWN, Kind::Files { secret: false });
        let each = self.volumes.iter().map(|volume| make(names.volume(volume.name), volume.name, volume.kind));
        std::iter::once(own).chain(each).collect()
    }

    /// What the sandbox mounts: all of it, to be filled and to keep what is in memory.
    pub(crate) fn sandbox_binds(&self, names: &Names<'_>) -> Vec<String> {
        let own = format!("{}:{ROOT}/{OWN}:nocopy", names.own_volume());
        let each =
            self.volumes.iter().map(|PodVolume { name, .. }| format!("{}:{ROOT}/{name}:nocopy", names.volume(name)));
        std::iter::once(own).chain(each).collect()
    }
}

/// Paths of a volume that some container mounts by themselves.
fn subs(spec: &Spec, volume: &str) -> BTreeSet<String> {
    let mounts = spec.all().flat_map(|placed| placed.container.volume_mounts.iter());
    let paths = mounts.filter(|mount| mount.name == volume).map(|mount| plain_path(&mount.sub_path));
    paths.filter(|path| !path.is_empty()).collect()
}

/// Without empty parts and `.`, which mean nothing; empty: the whole volume.
pub(crate) fn plain_path(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_engine::dialect::Version;

    const VOLUMES: &str = r#""volumes":[{"name":"disk","emptyDir":{"sizeLimit":"1Gi"}},{"name":"mem","emptyDir":{"medium":"Memory",
        "sizeLimit":"5000"}},{"name":"half","emptyDir":{"medium":"Memory"}},{"name":"cm","configMap":{"name":"c"}},
        {"name":"sec","secret":{"secretName":"s"}},{"name":"api","downwardAPI":{}},{"name":"open","projected":{"sources":[
        {"configMap":{}},{"downwardAPI":{}}]}},{"name":"token","projected":{"sources":[{"configMap":{}},{"serviceAccountToken":{}}]}},
        {"name":"bare"}]"#;

    #[test]
    fn volumes_are_kept_where_their_kind_wants_them() {
        let spec = parse(&format!("{{{VOLUMES}}}"));
        let layout = Layout::of(&spec).unwrap();
        let kinds: Vec<(&str, Kind)> = layout.volumes.iter().map(|volume| (volume.name, volume.kind)).collect();
        assert_eq!(
            kinds,
            [
                ("disk", Kind::Disk { limit: Some(1 << 30) }),
                ("mem", Kind::Memory { limit: Some(5000) }),
                ("half", Kind::Memory { limit: None }),
                ("cm", Kind::Files { secret: false }),
                ("sec", Kind::Files { secret: true }),
                ("api", Kind::Files { secret: false }),
                ("open", Kind::Files { secret: false }),
                ("token", Kind::Files { secret: true }),
                ("bare", Kind::Disk { limit: None }),
            ]
        );
        assert_eq!(
            layout.rendered().map(|volume| volume.name).collect::<Vec<_>>(),
            ["cm", "sec", "api", "open", "token"]
        );
        let dialect = |podman| Dialect { version: Version::new(1, 41), podman };
        let options = |name: &str| layout.volume(name).unwrap().kind.options(dialect(false));
        assert!(options("disk").is_empty() && options("cm").is_empty() && options("bare").is_empty());
        assert_eq!(options("mem")["o"], "size=5000");
        let by_podman = layout.volume("mem").unwrap().kind.options(dialect(true));
        assert_eq!(by_podman["o"], "nr_blocks=2", "rounded up to whole pages");
        assert_eq!(options("sec")["type"], "tmpfs");
        assert!(!options("half").contains_key("o"), "the kernel's default is half of the memory");
    }

    #[test]
    fn each_volume_is_one_of_the_engines_whatever_parts_it_has() {
        vk_provider::testing::reset();
        let spec = parse(
            r#"{"volumes":[{"name":"data","emptyDir":{"sizeLimit":"1Gi"}},{"name":"cm","configMap":{}}],"initContainers":[{"name":"i",
            "volumeMounts":[{"name":"data","mountPath":"/a","subPath":"./logs//web/"}]}],"containers":[{"name":"c","volumeMounts":[
            {"name":"data","mountPath":"/d"},{"name":"data","mountPath":"/l","subPath":"logs/web"},{"name":"cm","mountPath":"/f","subPath":"key"}]}]}"#,
        );
        let layout = Layout::of(&spec).unwrap();
        let parts: Vec<(bool, &BTreeSet<String>)> =
            layout.volumes.iter().map(|volume| (volume.has_parts(), &volume.subs)).collect();
        assert_eq!(parts, [(true, &["logs/web".to_owned()].into()), (false, &BTreeSet::new())]);
        let id = PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "1f".to_owned() };
        let names = Names::new("k8s", &id);
        let dialect = Dialect { version: Version::new(1, 41), podman: false };
        let specs = layout.specs(&names, &vk_provider::config::node(), &id, dialect);
        let made: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(made, ["k8s_pod_1f", "k8s_vol_1f_data", "k8s_vol_1f_cm"]);
        assert_eq!(
            layout.sandbox_binds(&names),
            ["k8s_pod_1f:/vols/_pod:nocopy", "k8s_vol_1f_data:/vols/data:nocopy", "k8s_vol_1f_cm:/vols/cm:nocopy"]
        );
    }
}
