//! A namespace of its own for a program, which starts itself again inside and lets that write where it writes itself.
//!
//! A test harness has no `main` that could do this first. So one ordinary test starts the same program again, with all of
//! its ignored tests.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use super::{CHOICE, Kind, program, search_path};
use crate::host::target;
use crate::process::{Process, Tie, start};

/// Says to the program inside where its files are.
const FOLDER: &str = "VK_TEST_ENGINE_FOLDER";
/// Words of which one must be in the name of a test that is to run inside; none: all run.
const ONLY: &str = "VK_TEST_ONLY";
/// Set: tests that take many minutes run too, and all run one after the other: some measure, and want a machine to themselves.
const SLOW: &str = "VK_TEST_SLOW";
/// How their names begin.
const SLOW_TESTS: &str = "slow::";
/// Tests at once. They wait most of the time; more would make each other late on two processors.
const AT_ONCE: &str = "8";

/// What every engine needs, each with the Debian package that has it.
const PROGRAMS: [(&str, &str); 3] = [("unshare", "util-linux"), ("mount", "mount"), ("ip", "iproute2")];
/// What tests need beside it.
const TEST_PROGRAMS: [(&str, &str); 2] = [("busybox", "busybox-static"), ("docker-registry", "docker-registry")];

/// What PID 1 does: without it nobody would reap what the engine leaves. `/run` is the engine's own, and short enough for the
/// names of sockets. With loopback alone, programs that ask which kinds of addresses there are would find none: hence a bridge.
/// Podman calls dpkg some times whenever it is asked what it is, half a second of a processor: here it finds one that says
/// nothing.
const INIT: &str = r#"
mount -t tmpfs tmpfs /run || exit
for own in /var/lib/containers /var/lib/cni; do ! [ -d $own ] || mount -t tmpfs tmpfs $own || exit; done
[ "$VK_TEST_ENGINE" != podman ] || ! [ -e /usr/bin/dpkg ] || mount --bind /bin/true /usr/bin/dpkg || exit
ip link set lo up || exit
ip link add vk-node type bridge && ip address add 10.98.0.1/24 dev vk-node && ip link set vk-node up || exit
"$@"
exit $?
"#;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Podman knows no other.
const PODMANS: &str = "libpod_parent";
/// How long the kernel may take to end what is in a namespace.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to let go of the cgroups of processes that it has just killed.
const CGROUP_LIMIT: Duration = Duration::from_secs(5);
/// How often they are tried.
const CGROUP_EVERY: Duration = Duration::from_millis(20);

/// What became of the tests.
#[derive(Debug)]
pub enum Outcome {
    /// They ran.
    Ran {
        /// How the program inside ended.
        status: ExitStatus,
        /// Where the logs are.
        folder: PathBuf,
    },
    /// They cannot run here; this is why, and what would help.
    Skipped(String),
}

/// This program once more, in a namespace. Whatever way the two end, the namespace ends with them. When this is dropped it is
/// ended, and what its engines have left is removed.
#[derive(Debug)]
pub struct Inside {
    child: Child,
    folder: PathBuf,
}

impl Inside {
    /// Starts this program with these arguments, for an engine of this kind. Its files are in a folder below `parent`, and it is
    /// told which. Must not be called inside of another.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(kind: Kind, parent: &Path, arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        remove_leftovers(parent);
        let folder = parent.join(process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let command = command(kind, &folder, arguments)?;
        let child = start(&command, Tie::Killed, inherited(&io::stdout())?, inherited(&io::stderr())?)?;
        Ok(Self { child, folder })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// How it ended; none: it has not.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The namespace's first process. All others in it have ended when it has.
    fn first(&self) -> Option<Process> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        Process::of(children.split_whitespace().next()?.parse().ok()?).ok()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let first = self.first();
            // It may end this moment. The first process is killed with it.
            let _ = self.child.kill();
            let _ = self.child.wait();
            if let Some(first) = first {
                first.wait_end(END_LIMIT);
            }
        }
        remove_engine(&self.folder);
    }
}

/// Runs the ignored tests of this program in a namespace, and removes what they leave. Must not be called inside of one. What `before`
/// does is done first, outside of it, if they are run at all: a namespace has no way out.
///
/// # Errors
///
/// An engine was asked for that cannot run here; `before` failed; or the program cannot be started.
pub fn run_ignored_tests(before: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let chosen = Kind::chosen()?;
    let kind = chosen.unwrap_or(Kind::Docker);
    if let Some(why) = lacks(kind, &TEST_PROGRAMS) {
        return if chosen.is_some() { bail!("{CHOICE}={}: {why}", kind.name()) } else { Ok(Outcome::Skipped(why)) };
    }
    before()?;
    let mut inside = Inside::start(kind, &target().join("engine"), test_arguments())?;
    Ok(Outcome::Ran { status: inside.wait()?, folder: inside.folder().to_owned() })
}

