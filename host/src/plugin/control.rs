//! How an operator asks a running host for a swap: SIGHUP, or a word to a socket in its state directory.
//!
//! ```text
//! client ─▶ {"ask":"reload"}⏎
//!        ◀─ {"outcome":"PluginReplaced","message":"…","success":true}⏎        once the attempt has ended
//! ```
//!
//! The socket is its owner's alone, and root's. The state directory is locked by the host, so what lies there under the socket's name is of
//! a host that was killed.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::swap::Reloader;
use crate::defaults::swap::CONTROL_TIMEOUT;

/// Name of the socket in the state directory.
const SOCKET: &str = "control.sock";
/// Longest word of a client, in bytes.
const LONGEST: u64 = 1024;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum Ask {
    Reload,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Outcome::reason`](super::swap::Outcome::reason), or `NotUnderstood`, `Stopping`.
    pub outcome: String,
    /// For people.
    pub message: String,
    /// The plugin's file serves.
    pub success: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no vk-host listens at {}: {error}; give the running host's --nodename or --state-dir, as the user that it runs as",
        path.display()
    )]
    NoHost {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It listened and did not answer.
    #[error("the host did not answer: {0}; its log says how far it came")]
    NoAnswer(io::Error),
}

/// Asks the host with this state directory to read its plugin anew. Blocks until the attempt has ended.
pub fn reload(state_dir: &Path) -> Result<Answer, AskError> {
    let path = state_dir.join(SOCKET);
    let mut stream =
        std::os::unix::net::UnixStream::connect(&path).map_err(|error| AskError::NoHost { path, error })?;
    let mut talk = || -> io::Result<Answer> {
        stream.write_all(&line(&Ask::Reload)?)?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    };
    talk().map_err(AskError::NoAnswer)
}

fn line(of: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(of)?;
    line.push(b'\n');
    Ok(line)
}

/// The host's end.
pub struct Control {
    hangup: Signal,
    /// None where the socket could not be made.
    socket: Option<(UnixListener, PathBuf)>,
}

impl Control {
    /// Listens. A socket that cannot be made is told in the log and no more: a node is not refused for it, and SIGHUP, which
    /// `hangup` hears, does the same. One that came before counts.
    pub fn open(state_dir: &Path, hangup: Signal) -> Self {
        let path = state_dir.join(SOCKET);
        let socket = bind(&path)
            .inspect_err(|error| {
                tracing::warn!(socket = %path.display(), %error, "`vk-host plugin reload` cannot reach this host; SIGHUP can");
            })
            .ok();
        Self { hangup, socket: socket.map(|listener| (listener, path)) }
    }

    /// Hands on what is asked until `stop`.
    pub async fn run(mut self, reloader: Reloader, stop: CancellationToken) {
        let mut talks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = self.hangup.recv() => {
                    tracing::info!("SIGHUP: the plugin's file is read anew");
                    let reloader = reloader.clone();
                    // How it ended is in the log and in an event.
                    talks.spawn(async move { drop(reloader.reload().await) });
                }
                stream = accept(self.socket.as_ref()) => {
                    let reloader = reloader.clone();
                    talks.spawn(async move {
                        if let Err(error) = answer(stream, &reloader).await {
                            tracing::debug!(%error, "a client of the control socket left");
                        }
                    });
                }
                Some(_) = talks.join_next() => {}
            }
        }
        if let Some((_, path)) = self.socket {
            let _ = std::fs::remove_file(path);
        }
        // Whoever waits for an answer is told that the host stops.
        let told = async { while talks.join_next().await.is_some() {} };
        let _ = timeout(CONTROL_TIMEOUT, told).await;
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// The next client; for ever if there is no socket.
async fn accept(socket: Option<&(UnixListener, PathBuf)>) -> UnixStream {
    let Some((listener, _)) = socket else { return std::future::pending().await };
    loop {
        match listener.accept().await.and_then(ours) {
            Ok(Some(stream)) => return stream,
            Ok(None) => {}
            Err(error) => {
                // Too many open files, most often: it passes, and must not spin meanwhile.
                tracing::debug!(%error, "no client of the control socket");
                tokio::time::sleep(CONTROL_TIMEOUT).await;
            }
        }
    }
}

/// Only of this user or root: where the umask is lax and the directory open, others may connect before the socket has its mode.
fn ours((stream, _): (UnixStream, SocketAddr)) -> io::Result<Option<UnixStream>> {
    let peer = stream.peer_cred()?.uid();
    if peer == nix::unistd::ROOT.as_raw() || peer == nix::unistd::geteuid().as_raw() {
        return Ok(Some(stream));
    }
    tracing::warn!(uid = peer, "another user's client of the control socket was turned away");
    Ok(None)
}

async fn answer(stream: UnixStream, reloader: &Reloader) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut word = String::new();
    timeout(CONTROL_TIMEOUT, tokio::io::BufReader::new(read.take(LONGEST)).read_line(&mut word)).await??;
    let told = |outcome: &str, message: String, success| Answer { outcome: outcome.into(), message, success };
    let answer = match serde_json::from_str(&word) {
        Ok(Ask::Reload) => match reloader.reload().await {
            Some(outcome) => told(outcome.reason(), outcome.to_string(), outcome.is_success()),
            None => told("Stopping", "the host stops".into(), false),
        },
        Err(error) => {
            told("NotUnderstood", format!("{}: {error}; known is {{\"ask\":\"reload\"}}", word.trim()), false)
        }
    };
    timeout(CONTROL_TIMEOUT, write.write_all(&line(&answer)?)).await?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::signal::unix::{SignalKind, signal};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_that_the_host_stops() {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::open(directory.path(), signal(SignalKind::hangup()).unwrap());
        let (asked, mut requests) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let running = tokio::spawn(control.run(Reloader(asked), stop.clone()));
        let path = directory.path().to_owned();
        let asking = tokio::task::spawn_blocking(move || reload(&path));
        let reply = requests.recv().await.unwrap();
        stop.cancel();
        // The attempt is given up a moment after no more are taken.
        while directory.path().join(SOCKET).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(reply);
        let answer = asking.await.unwrap().unwrap();
        assert_eq!((&*answer.outcome, answer.success), ("Stopping", false));
        running.await.unwrap();
    }
}
