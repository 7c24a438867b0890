//! What Azure took comes to nothing, or takes long. A group that came to nothing is removed, as Azure would keep trying
//! for money; one that may be started again though its pod has failed is stopped.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ContainerStateTerminated;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::within;

use super::history::History;
use super::others::Others;
use super::{
    CAPACITY, CONVERGED, OPERATIONS, all_went_wrong, comes_to, end, failing, fails, ground, group_of, idle, is_told,
    made, refuse, requests, throttle,
};
use crate::corner::{Ground, status};

/// How the making of a group fails, and the pod with it.
fn failures() -> Vec<(&'static str, How, &'static str)> {
    let quota = "Resource type container group quota 'StandardCores' exceeded in region 'westeurope'.";
    vec![
        ("quota", fails("ContainerGroupQuotaReached", quota), "ContainerGroupQuotaReached"),
        ("capacity", fails("Failed", CAPACITY), "InsufficientCapacity"),
        ("zone", fails("ZonalAllocationFailed", "No capacity in the zone."), "InsufficientCapacity"),
        ("image", fails("InaccessibleImage", "The image cannot be pulled."), "InaccessibleImage"),
        ("late", fails("Timeout", "It could not be provisioned in time."), "Timeout"),
        ("canceled", How::CancelOperation, "OperationCanceled"),
    ]
}

/// What goes wrong with the request that removes or stops a group, and how often.
fn acts() -> Vec<(&'static str, How, u32)> {
    vec![
        ("busy", refuse(409, "ContainerGroupTransitioning", "It is transitioning."), 2),
        ("forbidden", refuse(403, "AuthorizationFailed", "The client has no right."), 1),
        ("throttled", throttle(Some(2)), 1),
        ("broken", refuse(500, "InternalServerError", "Sorry."), 2),
        ("unheard", How::LoseRequest, 1),
        ("lost", How::LoseAnswer, 1),
        ("silent", How::Hang, 1),
    ]
}

/// A pod has failed, and stays so. Returns how its container ended.
async fn failed(ground: &Ground, history: &History, pod: &str, state: &str) -> Result<ContainerStateTerminated> {
    comes_to(ground, pod, "Failed").await?;
    made(ground, pod, 1).await?;
    history.comes_to(pod, state).await?;
    let states = history.states(pod);
    ensure!(states.last().is_some_and(|last| last == state), "{pod}: {states:?}");
    ensure!(states.iter().filter(|state| state.starts_with("Failed")).count() == 1, "{pod}: {states:?}");
    let last = ground.corner.pods().get(pod).await?;
    status(&last).and_then(|status| status.state.as_ref()?.terminated.clone()).context("no end")
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_that_comes_to_nothing_fails_its_pod_for_azure_s_reason_and_is_removed() -> Result<()> {
    let ground = ground("nothing").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    for (pod, how, _) in failures() {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), how));
    }
    for (pod, how, times) in acts() {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), fails("Failed", CAPACITY)));
        ground.fake().fault(Fault::next("DELETE", &group_of(&ground, pod), how).times(times));
    }
    let acts = acts().into_iter().map(|(pod, _, _)| (pod, "InsufficientCapacity"));
    let all: Vec<(&str, &str)> = failures().into_iter().map(|(pod, _, reason)| (pod, reason)).chain(acts).collect();
    for (pod, _) in &all {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    for (pod, _) in &all {
        within(CONVERGED, &format!("the group of {pod} is removed"), || async {
            let there = ground.group(pod).await.ok();
            ensure!(there.is_none() && requests(&ground, "PUT", pod).len() == 1, "{there:?}");
            Ok(Some(()))
        })
        .await?;
    }
    for (pod, reason) in &all {
        let end = failed(&ground, &history, pod, &format!("Failed {reason}")).await?;
        ensure!(end.exit_code == 137 && end.reason.as_deref() == Some("ContainerStatusUnknown"), "{end:?}");
        is_told(&ground, pod, "ContainerGroupFailed", "").await?;
    }
    for (pod, _, _) in failures() {
        is_told(&ground, pod, "ContainerGroupRemoved", "").await?;
        let asked = requests(&ground, "DELETE", pod);
        ensure!(asked.len() == 1 && requests(&ground, "POST", pod).is_empty(), "{pod}: {asked:?}");
    }
    all_went_wrong(&ground).await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_whose_pod_failed_is_stopped_however_often_azure_refuses_that() -> Result<()> {
    let ground = ground("stops").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    for (pod, how, times) in acts() {
        ground.fake().fault(Fault::next("POST", &group_of(&ground, pod), how).times(times));
        ground.corner.create(failing(&ground, pod, 3)).await?;
    }
    for (pod, _, _) in acts() {
        is_told(&ground, pod, "ContainerGroupStopped", "").await?;
        let end = failed(&ground, &history, pod, "Failed").await?;
        ensure!(end.exit_code == 3, "{end:?}");
        let asked = requests(&ground, "POST", pod);
        ensure!(asked.last().is_some_and(|last| last.status == 204), "{asked:?}");
        ensure!(requests(&ground, "DELETE", pod).is_empty(), "its log is to stay");
    }
    all_went_wrong(&ground).await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_that_takes_long_keeps_its_pod_waiting_and_then_runs() -> Result<()> {
    let ground = ground("slow").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    ground.fake().fault(Fault::next("PUT", &group_of(&ground, "web"), How::SlowOperation(15_000)));
    // How far it is nobody can tell for a while, and then it is forgotten.
    for how in [
        refuse(500, "InternalServerError", "Sorry."),
        How::LoseAnswer,
        throttle(Some(1)),
        refuse(404, "OperationNotFound", "The operation was not found."),
    ] {
        ground.fake().fault(Fault::next("GET", OPERATIONS, how));
    }
    ground.corner.create(idle(&ground, "web")).await?;
    comes_to(&ground, "web", "Running").await?;
    history.comes_to("web", "Pending ContainerCreating").await?;
    let states = history.states("web");
    ensure!(!states.iter().any(|state| state.starts_with("Failed")), "{states:?}");
    all_went_wrong(&ground).await?;
    made(&ground, "web", 1).await?;
    end(&ground, &others).await
}
