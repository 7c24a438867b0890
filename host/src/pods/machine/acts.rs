//! How each action is done: calls of the provider, questions to the cluster, probes and hooks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::action::Action;
use super::memory::outcome::{Outcome, Unstarted};
use super::observed::Observed;
use super::probe::{self, Answer, Target};
use super::scene::falls_back;
use super::spec::Spec;
use super::values::Values;
use super::{Shared, hooks};
use crate::defaults::machine::{WORDS, WORDS_OF_LOG, WORDS_OF_LOG_LINES};
use crate::provider::containers::PullPolicy;
use crate::provider::{Call, Code, DesiredPod, Error, LogOptions, PodRef, ResolvedContainer};

/// Batches of log entries between the provider and who keeps their end.
const BATCHES: usize = 16;

/// What an action is done with: the pod as it was when the action was decided upon.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) id: PodRef,
    pub(super) spec: Arc<Spec>,
    /// none: nobody knows the pod any more, and nothing is made of it.
    pub(super) desired: Option<Arc<DesiredPod>>,
    pub(super) observed: Arc<Observed>,
    pub(super) values: Arc<Values>,
}

impl Actor {
    /// Does it, until it is done or the call is asked to end.
    pub(super) async fn act(self, action: &Action, call: Call) -> Outcome {
        let (containers, id) = (&self.shared.containers, &self.id);
        match action {
            Action::Look => Outcome::Looked(containers.get_sandbox(id).await.map(Observed::of)),
            Action::EnsureSandbox => Outcome::Sandbox(match self.desired() {
                Ok(desired) => containers.ensure_sandbox(call, desired).await,
                Err(error) => Err(error),
            }),
            Action::StopSandbox => Outcome::Done(containers.stop_sandbox(call, id).await),
            Action::RemoveSandbox => Outcome::Deleted(containers.remove_sandbox(call, id).await),
            Action::Pull { image, policy, .. } => Outcome::Pulled(self.pull(call, image, *policy).await),
            Action::Start { name, attempt, image_id } => {
                Outcome::Started(self.start(call, name, *attempt, image_id).await)
            }
            Action::PostStart { name, .. } | Action::PreStop { name, .. } => {
                Outcome::Hooked(self.hook(action, name, call).await)
            }
            Action::Stop { name, attempt, grace } => {
                let grace = Duration::from_secs((*grace).into());
                Outcome::Deleted(containers.stop_container(call, id, name, *attempt, grace).await)
            }
            Action::Remove { name, attempt } => {
                Outcome::Done(containers.remove_container(call, id, name, *attempt).await)
            }
            Action::LastWords { name, attempt } => Outcome::Words(self.last_words(call, name, *attempt).await),
            Action::Probe { name, kind, .. } => {
                let probe = self.spec.container(name).and_then(|container| container.probe(*kind));
                let Some(probe) = probe else { return Outcome::Probed(Answer::Error("there is no such probe".into())) };
                let (mut call, target) = (call, self.target(name));
                Outcome::Probed(tokio::select! {
                    answer = probe::probe(&target, probe) => answer,
                    _ = call.cancelled() => Answer::Error("called off".into()),
                })
            }
        }
    }

    fn desired(&self) -> Result<DesiredPod, Error> {
        let unknown = || Error::new(Code::FailedPrecondition, "PodUnknown", "nobody knows the pod any more");
        self.desired.as_deref().cloned().ok_or_else(unknown)
    }

    fn target<'a>(&'a self, container: &'a str) -> Target<'a> {
        let ip = self.observed.ips().first().map(String::as_str);
        let sandbox = self.observed.sandbox.as_ref();
        // A pod on the network of its machine is reached there.
        let ip = ip.or_else(|| sandbox.filter(|_| self.spec.host_network).and_then(|s| s.host_ip.as_deref()));
        Target { containers: &self.shared.containers, id: &self.id, container, ip }
    }

