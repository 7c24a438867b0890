//! What the tests of this room are made of.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::action::{Action, Decision, Event, Note};
use super::clock::Moment;
use super::decide::decide;
use super::memory::Memory;
use super::memory::outcome::Outcome;
use super::observed::Observed;
use super::probe::Answer;
use super::spec::{ProbeKind, Spec};
use crate::provider::containers::{Container, Phase, PullPolicy, Sandbox, SandboxState};
use crate::provider::{Code, Deletion, Error, PodRef};

/// When the tests begin, in milliseconds.
pub(super) const START: u64 = 1_000_000_000;

pub(super) fn id() -> PodRef {
    PodRef { namespace: "ns".into(), name: "pod".into(), uid: "uid".into() }
}

/// A pod of this spec.
pub(super) fn pod(spec: Value) -> Pod {
    let metadata = json!({"name": "pod", "namespace": "ns", "uid": "uid"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod")
}

pub(super) fn sandbox(ready: bool) -> Sandbox {
    Sandbox {
        id: id(),
        revision: Some("1".into()),
        ready,
        ips: if ready { vec!["10.0.0.7".into()] } else { Vec::new() },
        host_ip: Some("192.0.2.1".into()),
        created_ms: Some(START),
    }
}

/// An attempt of image `i` that has taken a second if it is over, and ended with 0.
pub(super) fn container(name: &str, attempt: u32, phase: Phase) -> Container {
    let (started, over) = (!matches!(phase, Phase::Created), phase == Phase::Exited);
    Container {
        pod: id(),
        name: name.into(),
        attempt,
        id: format!("{name}{attempt}"),
        phase,
        started_ms: started.then_some(START),
        finished_ms: over.then_some(START + 1000),
        exit_code: over.then_some(0),
        signal: None,
        oom_killed: false,
        created_ms: Some(START),
        image: "i:1".into(),
        image_id: Some("sha256:1".into()),
        revision: None,
        engine_error: None,
    }
}

/// An engine that does what it is told, at once, and a machine that drives a pod on it. Time stands until it is moved.
pub(super) struct Stage {
    pub(super) spec: Spec,
    pub(super) memory: Memory,
    pub(super) now: Moment,
    /// What the engine has; none: nothing.
    pub(super) engine: Option<SandboxState>,
    /// What the machine has seen of it last.
    pub(super) observed: Observed,
    /// What the machine has done so far, but for its looks.
    pub(super) done: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) gone: bool,
    pub(super) wake: Option<Moment>,
    /// What the engine answers instead, to actions that are called so.
    pub(super) faults: Vec<(String, Error)>,
    /// Actions that take long: they stay under way until they are finished by hand.
    pub(super) slow: Vec<String>,
    /// What probes answer, by kind.
    pub(super) answers: Vec<(ProbeKind, Answer)>,
    /// Containers that end with this code on the stop signal; others wait for the kill.
    pub(super) obedient: Vec<(String, i32)>,
}

/// A pod of this spec, that nobody has seen yet.
pub(super) fn stage(spec: Value) -> Stage {
    let now = Moment(START);
    let mut memory = Memory::new("", Duration::ZERO, now);
    memory.look.last = Some(now);
    Stage {
        spec: Spec::of(&pod(spec)),
        memory,
        now,
        engine: None,
        observed: Observed::default(),
        done: Vec::new(),
        events: Vec::new(),
        gone: false,
        wake: None,
        faults: Vec::new(),
        slow: Vec::new(),
        answers: Vec::new(),
        obedient: Vec::new(),
    }
}

/// Containers named so, of image `i:1`, with these fields besides.
pub(super) fn containers(named: &[(&str, Value)]) -> Value {
    let container = |(name, more): &(&str, Value)| {
        let mut container = json!({"name": name, "image": "i:1", "imagePullPolicy": "IfNotPresent"});
        for (key, value) in more.as_object().into_iter().flatten() {
            container[key] = value.clone();
        }
        container
    };
    Value::Array(named.iter().map(container).collect())
}

/// How an action is called in the tests: `start a 0`, `stop a 0 30`.
pub(super) fn called(action: &Action) -> String {
    match action {
        Action::Look => "look".into(),
        Action::EnsureSandbox => "ensure sandbox".into(),
        Action::StopSandbox => "stop sandbox".into(),
        Action::RemoveSandbox => "remove sandbox".into(),
        Action::Pull { name, policy: PullPolicy::Never, .. } => format!("check {name}"),
        Action::Pull { name, .. } => format!("pull {name}"),
        Action::Start { name, attempt, .. } => format!("start {name} {attempt}"),
        Action::PostStart { name, .. } => format!("postStart {name}"),
        Action::PreStop { name, .. } => format!("preStop {name}"),
        Action::Stop { name, attempt, grace } => format!("stop {name} {attempt} {grace}"),
        Action::Remove { name, attempt } => format!("remove {name} {attempt}"),
        Action::LastWords { name, attempt } => format!("words {name} {attempt}"),
        Action::Probe { name, kind, .. } => format!("probe {name} {}", kind.name()),
    }
}

impl Stage {
    /// Decides and does, until nothing more is to be done at this moment.
    pub(super) fn run(&mut self) -> &mut Self {
        for _ in 0..200 {
            let decision = decide(&self.spec, &self.observed, &self.memory, self.now);
            self.gone = decision.gone;
            self.wake = decision.wake;
            self.cancel(&decision);
            if !decision.changes_something() && decision.cancel.is_empty() {
                return self;
            }
            self.carry_out(decision);
        }
        panic!("it does not come to rest: {:?}", self.done);
    }

    fn cancel(&mut self, decision: &Decision) {
        for action in &decision.cancel {
            self.done.push(format!("cancel {}", called(action)));
            let error = Error::new(Code::Cancelled, "CallCancelled", "cancelled");
            let outcome = match action {
                Action::EnsureSandbox => Outcome::Sandbox(Err(error)),
                Action::Pull { .. } => Outcome::Pulled(Err(error)),
                Action::Start { .. } => {
                    Outcome::Started(Err(super::memory::outcome::Unstarted { unresolved: false, error }))
                }
                Action::PostStart { .. } | Action::PreStop { .. } => Outcome::Hooked(Ok(())),
                Action::Stop { .. } => Outcome::Deleted(Err(error)),
                _ => Outcome::Probed(Answer::Error("cancelled".into())),
            };
            self.finish(action, outcome);
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        for note in &decision.notes {
            if let Note::Kill(kill) = note {
                self.done.push(format!("kill {}", kill.name));
            }
            self.events.extend(self.memory.note(note));
        }
        for action in &decision.actions {
            self.events.extend(self.memory.begin(action, self.now));
        }
        for action in decision.actions {
            let call = called(&action);
            if action != Action::Look {
                self.done.push(call.clone());
            }
            if !self.slow.iter().any(|slow| call.starts_with(slow.as_str())) {
                let outcome = self.perform(&action, &call);
                self.finish(&action, outcome);
            }
        }
    }

    /// Ends an action that is under way.
    pub(super) fn finish(&mut self, action: &Action, outcome: Outcome) {
        if let Outcome::Looked(Ok(observed)) = &outcome
            && !self.memory.look.stale
        {
            self.observed = observed.clone();
        }
        self.events.extend(self.memory.settle(&self.spec, action, outcome, self.now));
    }

    /// Ends an action that takes long, as the engine would have.
    pub(super) fn complete(&mut self, call: &str) -> &mut Self {
        let action = self.memory.flight.iter().find(|action| called(action).starts_with(call)).cloned();
        let action = action.unwrap_or_else(|| panic!("{call} is not under way: {:?}", self.memory.flight));
        let outcome = self.perform(&action, call);
        self.finish(&action, outcome);
        self.run()
    }

    fn perform(&mut self, action: &Action, call: &str) -> Outcome {
        let fault = self.faults.iter().find(|(of, _)| call.starts_with(of.as_str())).map(|(_, error)| error.clone());
        match action {
            Action::Look => Outcome::Looked(fault.map_or_else(|| Ok(Observed::of(self.engine.clone())), Err)),
            Action::EnsureSandbox => Outcome::Sandbox(fault.map_or_else(|| Ok(self.make_sandbox()), Err)),
            Action::StopSandbox => {
                if fault.is_none() {
                    self.engine.iter_mut().for_each(|state| state.sandbox = sandbox(false));
                }
                Outcome::Done(fault.map_or(Ok(()), Err))
            }
            Action::RemoveSandbox => {
                if fault.is_none() {
                    self.engine = None;
                }
                Outcome::Deleted(fault.map_or(Ok(Deletion::Gone), Err))
            }
            Action::Pull { .. } => {
                Outcome::Pulled(fault.map_or_else(|| Ok(("sha256:1".into(), Duration::from_secs(1))), Err))
            }
            Action::Start { name, attempt, .. } => match fault {
                Some(error) => {
                    let unresolved = error.reason == "Unresolved";
                    Outcome::Started(Err(super::memory::outcome::Unstarted { unresolved, error }))
                }
                None => {
                    self.put(container(name, *attempt, Phase::Running));
                    Outcome::Started(Ok(format!("{name}{attempt}")))
                }
            },
            Action::PostStart { .. } | Action::PreStop { .. } => {
                Outcome::Hooked(fault.map_or(Ok(()), |error| Err(error.message)))
            }
            Action::Stop { name, attempt, grace } => {
                let code = self.obedient.iter().find(|(obedient, _)| obedient == name).map(|(_, code)| *code);
                if let Some(code) = code.or((*grace == 0).then_some(137)).filter(|_| fault.is_none()) {
                    self.exit(name, *attempt, code);
                    self.memory.look.hinted = true;
                }
                Outcome::Deleted(fault.map_or(Ok(Deletion::Stopping), Err))
            }
            Action::Remove { name, attempt } => {
                if fault.is_none() {
                    self.take(name, *attempt);
                }
                Outcome::Done(fault.map_or(Ok(()), Err))
            }
            Action::LastWords { name, .. } => Outcome::Words(fault.map_or_else(|| Ok(format!("{name} says")), Err)),
            Action::Probe { kind, .. } => {
                let answer = self.answers.iter().find(|(of, _)| of == kind).map(|(_, answer)| answer.clone());
                Outcome::Probed(answer.unwrap_or(Answer::Success))
            }
        }
    }

    fn make_sandbox(&mut self) -> Sandbox {
        match &mut self.engine {
            Some(state) => state.sandbox = sandbox(true),
            None => self.engine = Some(SandboxState { sandbox: sandbox(true), containers: Vec::new() }),
        }
        sandbox(true)
    }

    /// The engine has this attempt, in place of one of its number.
    pub(super) fn put(&mut self, container: Container) -> &mut Self {
        self.take(&container.name, container.attempt);
        let engine = self.engine.get_or_insert_with(|| SandboxState { sandbox: sandbox(true), containers: Vec::new() });
        engine.containers.push(container);
        self.memory.look.hinted = true;
        self
    }

    /// The engine loses this attempt.
    pub(super) fn take(&mut self, name: &str, attempt: u32) -> &mut Self {
        if let Some(state) = &mut self.engine {
            state.containers.retain(|container| container.name != name || container.attempt != attempt);
        }
        self.memory.look.hinted = true;
        self
    }

    /// An attempt ends with this code, at this moment, after a second.
    pub(super) fn exit(&mut self, name: &str, attempt: u32, code: i32) -> &mut Self {
        let exited = Container {
            exit_code: Some(code),
            started_ms: Some(self.now.0.saturating_sub(1000)),
            finished_ms: Some(self.now.0),
            ..container(name, attempt, Phase::Exited)
        };
        self.put(exited)
    }

    /// The sandbox dies.
    pub(super) fn lose_sandbox(&mut self) -> &mut Self {
        self.engine.iter_mut().for_each(|state| state.sandbox = sandbox(false));
        self.memory.look.hinted = true;
        self
    }

    /// So much later.
    pub(super) fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.run()
    }

    /// What was done since this was asked last.
    pub(super) fn did(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }

    /// Reasons of the events since this was asked last.
    pub(super) fn reasons(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events).into_iter().map(|event| event.reason.into_owned()).collect()
    }

    /// Seconds until it decides again by itself.
    pub(super) fn waits(&self) -> Option<u64> {
        self.wake.map(|wake| wake.since(self.now).as_secs())
    }

    /// The host is killed and starts again; the API server has what it was told last.
    pub(super) fn restart_host(&mut self) -> &mut Self {
        let told = self.status();
        let (now, settle) = (self.now, self.memory.settle);
        self.memory = Memory::new("", settle, now);
        self.memory.look.last = Some(now);
        self.observed = Observed::of(self.engine.clone());
        self.memory.adopt(&id(), &self.spec, Some(&told), &self.observed, now);
        self.run()
    }

    pub(super) fn status(&self) -> k8s_openapi::api::core::v1::PodStatus {
        super::status::status(&self.spec, &self.observed, &self.memory, self.now, "docker")
    }

    /// Name, state and reason of each container, such as `a waiting ContainerCreating` or `a terminated 1 Error`, with its count.
    pub(super) fn told(&self) -> Vec<String> {
        let status = self.status();
        let lists = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
        let line = |container: k8s_openapi::api::core::v1::ContainerStatus| {
            let state = container.state.unwrap_or_default();
            let state = if let Some(waiting) = state.waiting {
                format!("waiting {}", waiting.reason.unwrap_or_default())
            } else if let Some(ended) = state.terminated {
                format!("terminated {} {}", ended.exit_code, ended.reason.unwrap_or_default())
            } else {
                format!("running{}", if container.ready { " ready" } else { "" })
            };
            format!("{} {} {state}", container.name, container.restart_count)
        };
        lists.into_iter().flatten().flatten().map(line).collect()
    }

    pub(super) fn phase(&self) -> String {
        self.status().phase.unwrap_or_default()
    }
}
