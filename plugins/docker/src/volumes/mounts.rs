//! What a container mounts.

use std::collections::BTreeMap;

use super::{Kind, Layout, PodVolume, plain_path};
use crate::manifest::{Container, Mount};
use crate::names::Names;

/// What a container mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// Whole volumes, as the engine takes them: `VOLUME:/path:OPTIONS`.
    pub(crate) binds: Vec<String>,
    /// Files and directories of volumes that we alone write.
    pub(crate) below: Vec<Below>,
}

/// A path of a volume, at another one of the container. It stays what it is now, also when the volume's files change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    /// The pod's name for the volume.
    pub(crate) name: String,
    /// The engine's name for it.
    pub(crate) volume: String,
    /// In the volume.
    pub(crate) path: String,
    /// In the container.
    pub(crate) target: String,
}

/// What a container of the pod mounts.
pub(crate) fn of(layout: &Layout<'_>, names: &Names<'_>, container: &Container) -> Mounts {
    let mut mounts = Mounts::default();
    // By target: what is mounted inside of another mount may be asked for by itself too.
    let mut binds = BTreeMap::new();
    for mount in &container.volume_mounts {
        let Some(volume) = layout.volume(&mount.name) else { continue };
        let (target, path) = (format!("/{}", plain_path(&mount.mount_path)), plain_path(&mount.sub_path));
        if matches!(volume.kind, Kind::Files { .. }) && !path.is_empty() {
            let (name, volume) = (mount.name.clone(), names.volume(volume.name));
            mounts.below.push(Below { name, volume, path, target });
        } else {
            for (target, bind) in inside(volume, names, mount, &target, &path) {
                binds.entry(target).or_insert(bind);
            }
            binds.insert(target.clone(), bind(volume, names, mount, &path, &target));
        }
    }
    mounts.binds = binds.into_values().collect();
    mounts
}

/// What has volumes of its own below it, so that it is the same for all who look.
fn inside<'a>(
    volume: &'a PodVolume<'_>,
    names: &'a Names<'_>,
    mount: &'a Mount,
    target: &'a str,
    path: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    volume.subs.iter().filter_map(move |sub| {
        let rest = if path.is_empty() { sub.as_str() } else { sub.strip_prefix(path)?.strip_prefix('/')? };
        let target = format!("{}/{rest}", target.trim_end_matches('/'));
        Some((target.clone(), bind(volume, names, mount, sub, &target)))
    })
}

fn bind(volume: &PodVolume<'_>, names: &Names<'_>, mount: &Mount, path: &str, target: &str) -> String {
    let name = if path.is_empty() { names.volume(volume.name) } else { names.sub_volume(volume.name, path) };
    // What the host renders nobody else writes.
    let read_only = mount.read_only || matches!(volume.kind, Kind::Files { .. });
    // Without `nocopy` an empty volume would get what the image has there.
    format!("{name}:{target}:{}", if read_only { "ro,nocopy" } else { "nocopy" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_provider::PodRef;

    /// What the last container mounts, with names of sub-volumes written as `SUB(path)`.
    fn mounted(containers: &str) -> (Vec<String>, Vec<String>) {
        let spec = parse(&format!(
            r#"{{"volumes":[{{"name":"d","emptyDir":{{}}}},{{"name":"f","configMap":{{}}}}],"containers":[{containers}]}}"#
        ));
        let layout = Layout::of(&spec).unwrap();
        let id = PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let names = Names::new("k8s", &id);
        let Mounts { binds, below } = of(&layout, &names, spec.containers.last().unwrap());
        let plain = |bind: String| {
            layout.volumes[0]
                .subs
                .iter()
                .fold(bind, |bind, sub| bind.replace(&names.sub_volume("d", sub), &format!("SUB({sub})")))
        };
        let below = below.into_iter().map(|below| format!("{}/{} at {}", below.volume, below.path, below.target));
        (binds.into_iter().map(plain).collect(), below.collect())
    }

    fn container(mounts: &str) -> String {
        format!(r#"{{"name":"c","volumeMounts":[{mounts}]}}"#)
    }

    #[test]
    fn volumes_of_the_host_are_read_only() {
        let (binds, below) = mounted(&container(
            r#"{"name":"d","mountPath":"/data"},{"name":"d","mountPath":"see/","readOnly":true},{"name":"f","mountPath":"/etc/app"}"#,
        ));
        assert_eq!(binds, ["k8s_vol_u_d:/data:nocopy", "k8s_vol_u_f:/etc/app:ro,nocopy", "k8s_vol_u_d:/see:ro,nocopy"]);
        assert!(below.is_empty());
    }

    #[test]
    fn only_what_no_container_writes_is_bound_by_path() {
        let (binds, below) = mounted(&container(
            r#"{"name":"f","mountPath":"/etc/app.conf","subPath":"dir/./app.conf"},{"name":"d","mountPath":"/logs","subPath":"logs"}"#,
        ));
        assert_eq!(below, ["k8s_vol_u_f/dir/app.conf at /etc/app.conf"]);
        assert_eq!(binds, ["SUB(logs):/logs:nocopy"]);
    }

    #[test]
    fn a_writable_sub_path_is_seen_by_all_who_see_the_volume() {
        let first = container(
            r#"{"name":"d","mountPath":"/a","subPath":"x"},{"name":"d","mountPath":"/b","subPath":"x/y"},{"name":"d","mountPath":"/c","subPath":"xy"}"#,
        );
        let whole = container(r#"{"name":"d","mountPath":"/data","readOnly":true}"#);
        let (binds, _) = mounted(&format!("{first},{whole}"));
        assert_eq!(
            binds,
            [
                "k8s_vol_u_d:/data:ro,nocopy",
                "SUB(x):/data/x:ro,nocopy",
                "SUB(x/y):/data/x/y:ro,nocopy",
                "SUB(xy):/data/xy:ro,nocopy",
            ]
        );
        let (binds, _) = mounted(&first);
        assert_eq!(binds, ["SUB(x):/a:nocopy", "SUB(x/y):/a/y:nocopy", "SUB(x/y):/b:nocopy", "SUB(xy):/c:nocopy"]);
    }

    #[test]
    fn what_is_asked_for_by_itself_is_mounted_once() {
        let both = r#"{"name":"d","mountPath":"/data/logs","subPath":"logs","readOnly":true},{"name":"d","mountPath":"/data"}"#;
        assert_eq!(mounted(&container(both)).0, ["k8s_vol_u_d:/data:nocopy", "SUB(logs):/data/logs:ro,nocopy"]);
    }
}
