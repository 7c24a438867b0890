//! What else the mock asks of Kubernetes and tells it, where an annotation says so: credentials of registries, values that need the
//! pod's IP, events.

use std::borrow::Cow;
use std::str::FromStr;

use vk_provider::cluster::{self, Credential};
use vk_provider::{DesiredPod, PodRef, Result};

use crate::manifest::Spec;
use crate::record::{hidden, ip};
use crate::script::Script;

/// The annotation `event`: a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    reason: String,
    message: String,
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().split_once(char::is_whitespace) {
            Some((reason, message)) => Ok(Self { reason: reason.to_owned(), message: message.trim().to_owned() }),
            None => Err(format!("{text:?} is no event; write it like \"RackDegraded one of two disks is gone\"")),
        }
    }
}

impl Event {
    pub(crate) fn tell(&self, id: &PodRef) {
        cluster::event(id, true, &self.reason, &self.message);
    }
}

/// What `log-credentials` prints: what each ordinary container's image is pulled with, in the host's order.
///
/// # Errors
/// The host's own, of no effect: the workload is not made yet.
pub(crate) fn credentials(id: &PodRef, spec: &Spec<'_>, script: &Script) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if script.log_credentials {
        for image in spec.containers.iter().map(|container| &container.image) {
            let credentials = cluster::registry_credentials(id, image)?;
            lines.extend(credentials.iter().map(|credential| line(image, credential, script.reveal_secrets)));
        }
    }
    Ok(lines)
}

fn line(image: &str, credential: &Credential, reveal: bool) -> String {
    let Credential { server, username, password } = credential;
    let username = if username.is_empty() { "-" } else { username };
    let password = if reveal { Cow::Borrowed(password) } else { Cow::Owned(hidden(password.len())) };
    format!("credential {image} {server} {username} {password}")
}

/// Some value of the pod needs its IP. The host lets such a pod come only if the configuration has `resolvesLate`.
pub(crate) fn is_late(pod: &DesiredPod) -> bool {
    pod.containers.iter().any(|container| container.late)
}

/// The pod with all its values: the mock knows its IP beforehand.
///
/// # Errors
/// The host's own, of no effect: nothing is made or changed yet.
pub(crate) fn resolved<'a>(pod: &'a DesiredPod, spec: &Spec<'_>, script: &Script) -> Result<Cow<'a, DesiredPod>> {
    if !is_late(pod) {
        return Ok(Cow::Borrowed(pod));
    }
    let ips = [ip(&pod.id, spec, script)];
    let mut pod = pod.clone();
    for container in pod.containers.iter_mut().filter(|container| container.late) {
        let answer = cluster::resolve_container(&pod.id, &container.name, &ips);
        *container = answer?;
    }
    Ok(Cow::Owned(pod))
}
