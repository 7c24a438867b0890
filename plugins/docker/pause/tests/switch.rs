//! The program as a process, on a directory of its own.
#![allow(clippy::unwrap_used, reason = "clippy does not take the helpers of tests for tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How /proc shows that a process waits for signals (`rt_sigtimedwait`).
const WAITING: &str = if cfg!(target_arch = "x86_64") { "128 " } else { "137 " };

fn pause() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vk-pause"))
}

fn switch(directory: &Path, name: &str) -> Output {
    pause().arg("switch").arg(directory).arg(name).output().unwrap()
}

/// A volume as the provider fills it.
fn volume() -> tempfile::TempDir {
    let volume = tempfile::tempdir().unwrap();
    let path = |rest: &str| volume.path().join(rest);
    fs::create_dir_all(path("..old/deep/er")).unwrap();
    fs::write(path("..old/key"), "old").unwrap();
    fs::write(path("..old/deep/er/file"), "old").unwrap();
    fs::write(path("..old/gone"), "old").unwrap();
    for key in ["key", "deep", "gone"] {
        symlink(format!("..data/{key}"), path(key)).unwrap();
    }
    symlink("..old", path("..data")).unwrap();
    fs::create_dir(path("..new")).unwrap();
    fs::write(path("..new/key"), "new").unwrap();
    fs::create_dir(path("..new/deep")).unwrap();
    fs::write(path("..new/more"), "new").unwrap();
    volume
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_new_files_count_and_the_old_ones_are_gone() {
    let volume = volume();
    let output = switch(volume.path(), "..new");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(volume.path().join("key")).unwrap(), "new");
    assert_eq!(fs::read_link(volume.path().join("..data")).unwrap(), Path::new("..new"));
    assert_eq!(names(volume.path()), ["..data", "..new", "deep", "key", "more"]);
    assert_eq!(fs::read_link(volume.path().join("more")).unwrap(), Path::new("..data/more"));
    assert_eq!(fs::read_to_string(volume.path().join("more")).unwrap(), "new");
    assert!(switch(volume.path(), "..new").status.success(), "once more is the same");
}

#[test]
fn links_that_are_there_are_not_touched() {
    let volume = volume();
    let longest = "n".repeat(255);
    fs::write(volume.path().join("..new").join(&longest), "new").unwrap();
    let made = || fs::symlink_metadata(volume.path().join("key")).unwrap().ino();
    let before = made();
    assert!(switch(volume.path(), "..new").status.success());
    assert_eq!(made(), before, "it was never gone");
    assert_eq!(fs::read_to_string(volume.path().join(&longest)).unwrap(), "new");
}

#[test]
fn no_link_is_followed() {
    let (volume, outside) = (volume(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("precious"), "x").unwrap();
    symlink(outside.path(), volume.path().join("..old/away")).unwrap();
    symlink(outside.path(), volume.path().join("..other")).unwrap();
    symlink(outside.path(), volume.path().join("..link")).unwrap();
    symlink("/nowhere", volume.path().join("foreign")).unwrap();
    assert_eq!(switch(volume.path(), "..link").status.code(), Some(1), "a revision is a directory");
    assert!(switch(volume.path(), "..new").status.success());
    assert_eq!(names(volume.path()), ["..data", "..new", "deep", "foreign", "key", "more"]);
    assert_eq!(fs::read_to_string(outside.path().join("precious")).unwrap(), "x");
}

#[test]
fn many_files_are_swept() {
    let volume = volume();
    for number in 0..3000 {
        fs::write(volume.path().join(format!("..old/a-file-of-many-{number}")), "").unwrap();
        symlink(format!("..data/a-file-of-many-{number}"), volume.path().join(format!("a-file-of-many-{number}")))
            .unwrap();
    }
    assert!(switch(volume.path(), "..new").status.success());
    assert_eq!(names(volume.path()), ["..data", "..new", "deep", "key", "more"]);
}

#[test]
fn what_is_not_there_changes_nothing() {
    let volume = volume();
    for name in ["..nope", "key", "..data", "../x", ""] {
        let output = switch(volume.path(), name);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.starts_with(&format!("vk-pause: {}: ", volume.path().display())), "{words}");
    }
    assert_eq!(fs::read_to_string(volume.path().join("key")).unwrap(), "old");
}

#[test]
fn wrong_use_is_told() {
    let part = ["part", "a", "", "b", "c", "d"];
    for words in [&["switch"][..], &["switch", "a"], &["switch", "a", "b", "c"], &part[..4], &part, &["remove", "/"]] {
        let output = pause().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn it_waits_until_it_is_told_to_end() {
    for signal in ["TERM", "INT"] {
        let mut child = pause().stdin(Stdio::null()).spawn().unwrap();
        let call = Path::new("/proc").join(child.id().to_string()).join("syscall");
        while !fs::read_to_string(&call).unwrap().starts_with(WAITING) {
            std::thread::yield_now();
        }
        // One that nobody handles ends it no more.
        for signal in ["HUP", signal] {
            let killed = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
            assert!(killed.success());
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}
