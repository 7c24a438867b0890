//! What containers run on: a real engine, or nothing at all.
//!
//! A group is a sandbox, which holds its network and its volumes, and attempts at its containers, which join it.

mod docker;
mod played;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use crate::spec::Dns;
pub(crate) use docker::Docker;
pub(crate) use played::Played;

/// The label of all containers and volumes that a fake makes; its value is the fake's folder.
pub const LABEL: &str = "vk-fake-aci";

/// What containers run on.
pub(crate) enum Engine {
    Docker(Docker),
    Played(Played),
}

/// Path and content.
pub(crate) type File = (String, Vec<u8>);

/// What holds a group's network and volumes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sandbox {
    pub(crate) hostname: String,
    pub(crate) dns: Option<Dns>,
    /// Volumes, with files that are in them from the beginning.
    pub(crate) volumes: Vec<(String, Vec<File>)>,
    /// What it is of, for people.
    pub(crate) label: String,
}

/// A sandbox that runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) ip: Option<String>,
}

/// One attempt at a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) mounts: Vec<Bind>,
    /// Cores and bytes.
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<f64>,
    pub(crate) user: Option<String>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) label: String,
}

/// Something that is mounted.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    pub(crate) source: Source,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

/// Where it is from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A volume of the engine's.
    Volume(String),
    /// A folder of this machine's.
    Folder(PathBuf),
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) code: i64,
    pub(crate) out_of_memory: bool,
}

/// Who pulls.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) server: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// The last lines; none: all.
    pub(crate) lines: Option<u32>,
    pub(crate) timestamps: bool,
}

impl Tail {
    /// All of it, with times.
    pub(crate) const WHOLE: Self = Self { lines: None, timestamps: true };

    /// The part of a log that has a time before each line.
    pub(crate) fn of(self, log: &str) -> String {
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        let most = self.lines.map_or(lines.len(), |lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let untimed = |line: &'_ str| line.split_once(' ').map_or(String::new(), |(_, rest)| rest.to_owned());
        let kept = lines.iter().skip(lines.len().saturating_sub(most));
        kept.map(|line| if self.timestamps { (*line).to_owned() } else { untimed(line) }).collect()
    }
}

macro_rules! either {
    ($engine:expr, $of:ident => $call:expr) => {
        match $engine {
            Engine::Docker($of) => $call.await,
            Engine::Played($of) => $call.await,
        }
    };
}

impl Engine {
    /// Whether an image is there, or can be had.
    pub(crate) async fn is_accessible(&self, image: &str, login: Option<&Login>) -> bool {
        either!(self, of => of.is_accessible(image, login))
    }

    /// Gets an image, unless it is there.
    pub(crate) async fn pull(&self, image: &str, login: Option<&Login>) -> Result<()> {
        either!(self, of => of.pull(image, login))
    }

    pub(crate) async fn place(&self, sandbox: &Sandbox) -> Result<Place> {
        either!(self, of => of.place(sandbox))
    }

    /// Makes an attempt, without starting it.
    pub(crate) async fn make(&self, place: &Place, attempt: &Attempt) -> Result<String> {
        either!(self, of => of.make(place, attempt))
    }

    pub(crate) async fn start(&self, id: &str) -> Result<()> {
        either!(self, of => of.start(id))
    }

    /// Waits for an end.
    pub(crate) async fn wait(&self, id: &str) -> Result<Exit> {
        either!(self, of => of.wait(id))
    }

    /// Asks an attempt to end, and kills it after `grace`.
    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        either!(self, of => of.stop(id, grace))
    }

    /// Removes an attempt, or a sandbox. What is not there is gone.
    pub(crate) async fn remove(&self, id: &str) -> Result<()> {
        either!(self, of => of.remove(id))
    }

    pub(crate) async fn remove_volume(&self, name: &str) -> Result<()> {
        either!(self, of => of.remove_volume(name))
    }

    /// Runs a command in an attempt and returns its code.
    pub(crate) async fn run(&self, id: &str, command: &[String]) -> Result<i64> {
        either!(self, of => of.run(id, command))
    }

    pub(crate) async fn logs(&self, id: &str, tail: Tail) -> Result<String> {
        either!(self, of => of.logs(id, tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_has_times_if_they_are_asked_for() {
        let log = "1 a\n2 b c\n3 \n4 d";
        for (lines, timestamps, text) in [
            (None, true, log),
            (None, false, "a\nb c\n\nd"),
            (Some(2), false, "\nd"),
            (Some(0), true, ""),
            (Some(9), false, "a\nb c\n\nd"),
        ] {
            assert_eq!(Tail { lines, timestamps }.of(log), text, "{lines:?} {timestamps}");
        }
    }
}
