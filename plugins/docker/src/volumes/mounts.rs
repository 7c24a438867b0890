//! What a container mounts.

use std::collections::BTreeMap;

use super::files;
use super::parts::{self, Parts, Shape};
use super::{Kind, Layout, PodVolume, plain_path};
use crate::manifest::{Container, Mount};
use crate::names::Names;

/// What a container mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// Whole volumes, as the engine takes them: `VOLUME:/path:OPTIONS`.
    pub(crate) binds: Vec<String>,
    /// Files and directories of volumes, in directories that we alone write.
    pub(crate) below: Vec<Below>,
}

/// A path of a volume, at another one of the container.
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
    pub(crate) read_only: bool,
    /// Of files that the host renders: the path as the pod says it. It stays what it is now, also when the files change,
    /// and may not be there.
    pub(crate) rendered: Option<String>,
}

/// One mount.
enum Mounted {
    Whole(String),
    Below(Below),
}

/// What a container of the pod mounts. `parts`: those of its volumes that are settled, all that it mounts by itself among
/// them.
pub(crate) fn of(layout: &Layout<'_>, names: &Names<'_>, container: &Container, parts: &Parts) -> Mounts {
    // By target: what is mounted inside of another mount may be asked for by itself too.
    let mut all = BTreeMap::new();
    for mount in &container.volume_mounts {
        let Some(volume) = layout.volume(&mount.name) else { continue };
        let (target, path) = (format!("/{}", plain_path(&mount.mount_path)), plain_path(&mount.sub_path));
        for (target, below) in inside(volume, names, mount, &target, &path, parts) {
            all.entry(target).or_insert(Mounted::Below(below));
        }
        all.insert(target.clone(), one(volume, names, mount, &path, &target));
    }
    let mut mounts = Mounts::default();
    for mounted in all.into_values() {
        match mounted {
            Mounted::Whole(bind) => mounts.binds.push(bind),
            Mounted::Below(below) => mounts.below.push(below),
        }
    }
    mounts
}

/// Directories that are parts of a volume, so that they are the same for all who look.
fn inside<'a>(
    volume: &'a PodVolume<'_>,
    names: &'a Names<'_>,
    mount: &'a Mount,
    target: &'a str,
    path: &'a str,
    parts: &'a Parts,
) -> impl Iterator<Item = (String, Below)> + 'a {
    let directories = volume.subs.iter().filter(|sub| parts.shape(volume.name, sub) == Some(Shape::Directory));
    directories.filter_map(move |sub| {
        let rest = if path.is_empty() { sub.as_str() } else { sub.strip_prefix(path)?.strip_prefix('/')? };
        let target = format!("{}/{rest}", target.trim_end_matches('/'));
        Some((target.clone(), below(volume, names, mount, parts::place(sub), &target)))
    })
}

fn one(volume: &PodVolume<'_>, names: &Names<'_>, mount: &Mount, path: &str, target: &str) -> Mounted {
    let rendered = matches!(volume.kind, Kind::Files { .. });
    if rendered && !path.is_empty() {
        let below = below(volume, names, mount, format!("{}/{path}", files::DATA), target);
        return Mounted::Below(Below { read_only: true, rendered: Some(path.to_owned()), ..below });
    }
    if volume.has_parts() {
        let place = if path.is_empty() { parts::DATA.to_owned() } else { parts::place(path) };
        return Mounted::Below(below(volume, names, mount, place, target));
    }
    // What the host renders nobody else writes. Without `nocopy` an empty volume would get what the image has there.
    let options = if mount.read_only || rendered { "ro,nocopy" } else { "nocopy" };
    Mounted::Whole(format!("{}:{target}:{options}", names.volume(volume.name)))
}

