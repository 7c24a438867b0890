//! The files of a volume while they are put together: paths, modes, owners, and the revision of the whole. Pure.
//! (kubernetes/pkg/volume/util/atomic_writer.go, kubernetes/pkg/volume/volume_linux.go)

use std::collections::BTreeMap;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Container;
use sha2::{Digest as _, Sha256};

use crate::pods::object::PodObject;
use crate::pods::revision;
use crate::provider::File;

/// What Linux takes of a path and of a file's name, in bytes.
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 255;
/// What a group that a volume is given to may do: it is mounted for reading (SetVolumeOwnership).
const GROUP_READS: u32 = 0o440;

/// Whom a pod's files are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    /// The one user that all containers run as; none: there are several, or an image's own.
    user: Option<u32>,
    /// fsGroup.
    group: Option<u32>,
}

impl Owner {
    pub(super) fn of(pod: &PodObject) -> Self {
        let context = pod.spec.security_context.as_ref();
        let fallback = context.and_then(|context| context.run_as_user);
        let run_as =
            |container: &Container| container.security_context.as_ref().and_then(|own| own.run_as_user).or(fallback);
        let mut users = pod.spec.init_containers.iter().flatten().chain(&pod.spec.containers).map(run_as);
        let first = users.next().flatten().filter(|first| users.all(|user| user == Some(*first)));
        let number = |id: i64| u32::try_from(id).ok();
        Self { user: first.and_then(number), group: context.and_then(|context| context.fs_group).and_then(number) }
    }

    /// A file that everybody may be given, as the volume says.
    pub(super) fn shared(self, mode: u32) -> Access {
        let group = self.group.map_or(0, |_| GROUP_READS);
        Access { mode: mode | group, uid: None, gid: self.group }
    }

    /// A token or the like: for the pod's user and group alone, where it has them.
    pub(super) fn private(self, mode: u32) -> Access {
        let narrowed = if self.user.or(self.group).is_some() { 0o600 } else { mode };
        Access { uid: self.user, ..self.shared(narrowed) }
    }
}

/// Who may do what with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    mode: u32,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// The files so far, by path.
#[derive(Default)]
pub(super) struct Tree(BTreeMap<String, File>);

impl Tree {
    /// Puts a file; of two with one path the later one stays. An error says what is wrong with the path.
    pub(super) fn put(&mut self, path: &str, access: Access, content: Bytes, secret: bool) -> Result<(), &'static str> {
        let path = clean(path)?;
        let Access { mode, uid, gid } = access;
        self.0.insert(path.clone(), File { path, mode, uid, gid, content, secret });
        Ok(())
    }

    /// All files in the order of their paths, and their revision. An error is a path that is a file's and a directory's.
    pub(super) fn finish(self) -> Result<(String, Vec<File>), String> {
        for path in self.0.keys() {
            let mut parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
            if let Some(both) = parents.find(|parent| self.0.contains_key(*parent)) {
                return Err(both.to_string());
            }
        }
        let files: Vec<File> = self.0.into_values().collect();
        Ok((revision(&files), files))
    }
}

/// A path below the mount, without what means nothing in it. Whoever writes it may be root on another machine.
fn clean(path: &str) -> Result<String, &'static str> {
    if path.is_empty() {
        return Err("must not be empty");
    }
    if path.starts_with('/') {
        return Err("must be relative to the volume");
    }
    if path.len() > LONGEST_PATH {
        return Err("must not be longer than 4096 bytes");
    }
    if path.contains('\0') {
        return Err("must not have a NUL in it");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("must not contain '..'");
    }
    if path.split('/').any(|part| part.len() > LONGEST_NAME) {
        return Err("must not have a part that is longer than 255 bytes");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts.first() {
        None => Err("must name a file"),
        // Names that begin so are the kubelet's own: `..data` and its like.
        Some(first) if first.starts_with("..") => Err("must not start with '..'"),
        Some(_) => Ok(parts.join("/")),
    }
}

