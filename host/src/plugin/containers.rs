//! [`Containers`] by calls into the component.

mod captured;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Instance;

use self::captured::Captured;
use super::Plugin;
use super::admission::Workloads;
use super::bindings::exports::virtual_kubelet::provider::containers::GuestIndices;
use super::bindings::virtual_kubelet::provider::terminal::{Exit, Stdio};
use super::bindings::virtual_kubelet::provider::types;
use super::call::{Class, Request};
use super::convert::containers::{Piece, page};
use super::generation::Generation;
use super::provider::{guest, missing};
use super::state::{Cpu, State};
use crate::defaults::call::EXEC_OUTPUT;
use crate::defaults::machine::WORDS;
use crate::provider::containers::{Abilities, Containers, Executed, PullPolicy, Sandbox, SandboxState, gather};
use crate::provider::{Call, Code, Deletion, DesiredPod, Error, PodRef, ResolvedContainer};

/// The capability, which a plugin of the other shape does not have.
fn containers(generation: &Generation) -> Result<&GuestIndices, Error> {
    match &generation.exports.workloads {
        Workloads::Containers(indices) => Ok(indices),
        Workloads::Pods(_) => Err(missing("containers")),
    }
}

impl Plugin {
    /// A call that makes something.
    fn making(&self, operation: &'static str, id: &PodRef, call: Call) -> Request {
        let deadline = Some(self.limits().create_deadline);
        Request { class: Class::Create, deadline, mutates: true, call, ..self.look(operation, Some(id)) }
    }

    /// A call that ends something.
    fn ending(&self, operation: &'static str, id: &PodRef, call: Call) -> Request {
        Request { class: Class::Delete, mutates: true, call, ..self.look(operation, Some(id)) }
    }

    /// A call that computes little and lasts long.
    fn lasting(&self, class: Class, deadline: Option<Duration>, look: Request) -> Request {
        let cpu = Cpu::Share { time: self.limits().session_cpu, period: self.limits().session_period };
        Request { class, deadline, cpu, ..look }
    }
}

#[async_trait]
impl Containers for Plugin {
    fn abilities(&self) -> Abilities {
        let generation = self.current.load();
        Abilities { exec: generation.exports.exec.is_some(), reaches_pods: generation.reaches_pods }
    }

    async fn ensure_sandbox(&self, call: Call, pod: DesiredPod) -> Result<Sandbox, Error> {
        let request = self.making("ensure-sandbox", &pod.id, call);
        let pod = types::DesiredPod::from(pod);
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        let sandbox = self.call(g, request, guest!(indices, call_ensure_sandbox(&pod))).await?;
        g.trial.note_acknowledged();
        Ok(sandbox.into())
    }

    async fn pull_image(&self, call: Call, id: &PodRef, image: &str, policy: PullPolicy) -> Result<String, Error> {
        let making = self.making("pull-image", id, call);
        // Only to ask whether it is there takes no longer than any question.
        let request = match policy {
            PullPolicy::Never => Request { class: Class::Poll, mutates: false, ..making },
            PullPolicy::IfNotPresent | PullPolicy::Always => {
                self.lasting(Class::Pull, Some(self.limits().pull_deadline), making)
            }
        };
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        self.call(g, request, guest!(indices, call_pull_image(&id, image, policy.into()))).await
    }

    async fn start_container(
        &self,
        call: Call,
        pod: DesiredPod,
        container: ResolvedContainer,
        image_id: &str,
        attempt: u32,
    ) -> Result<String, Error> {
        let request = self.making("start-container", &pod.id, call);
        let (pod, container) = (types::DesiredPod::from(pod), types::ResolvedContainer::from(container));
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        let start = guest!(indices, call_start_container(&pod, &container, image_id, attempt));
        let id = self.call(g, request, start).await?;
        g.trial.note_acknowledged();
        Ok(id)
    }

    async fn stop_container(
        &self,
        call: Call,
        id: &PodRef,
        name: &str,
        attempt: u32,
        grace: Duration,
    ) -> Result<Deletion, Error> {
        let request = self.ending("stop-container", id, call);
        let id = types::PodRef::from(id.clone());
        // Rounded up: a grace of half a second is not a kill.
        let grace = u32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        let stop = guest!(indices, call_stop_container(&id, name, attempt, grace));
        let deletion = self.call(g, request, stop).await?;
        g.trial.note_acknowledged();
        Ok(deletion.into())
    }

