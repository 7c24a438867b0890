//! Processes by their id: what they use, whether they live, and how they end.
//!
//! Figures are from `/proc`, so this is for Linux, as the control plane is.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, getppid, setsid, sysconf};
use serde::{Deserialize, Serialize};

use crate::host;

/// How often a process that should end, or stop, is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a process may take to stand still.
const PAUSE_LIMIT: Duration = Duration::from_secs(10);

/// A process, told apart from a later one with the same id by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Clock ticks since boot.
    started: u64,
}

/// What a process has used and uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory now, in MiB.
    pub resident: f64,
    /// The most resident memory so far, in MiB.
    pub peak: f64,
}

impl Process {
    /// The running process of this id.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = Stat::read(pid).with_context(|| format!("process {pid} does not run"))?;
        Ok(Self { pid, started: stat.number(STARTED)? })
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| {
            stat.field(STATE) != Some("Z") && stat.number(STARTED).is_ok_and(|started| started == self.started)
        })
    }

    /// Asks it to end, waits, and kills it after `limit`. Tells whether it ended by itself.
    pub fn end(&self, limit: Duration) -> Result<bool> {
        self.signal(Signal::SIGTERM)?;
        if self.wait_end(limit) {
            return Ok(true);
        }
        self.signal(Signal::SIGKILL)?;
        if !self.wait_end(limit) {
            bail!("process {} cannot be killed", self.pid);
        }
        Ok(false)
    }

    /// Waits for its end. Tells whether it came.
    pub fn wait_end(&self, limit: Duration) -> bool {
        let began = Instant::now();
        while self.is_alive() {
            if began.elapsed() > limit {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(i32::try_from(self.pid)?), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send {signal} to process {}", self.pid)),
        }
    }

    /// Makes it stand still and waits until it does: each of its threads runs on until it has seen the signal.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let began = Instant::now();
        while !self.stands_still()? {
            ensure!(began.elapsed() < PAUSE_LIMIT, "process {} does not stop", self.pid);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn stands_still(&self) -> Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            match Stat::of(&thread?.path().join("stat")) {
                Ok(stat) if stat.field(STATE) != Some("T") => return Ok(false),
                // Stopped, or one that has just ended.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(true)
    }

    /// What it uses.
    pub fn usage(&self) -> Result<Usage> {
        let stat = Stat::read(self.pid)?;
        let ticks = stat.number(USER_TIME)? + stat.number(SYSTEM_TIME)?;
        let a_second = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let mib = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or_default() / 1024.0
        };
        Ok(Usage { cpu: Duration::from_millis(ticks * 1000 / a_second), resident: mib("VmRSS:"), peak: mib("VmHWM:") })
    }
}

// Fields of /proc/PID/stat (proc_pid_stat(5)), counted from the one after the program's name.
const STATE: usize = 0;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const STARTED: usize = 19;

struct Stat(String);

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        Self::of(Path::new(&format!("/proc/{pid}/stat")))
    }

    fn of(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)?;
        // The name is in parentheses and may hold anything, parentheses too.
        let (_, rest) = text.rsplit_once(')').context("unknown form of /proc/PID/stat")?;
        Ok(Self(rest.to_owned()))
    }

    fn field(&self, index: usize) -> Option<&str> {
        self.0.split_whitespace().nth(index)
    }

    fn number(&self, index: usize) -> Result<u64> {
        Ok(self.field(index).context("/proc/PID/stat is too short")?.parse()?)
    }
}

/// How a child is tied to the process that starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// It is asked to end, by SIGTERM, when its parent ends, whatever way that ends.
    Asked,
    /// It is killed then: for what need not end well, and may be stopped or hang.
    Killed,
    /// None: it outlives its parent.
    Free,
}

impl Tie {
    fn signal(self) -> Option<Signal> {
        match self {
            Self::Asked => Some(Signal::SIGTERM),
            Self::Killed => Some(Signal::SIGKILL),
            Self::Free => None,
        }
    }
}

