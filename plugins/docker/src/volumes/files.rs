//! Files of a pod's volumes, packed for the sandbox.
//!
//! A volume that the host renders looks as the kubelet's does, so that all of its files change at one moment:
//!
//! ```text
//! key -> ..data/key                     for each first part of a path; readers open this
//! ..data -> ..5wl3v2mx7ekd4q6h          the one that changes: a rename, by the pause program
//! ..5wl3v2mx7ekd4q6h/key                the files of one revision
//! ```

use std::collections::BTreeSet;
use std::io;

use vk_engine::archive::{Owner, Pack};
use vk_provider::cluster::{File, Files};

use super::{Layout, OWN, parts};
use crate::hosts;
use crate::names::digest;

/// All may write: what may be written is decided by how it is mounted. As the kubelet's.
const OPEN: u32 = 0o777;
/// Of directories of files that are rendered.
const CLOSED: u32 = 0o755;
/// What is made below it gets its group.
const SETGID: u32 = 0o2000;
/// A termination message: whoever the container's user is.
const MESSAGE: u32 = 0o666;
/// The hosts file: root may write it, as the kubelet's.
const HOSTS: u32 = 0o644;
/// A file in the pod's own volume: what outlives a sandbox was made ready once, and is containers' own since.
pub(crate) const READY: &str = ".ready";
/// The link that says which revision counts.
pub(crate) const DATA: &str = "..data";
/// Where termination messages are, in the pod's own volume.
const MESSAGES: &str = "termination";

/// The directory of a revision. The host's own text for it may have any characters.
pub(crate) fn directory(files: &Files) -> String {
    format!("..{}", digest(files.revision.as_bytes()))
}

/// Where an attempt's termination message is, in the pod's own volume. Two places take turns, so that the attempt
/// before can still be asked, and a container that fails for weeks fills no disk.
pub(crate) fn message(container: &str, attempt: u32) -> String {
    format!("{MESSAGES}/{container}.{}", attempt % 2)
}

/// An archive of a pod's volumes, to be unpacked at [`ROOT`](super::ROOT).
pub(crate) struct Filling {
    pack: Pack,
    /// fsGroup.
    group: Option<u32>,
}

impl Filling {
    pub(crate) const fn new(pack: Pack, group: Option<u32>) -> Self {
        Self { pack, group }
    }

    /// The roots of volumes. `ready`: those that outlive a sandbox stay as they are: containers may have given them
    /// another owner.
    ///
    /// # Errors
    /// A path that is not fit for an archive.
    pub(crate) fn roots(&mut self, layout: &Layout<'_>, ready: bool) -> io::Result<()> {
        for volume in layout.volumes.iter().filter(|volume| !(ready && volume.kind.is_kept())) {
            let name = volume.name;
            if volume.has_parts() {
                self.directory(name, CLOSED)?;
                self.directory(&format!("{name}/{}", parts::DATA), OPEN)?;
                self.directory(&format!("{name}/{}", parts::PARTS), CLOSED)?;
            } else {
                self.directory(name, OPEN)?;
            }
        }
        self.pack.file(&format!("{OWN}/{READY}"), 0o444, Owner::default(), b"")
    }

    /// One revision of a volume's files. It does not count yet: links to what is new come with the switch, as one that is
    /// there and is unpacked again would be gone for a moment.
    ///
    /// # Errors
    /// A path that is not fit for an archive.
    pub(crate) fn revision(&mut self, volume: &str, files: &Files) -> io::Result<()> {
        let base = format!("{volume}/{}", directory(files));
        self.directory(&base, CLOSED)?;
        for path in directories(&files.files) {
            self.directory(&format!("{base}/{path}"), CLOSED)?;
        }
        for File { path, mode, uid, gid, content, .. } in &files.files {
            let owner = Owner { uid: uid.unwrap_or(0), gid: gid.or(self.group).unwrap_or(0) };
            self.pack.file(&format!("{base}/{path}"), *mode, owner, content)?;
        }
        Ok(())
    }

    /// The first revision counts at once: nobody reads yet.
    ///
    /// # Errors
    /// A path that is not fit for an archive.
    pub(crate) fn first(&mut self, volume: &str, files: &Files) -> io::Result<()> {
        self.revision(volume, files)?;
        for first in first_parts(&files.files) {
            self.pack.link(&format!("{volume}/{first}"), &format!("{DATA}/{first}"), Owner::default())?;
        }
        self.pack.link(&format!("{volume}/{DATA}"), &directory(files), Owner::default())
    }

    /// Empty termination messages of attempts.
    ///
    /// # Errors
    /// A path that is not fit for an archive.
    pub(crate) fn messages<'a>(&mut self, attempts: impl IntoIterator<Item = (&'a str, u32)>) -> io::Result<()> {
        self.pack.directory(&format!("{OWN}/{MESSAGES}"), CLOSED, Owner::default())?;
        for (container, attempt) in attempts {
            self.pack.file(&format!("{OWN}/{}", message(container, attempt)), MESSAGE, Owner::default(), b"")?;
        }
        Ok(())
    }

    /// The hosts file of the pod's containers.
    ///
    /// # Errors
    /// A path that is not fit for an archive.
    pub(crate) fn hosts(&mut self, text: &str) -> io::Result<()> {
        self.pack.file(&format!("{OWN}/{}", hosts::FILE), HOSTS, Owner::default(), text.as_bytes())
    }

    /// The last entry: who finds it finds the others.
    ///
    /// # Errors
    /// A path that is not fit for an archive.
    pub(crate) fn finish(mut self, marker: Option<&str>) -> io::Result<Vec<u8>> {
        if let Some(marker) = marker {
            self.pack.file(marker, 0o444, Owner::default(), b"")?;
        }
        self.pack.finish()
    }

    fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let (mode, gid) = self.group.map_or((mode, 0), |group| (mode | SETGID, group));
        self.pack.directory(path, mode, Owner { uid: 0, gid })
    }
}

