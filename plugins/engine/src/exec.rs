//! Commands in containers, and a container's own input and output: the connection is taken over (`Upgrade: tcp`) and
//! carries [frames](crate::frame), or plain bytes where there is a terminal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::clock;
use vk_provider::http::Request;
use vk_provider::upgrade::{Switched, Upgraded};

use crate::client::{Engine, of, refusal};
use crate::failure::Result;

/// How often, and after what pauses, the end of a command is looked for after the end of its output: a second in all.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A command to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecSpec {
    /// The program and its arguments.
    pub cmd: Vec<String>,
    /// It gets input.
    pub attach_stdin: bool,
    /// Its output is carried.
    pub attach_stdout: bool,
    /// Its errors are carried.
    pub attach_stderr: bool,
    /// It gets a terminal.
    pub tty: bool,
}

/// What is attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Its input.
    pub stdin: bool,
    /// Its output.
    pub stdout: bool,
    /// Its errors.
    pub stderr: bool,
}

/// How a command is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecState {
    running: bool,
    exit_code: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

impl Engine {
    /// Makes a command ready, and returns its id.
    ///
    /// # Errors
    /// The container does not run (conflict), there was no answer, or the engine said no.
    pub fn create_exec(&self, container: &str, spec: &ExecSpec) -> Result<String> {
        let created: Created = self.read(&self.post(&of("containers", container, "/exec")).json(spec))?;
        Ok(created.id)
    }

    /// Starts a command and returns its connection.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn start_exec(&self, id: &str, tty: bool) -> Result<Switched> {
        upgrade(&self.post(&of("exec", id, "/start")).json(&Start { detach: false, tty }))
    }

    /// Starts a command that needs no input and waits for its end; returns at most so much of what it wrote, in frames.
    ///
    /// # Errors
    /// It wrote more, there was no answer, or the engine said no.
    pub fn run_exec(&self, id: &str, most: usize) -> Result<Vec<u8>> {
        let start = self.post(&of("exec", id, "/start")).json(&Start { detach: false, tty: false });
        Ok(self.send(&start)?.body.bytes(most)?)
    }

    /// The code of a command whose output has ended; none: the engine does not tell it. It may take the engine a moment
    /// to notice.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn exit_code(&self, id: &str) -> Result<Option<i32>> {
        for _ in 0..LOOKS {
            let state: ExecState = self.read(&self.get(&of("exec", id, "/json")))?;
            if !state.running {
                return Ok(state.exit_code.and_then(|code| i32::try_from(code).ok()).filter(|code| *code >= 0));
            }
            clock::sleep(PAUSE)?;
        }
        Ok(None)
    }

    /// Tells the size of a command's terminal, in characters.
    ///
    /// # Errors
    /// It has not started, there was no answer, or the engine said no.
    pub fn resize_exec(&self, id: &str, columns: u16, rows: u16) -> Result<()> {
        let request = self.post(&of("exec", id, "/resize"));
        self.send(&request.query("h", rows.to_string()).query("w", columns.to_string())).map(drop)
    }

    /// A connection to a container's own input and output, from now on.
    ///
    /// # Errors
    /// It does not run, there was no answer, or the engine said no.
    pub fn attach(&self, container: &str, to: Attached) -> Result<Switched> {
        let flag = |on: bool| if on { "1" } else { "0" };
        let request = self.post(&of("containers", container, "/attach")).query("stream", "1");
        let request = request.query("stdin", flag(to.stdin)).query("stdout", flag(to.stdout));
        upgrade(&request.query("stderr", flag(to.stderr)))
    }
}

fn upgrade(request: &Request) -> Result<Switched> {
    match request.upgrade("tcp")? {
        Upgraded::Switched(switched) => Ok(switched),
        Upgraded::Refused(response) => Err(refusal(request, response).into()),
    }
}
