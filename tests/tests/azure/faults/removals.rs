//! A group is removed, and something goes wrong: with the look before, with the request for it, or with the removal
//! itself.
//!
//! The look before is one of the poll's too: its faults are set when the poll has just looked, and does not again for long.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::within;

use super::others::Others;
use super::{
    CONVERGED, all_went_wrong, end, fails, ground, group_of, idle, is_told, looks_before_removal, now, polled,
    rarely_polled, refuse, requests, run, throttle, told,
};

/// What goes wrong with one pod, and how often.
struct Case {
    pod: &'static str,
    times: u32,
    how: How,
    says: Says,
}

/// What is told of it.
enum Says {
    Nothing,
    Words(&'static str),
    /// That depends on how old the token is: one that is younger than a minute is not replaced.
    Perhaps,
}

use Says::{Nothing, Perhaps, Words};

fn delete(pod: &'static str, how: How, says: Says) -> Case {
    Case { pod, times: 1, how, says }
}

impl Case {
    fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

fn cases() -> Vec<Case> {
    let fails = || fails("Failed", "It could not be removed.");
    // Of a removal that was accepted and came to nothing.
    let again = "the provider accepted the deletion";
    vec![
        delete(
            "busy",
            refuse(409, "ContainerGroupTransitioning", "It is transitioning."),
            Words("ContainerGroupTransitioning"),
        )
        .times(2),
        delete("locked", refuse(409, "ScopeLocked", "The scope is locked."), Words("ScopeLocked")),
        delete(
            "forbidden",
            refuse(403, "AuthorizationFailed", "The client has no right."),
            Words("AuthorizationFailed"),
        ),
        delete("unsigned", refuse(401, "InvalidAuthenticationToken", "The access token is invalid."), Perhaps),
        delete("unknown", refuse(400, "BadRequest", "It cannot be."), Words("BadRequest")),
        delete("throttled", throttle(Some(3)), Words("TooManyRequests")),
        delete("hurried", throttle(None), Words("TooManyRequests")).times(2),
        delete("broken", refuse(500, "InternalServerError", "Sorry."), Words("InternalServerError")).times(2),
        delete("unheard", How::LoseRequest, Words("ConnectionTerminated")),
        delete("lost", How::LoseAnswer, Words("ConnectionTerminated")),
        // Its status says all.
        delete("cut", How::BreakBody, Nothing),
        delete("late", How::Delay(3000), Nothing),
        // The end of the call's time, or of the answer's: whichever comes first.
        delete("silent", How::Hang, Words("DELETE https://")),
        delete("held", How::HoldAnswer, Words("DELETE https://")),
        // It says that nothing is there, which is not so.
        delete("denied", refuse(404, "ResourceNotFound", "It was not found."), Nothing),
        delete("slow", How::SlowOperation(5000), Nothing),
        delete("failing", fails(), Words(again)),
        delete("canceled", How::CancelOperation, Words(again)),
    ]
}

/// What is asked for again and again while this goes on: the pod, what goes wrong with its group's removal, and words of what is told.
pub(super) fn tried_again() -> Vec<(&'static str, How, &'static str)> {
    let told = |case: Case| match case.says {
        Words(words) => Some((case.pod, case.how, words)),
        Nothing | Perhaps => None,
    };
    cases().into_iter().filter_map(told).collect()
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
        let fault = Fault::next("DELETE", &group_of(&ground, case.pod), case.how.clone()).times(case.times);
        ground.fake().fault(fault);
        ground.corner.delete(case.pod, Some(1)).await?;
    }
    for case in &cases {
        ground.corner.gone_within(CONVERGED, case.pod).await.context(case.pod)?;
    }
    all_went_wrong(&ground).await?;
    for case in &cases {
        match case.says {
            Nothing => {
                let failure = told(&ground, case.pod, "FailedToDeletePod").await?;
                ensure!(failure.is_empty(), "{} is told: {failure}", case.pod);
            }
            Words(words) => is_told(&ground, case.pod, "FailedToDeletePod", words).await?,
            Perhaps => {}
        }
    }
    let times: Vec<(u64, u16)> =
        requests(&ground, "DELETE", "throttled").iter().map(|request| (request.at, request.status)).collect();
    ensure!(matches!(times[..], [(first, 429), (second, 202), ..] if second - first >= 2900), "{times:?}");
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_look_before_a_removal_that_comes_to_nothing_is_told_and_repeated() -> Result<()> {
    let ground = rarely_polled("unseen").await?;
    let others = Others::beside(&ground).await?;
    // What is asked is repeated three times within a call.
    let cases = [
        ("forbidden", refuse(403, "AuthorizationFailed", "The client has no right."), 1, "AuthorizationFailed"),
        ("garbled", How::Malformed, 1, "AzureAnswerUnreadable"),
        ("broke", refuse(500, "InternalServerError", "Sorry."), 3, "InternalServerError"),
        ("lost", How::LoseAnswer, 3, "ConnectionTerminated"),
    ];
    for (pod, ..) in &cases {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    run(&ground, &cases.each_ref().map(|(pod, ..)| *pod)).await?;
    let mut since = Vec::new();
    for (pod, how, times, _) in &cases {
        polled(&ground, pod).await?;
        since.push(now(&ground)?);
        ground.fake().fault(Fault::next("GET", &group_of(&ground, pod), how.clone()).times(*times));
        ground.corner.delete(pod, Some(1)).await?;
    }
    for ((pod, _, times, words), since) in cases.iter().zip(since) {
        ground.corner.gone_within(CONVERGED, pod).await.context(*pod)?;
        is_told(&ground, pod, "FailedToDeletePod", words).await?;
        let looks = looks_before_removal(&ground, pod, since)?;
        ensure!(looks.len() > usize::try_from(*times)?, "{pod}: {looks:?}");
    }
    all_went_wrong(&ground).await?;
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
    all_went_wrong(&ground).await?;
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
