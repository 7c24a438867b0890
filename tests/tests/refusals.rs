//! What the API server refused the hosts of the end-to-end tests, by the audit logs of their last run: nothing but what the
//! Node authorizer could not know yet.
//!
//! A host may do what a kubelet may (`system:node:NAME`), and it should ask for nothing else: a refusal that some retry hides
//! from a test is a mistake all the same. This is a program of its own because a log is complete only when the tests are over;
//! cargo runs it after `e2e`, in the order of their names. A control plane that is killed at the end of the tests loses the
//! last second of its log.

#![allow(missing_docs, reason = "tests are named after what they show")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use vk_tests::audit::{AuditEvent, AuditLog};
use vk_tests::host::target;

/// How long after a pod's binding its node may be refused what the pod names. The host asks again for 0.6 s; the rest is for an
/// API server on a busy machine.
const LAG: SignedDuration = SignedDuration::from_secs(5);

/// A 403 to a node that is no mistake. The Node authorizer allows `get` of the ConfigMaps and Secrets that the node's pods name and
/// tokens of their service accounts, and learns of pods by a watch of its own: the node, which has the pod by another watch, may
/// be first. Then it asks again, and is not refused for long. (`patient` in `host/src/pods/resolve` is what asks.)
fn is_lag(refused: &AuditEvent, events: &[AuditEvent]) -> bool {
    let asked = (refused.verb.as_str(), refused.resource.as_str(), refused.subresource.as_str());
    let is_of_pods = matches!(asked, ("get", "configmaps" | "secrets", "") | ("create", "serviceaccounts", "token"));
    let is_binding = |event: &&AuditEvent| {
        event.verb == "create"
            && event.resource == "pods"
            && ["", "binding"].contains(&event.subresource.as_str())
            && event.namespace == refused.namespace
            && event.code == 201
    };
    let is_just_bound = |bound: &AuditEvent| {
        bound.received <= refused.finished && bound.finished.duration_until(refused.received) <= LAG
    };
    let is_allowed_later = |event: &AuditEvent| {
        event.received >= refused.finished
            && event.code != 403
            && (&event.user, &event.verb, &event.resource) == (&refused.user, &refused.verb, &refused.resource)
            && (&event.namespace, &event.name) == (&refused.namespace, &refused.name)
    };
    is_of_pods && events.iter().filter(is_binding).any(is_just_bound) && events.iter().any(is_allowed_later)
}

/// The requests of nodes that were refused: the lag of the authorizer, and the others.
fn refusals(events: &[AuditEvent]) -> (Vec<&AuditEvent>, Vec<&AuditEvent>) {
    let refused = events.iter().filter(|event| event.code == 403 && event.user.starts_with("system:node:"));
    refused.partition(|refused| is_lag(refused, events))
}

/// Audit logs of the control planes of the last run, the shared one's and those of single tests.
fn logs(parent: &Path) -> Result<Vec<PathBuf>> {
    let folders =
        fs::read_dir(parent).with_context(|| format!("list {}: run the tests of `e2e` first", parent.display()))?;
    let logs = folders.map(|folder| Ok(folder?.path().join("audit.log"))).collect::<Result<Vec<PathBuf>>>()?;
    Ok(logs.into_iter().filter(|log| log.is_file()).collect())
}

#[test]
fn the_hosts_asked_for_nothing_that_a_node_may_not() -> Result<()> {
    let parent = target().join("control-plane");
    let (mut asked, mut late, mut unexpected) = (0, 0, Vec::new());
    for log in logs(&parent)? {
        let events = AuditLog::new(log.clone()).read()?;
        asked += events.iter().filter(|event| event.user.starts_with("system:node:")).count();
        let (lag, others) = refusals(&events);
        late += lag.len();
        unexpected.extend(others.into_iter().map(|event| format!("{}: {event:?}", log.display())));
    }
    writeln!(std::io::stderr(), "{asked} requests of nodes, {late} refused for a moment")?;
    ensure!(asked > 0, "no requests of nodes in {}: run the tests of `e2e` first", parent.display());
    ensure!(unexpected.is_empty(), "the API server refused what a host asked for:\n{}", unexpected.join("\n"));
    Ok(())
}

/// A request of a node `a`, so many milliseconds after the start.
fn event(at: i64, verb: &str, resource: &str, code: u16) -> AuditEvent {
    let time = jiff::Timestamp::UNIX_EPOCH + SignedDuration::from_millis(at);
    let text = |text: &str| text.to_owned();
    AuditEvent {
        received: time,
        finished: time,
        user: text("system:node:a"),
        user_agent: text("vk-host"),
        verb: text(verb),
        resource: text(resource),
        subresource: text(""),
        namespace: text("ns"),
        name: text("x"),
        code,
    }
}

/// How many are lag and how many are not.
fn counted(events: &[AuditEvent]) -> (usize, usize) {
    let (lag, others) = refusals(events);
    (lag.len(), others.len())
}

#[test]
fn a_read_that_is_refused_just_after_a_binding_and_then_allowed_is_lag() {
    let made = event(0, "create", "pods", 201);
    let bound = AuditEvent { subresource: "binding".into(), ..made.clone() };
    let (refused, allowed) = (event(10, "get", "secrets", 403), event(30, "get", "secrets", 200));
    for first in [&made, &bound] {
        assert_eq!(counted(&[first.clone(), refused.clone(), allowed.clone()]), (1, 0));
    }
    let token = |at, code| AuditEvent { subresource: "token".into(), ..event(at, "create", "serviceaccounts", code) };
    assert_eq!(counted(&[made.clone(), token(10, 403), token(30, 201)]), (1, 0));
    let absent = AuditEvent { code: 404, ..allowed.clone() };
    assert_eq!(counted(&[made.clone(), refused.clone(), absent]), (1, 0), "it was not refused");
    // Each of these takes away what makes it one.
    let of_another = AuditEvent { name: "y".into(), ..allowed.clone() };
    let elsewhere = AuditEvent { namespace: "other".into(), ..made.clone() };
    let not_made = AuditEvent { code: 409, ..made.clone() };
    for events in [
        [made.clone(), refused.clone(), refused.clone()],
        [made.clone(), refused.clone(), of_another],
        [elsewhere, refused.clone(), allowed.clone()],
        [not_made, refused.clone(), allowed],
        [made.clone(), event(9_000, "get", "secrets", 403), event(9_030, "get", "secrets", 200)],
        [made.clone(), event(10, "list", "secrets", 403), event(30, "list", "secrets", 200)],
        [made, event(10, "delete", "pods", 403), event(30, "delete", "pods", 200)],
    ] {
        let (lag, others) = counted(&events);
        assert!(lag == 0 && others > 0, "{events:?}");
    }
}

#[test]
fn refusals_of_others_and_answers_that_are_no_refusals_are_not_counted() {
    let other = AuditEvent { user: "system:serviceaccount:ns:a".into(), ..event(0, "get", "secrets", 403) };
    assert_eq!(counted(&[other, event(1, "delete", "pods", 404), event(2, "get", "secrets", 200)]), (0, 0));
}
