//! The sandbox: a container that holds the pod's network, its IPC and its volumes, and does nothing else.

mod ensure;
mod spec;

pub(crate) use ensure::ensure;
pub(crate) use spec::hostname;

use std::time::Duration;

use vk_engine::container::Details;
use vk_provider::containers::Sandbox;
use vk_provider::time::Time;
use vk_provider::{PodRef, Result};

use crate::context::{Context, PodSeen, Seen};
use crate::labels::Mark;
use crate::manifest::Spec;
use crate::volumes::ROOT;

/// A sandbox that is made is started right away, as soon as a busy engine comes to it. A start that comes later may be
/// somebody else's, after which it is empty.
const SOON: Duration = Duration::from_secs(60);
/// How much later than its containers a sandbox may have started. Within one sandbox containers come after it; a clock
/// that is set by a little must not end a pod.
const SLACK_SECONDS: u64 = 2;

/// It was started again while its containers ran: they kept a network that is no more.
pub(crate) fn has_lost_containers(pod: &PodSeen, sandbox: &Details) -> bool {
    let Some(started) = sandbox.state.started_at else { return false };
    let before = (started.as_millis() / 1000).saturating_sub(SLACK_SECONDS);
    let joined = |seen: &&Seen| seen.mark.sandbox.as_deref() == Some(sandbox.id.as_str());
    pod.containers.iter().filter(|seen| seen.running).filter(joined).any(|seen| seen.created_at < before)
}

/// Its volumes were filled since its start. Files in memory go with its end, so that those of an earlier start do not
/// count.
///
/// # Errors
/// Not known.
pub(crate) fn is_filled(context: &Context, sandbox: &Details) -> Result<bool> {
    Ok(context.engine.stat_path(&sandbox.id, &format!("{ROOT}/{}", marker(sandbox)))?.is_some())
}

/// The file that says so.
fn marker(sandbox: &Details) -> String {
    format!(".filled-{}", sandbox.state.started_at.map_or(0, Time::as_nanos))
}

/// It was started once, as far as can be told without a look at its files: engines remember over a start when a container
/// last ended, but for Podman, which forgets it with its machine's end.
fn is_first_start(sandbox: &Details) -> bool {
    let soon = sandbox.state.started_at.zip(sandbox.created).is_some_and(|(started, made)| started.since(made) < SOON);
    soon && sandbox.state.finished_at.is_none()
}

/// A pod's sandbox, as the host sees it. Containers join it once it is filled, so that one that has none may not be: a host
/// that was killed after its start filled nothing.
///
/// # Errors
/// Not known.
pub(crate) fn observed(context: &Context, pod: &PodSeen, details: &Details, mark: Mark) -> Result<Sandbox> {
    let ready = details.state.is_running()
        && !has_lost_containers(pod, details)
        && ((is_first_start(details) && pod.has_joined(&details.id)) || is_filled(context, details)?);
    Ok(shown(context, details, mark, ready))
}

/// The same of one of which it is known whether it is ready.
fn shown(context: &Context, details: &Details, mark: Mark, ready: bool) -> Sandbox {
    Sandbox {
        id: mark.pod,
        revision: mark.revision,
        ready,
        // Of one that does not run the engine tells addresses that it had.
        ips: if ready { addresses(context, details) } else { Vec::new() },
        host_ip: Some(context.address()),
        created_ms: details.created.map(Time::as_millis),
    }
}

/// A pod of which the sandbox is gone, and something else is not.
pub(crate) fn gone(context: &Context, id: PodRef) -> Sandbox {
    let host_ip = Some(context.address());
    Sandbox { id, revision: None, ready: false, ips: Vec::new(), host_ip, created_ms: None }
}

fn addresses(context: &Context, details: &Details) -> Vec<String> {
    if details.host_config.network_mode == "host" {
        return vec![context.address()];
    }
    details.network_settings.addresses()
}

/// The sandbox that runs.
///
/// # Errors
/// `aborted`: none does. The host looks and makes another one.
pub(crate) fn running<'a>(pod: &'a PodSeen, id: &PodRef) -> Result<&'a Seen> {
    pod.sandbox().ok_or_else(|| {
        let message = format!("the sandbox of pod {:?} does not run", id.name);
        vk_provider::Error::aborted("SandboxNotReady", message)
    })
}

/// The group that the pod's volumes belong to.
pub(crate) const fn group(spec: &Spec) -> Option<u32> {
    spec.security_context.fs_group
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_engine::container::Summary;

    use crate::labels::{self, Attempt};

    #[test]
    fn containers_that_are_older_than_their_sandbox_have_no_network() {
        vk_provider::testing::reset();
        let (node, id) = (
            vk_provider::config::node(),
            PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() },
        );
        let pod = |sandbox: &str, state: &str| {
            let attempt = Attempt { name: "c", number: 0, revision: "r", image: "i", image_id: "d", sandbox };
            let labels = labels::container(&node, &id, attempt);
            let summary =
                Summary { id: "c0".to_owned(), created: 1000, state: state.to_owned(), labels, names: Vec::new() };
            PodSeen::from_all(Seen::of(&node, summary))
        };
        let sandbox = |started: u64| {
            let mut details = Details { id: "s".to_owned(), ..Details::default() };
            details.state.started_at = Some(Time::from_millis(started * 1000));
            details
        };
        assert!(!has_lost_containers(&pod("s", "running"), &sandbox(999)));
        assert!(!has_lost_containers(&pod("s", "running"), &sandbox(1002)), "a clock may be set by a little");
        assert!(has_lost_containers(&pod("s", "running"), &sandbox(1060)));
        assert!(!has_lost_containers(&pod("s", "exited"), &sandbox(1060)), "it has ended");
        assert!(!has_lost_containers(&pod("older", "running"), &sandbox(1060)), "it is of another sandbox");
    }
}
