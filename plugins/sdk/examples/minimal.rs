//! A provider whose pods run at once and for ever.

use std::time::Duration;

use vk_provider::node::Amount;
use vk_provider::plugin::Identity;
use vk_provider::status::{ContainerStatus, Phase, PodStatus};
use vk_provider::store::{self, Expect};
use vk_provider::{Deletion, DesiredPod, Node, ObservedPod, Page, Plugin, PodRef, Pods, Result, clock};

struct Minimal;

impl Plugin for Minimal {
    fn describe() -> Identity {
        // The store may still commit a write whose call was dropped.
        let settle = Duration::from_secs(1);
        Identity { name: "minimal", version: "0.1.0", state_version: 1, settle }
    }
}

impl Node for Minimal {
    fn capacity() -> Result<Vec<Amount>> {
        Ok(vec![Amount::new("cpu", "4"), Amount::new("memory", "8Gi"), Amount::new("pods", "10")])
    }

    fn ping() -> Result<()> {
        Ok(())
    }
}

/// What is kept of a pod: its revision and its status, under a prefix, as there may be other things to keep one day.
type Record = (Option<String>, PodStatus);

const PODS: &str = "pods/";

fn key(id: &PodRef) -> String {
    [PODS, &id.key()].concat()
}

impl Pods for Minimal {
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>> {
        let now = clock::now();
        let mut status = PodStatus::new(Phase::Running).started(now);
        for container in pod.parse()?.spec.containers {
            status = status.container(ContainerStatus::new(container.name, container.image).running(now).ready(true));
        }
        let record: Record = (Some(pod.revision), status);
        match store::put(&key(&pod.id), &record, Expect::Absent, None) {
            // The same pod again is success: the first one counts, and the host looks at it.
            Err(failure) if failure.is_conflict() => Ok(None),
            result => result.map(|_| Some(record.1.observed(pod.id, record.0))).map_err(Into::into),
        }
    }

    fn delete_pod(id: PodRef, _: Option<DesiredPod>, _: Option<Duration>) -> Result<Deletion> {
        store::remove(&key(&id), Expect::Anything)?;
        Ok(Deletion::Gone)
    }

    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>> {
        let record = store::get::<Record>(&key(&id))?;
        Ok(record.map(|record| record.value.1.observed(id, record.value.0)))
    }

    fn get_pods(after: Option<String>) -> Result<Page<ObservedPod>> {
        let Page { items, next } = store::page(PODS, after.as_deref())?;
        let mut pods = Vec::new();
        for (key, entry) in items {
            let (revision, status) = entry.parse::<Record>(&key)?;
            let id = key.strip_prefix(PODS).and_then(PodRef::from_key);
            pods.extend(id.map(|id| status.observed(id, revision)));
        }
        Ok(Page { items: pods, next })
    }
}

vk_provider::export!(Minimal: pods);