    async fn pull(&self, call: Call, image: &str, policy: PullPolicy) -> Result<(String, Duration), Error> {
        let began = Instant::now();
        let id = self.shared.containers.pull_image(call, &self.id, image, policy).await?;
        Ok((id, began.elapsed()))
    }

    async fn start(&self, call: Call, name: &str, attempt: u32, image_id: &str) -> Result<String, Unstarted> {
        let unresolved = |error| Unstarted { unresolved: true, error };
        let desired = self.desired().map_err(unresolved)?;
        let mut cancelled = call.clone();
        let resolved = tokio::select! {
            resolved = self.resolve(name) => resolved.map_err(unresolved)?,
            _ = cancelled.cancelled() => {
                return Err(unresolved(Error::new(Code::Cancelled, "CallCancelled", "called off before it began")));
            }
        };
        let started = self.shared.containers.start_container(call, desired, resolved, image_id, attempt).await;
        started.map_err(|error| Unstarted { unresolved: false, error })
    }

    /// The container's values as of now: each attempt has its own.
    async fn resolve(&self, name: &str) -> Result<ResolvedContainer, Error> {
        let nobody = || Error::new(Code::Unavailable, "ClusterNotServed", "the host does not know its pods yet");
        let cluster = self.shared.cluster().ok_or_else(nobody)?;
        self.values.resolve(&*cluster, &self.id, name, self.observed.ips()).await
    }

    async fn hook(&self, action: &Action, name: &str, call: Call) -> Result<(), String> {
        let container = self.spec.container(name);
        let pre_stop = matches!(action, Action::PreStop { .. });
        let hook = container
            .and_then(|container| if pre_stop { container.pre_stop.as_ref() } else { container.post_start.as_ref() });
        let Some(hook) = hook else { return Ok(()) };
        match hooks::run(&self.target(name), &self.spec.title, hook, call.clone()).await {
            // Its time was over; that is told nowhere, unless it had none.
            Err(failure) if call.reason().is_some() && !failure.unbegun => Ok(()),
            result => result.map_err(|failure| failure.message),
        }
    }

    /// The termination message: what the container left in its file, or else the end of its log where that stands in.
    async fn last_words(&self, call: Call, name: &str, attempt: u32) -> Result<String, Error> {
        let Some(container) = self.spec.container(name) else { return Ok(String::new()) };
        let path = &container.words.path;
        let mut words = String::new();
        if !path.is_empty() {
            let message = self.shared.containers.termination_message(&self.id, name, attempt, path).await?;
            words = String::from_utf8_lossy(&message.unwrap_or_default()).into_owned();
            words.truncate(words.floor_char_boundary(WORDS));
        }
        let ended = self.observed.attempts(name).iter().find(|container| container.attempt == attempt);
        if words.is_empty() && ended.is_some_and(|ended| falls_back(container, ended)) {
            words = self.end_of_log(call, name, attempt).await;
        }
        Ok(words)
    }

    async fn end_of_log(&self, call: Call, name: &str, attempt: u32) -> String {
        let (sink, mut entries) = mpsc::channel(BATCHES);
        let options = LogOptions { tail: Some(WORDS_OF_LOG_LINES), attempt: Some(attempt), ..LogOptions::default() };
        let read = self.shared.provider.get_container_logs(call, &self.id, name, options, sink);
        let keep = async {
            let mut end = Vec::new();
            while let Some(batch) = entries.recv().await {
                for entry in batch {
                    end.extend_from_slice(&entry.bytes);
                    if !entry.partial {
                        end.push(b'\n');
                    }
                }
                let surplus = end.len().saturating_sub(WORDS_OF_LOG);
                end.drain(..surplus);
            }
            end
        };
        let (read, end) = tokio::join!(read, keep);
        match read {
            Ok(()) => String::from_utf8_lossy(&end).into_owned(),
            Err(error) if error.code == Code::Unimplemented => String::new(),
            Err(error) => format!("Error on reading termination message from logs: {}", error.message),
        }
    }
}
