//! The hooks of a container: a command in it, a request from the host, or sleep.
//! (kubelet: lifecycle/handlers.go)

use super::probe::{Target, get, text};
use super::spec::{Hook, HttpGet};
use crate::defaults::machine::HOOK_LONGEST;
use crate::provider::Call;
use crate::provider::containers::Executed;

/// Runs a hook, until it ends or the call is asked to. An error is what the container's status tells. `pod`: its title.
pub(super) async fn run(target: &Target<'_>, pod: &str, hook: &Hook, call: Call) -> Result<(), String> {
    let mut cancelled = call.clone();
    let container = target.container;
    match hook {
        Hook::Exec(command) => exec(target, command, call).await.map_err(|why| {
            format!("Exec lifecycle hook ({command:?}) for Container {container:?} in Pod {pod:?} failed - {why}")
        }),
        Hook::Http(request) => tokio::select! {
            result = ask(target, request) => result.map_err(|why| {
                let path = &request.path;
                format!("HTTP lifecycle hook ({path}) for Container {container:?} in Pod {pod:?} failed - error: {why}")
            }),
            _ = cancelled.cancelled() => Err(format!("HTTP lifecycle hook for Container {container:?} in Pod {pod:?} was called off")),
        },
        Hook::Sleep(duration) => tokio::select! {
            () = tokio::time::sleep(*duration) => Ok(()),
            _ = cancelled.cancelled() => Err("container terminated before sleep hook finished".into()),
        },
        Hook::Unknown => Err("Cannot run handler: invalid handler".into()),
    }
}

async fn exec(target: &Target<'_>, command: &[String], call: Call) -> Result<(), String> {
    match target.containers.run_in_container(call, target.id, target.container, command.to_vec()).await {
        Ok(Executed { exit_code: Some(0), .. }) => Ok(()),
        Ok(Executed { exit_code: Some(code), output }) => {
            Err(format!("error: command exited with {code}, message: {:?}", text(&output)))
        }
        Ok(Executed { exit_code: None, .. }) => Err("error: the provider does not tell how the command ended".into()),
        Err(error) => Err(format!("error: {}, message: \"\"", error.message)),
    }
}

async fn ask(target: &Target<'_>, request: &HttpGet) -> Result<(), String> {
    let host = request.host.as_deref().or(target.ip).ok_or("the pod has no IP yet")?;
    get(host, request.port.clone()?, request, HOOK_LONGEST).await
}
