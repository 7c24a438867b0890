//! An archive in the making, in memory.

use std::io;

use tar::{Builder, EntryType, Header};
use vk_provider::time::Time;

/// Whom a file belongs to. The default is root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// An archive in the making. Paths are relative; entries are unpacked in the order in which they are added.
pub struct Pack {
    builder: Builder<Vec<u8>>,
    time: Time,
}

impl Pack {
    /// Empty. All files in it will be of this time.
    pub fn new(time: Time) -> Self {
        Self { builder: Builder::new(Vec::new()), time }
    }

    /// A directory. One that is there gets its mode and owner.
    ///
    /// # Errors
    /// The path is not fit for an archive.
    pub fn directory(&mut self, path: &str, mode: u32, owner: Owner) -> io::Result<()> {
        let mut header = self.header(EntryType::Directory, mode, owner, 0);
        self.builder.append_data(&mut header, format!("{}/", path.trim_end_matches('/')), io::empty())
    }

    /// A file. One that is there is replaced.
    ///
    /// # Errors
    /// The path is not fit for an archive.
    pub fn file(&mut self, path: &str, mode: u32, owner: Owner, content: &[u8]) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, mode, owner, content.len());
        self.builder.append_data(&mut header, path, content)
    }

    /// A symbolic link. One that is there is replaced, but not at one moment: a reader may see none.
    ///
    /// # Errors
    /// The path is not fit for an archive.
    pub fn link(&mut self, path: &str, target: &str, owner: Owner) -> io::Result<()> {
        let mut header = self.header(EntryType::Symlink, 0o777, owner, 0);
        self.builder.append_link(&mut header, path, target)
    }

    fn header(&self, kind: EntryType, mode: u32, owner: Owner, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.uid.into());
        header.set_gid(owner.gid.into());
        header.set_mtime(self.time.as_millis() / 1000);
        header.set_size(u64::try_from(size).unwrap_or(u64::MAX));
        header
    }

    /// The whole archive.
    ///
    /// # Errors
    /// Never: it is in memory.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.builder.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, mode, owner, size and names of each entry, as a reader sees them.
    fn told(bytes: &[u8]) -> Vec<String> {
        let tell = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let entry = entry.unwrap();
            let header = entry.header();
            let link = entry.link_name().unwrap().map_or(String::new(), |link| format!(" -> {}", link.display()));
            format!(
                "{:?} {:o} {}:{} {} {}{link}",
                header.entry_type(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.size().unwrap(),
                entry.path().unwrap().display(),
            )
        };
        tar::Archive::new(bytes).entries().unwrap().map(tell).collect()
    }

    #[test]
    fn modes_owners_and_links_are_kept() {
        let mut pack = Pack::new(Time::from_millis(1_795_514_400_999));
        pack.directory("v", 0o2777, Owner { uid: 0, gid: 2000 }).unwrap();
        pack.directory("v/..1-a/", 0o755, Owner::default()).unwrap();
        pack.file("v/..1-a/key", 0o400, Owner { uid: 1000, gid: 2000 }, b"value").unwrap();
        pack.link("v/key", "..data/key", Owner::default()).unwrap();
        pack.link("v/..data", "..1-a", Owner::default()).unwrap();
        let bytes = pack.finish().unwrap();
        assert_eq!(
            told(&bytes),
            [
                "Directory 2777 0:2000 0 v/",
                "Directory 755 0:0 0 v/..1-a/",
                "Regular 400 1000:2000 5 v/..1-a/key",
                "Symlink 777 0:0 0 v/key -> ..data/key",
                "Symlink 777 0:0 0 v/..data -> ..1-a",
            ]
        );
        let mut archive = tar::Archive::new(bytes.as_slice());
        let first = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(first.header().mtime().unwrap(), 1_795_514_400);
    }

    #[test]
    fn long_names_are_kept() {
        let (long, target) = ("n".repeat(253), "t".repeat(253));
        let mut pack = Pack::new(Time::default());
        pack.file(&format!("v/..1-a/{long}"), 0o644, Owner::default(), b"").unwrap();
        pack.link(&format!("v/{long}"), &format!("..data/{target}"), Owner::default()).unwrap();
        let told = told(&pack.finish().unwrap());
        assert_eq!(told[0], format!("Regular 644 0:0 0 v/..1-a/{long}"));
        assert_eq!(told[1], format!("Symlink 777 0:0 0 v/{long} -> ..data/{target}"));
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        let mut pack = Pack::new(Time::default());
        for path in ["../x", "v/../../x", "/etc/passwd"] {
            assert!(pack.file(path, 0o644, Owner::default(), b"").is_err(), "{path}");
        }
    }
}
