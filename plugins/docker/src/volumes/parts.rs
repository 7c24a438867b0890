//! Parts of volumes that containers write: what some container mounts by itself (subPath).
//!
//! ```text
//! /vols/VOLUME/data              what containers see of such a volume
//! /vols/VOLUME/parts/DIGEST      a part of it, also where it is mounted by itself
//! ```
//!
//! What a part is, a file or a directory, is what is there when it is first asked for: by a container that mounts it, or
//! by any but an init container that comes before those. Then the pause program makes it an entry of a directory that no
//! container sees, so that no link can be planted on the way to it, and it is bound by its path. A directory is bound
//! wherever the volume is, so that it is the same for all; a file is the same by itself, and looked for anew each time.

use std::collections::BTreeMap;

use vk_provider::{Error, Result};

use super::{Layout, PodVolume, ROOT, plain_path};
use crate::context::Context;
use crate::manifest::Placed;
use crate::names::digest;
use crate::pause;

/// Where containers' view of a volume that has parts is, below its root.
pub(crate) const DATA: &str = "data";
/// Where its parts are.
pub(crate) const PARTS: &str = "parts";
/// How the pause program ends for a part that is a directory, and for one that is not.
const DIRECTORY: i32 = 0;
const FILE: i32 = 2;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Directory,
    File,
}

/// Where a part is, below the root of its volume.
pub(crate) fn place(path: &str) -> String {
    format!("{PARTS}/{}", digest(path.as_bytes()))
}

/// Parts of which it is known what they are, by volume and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(BTreeMap<(String, String), Shape>);

impl Parts {
    pub(crate) fn shape(&self, volume: &str, path: &str) -> Option<Shape> {
        self.0.get(&(volume.to_owned(), path.to_owned())).copied()
    }

    pub(crate) fn put(&mut self, volume: &str, path: &str, shape: Shape) {
        self.0.insert((volume.to_owned(), path.to_owned()), shape);
    }

    /// The innermost part that a path leads through, and the rest of the path.
    fn around<'a>(&self, volume: &PodVolume<'_>, path: &'a str) -> Option<(String, &'a str)> {
        let mut outer = volume.subs.iter().rev().filter(|sub| self.shape(volume.name, sub) == Some(Shape::Directory));
        outer.find_map(|sub| Some((sub.clone(), path.strip_prefix(sub.as_str())?.strip_prefix('/')?)))
    }
}

/// Settles what the parts are of volumes that a container mounts, as far as it is time.
///
/// # Errors
/// Reason `CreateContainerConfigError`: what it mounts by itself cannot be a part. Or the engine said no.
pub(crate) fn settle(context: &Context, sandbox: &str, layout: &Layout<'_>, placed: Placed<'_>) -> Result<Parts> {
    let mut parts = Parts::default();
    let mounts = &placed.container.volume_mounts;
    for volume in &layout.volumes {
        let of_volume = || mounts.iter().filter(|mount| mount.name == volume.name);
        if of_volume().next().is_none() {
            continue;
        }
        for path in &volume.subs {
            let own = of_volume().any(|mount| plain_path(&mount.sub_path) == *path);
            let shape = if own || !placed.ends_before_others() {
                match ask(context, sandbox, volume, &parts, path)? {
                    Ok(shape) => Some(shape),
                    // Who mounts it will be told.
                    Err(_) if !own => None,
                    Err(why) => return Err(unfit(volume, path, &why)),
                }
            } else {
                look(context, sandbox, volume, path)?
            };
            if let Some(shape) = shape {
                parts.put(volume.name, path, shape);
            }
        }
    }
    Ok(parts)
}

/// Has the pause program make it a part; or why it cannot be one.
fn ask(
    context: &Context,
    sandbox: &str,
    volume: &PodVolume<'_>,
    parts: &Parts,
    path: &str,
) -> Result<Result<Shape, String>> {
    let (within, rest) = match parts.around(volume, path) {
        Some((outer, rest)) => (digest(outer.as_bytes()), rest),
        None => (String::new(), path),
    };
    let (root, name) = (format!("{ROOT}/{}", volume.name), digest(path.as_bytes()));
    let ended = pause::call(context, sandbox, &["part", &root, &within, rest, &name])?;
    Ok(match ended.code {
        Some(DIRECTORY) => Ok(Shape::Directory),
        Some(FILE) => Ok(Shape::File),
        _ => Err(ended.words),
    })
}

/// none: it is not settled yet.
fn look(context: &Context, sandbox: &str, volume: &PodVolume<'_>, path: &str) -> Result<Option<Shape>> {
    let stat = context.engine.stat_path(sandbox, &format!("{ROOT}/{}/{}", volume.name, place(path)))?;
    Ok(stat.map(|stat| if stat.is_directory() { Shape::Directory } else { Shape::File }))
}

/// As the kubelet calls it.
fn unfit(volume: &PodVolume<'_>, path: &str, why: &str) -> Error {
    let message = format!("failed to prepare subPath {path:?} of volume {:?}: {why}", volume.name);
    Error::failed_precondition("CreateContainerConfigError", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    #[test]
    fn a_part_in_a_part_begins_there() {
        let spec = parse(
            r#"{"volumes":[{"name":"d","emptyDir":{}}],"containers":[{"name":"c","volumeMounts":[{"name":"d","mountPath":"/a","subPath":"x"},
            {"name":"d","mountPath":"/b","subPath":"x/y"},{"name":"d","mountPath":"/c","subPath":"x/y/z"},{"name":"d","mountPath":"/e","subPath":"xy"}]}]}"#,
        );
        let layout = Layout::of(&spec).unwrap();
        let volume = &layout.volumes[0];
        let mut parts = Parts::default();
        assert_eq!(parts.around(volume, "x/y/z"), None);
        parts.put("d", "x", Shape::Directory);
        assert_eq!(parts.around(volume, "x/y/z"), Some(("x".to_owned(), "y/z")));
        assert_eq!((parts.around(volume, "x"), parts.around(volume, "xy")), (None, None));
        parts.put("d", "x/y", Shape::Directory);
        assert_eq!(parts.around(volume, "x/y/z"), Some(("x/y".to_owned(), "z")));
        parts.put("d", "x/y", Shape::File);
        assert_eq!(parts.around(volume, "x/y/z"), Some(("x".to_owned(), "y/z")));
    }
}
