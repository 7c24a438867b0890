//! The ends of containers and pods.

use vk_engine::Failure;
use vk_provider::{Deletion, Error, PodRef, Result};

use crate::context::{Context, Seen};
use crate::labels;
use crate::volumes::files::message;
use crate::volumes::{OWN, ROOT};

/// What a container is told to end with, unless its image or its spec says otherwise.
const TERM: &str = "SIGTERM";
const KILL: &str = "SIGKILL";
/// The contract's bound of a termination message.
const MESSAGE: usize = 4096;

/// Sends a container its stop signal, or kills it. What has ended is gone.
///
/// # Errors
/// The engine said no.
pub(crate) fn stop(context: &Context, id: &PodRef, name: &str, attempt: u32, kill: bool) -> Result<Deletion> {
    let Some(details) = context.attempt(id, name, attempt)?.filter(|details| details.state.is_running()) else {
        return Ok(Deletion::Gone);
    };
    let signal = match details.config.stop_signal.as_str() {
        _ if kill => KILL,
        "" => TERM,
        signal => signal,
    };
    match context.engine.kill_container(&details.id, signal) {
        // It has ended meanwhile.
        Err(failure) if failure.is_conflict() || failure.is_not_found() => Ok(Deletion::Gone),
        outcome => Ok(outcome.map(|()| Deletion::Stopping)?),
    }
}

/// Ends a container at once. One that does not run has ended already.
///
/// # Errors
/// The engine said no.
pub(crate) fn kill(context: &Context, seen: &Seen) -> Result<()> {
    match context.engine.kill_container(&seen.id, KILL) {
        Err(failure) if !failure.is_conflict() && !failure.is_not_found() => Err(failure.into()),
        _ => Ok(()),
    }
}

/// Ends what holds a pod's addresses, host ports and memory. Its containers' logs and last words stay.
///
/// # Errors
/// The engine said no.
pub(crate) fn stop_sandbox(context: &Context, id: &PodRef) -> Result<()> {
    let seen = context.pod(id)?;
    seen.sandboxes.iter().filter(|sandbox| sandbox.running).try_for_each(|sandbox| kill(context, sandbox))
}

/// Removes an attempt that has ended.
///
/// # Errors
/// `failed-precondition`: it runs.
pub(crate) fn remove(context: &Context, id: &PodRef, name: &str, attempt: u32) -> Result<()> {
    let seen = context.pod(id)?;
    let Some(there) = seen.attempt(name, attempt) else { return Ok(()) };
    match context.engine.remove_container(&there.id, false) {
        Err(failure) if failure.is_conflict() => Err(conflict(context, &there.id, failure)),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Docker says the same of a container that runs and of one whose removal is under way.
fn conflict(context: &Context, container: &str, failure: Failure) -> Error {
    let running = context.engine.container(container).ok().flatten().is_some_and(|details| details.state.is_running());
    if running { Error::failed_precondition("ContainerRunning", failure.to_string()) } else { failure.into() }
}

/// Removes all that is left of a pod: containers, then sandboxes, as Podman wants it, then volumes.
///
/// # Errors
/// The engine said no. Some of it may be gone.
pub(crate) fn remove_all(context: &Context, id: &PodRef) -> Result<Deletion> {
    let seen = context.pod(id)?;
    for container in seen.containers.iter().chain(&seen.sandboxes) {
        context.engine.remove_container(&container.id, true)?;
    }
    for volume in context.engine.volumes(&labels::of_pod(&context.node, id))? {
        context.engine.remove_volume(&volume.name)?;
    }
    Ok(Deletion::Gone)
}

/// What an attempt has left as its termination message; none: nothing. `Path` is where its container had it: the
/// sandbox has it elsewhere.
///
/// # Errors
/// Not known.
pub(crate) fn termination_message(context: &Context, id: &PodRef, name: &str, attempt: u32) -> Result<Option<Vec<u8>>> {
    let seen = context.pod(id)?;
    let Some(sandbox) = seen.sandboxes.last() else { return Ok(None) };
    let path = format!("{ROOT}/{OWN}/{}", message(name, attempt));
    let content = context.engine.read_file(&sandbox.id, &path, MESSAGE)?;
    Ok(content.filter(|content| !content.is_empty()))
}
