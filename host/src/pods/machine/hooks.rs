//! The hooks of a container: a command in it, a request from the host, or sleep.
//! (kubelet: lifecycle/handlers.go)

use super::probe::{Target, get, text};
use super::spec::{Hook, HttpGet};
use crate::defaults::machine::HOOK_LONGEST;
use crate::provider::containers::Executed;
use crate::provider::{Call, Code, Effect};

/// Why a hook did not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What the container's status tells.
    pub(super) message: String,
    /// Nothing of it was begun.
    pub(super) unbegun: bool,
}

/// Runs a hook, until it ends or the call is asked to. `pod`: its title.
pub(super) async fn run(target: &Target<'_>, pod: &str, hook: &Hook, call: Call) -> Result<(), Failure> {
    let mut cancelled = call.clone();
    let container = target.container;
    match hook {
        Hook::Exec(command) => exec(target, command, call).await.map_err(|Failure { message, unbegun }| {
            let about = format!("Exec lifecycle hook ({command:?}) for Container {container:?} in Pod {pod:?}");
            Failure { message: format!("{about} failed - {message}"), unbegun }
        }),
        Hook::Http(request) => tokio::select! {
            result = ask(target, request) => result.map_err(|why| {
                let about = format!("HTTP lifecycle hook ({}) for Container {container:?} in Pod {pod:?}", request.path);
                failure(format!("{about} failed - error: {why}"))
            }),
            _ = cancelled.cancelled() => {
                Err(failure(format!("HTTP lifecycle hook for Container {container:?} in Pod {pod:?} was called off")))
            }
        },
        Hook::Sleep(duration) => tokio::select! {
            () = tokio::time::sleep(*duration) => Ok(()),
            _ = cancelled.cancelled() => Err(failure("container terminated before sleep hook finished".into())),
        },
        Hook::Unknown => Err(failure("Cannot run handler: invalid handler".into())),
    }
}

fn failure(message: String) -> Failure {
    Failure { message, unbegun: false }
}

async fn exec(target: &Target<'_>, command: &[String], call: Call) -> Result<(), Failure> {
    match target.containers.run_in_container(call, target.id, target.container, command.to_vec(), None).await {
        Ok(Executed { exit_code: Some(0), .. }) => Ok(()),
        Ok(Executed { exit_code: Some(code), output }) => {
            Err(failure(format!("error: command exited with {code}, message: {:?}", text(&output))))
        }
        Ok(Executed { exit_code: None, .. }) => {
            Err(failure("error: the provider does not tell how the command ended".into()))
        }
        Err(error) => {
            let unbegun = error.code == Code::Cancelled && error.effect == Effect::None;
            Err(Failure { message: format!("error: {}, message: \"\"", error.message), unbegun })
        }
    }
}

async fn ask(target: &Target<'_>, request: &HttpGet) -> Result<(), String> {
    let host = request.host.as_deref().or(target.ip).ok_or("the pod has no IP yet")?;
    get(host, request.port.clone()?, request, HOOK_LONGEST).await
}
