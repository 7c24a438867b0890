//! A pod's status at a time, worded as the kubelet words it.

use vk_provider::status::{Condition, ContainerStatus, Phase, PodStatus, Terminated};
use vk_provider::time::Time;
use vk_provider::{ObservedPod, PodRef};

use crate::record::{Part, Record};
use crate::state::{Attempt, Life, Snapshot};

/// The pod as the backend has it at a time. The machine's address is left to the host, which knows it.
pub(crate) fn observe(id: &PodRef, record: &Record, now: u64) -> ObservedPod {
    let snapshot = record.timing.at(now);
    let mut status = PodStatus::new(snapshot.phase).started(Time::from_millis(record.timing.created));
    if snapshot.sandbox <= now {
        status = status.pod_ip(record.ip.clone());
    }
    for (index, (part, life)) in record.containers.iter().zip(snapshot.init.iter().chain(&snapshot.main)).enumerate() {
        let container = Container { id, record, part, index }.status(*life);
        status =
            if index < snapshot.init.len() { status.init_container(container) } else { status.container(container) };
    }
    status.conditions = Readiness { record, snapshot: &snapshot, now }.conditions();
    status.observed(id.clone(), Some(record.revision.clone()))
}

/// One container of a pod.
struct Container<'a> {
    id: &'a PodRef,
    record: &'a Record,
    part: &'a Part,
    index: usize,
}

impl Container<'_> {
    fn status(&self, life: Life) -> ContainerStatus {
        let status = ContainerStatus::new(self.part.name.clone(), self.part.image.clone());
        let Some(attempt) = life.attempt() else { return status.waiting(waiting_reason(self.record), None) };
        let status = status.id(self.attempt_id(attempt.number)).image_id(format!("mock://{}", self.part.image));
        let before = attempt.number.checked_sub(1).and_then(|number| self.record.timing.attempt(self.index, number));
        let restarted =
            |status: ContainerStatus| status.restarted(attempt.number, before.map(|before| self.terminated(before)));
        // Ready is what serves; of an init container that does not go on beside the others, what has ended well.
        let initializes = self.record.timing.init.get(self.index).is_some_and(|run| !run.sidecar);
        match life {
            Life::BackOff(_, delay) => status
                .restarted(attempt.number, Some(self.terminated(attempt)))
                .waiting("CrashLoopBackOff", Some(self.back_off(delay))),
            Life::Ended(_) => {
                restarted(status).terminated(self.terminated(attempt)).ready(initializes && attempt.exit_code == 0)
            }
            _ => restarted(status).running(Time::from_millis(attempt.start)).ready(!initializes),
        }
    }

    fn back_off(&self, delay: u64) -> String {
        let (id, name) = (self.id, &self.part.name);
        let delay = go_duration(delay);
        format!("back-off {delay} restarting failed container={name} pod={}_{}({})", id.name, id.namespace, id.uid)
    }

    fn terminated(&self, attempt: Attempt) -> Terminated {
        let (start, end) = (Time::from_millis(attempt.start), Time::from_millis(attempt.end.unwrap_or(attempt.start)));
        Terminated {
            container_id: Some(self.attempt_id(attempt.number)),
            ..Terminated::exited(attempt.exit_code, start, end)
        }
    }

    fn attempt_id(&self, attempt: u32) -> String {
        format!("mock://{}/{}/{attempt}", self.id.uid, self.part.name)
    }
}

/// Milliseconds as Go prints a duration: `10s`, `2m40s`, `5m0s`.
fn go_duration(millis: u64) -> String {
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = match (rest / 1000, rest % 1000) {
        (0, rest) if minutes == 0 => return format!("{rest}ms"),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
    };
    if minutes > 0 { format!("{minutes}m{seconds}") } else { seconds }
}

/// What the kubelet says of a container that has never started.
pub(crate) const fn waiting_reason(record: &Record) -> &'static str {
    if record.timing.init.is_empty() { "ContainerCreating" } else { "PodInitializing" }
}

/// The conditions, each since when it is so.
struct Readiness<'a> {
    record: &'a Record,
    snapshot: &'a Snapshot,
    now: u64,
}

