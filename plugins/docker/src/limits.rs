//! How much is in volumes that have a limit. No engine keeps to one on disk, so it is looked from time to time, as the
//! kubelet does, and a pod that has taken more is ended: its containers are killed, and started no more.

use std::collections::BTreeMap;
use std::time::Duration;

use vk_provider::store::{self, Expect};
use vk_provider::{Error, PodRef, Result};

use crate::context::Context;
use crate::labels::{self, Mark};

/// How often is looked. An engine of before API 1.42 looks at its images and containers too, which takes it a while.
const EVERY: Duration = Duration::from_secs(60);
/// How soon after a look that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a pod that was ended is remembered. It is deleted long before.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Held while somebody has looked lately.
const LOOKED: &str = "limits/looked";

fn key(id: &PodRef) -> String {
    format!("limits/over/{}", id.uid)
}

/// A pod of this node that took more than it may.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Over {
    pod: PodRef,
    why: String,
}

/// Looks, if nobody has lately. What goes wrong is told in the log, as the call that it is part of is about something
/// else.
pub(crate) fn look(context: &Context) {
    match store::put(LOOKED, "", Expect::Absent, Some(EVERY)) {
        Ok(_) => {}
        Err(failure) if failure.is_conflict() => return,
        Err(failure) => return vk_provider::log!("volumes were not looked at: {failure}"),
    }
    if let Err(error) = end_those_over(context) {
        vk_provider::log!("volumes were not looked at: {error}");
        if let Err(failure) = store::put(LOOKED, "", Expect::Anything, Some(AGAIN)) {
            vk_provider::log!("the next look is a minute away: {failure}");
        }
    }
}

fn end_those_over(context: &Context) -> Result<()> {
    let volumes = context.engine.volumes(&labels::of_node(&context.node))?;
    let marks: BTreeMap<String, Mark> = volumes
        .into_iter()
        .filter_map(|volume| Some((volume.name, Mark::read(&context.node, &volume.labels?)?)))
        .filter(|(_, mark)| mark.limit.is_some())
        .collect();
    if marks.is_empty() {
        return Ok(());
    }
    let usage = context.engine.volume_usage()?;
    for Over { pod, why } in over(&marks, usage.iter().filter_map(|usage| Some((usage.name.as_str(), usage.bytes()?))))
    {
        vk_provider::log!("pod {}/{} is ended: {why}", pod.namespace, pod.name);
        store::put(&key(&pod), &why, Expect::Anything, Some(REMEMBERED))?;
        for seen in context.pod(&pod)?.containers.iter().filter(|seen| seen.running) {
            match context.engine.kill_container(&seen.id, "SIGKILL") {
                Err(failure) if !failure.is_conflict() && !failure.is_not_found() => return Err(failure.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Pods with a volume that holds more than it may.
fn over<'a>(marks: &BTreeMap<String, Mark>, usage: impl Iterator<Item = (&'a str, u64)>) -> Vec<Over> {
    let over = |(name, bytes): (&str, u64)| {
        let Mark { pod, volume: Some(volume), limit: Some(limit), .. } = marks.get(name)? else { return None };
        // The kubelet's words.
        let why = format!("Usage of EmptyDir volume {volume:?} exceeds the limit \"{limit}\".");
        (bytes > *limit).then(|| Over { pod: pod.clone(), why })
    };
    usage.filter_map(over).collect()
}

/// A pod that took more than it may is started no more.
///
/// # Errors
/// `failed-precondition` with the field, which ends the pod.
pub(crate) fn refuse_if_over(id: &PodRef) -> Result<()> {
    match store::get::<String>(&key(id))? {
        Some(over) => Err(Error::failed_precondition("Evicted", over.value).field("spec.volumes.emptyDir.sizeLimit")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::Code;

    #[test]
    fn a_volume_that_holds_more_than_it_may_ends_its_pod() {
        vk_provider::testing::reset();
        let node = vk_provider::config::node();
        let id = |uid: &str| PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: uid.to_owned() };
        let mark = |uid: &str, volume: &str, limit| {
            Mark::read(&node, &labels::volume(&node, &id(uid), volume, limit)).unwrap()
        };
        let marks: BTreeMap<String, Mark> =
            [("a", mark("1", "data", Some(100))), ("b", mark("2", "data", Some(100))), ("c", mark("3", "data", None))]
                .map(|(name, mark)| (name.to_owned(), mark))
                .into();
        let usage = [("a", 101), ("b", 100), ("c", 1000), ("other", 1000)];
        let over = over(&marks, usage.into_iter());
        assert_eq!(
            over,
            [Over { pod: id("1"), why: "Usage of EmptyDir volume \"data\" exceeds the limit \"100\".".to_owned() }]
        );
    }

    #[test]
    fn a_pod_that_was_ended_is_refused_by_field() {
        vk_provider::testing::reset();
        let id = PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        refuse_if_over(&id).unwrap();
        store::put(&key(&id), "too much", Expect::Anything, Some(REMEMBERED)).unwrap();
        let error = refuse_if_over(&id).unwrap_err();
        assert_eq!((error.code, error.reason.as_ref()), (Code::FailedPrecondition, "Evicted"));
        assert!(error.field.is_some(), "that is what ends it");
    }
}