fn below(volume: &PodVolume<'_>, names: &Names<'_>, mount: &Mount, path: String, target: &str) -> Below {
    Below {
        name: volume.name.to_owned(),
        volume: names.volume(volume.name),
        path,
        target: target.to_owned(),
        read_only: mount.read_only,
        rendered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_provider::PodRef;

    /// What the last container mounts: whole volumes, and what is below others, with places of parts written as
    /// `PART(path)`.
    fn mounted(containers: &str, shapes: &[(&str, Shape)]) -> (Vec<String>, Vec<String>) {
        let spec = parse(&format!(
            r#"{{"volumes":[{{"name":"d","emptyDir":{{}}}},{{"name":"e","emptyDir":{{}}}},{{"name":"f","configMap":{{}}}}],"containers":[{containers}]}}"#
        ));
        let layout = Layout::of(&spec).unwrap();
        let id = PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let names = Names::new("k8s", &id);
        let mut parts = Parts::default();
        shapes.iter().for_each(|(path, shape)| parts.put("d", path, *shape));
        let Mounts { binds, below } = of(&layout, &names, spec.containers.last().unwrap(), &parts);
        let plain = |path: String| {
            let subs = layout.volumes[0].subs.iter();
            subs.fold(path, |path, sub| path.replace(&parts::place(sub), &format!("PART({sub})")))
        };
        let below = below.into_iter().map(|below| {
            let options = if below.read_only { " read-only" } else { "" };
            plain(format!("{}/{} at {}{options}", below.volume, below.path, below.target))
        });
        (binds, below.collect())
    }

    fn container(mounts: &str) -> String {
        format!(r#"{{"name":"c","volumeMounts":[{mounts}]}}"#)
    }

    #[test]
    fn volumes_of_the_host_are_read_only() {
        let (binds, below) = mounted(
            &container(
                r#"{"name":"d","mountPath":"/data"},{"name":"d","mountPath":"see/","readOnly":true},{"name":"f","mountPath":"/etc/app"}"#,
            ),
            &[],
        );
        assert_eq!(binds, ["k8s_vol_u_d:/data:nocopy", "k8s_vol_u_f:/etc/app:ro,nocopy", "k8s_vol_u_d:/see:ro,nocopy"]);
        assert!(below.is_empty());
    }

    #[test]
    fn only_what_no_container_can_replace_is_bound_by_path() {
        let (binds, below) = mounted(
            &container(
                r#"{"name":"f","mountPath":"/etc/app.conf","subPath":"dir/./app.conf"},{"name":"d","mountPath":"/logs","subPath":"logs"},
                {"name":"d","mountPath":"/data"},{"name":"e","mountPath":"/e"}"#,
            ),
            &[("logs", Shape::File)],
        );
        assert_eq!(binds, ["k8s_vol_u_e:/e:nocopy"], "it has no parts");
        assert_eq!(
            below,
            [
                "k8s_vol_u_d/data at /data",
                "k8s_vol_u_f/..data/dir/app.conf at /etc/app.conf read-only",
                "k8s_vol_u_d/PART(logs) at /logs",
            ]
        );
    }

    #[test]
    fn a_directory_that_is_a_part_is_seen_by_all_who_see_the_volume() {
        let first = container(
            r#"{"name":"d","mountPath":"/a","subPath":"x"},{"name":"d","mountPath":"/b","subPath":"x/y"},{"name":"d","mountPath":"/c","subPath":"xy"}"#,
        );
        let whole = container(r#"{"name":"d","mountPath":"/data","readOnly":true}"#);
        let settled = [("x", Shape::Directory), ("x/y", Shape::Directory), ("xy", Shape::File)];
        let (_, below) = mounted(&format!("{first},{whole}"), &settled);
        assert_eq!(
            below,
            [
                "k8s_vol_u_d/data at /data read-only",
                "k8s_vol_u_d/PART(x) at /data/x read-only",
                "k8s_vol_u_d/PART(x/y) at /data/x/y read-only",
            ],
            "a file is there anyway"
        );
        let (_, below) = mounted(&first, &settled);
        assert_eq!(
            below,
            [
                "k8s_vol_u_d/PART(x) at /a",
                "k8s_vol_u_d/PART(x/y) at /a/y",
                "k8s_vol_u_d/PART(x/y) at /b",
                "k8s_vol_u_d/PART(xy) at /c",
            ]
        );
        let (_, below) = mounted(&format!("{first},{whole}"), &[]);
        assert_eq!(below, ["k8s_vol_u_d/data at /data read-only"], "it is not time yet");
    }

    #[test]
    fn what_is_asked_for_by_itself_is_mounted_once() {
        let both = r#"{"name":"d","mountPath":"/data/logs","subPath":"logs","readOnly":true},{"name":"d","mountPath":"/data"}"#;
        let (_, below) = mounted(&container(both), &[("logs", Shape::Directory)]);
        assert_eq!(below, ["k8s_vol_u_d/data at /data", "k8s_vol_u_d/PART(logs) at /data/logs read-only"]);
    }
}