impl Readiness<'_> {
    fn conditions(&self) -> Vec<Condition> {
        vec![self.sandbox(), self.initialized(), self.ready("ContainersReady"), self.ready("Ready")]
    }

    fn sandbox(&self) -> Condition {
        let there = self.snapshot.sandbox <= self.now;
        let since = match self.snapshot.end {
            Some(end) => end,
            None if there => self.snapshot.sandbox,
            None => self.record.timing.created,
        };
        Condition::new("PodReadyToStartContainers", there && self.snapshot.end.is_none())
            .since(Time::from_millis(since))
    }

    fn initialized(&self) -> Condition {
        let created = self.record.timing.created;
        let lives = || self.record.containers.iter().zip(&self.record.timing.init).zip(&self.snapshot.init);
        let incomplete = names(
            lives()
                .filter(|((_, run), life)| match life {
                    Life::Ended(attempt) => attempt.exit_code != 0,
                    life => !run.sidecar || life.attempt().is_none(),
                })
                .map(|((part, _), _)| part),
        );
        if !incomplete.is_empty() && self.snapshot.phase != Phase::Succeeded {
            return Condition::new("Initialized", false)
                .since(Time::from_millis(created))
                .because("ContainersNotInitialized")
                .message(format!("containers with incomplete status: [{incomplete}]"));
        }
        let ends = lives().filter(|((_, run), _)| !run.sidecar).filter_map(|(_, life)| life.attempt()?.end);
        let condition = Condition::new("Initialized", true).since(Time::from_millis(ends.max().unwrap_or(created)));
        if self.snapshot.phase == Phase::Succeeded { condition.because("PodCompleted") } else { condition }
    }

    /// `ContainersReady` and, as the mock has no readiness gates, `Ready`.
    fn ready(&self, kind: &'static str) -> Condition {
        let terminal = match self.snapshot.phase {
            Phase::Succeeded => Some("PodCompleted"),
            Phase::Failed => Some("PodFailed"),
            _ => None,
        };
        if let Some(reason) = terminal {
            let end = self.snapshot.end.unwrap_or(self.now);
            return Condition::new(kind, false).since(Time::from_millis(end)).because(reason);
        }
        let unready = || self.serving().filter(|(_, life)| !matches!(life, Life::Running(_)));
        let Some(since) = unready().map(|(_, life)| self.unready_since(*life)).min() else {
            let started = self.serving().filter_map(|(_, life)| Some(life.attempt()?.start)).max();
            return Condition::new(kind, true).since(Time::from_millis(started.unwrap_or(self.snapshot.sandbox)));
        };
        Condition::new(kind, false)
            .since(Time::from_millis(since))
            .because("ContainersNotReady")
            .message(format!("containers with unready status: [{}]", names(unready().map(|(part, _)| part))))
    }

    /// Sidecars and ordinary containers.
    fn serving(&self) -> impl Iterator<Item = (&Part, &Life)> {
        let sidecars = self.snapshot.init.iter().zip(&self.record.timing.init).map(|(life, run)| (life, run.sidecar));
        let lives = sidecars.chain(self.snapshot.main.iter().map(|life| (life, true)));
        self.record
            .containers
            .iter()
            .zip(lives)
            .filter(|(_, (_, serves))| *serves)
            .map(|(part, (life, _))| (part, life))
    }

    fn unready_since(&self, life: Life) -> u64 {
        life.attempt().and_then(|attempt| attempt.end).unwrap_or(self.record.timing.created)
    }
}

/// As Go prints a list.
fn names<'a>(parts: impl Iterator<Item = &'a Part>) -> String {
    parts.map(|part| part.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_is_printed_as_go_prints_it() {
        for (millis, text) in [
            (10_000, "10s"),
            (160_000, "2m40s"),
            (300_000, "5m0s"),
            (500, "500ms"),
            (2500, "2.5s"),
            (60_050, "1m0.05s"),
        ] {
            assert_eq!(go_duration(millis), text);
        }
    }
}