    async fn remove_container(&self, call: Call, id: &PodRef, name: &str, attempt: u32) -> Result<(), Error> {
        let request = self.ending("remove-container", id, call);
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        self.call(g, request, guest!(indices, call_remove_container(&id, name, attempt))).await
    }

    async fn stop_sandbox(&self, call: Call, id: &PodRef) -> Result<(), Error> {
        let request = self.ending("stop-sandbox", id, call);
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        self.call(g, request, guest!(indices, call_stop_sandbox(&id))).await
    }

    async fn remove_sandbox(&self, call: Call, id: &PodRef) -> Result<Deletion, Error> {
        let request = self.ending("remove-sandbox", id, call);
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        let deletion = self.call(g, request, guest!(indices, call_remove_sandbox(&id))).await?;
        g.trial.note_acknowledged();
        Ok(deletion.into())
    }

    async fn termination_message(
        &self,
        id: &PodRef,
        name: &str,
        attempt: u32,
        path: &str,
    ) -> Result<Option<Bytes>, Error> {
        let request = self.look("termination-message", Some(id));
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        let read = guest!(indices, call_termination_message(&id, name, attempt, path));
        let message = self.call(g, request, read).await?;
        Ok(message.map(|mut bytes| {
            bytes.truncate(WORDS);
            bytes.into()
        }))
    }

    async fn get_sandbox(&self, id: &PodRef) -> Result<Option<SandboxState>, Error> {
        let request = self.look("get-sandbox", Some(id));
        let id = types::PodRef::from(id.clone());
        let g = &self.enter(&request).await?;
        let indices = containers(g)?;
        let state = self.call(g, request, guest!(indices, call_get_sandbox(&id))).await?;
        Ok(state.map(SandboxState::from))
    }

    async fn list_containers(&self) -> Result<Vec<SandboxState>, Error> {
        // One generation for all pages: another one need not understand the place where a page ended.
        let g = &self.enter(&self.look("list-containers", None)).await?;
        let indices = containers(g)?;
        let pieces = self.pages(async |after: Option<String>| {
            let request = self.look("list-containers", None);
            let listed = self.call(g, request, guest!(indices, call_list_containers(after.as_deref()))).await?;
            Ok(page(listed))
        });
        let (mut sandboxes, mut attempts) = (Vec::new(), Vec::new());
        for piece in pieces.await? {
            match piece {
                Piece::Sandbox(sandbox) => sandboxes.push(sandbox),
                Piece::Container(container) => attempts.push(container),
            }
        }
        Ok(gather(sandboxes, attempts))
    }

    async fn run_in_container(
        &self,
        call: Call,
        id: &PodRef,
        container: &str,
        command: Vec<String>,
        limit: Option<Duration>,
    ) -> Result<Executed, Error> {
        let look = self.look("run-in-container", Some(id));
        let request = self.lasting(Class::Command, limit, Request { mutates: true, call, ..look });
        let id = types::PodRef::from(id.clone());
        let _place = self.place(&request).await?;
        let generation = self.serving(&request).await?;
        let exec = generation.exports.exec.as_ref().ok_or_else(|| missing("exec"))?;
        let captured = Captured::new(EXEC_OUTPUT);
        let (stdout, stderr) = (captured.stream(), captured.stream());
        let run = async |store: &mut Store<State>, instance: &Instance| {
            let table = &mut store.data_mut().table;
            let (stdout, stderr) = (Some(table.push(stdout)?), Some(table.push(stderr)?));
            let io = Stdio { stdin: None, stdout, stderr, terminal: None };
            exec.load(&mut *store, instance)?.call_run_in_container(store, &id, container, &command, io).await
        };
        let late = limit.map(|limit| Instant::now() + limit);
        let exit = self.call_on(&generation, request, run).await;
        // One that was asked to end for its time may have answered something all the same.
        if late.is_some_and(|late| Instant::now() >= late) {
            let late = Error::new(Code::DeadlineExceeded, "DeadlineExceeded", "the command did not end in time");
            return Err(late.with_unknown_effect());
        }
        let exit = exit?;
        let exit_code = match exit {
            Exit::Code(code) => Some(code),
            Exit::Unknown => None,
        };
        Ok(Executed { exit_code, output: captured.take() })
    }
}