/// The folder of the program that runs inside.
///
/// # Errors
///
/// This is none.
pub fn folder() -> Result<PathBuf> {
    let folder = env::var_os(FOLDER).map(PathBuf::from);
    folder.context("this test needs an engine in a namespace: the one test that is not ignored runs it there")
}

fn command(kind: Kind, folder: &Path, arguments: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let unshare = program("unshare").context("no unshare")?;
    let mut command = Command::new(unshare);
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
    command.args(["--propagation", "private", "/bin/sh", "-c", INIT, "sh"]).arg(env::current_exe()?).args(arguments);
    command.env("PATH", search_path()).env(FOLDER, folder).env(CHOICE, kind.name());
    Ok(command)
}

/// What a test harness is told to run.
fn test_arguments() -> Vec<OsString> {
    let mut arguments = vec!["--ignored", "--test-threads"];
    if env::var_os(SLOW).is_none() {
        arguments.extend([AT_ONCE, "--skip", SLOW_TESTS]);
    } else {
        arguments.push("1");
    }
    let only = env::var(ONLY).unwrap_or_default();
    arguments.into_iter().chain(only.split_whitespace()).map(OsString::from).collect()
}

/// The same open file, for a child.
fn inherited(stream: &impl AsFd) -> Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

/// Why no engine of this kind can be started in a namespace here; these further programs are needed too, each with the Debian
/// package that has it. None: it can.
pub fn lacks(kind: Kind, further: &[(&'static str, &'static str)]) -> Option<String> {
    let needed = PROGRAMS.iter().chain(further).chain(kind.programs());
    let missing: Vec<&(&str, &str)> = needed.filter(|(name, _)| program(name).is_none()).collect();
    if !missing.is_empty() {
        let list =
            |of: fn(&(&'static str, &'static str)) -> &'static str| missing.iter().copied().map(of).collect::<Vec<_>>();
        let (names, packages) = (list(|(name, _)| name).join(", "), list(|(_, package)| package).join(" "));
        return Some(format!("{names} missing; on Debian: apt-get install {packages}"));
    }
    if !geteuid().is_root() {
        return Some("an engine in a namespace of its own needs root".to_owned());
    }
    // Root in a container may be less than root.
    let tried = Command::new(program("unshare")?)
        .args(["--net", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/run"])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            Some(format!("no namespace can be made here: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Some(format!("no namespace can be made here: {error}")),
    }
}

/// The cgroup of a program's engines, below each controller.
pub(super) fn cgroup(folder: &Path) -> String {
    format!("vk-test-{}", folder.file_name().unwrap_or_default().display())
}

/// Removes folders and cgroups of programs that are gone, and had no time to.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let pid = folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove_cgroups(&cgroup(&folder), Duration::ZERO);
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Removes what an engine leaves: its cgroups, and the files of its containers.
fn remove_engine(folder: &Path) {
    for name in [cgroup(folder), PODMANS.to_owned()] {
        remove_cgroups(&name, CGROUP_LIMIT);
    }
    for engine in fs::read_dir(folder).into_iter().flatten().flatten() {
        for data in ["data", "exec", "volumes"] {
            let _ = fs::remove_dir_all(engine.path().join(data));
        }
    }
}

/// Removes a cgroup with all below it, under every controller. One that is still in use stays: it takes no room to speak of.
fn remove_cgroups(name: &str, limit: Duration) {
    let began = Instant::now();
    let controllers = || fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    // Where there is one hierarchy for all, it is below the root itself.
    let found = || controllers().chain([CGROUPS.into()]).map(|path| path.join(name)).filter(|path| path.is_dir());
    while found().map(|path| remove_tree(&path)).filter(|removed| !removed).count() > 0 {
        if began.elapsed() > limit {
            let _ = writeln!(io::stderr(), "cgroups {name} are left in {CGROUPS}");
            return;
        }
        thread::sleep(CGROUP_EVERY);
    }
}

/// Files of a cgroup cannot be removed, and need not be.
fn remove_tree(folder: &Path) -> bool {
    let children = fs::read_dir(folder).into_iter().flatten().flatten();
    for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&child.path());
    }
    fs::remove_dir(folder).is_ok()
}
