//! Parts of a volume, on a directory of its own.
#![allow(clippy::unwrap_used, reason = "clippy does not take the helpers of tests for tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A volume as the provider makes it.
struct Volume(tempfile::TempDir);

impl Volume {
    fn new() -> Self {
        let volume = tempfile::tempdir().unwrap();
        for name in ["data", "parts"] {
            fs::create_dir(volume.path().join(name)).unwrap();
        }
        Self(volume)
    }

    fn data(&self, path: &str) -> PathBuf {
        self.0.path().join("data").join(path)
    }

    fn part(&self, name: &str) -> PathBuf {
        self.0.path().join("parts").join(name)
    }

    fn call(&self, within: &str, path: &str, name: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vk-pause"));
        command.arg("part").arg(self.0.path()).args([within, path, name]).output().unwrap()
    }

    /// The program's code.
    fn make(&self, within: &str, path: &str, name: &str) -> i32 {
        self.call(within, path, name).status.code().unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_not_there_becomes_a_directory() {
    let volume = Volume::new();
    // What is made there gets its group.
    for name in ["data", "parts"] {
        fs::set_permissions(volume.0.path().join(name), fs::Permissions::from_mode(0o2777)).unwrap();
    }
    assert_eq!(volume.make("", "a/b/c", "p"), 0);
    assert!(volume.part("p").is_dir() && volume.data("a/b/c").is_dir());
    assert_eq!((mode(&volume.part("p")), mode(&volume.data("a/b"))), (0o2777, 0o2777));
    fs::write(volume.part("p").join("file"), "x").unwrap();
    assert_eq!(volume.make("", "a/b/c", "p"), 0, "once more is the same");
    assert!(volume.part("p").join("file").is_file());
}

#[test]
fn a_directory_moves_with_what_is_in_it() {
    let volume = Volume::new();
    fs::create_dir_all(volume.data("conf/deep")).unwrap();
    fs::write(volume.data("conf/deep/file"), "x").unwrap();
    assert_eq!(volume.make("", "conf", "p"), 0);
    assert_eq!(fs::read_to_string(volume.part("p").join("deep/file")).unwrap(), "x");
    assert_eq!(fs::read_dir(volume.data("conf")).unwrap().count(), 0, "a place to be mounted at");
    // A part in a part.
    assert_eq!(volume.make("p", "deep/file", "q"), 2);
    assert_eq!(fs::read_to_string(volume.part("q")).unwrap(), "x");
}

#[test]
fn a_file_is_the_same_file_and_looked_for_each_time() {
    let volume = Volume::new();
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    fs::write(volume.data("app.yaml"), "one").unwrap();
    assert_eq!(volume.make("", "app.yaml", "p"), 2);
    assert_eq!(inode(volume.part("p")), inode(volume.data("app.yaml")));
    fs::write(volume.data("next"), "two").unwrap();
    fs::rename(volume.data("next"), volume.data("app.yaml")).unwrap();
    assert_eq!(fs::read_to_string(volume.part("p")).unwrap(), "one");
    assert_eq!(volume.make("", "app.yaml", "p"), 2);
    assert_eq!(fs::read_to_string(volume.part("p")).unwrap(), "two");
    fs::remove_file(volume.data("app.yaml")).unwrap();
    fs::create_dir(volume.data("app.yaml")).unwrap();
    assert_eq!(volume.make("", "app.yaml", "p"), 0, "it is a directory now");
    assert!(volume.part("p").is_dir());
}

#[test]
fn no_link_is_a_part_nor_leads_to_one() {
    let (volume, outside) = (Volume::new(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("precious"), "x").unwrap();
    symlink(outside.path(), volume.data("away")).unwrap();
    symlink(outside.path().join("precious"), volume.data("file")).unwrap();
    symlink("nowhere", volume.data("broken")).unwrap();
    fs::create_dir(volume.data("inside")).unwrap();
    symlink("inside", volume.data("link")).unwrap();
    for path in ["away", "away/precious", "away/new", "file", "broken", "broken/x", "link", "link/x"] {
        let output = volume.call("", path, "p");
        assert_eq!(output.status.code(), Some(1), "{path}");
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains(&format!(" {path}: ")), "{words}");
    }
    assert_eq!(fs::read_dir(volume.0.path().join("parts")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    // One that was put among the parts is none either.
    symlink(outside.path(), volume.part("p")).unwrap();
    assert_eq!(volume.make("", "new", "p"), 0);
    assert!(fs::symlink_metadata(volume.part("p")).unwrap().is_dir());
}

#[test]
fn only_names_below_the_volume_are_taken() {
    let volume = Volume::new();
    fs::write(volume.data("file"), "x").unwrap();
    for (within, path, name) in [
        ("", "..", "p"),
        ("", "a/../b", "p"),
        ("", "/a", "p"),
        ("", "", "p"),
        ("", "a", "../p"),
        ("", "a", ".."),
        ("..", "a", "p"),
        ("none", "a", "p"),
        ("", "file/a", "p"),
    ] {
        assert_eq!(volume.make(within, path, name), 1, "{within:?} {path:?} {name:?}");
    }
}
