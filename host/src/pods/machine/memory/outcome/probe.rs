//! What a probe said, and whether it counts.

use crate::pods::machine::action::Event;
use crate::pods::machine::memory::Memory;
use crate::pods::machine::probe::Answer;
use crate::pods::machine::spec::{ProbeKind, Spec};

impl Memory {
    pub(super) fn probed(
        &mut self,
        spec: &Spec,
        name: &str,
        attempt: u32,
        kind: ProbeKind,
        answer: &Answer,
    ) -> Vec<Event> {
        let Some(probe) = spec.container(name).and_then(|container| container.probe(kind)) else { return Vec::new() };
        let known = self.of_mut(name);
        if known.last.as_ref().is_none_or(|last| last.attempt != attempt) || known.ended.is_some() {
            return Vec::new();
        }
        let probed = known.probes.of_mut(kind);
        if let Some(success) = answer.counts()
            && probed.counter.count(success, probe.successes, probe.failures)
        {
            probed.result = Some(success);
            probed.over = kind == ProbeKind::Startup || (kind == ProbeKind::Liveness && !success);
        }
        // What they say of a container that is being ended is no news, but whether it takes requests.
        let news = known.kill.is_none() || kind == ProbeKind::Readiness;
        told(kind, answer).filter(|_| news).into_iter().collect()
    }
}

fn told(kind: ProbeKind, answer: &Answer) -> Option<Event> {
    let kind = kind.name();
    match answer {
        Answer::Success => None,
        Answer::Warning(output) => Some(Event::warning("ProbeWarning", format!("{kind} probe warning: {output}"))),
        Answer::Failure(output) => Some(Event::warning("Unhealthy", format!("{kind} probe failed: {output}"))),
        Answer::Error(error) => {
            let message = format!("{kind} probe errored and resulted in unknown state: {error}");
            Some(Event::warning("Unhealthy", message))
        }
    }
}