/// Directories that files are in, outer ones first.
fn directories(files: &[File]) -> BTreeSet<&str> {
    files.iter().flat_map(|file| prefixes(&file.path)).collect()
}

/// `a` and `a/b` of `a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

fn first_parts(files: &[File]) -> BTreeSet<&str> {
    files.iter().filter_map(|file| file.path.split('/').next()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_provider::time::Time;

    /// Entries of an archive: mode, owner, path, and where a link leads or how long a file is.
    pub(crate) fn told(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let (header, path) = (entry.header().clone(), entry.path().unwrap().display().to_string());
            let owner = format!("{}:{}", header.uid().unwrap(), header.gid().unwrap());
            match entry.link_name().unwrap() {
                Some(target) => format!("{path} -> {}", target.display()),
                None => format!("{:o} {owner} {path} {}", header.mode().unwrap(), header.size().unwrap()),
            }
        });
        entries.collect()
    }

    fn files(revision: &str) -> Files {
        let file = |path: &str, mode, uid, gid| File {
            path: path.to_owned(),
            mode,
            uid,
            gid,
            content: b"x".to_vec(),
            secret: false,
        };
        let files = vec![
            file("a/b/deep", 0o600, Some(1000), None),
            file("a/c", 0o644, None, Some(7)),
            file("key", 0o444, None, None),
        ];
        Files { revision: revision.to_owned(), files, expires_ms: None }
    }

    fn filling(group: Option<u32>) -> Filling {
        Filling::new(Pack::new(Time::default()), group)
    }

    #[test]
    fn a_rendered_volume_looks_as_the_kubelets_does() {
        let mut filling = filling(None);
        filling.first("cm", &files("1-a")).unwrap();
        let directory = directory(&files("1-a"));
        assert_eq!(
            told(&filling.finish(Some(".filled-7")).unwrap()),
            [
                format!("755 0:0 cm/{directory}/ 0"),
                format!("755 0:0 cm/{directory}/a/ 0"),
                format!("755 0:0 cm/{directory}/a/b/ 0"),
                format!("600 1000:0 cm/{directory}/a/b/deep 1"),
                format!("644 0:7 cm/{directory}/a/c 1"),
                format!("444 0:0 cm/{directory}/key 1"),
                "cm/a -> ..data/a".to_owned(),
                "cm/key -> ..data/key".to_owned(),
                format!("cm/..data -> {directory}"),
                "444 0:0 .filled-7 0".to_owned(),
            ]
        );
    }

    #[test]
    fn a_later_revision_does_not_count_before_the_switch() {
        let mut filling = filling(None);
        filling.revision("cm", &files("1-b")).unwrap();
        let told = told(&filling.finish(None).unwrap());
        assert!(told.iter().all(|entry| !entry.contains(" -> ")), "no link that is there is replaced: {told:?}");
        assert_ne!(directory(&files("1-b")), directory(&files("1-a")));
    }

    #[test]
    fn the_group_of_the_pod_owns_what_it_shares() {
        let spec = parse(
            r#"{"volumes":[{"name":"d","emptyDir":{}},{"name":"cm","configMap":{}}],"containers":[{"name":"c","volumeMounts":[
            {"name":"d","mountPath":"/x","subPath":"a/b"}]}]}"#,
        );
        let mut filling = filling(Some(2000));
        filling.roots(&Layout::of(&spec).unwrap(), false).unwrap();
        filling.revision("cm", &files("1-a")).unwrap();
        let told = told(&filling.finish(None).unwrap());
        assert_eq!(
            told[..5],
            [
                "2755 0:2000 d/ 0",
                "2777 0:2000 d/data/ 0",
                "2755 0:2000 d/parts/ 0",
                "2777 0:2000 cm/ 0",
                "444 0:0 _pod/.ready 0"
            ]
        );
        assert!(told[5].starts_with("2755 0:2000 cm/..") && told[8].starts_with("600 1000:2000 "), "{told:?}");
    }

    #[test]
    fn what_outlives_a_sandbox_is_made_ready_once() {
        let spec = parse(
            r#"{"volumes":[{"name":"disk","emptyDir":{}},{"name":"memory","emptyDir":{"medium":"Memory"}},{"name":"cm","configMap":{}}]}"#,
        );
        let layout = Layout::of(&spec).unwrap();
        let rooted = |ready| {
            let mut filling = filling(None);
            filling.roots(&layout, ready).unwrap();
            told(&filling.finish(None).unwrap())
        };
        let (memory, map, mark) = ("777 0:0 memory/ 0", "777 0:0 cm/ 0", "444 0:0 _pod/.ready 0");
        assert_eq!(rooted(false), ["777 0:0 disk/ 0", memory, map, mark]);
        assert_eq!(rooted(true), [memory, map, mark]);
    }

    #[test]
    fn messages_of_two_attempts_are_kept() {
        assert_ne!(message("web", 4), message("web", 5));
        assert_eq!(message("web", 4), message("web", 6));
        let mut filling = filling(Some(2000));
        filling.messages([("web", 0), ("proxy", 0)]).unwrap();
        assert_eq!(
            told(&filling.finish(None).unwrap()),
            ["755 0:0 _pod/termination/ 0", "666 0:0 _pod/termination/web.0 0", "666 0:0 _pod/termination/proxy.0 0"]
        );
    }
}
