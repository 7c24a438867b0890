//! `kubectl exec` and `attach`: a connection that the engine hands over, and a pump between it and the client.
//!
//! ```text
//! client ── stdin ──────────────────────────▶ engine
//!        ◀─ stdout, stderr ── frames, or plain bytes of a terminal ──
//!        ── sizes of the window ──▶ a request each
//! ```

use vk_engine::exec::{Attached, ExecSpec};
use vk_engine::frame::{Frames, Stream};
use vk_provider::pump::{Flow, Outcome, Parts, Pump};
use vk_provider::sessions::{Exit, Resizes, Size, Stdio};
use vk_provider::upgrade::Switched;
use vk_provider::{Error, PodRef, Result, clock};

use crate::context::Context;

/// What Docker 20.10 and Podman 4.3 write to the command's own output when there is no such program, with 126 and 127
/// as the code.
const NO_PROGRAM: [&str; 2] =
    ["OCI runtime exec failed", "OCI runtime attempted to invoke a command that was not found"];
/// So much of it is kept.
const WORDS: usize = 1024;

/// Runs a command in the attempt that runs.
///
/// # Errors
/// There is no such pod or container, it does not run, or there is no such program.
pub(crate) fn run(context: &Context, id: &PodRef, container: &str, command: Vec<String>, io: Stdio) -> Result<Exit> {
    let container = running(context, id, container)?;
    let tty = io.terminal.is_some();
    let spec = ExecSpec {
        cmd: command,
        attach_stdin: io.stdin.is_some(),
        attach_stdout: io.stdout.is_some(),
        attach_stderr: io.stderr.is_some() && !tty,
        tty,
    };
    let exec = context.engine.create_exec(&container, &spec)?;
    let switched = context.engine.start_exec(&exec, tty)?;
    let mut start = Start::default();
    let resize = |size: Size| drop(context.engine.resize_exec(&exec, size.cols, size.rows));
    carry(switched, io, tty, &mut start, &resize)?;
    match context.engine.exit_code(&exec)? {
        Some(126 | 127) if start.is_no_program() => Err(Error::invalid_argument("CommandNotFound", start.words())),
        code => Ok(code.map_or(Exit::Unknown, Exit::Code)),
    }
}

/// Attaches to the attempt that runs.
///
/// # Errors
/// There is no such pod or container, or it does not run.
pub(crate) fn attach(context: &Context, id: &PodRef, container: &str, io: Stdio) -> Result<Exit> {
    let container = running(context, id, container)?;
    let gone = || Error::not_found("ContainerNotFound", format!("the engine's container {container} is gone"));
    let tty = context.engine.container(&container)?.ok_or_else(gone)?.config.tty;
    let to = Attached { stdin: io.stdin.is_some(), stdout: io.stdout.is_some(), stderr: io.stderr.is_some() && !tty };
    let switched = context.engine.attach(&container, to)?;
    let resize = |size: Size| drop(context.engine.resize_container(&container, size.cols, size.rows));
    carry(switched, io, tty, &mut Start::default(), &resize)?;
    // The output may end before the engine has noted the container's end.
    let state = context.engine.container(&container)?.map(|details| details.state);
    let code = state.filter(|state| !state.is_running()).and_then(|state| i32::try_from(state.exit_code).ok());
    Ok(code.filter(|code| *code >= 0).map_or(Exit::Unknown, Exit::Code))
}

/// The engine's id of the attempt that runs.
fn running(context: &Context, id: &PodRef, container: &str) -> Result<String> {
    let seen = context.pod(id)?;
    if let Some(running) = seen.running(container) {
        return Ok(running.id.clone());
    }
    let name = &id.name;
    Err(if seen.is_empty() {
        Error::not_found("PodNotFound", format!("pod {name:?} not found"))
    } else if seen.newest(container).is_some() {
        Error::failed_precondition(
            "ContainerNotRunning",
            format!("container {container:?} in pod {name:?} does not run"),
        )
    } else {
        Error::not_found("ContainerNotFound", format!("container {container:?} not found in pod {name:?}"))
    })
}

/// The beginning of a command's output.
#[derive(Default)]
struct Start(Vec<u8>);

impl Start {
    fn see(&mut self, bytes: &[u8]) {
        let room = WORDS.saturating_sub(self.0.len());
        self.0.extend(bytes.iter().take(room));
    }

    fn is_no_program(&self) -> bool {
        let words = self.words();
        NO_PROGRAM.iter().any(|said| words.contains(said))
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

/// Carries bytes until the engine's side ends.
fn carry(switched: Switched, io: Stdio, tty: bool, start: &mut Start, resize: &dyn Fn(Size)) -> Result<()> {
    let Stdio { stdin, stdout, stderr, terminal } = io;
    let mut frames = Frames::default();
    let sort = |bytes: Vec<u8>| -> Result<Parts> {
        let parts = if tty { vec![(0, bytes)] } else { unframe(&mut frames, &bytes)? };
        parts.iter().for_each(|(_, part)| start.see(part));
        Ok(parts)
    };
    let mut pump = Pump::new()
        .flow(Flow::new(stdin, Some(switched.io.output)))
        .flow(Flow::sorted(Some(switched.io.input), vec![stdout, stderr], sort).decides());
    loop {
        apply(terminal.as_ref(), resize);
        let sizes = terminal.as_ref().map(Resizes::subscribe);
        match pump.run(sizes.as_ref())? {
            Outcome::Over => return Ok(()),
            Outcome::Woken => {}
            Outcome::Cancelled => return Err(clock::Cancelled.into()),
        }
    }
}

/// Which of the two each part of a frame goes to.
fn unframe(frames: &mut Frames, bytes: &[u8]) -> Result<Parts> {
    let mut parts = Parts::new();
    let each = |piece: vk_engine::frame::Piece<'_>| {
        let index = match piece.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        parts.push((index, piece.bytes.to_vec()));
    };
    frames.feed(bytes, each).map_err(|error| Error::unknown("StreamUnreadable", error.to_string()))?;
    Ok(parts)
}

/// A window whose size cannot be told is no reason to end a session.
fn apply(terminal: Option<&Resizes>, resize: &dyn Fn(Size)) {
    if let Some(size) = terminal.and_then(Resizes::next) {
        resize(size);
    }
}