/// A digest of all that a provider writes. Lengths go first, so that no two lists of files look alike.
fn revision(files: &[File]) -> String {
    let mut digest = Sha256::new();
    let mut field = |bytes: &[u8]| {
        digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(bytes);
    };
    for File { path, mode, uid, gid, content, secret: _ } in files {
        field(path.as_bytes());
        field(format!("{mode} {uid:?} {gid:?}").as_bytes());
        field(content);
    }
    revision::label(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::object::tests::pod;
    use serde_json::{Value, json};

    fn owner(spec: Value) -> Owner {
        Owner::of(&pod(json!({"metadata": {"name": "a"}, "spec": spec})))
    }

    #[test]
    fn paths_stay_below_the_mount() {
        let table = [
            ("key", Ok("key")),
            ("a/b/c", Ok("a/b/c")),
            ("./a//b/./c/", Ok("a/b/c")),
            ("a..b/c..", Ok("a..b/c..")),
            ("a/..b", Ok("a/..b")),
            ("", Err("must not be empty")),
            ("/etc/passwd", Err("must be relative to the volume")),
            ("..", Err("must not contain '..'")),
            ("../x", Err("must not contain '..'")),
            ("a/../../x", Err("must not contain '..'")),
            ("a/..", Err("must not contain '..'")),
            ("..data", Err("must not start with '..'")),
            ("..data/x", Err("must not start with '..'")),
            ("./..data", Err("must not start with '..'")),
            (".//./..data/x", Err("must not start with '..'")),
            (".", Err("must name a file")),
            ("a\0b", Err("must not have a NUL in it")),
        ];
        for (path, expected) in table {
            assert_eq!(clean(path), expected.map(str::to_string), "{path:?}");
        }
        assert!(clean(&"a".repeat(255)).is_ok() && clean(&"a".repeat(256)).is_err());
        assert!(clean(&"a/".repeat(2049)).is_err());
    }

    #[test]
    fn a_pod_s_files_belong_to_its_one_user() {
        let container = |name: &str, user: Option<i64>| json!({"name": name, "securityContext": {"runAsUser": user}});
        let seven = json!({"runAsUser": 7});
        let table = [
            (json!({"containers": [container("a", Some(5))]}), Some(5)),
            (json!({"containers": [container("a", Some(5)), container("b", Some(5))]}), Some(5)),
            (json!({"containers": [container("a", Some(5)), container("b", Some(6))]}), None),
            (json!({"containers": [container("a", Some(5)), container("b", None)]}), None),
            (json!({"containers": [container("a", None)]}), None),
            (json!({"securityContext": seven, "containers": [container("a", None), container("b", Some(7))]}), Some(7)),
            (json!({"securityContext": seven, "containers": [container("a", Some(8))]}), Some(8)),
            (json!({"initContainers": [container("i", Some(0))], "containers": [container("a", Some(5))]}), None),
            (json!({"initContainers": [container("i", Some(0))], "containers": [container("a", Some(0))]}), Some(0)),
        ];
        for (spec, user) in table {
            assert_eq!(owner(spec.clone()).user, user, "{spec}");
        }
    }

    #[test]
    fn modes_and_owners_are_the_kubelet_s() {
        let of = |user, group| Owner { user, group };
        let access = |mode, uid, gid| Access { mode, uid, gid };
        let shared = [
            (of(None, None), 0o644, access(0o644, None, None)),
            (of(Some(5), None), 0o400, access(0o400, None, None)),
            (of(None, Some(9)), 0o600, access(0o640, None, Some(9))),
            (of(Some(5), Some(9)), 0o755, access(0o755, None, Some(9))),
        ];
        for (owner, mode, expected) in shared {
            assert_eq!(owner.shared(mode), expected, "{owner:?} {mode:o}");
        }
        let private = [
            (of(None, None), 0o644, access(0o644, None, None)),
            (of(Some(5), None), 0o644, access(0o600, Some(5), None)),
            (of(None, Some(9)), 0o644, access(0o640, None, Some(9))),
            (of(Some(5), Some(9)), 0o444, access(0o640, Some(5), Some(9))),
        ];
        for (owner, mode, expected) in private {
            assert_eq!(owner.private(mode), expected, "{owner:?} {mode:o}");
        }
    }

    fn tree(files: &[(&str, u32, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, mode, content) in files {
            tree.put(path, Owner::default().shared(*mode), content.as_bytes().to_vec().into(), false).unwrap();
        }
        tree
    }

    #[test]
    fn a_revision_changes_with_every_part_of_a_file_and_with_nothing_else() {
        let of = |files: &[(&str, u32, &str)]| tree(files).finish().unwrap().0;
        let first = of(&[("a", 0o644, "1"), ("b", 0o644, "2")]);
        assert_eq!(of(&[("b", 0o644, "2"), ("a", 0o600, "0"), ("./a", 0o644, "1")]), first, "the later one stays");
        for other in [
            vec![("a", 0o644, "1"), ("b", 0o644, "3")],
            vec![("a", 0o644, "1"), ("b", 0o600, "2")],
            vec![("a", 0o644, "1"), ("c", 0o644, "2")],
            vec![("a", 0o644, "1")],
            vec![("a", 0o644, "12"), ("b", 0o644, "")],
            vec![],
        ] {
            assert_ne!(of(&other), first, "{other:?}");
        }
    }

    #[test]
    fn what_is_a_file_is_no_directory() {
        assert_eq!(tree(&[("a", 0o644, ""), ("a-b", 0o644, ""), ("a/b", 0o644, "")]).finish().err().unwrap(), "a");
        let paths = |tree: Tree| tree.finish().unwrap().1.into_iter().map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(paths(tree(&[("d/b", 0o644, ""), ("a", 0o644, ""), ("d/a", 0o644, "")])), ["a", "d/a", "d/b"]);
    }
}
