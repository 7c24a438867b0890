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
        Identity { name: "minimal", version: "0.1.0", state_version: 1, settle: Duration::ZERO }
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

/// What is kept of a pod: its revision and its status.
type Record = (Option<String>, PodStatus);

impl Pods for Minimal {
    fn create_pod(pod: DesiredPod) -> Result<Option<ObservedPod>> {
        let now = clock::now();
        let mut status = PodStatus::new(Phase::Running).started(now);
        for container in pod.parse()?.spec.containers {
            status = status.container(ContainerStatus::new(container.name, container.image).running(now).ready(true));
        }
        let record: Record = (Some(pod.revision), status);
        match store::put(&pod.id.key(), &record, Expect::Absent, None) {
            // The same pod again is success: the first one counts, and the host looks at it.
            Err(failure) if failure.is_conflict() => Ok(None),
            result => result.map(|_| Some(record.1.observed(pod.id, record.0))).map_err(Into::into),
        }
    }

    fn delete_pod(id: PodRef, _: Option<DesiredPod>, _: Option<Duration>) -> Result<Deletion> {
        store::remove(&id.key(), Expect::Anything)?;
        Ok(Deletion::Gone)
    }

    fn get_pod(id: PodRef) -> Result<Option<ObservedPod>> {
        let record = store::get::<Record>(&id.key())?;
        Ok(record.map(|record| record.value.1.observed(id, record.value.0)))
    }

    fn get_pods(after: Option<String>) -> Result<Page<ObservedPod>> {
        let mut page = Page::default();
        for (key, entry) in store::scan("", after.as_deref())? {
            let (revision, status) = entry.parse::<Record>()?;
            page.items.extend(PodRef::from_key(&key).map(|id| status.observed(id, revision)));
            page.next = Some(key);
        }
        Ok(page)
    }
}

vk_provider::export!(Minimal: pods);
