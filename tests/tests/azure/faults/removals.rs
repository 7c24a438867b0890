//! A group is removed, and something goes wrong: with the look before, with the request for it, or with the removal
//! itself.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::within;

use super::others::Others;
use super::{CONVERGED, end, ground, group_of, idle, refuse, requests, run, throttle, told};

/// What goes wrong with one pod, how often, and what is told of it; empty: nothing.
struct Case {
    pod: &'static str,
    method: &'static str,
    times: u32,
    how: How,
    says: &'static str,
}

fn delete(pod: &'static str, how: How, says: &'static str) -> Case {
    Case { pod, method: "DELETE", times: 1, how, says }
}

fn look(pod: &'static str, how: How, says: &'static str) -> Case {
    Case { method: "GET", ..delete(pod, how, says) }
}

impl Case {
    fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

fn cases() -> Vec<Case> {
    let fails = || How::FailOperation { code: "Failed".to_owned(), message: "It could not be removed.".to_owned() };
    // Of a removal that was accepted and came to nothing.
    let again = "the provider accepted the deletion";
    vec![
        delete(
            "busy",
            refuse(409, "ContainerGroupTransitioning", "It is transitioning."),
            "ContainerGroupTransitioning",
        )
        .times(2),
        delete("locked", refuse(409, "ScopeLocked", "The scope is locked."), "ScopeLocked"),
        delete("forbidden", refuse(403, "AuthorizationFailed", "The client has no right."), "AuthorizationFailed"),
        delete("unsigned", refuse(401, "InvalidAuthenticationToken", "The access token is invalid."), ""),
        delete("unknown", refuse(400, "BadRequest", "It cannot be."), "BadRequest"),
        delete("throttled", throttle(Some(3)), "TooManyRequests"),
        delete("hurried", throttle(None), "TooManyRequests").times(2),
        delete("broken", refuse(500, "InternalServerError", "Sorry."), "InternalServerError").times(2),
        delete("unheard", How::LoseRequest, "ConnectionTerminated"),
        delete("lost", How::LoseAnswer, ""),
        delete("cut", How::BreakBody, ""),
        delete("late", How::Delay(3000), ""),
        delete("silent", How::Hang, ""),
        delete("held", How::HoldAnswer, ""),
        // It says that nothing is there, which is not so.
        delete("denied", refuse(404, "ResourceNotFound", "It was not found."), ""),
        delete("slow", How::SlowOperation(5000), ""),
        delete("failing", fails(), again),
        delete("canceled", How::CancelOperation, again),
        look("unseen", refuse(403, "AuthorizationFailed", "The client has no right."), ""),
        look("garbled", How::Malformed, ""),
        look("broke", refuse(500, "InternalServerError", "Sorry."), "").times(3),
    ]
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_removal_that_azure_refuses_or_loses_is_tried_until_pod_and_group_are_gone() -> Result<()> {
    let ground = ground("removals").await?;
    let others = Others::beside(&ground).await?;
    let cases = cases();
    for case in &cases {
        ground.corner.create(idle(&ground, case.pod)).await?;
    }
    run(&ground, &cases.iter().map(|case| case.pod).collect::<Vec<_>>()).await?;
    for case in &cases {
        let fault = Fault::next(case.method, &group_of(&ground, case.pod), case.how.clone()).times(case.times);
        ground.fake().fault(fault);
        ground.corner.delete(case.pod, Some(1)).await?;
    }
    for case in &cases {
        ground.corner.gone_within(CONVERGED, case.pod).await.context(case.pod)?;
    }
    let left = ground.fake().faults();
    ensure!(left.is_empty(), "these did not happen: {left:?}");
    for case in cases.iter().filter(|case| !case.says.is_empty()) {
        let failure = told(&ground, case.pod, "FailedToDeletePod").await?;
        ensure!(failure.contains(case.says), "no event of {} says {}: {failure:?}", case.pod, case.says);
    }
    let times: Vec<(u64, u16)> =
        requests(&ground, "DELETE", "throttled").iter().map(|request| (request.at, request.status)).collect();
    ensure!(matches!(times[..], [(first, 429), (second, 202), ..] if second - first >= 2900), "{times:?}");
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_that_is_deleted_while_its_group_is_being_made_leaves_no_group() -> Result<()> {
    let ground = ground("overtaken").await?;
    let others = Others::beside(&ground).await?;
    // What is asked for and not answered, what was made and not told, what goes on for long.
    let cases = [
        ("late", How::Delay(4000)),
        ("held", How::HoldAnswer),
        ("lost", How::LoseAnswer),
        ("slow", How::SlowOperation(10_000)),
        ("toolate", How::Delay(40_000)),
    ];
    for (pod, how) in &cases {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), how.clone()));
    }
    for (pod, _) in &cases {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    within(CONVERGED, "all were asked for", || async { Ok(ground.fake().faults().is_empty().then_some(())) }).await?;
    let mut uids = Vec::new();
    for (pod, _) in &cases {
        uids.push(ground.corner.pods().get(pod).await?.uid().context("no UID")?);
        ground.corner.delete(pod, Some(1)).await?;
    }
    for (pod, _) in &cases {
        ground.corner.gone_within(CONVERGED, pod).await?;
    }
    // Also what comes when nobody waits for it any more.
    within(CONVERGED, "all were made", || async {
        let made = ground.fake().made();
        Ok(uids.iter().all(|uid| made.contains_key(uid)).then_some(()))
    })
    .await?;
    end(&ground, &others).await
}