/// The first argument of a program that is only to become another one: see [`become_other`].
const BECOME: [(&str, Tie); 3] =
    [("--become-asked", Tie::Asked), ("--become-killed", Tie::Killed), ("--become-free", Tie::Free)];

/// Programs that call [`become_other`] first, by way of [`crate::entry::main`].
const STARTERS: [&str; 2] = ["vk-demo", "vk-bench"];

/// Starts a command in a session of its own, so that Ctrl-C in a terminal does not reach it; it reads nothing and writes
/// into these files. It is started by way of a program that calls [`become_other`].
pub fn start(command: &Command, tie: Tie, out: File, err: File) -> Result<Child> {
    let mut other = Command::new(starter()?);
    other.args(BECOME.iter().filter(|(_, known)| *known == tie).map(|(flag, _)| flag));
    other.arg(std::process::id().to_string()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        other.current_dir(dir);
    }
    other.stdin(Stdio::null()).stdout(out).stderr(err);
    spawn(other).with_context(|| format!("start {}", Path::new(command.get_program()).display()))
}

/// This program, if it is one that can. A test is not: its `main` is the test harness's, and cargo has built the bins of this
/// package beside it.
fn starter() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let name = own.file_name().and_then(OsStr::to_str);
    if name.is_some_and(|name| STARTERS.contains(&name)) { Ok(own) } else { host::built("vk-demo") }
}

/// Starts a child on a thread that lives as long as this process: the kernel takes the end of the *thread* that has made a
/// child for the end of its parent, and tests have threads of their own.
fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static THREAD: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (thread, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                // Whoever ordered it waits below.
                let _ = answer.send(command.spawn());
            }
        });
        thread
    });
    let (answer, child) = mpsc::channel();
    thread.send((command, answer)).ok().context("the thread that starts children has ended")?;
    Ok(child.recv().context("the thread that starts children has ended")??)
}

/// Becomes the program that [`start`] named, if this is what this process was started for; returns the error if that fails,
/// and `None` if the process has other things to do. Safe Rust cannot do this between fork and exec.
pub fn become_other() -> Option<anyhow::Error> {
    let mut arguments = std::env::args_os().skip(1);
    let flag = arguments.next()?;
    let (_, tie) = BECOME.iter().find(|(name, _)| flag == *name)?;
    replace_this(*tie, arguments).err()
}

fn replace_this(tie: Tie, mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible> {
    let parent = arguments.next().context("no parent was named")?;
    let program = arguments.next().context("no program was named")?;
    setsid()?;
    if let Some(signal) = tie.signal() {
        set_pdeathsig(signal)?;
        // A parent that had ended before sends nothing any more.
        ensure!(parent == getppid().to_string().as_str(), "the parent has ended");
    }
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("start {}", Path::new(&program).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_uses_something() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
        let usage = own.usage().unwrap();
        assert!(usage.resident > 0.0 && usage.peak >= usage.resident, "{usage:?}");
    }

    #[test]
    fn what_is_started_apart_from_this_environment_has_none_of_it() {
        // Cargo sets it for each test.
        const OURS: &str = "CARGO_MANIFEST_DIR";
        assert!(std::env::var_os(OURS).is_some());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("environment");
        let mut command = Command::new("env");
        host::isolate(&mut command);
        command.env("ITS_OWN", "1");
        let out = File::create(&file).unwrap();
        let mut child = start(&command, Tie::Killed, out.try_clone().unwrap(), out).unwrap();
        assert!(child.wait().unwrap().success());
        let said = fs::read_to_string(&file).unwrap();
        assert!(said.lines().any(|line| line == "ITS_OWN=1") && said.contains("PATH="), "{said}");
        assert!(!said.contains(OURS), "{said}");
    }

    #[test]
    fn a_process_that_ends_when_asked_is_not_killed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(Process::of(child.id()).unwrap().end(Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        assert!(Process::of(child.id()).is_err());
    }
}
