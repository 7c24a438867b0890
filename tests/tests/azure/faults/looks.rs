//! Pods are made, run and end while lists, looks and questions how far something is come to nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vk_fake_aci::{Fault, How};

use super::history::History;
use super::others::Others;
use super::{
    CONVERGED, LIST, OPERATIONS, all_went_wrong, brief, comes_to, end, fails, ground, group_of, idle, is_out_of_reach,
    is_reachable, is_told, made, refuse, run, throttle,
};

/// What is asked is repeated so often within a call.
const TRIES: u32 = 3;
/// So many pods come and go beside one about which nothing is answered.
const OTHERS: u32 = 4;
/// How long a look waits for an answer.
const LOOK: Duration = Duration::from_secs(20);

/// What goes wrong with lists, and so often.
fn lists() -> Vec<(How, u32)> {
    vec![
        (refuse(500, "InternalServerError", "Sorry."), TRIES),
        (throttle(Some(2)), 1),
        (throttle(None), 1),
        (refuse(401, "InvalidAuthenticationToken", "The access token is invalid."), 1),
        (refuse(403, "AuthorizationFailed", "The client has no right."), 1),
        (refuse(404, "ResourceGroupNotFound", "Resource group 'pods' could not be found."), 1),
        (How::Malformed, 1),
        (How::BreakBody, 1),
        (How::LoseAnswer, TRIES),
        (How::Hang, 1),
        (How::Delay(3000), 1),
    ]
}

/// What goes wrong with looks at one pod.
fn looks() -> Vec<(&'static str, How, u32)> {
    vec![
        ("broken", refuse(500, "InternalServerError", "Sorry."), TRIES),
        ("throttled", throttle(Some(2)), 1),
        ("forbidden", refuse(403, "AuthorizationFailed", "The client has no right."), 2),
        // Of a proxy, or of a resource group: the group itself may well be there.
        ("proxied", refuse(404, "", ""), 2),
        ("nowhere", refuse(404, "ResourceGroupNotFound", "Resource group 'pods' could not be found."), 2),
        ("garbled", How::Malformed, 2),
        ("cut", How::BreakBody, 2),
        ("lost", How::LoseAnswer, TRIES),
        ("silent", How::Hang, 1),
        ("late", How::Delay(3000), 1),
    ]
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn pods_run_and_end_though_lists_and_looks_fail() -> Result<()> {
    let ground = ground("looks").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    // Lists have pages, of which any may be the one that fails.
    ground.fake().behave(|behaviour| behaviour.page = 5);
    // Not one behind the other, as then nothing would be asked for a minute.
    let mut skip = 0;
    for (how, times) in lists() {
        ground.fake().fault(Fault::next("GET", LIST, how).times(times).after(skip));
        skip += times + 3;
    }
    for (pod, how, times) in looks() {
        // Behind the question whether it is there already.
        ground.fake().fault(Fault::next("GET", &group_of(&ground, pod), how).times(times).after(1));
        ground.corner.create(brief(&ground, pod, 5)).await?;
    }
    for (pod, _, _) in looks() {
        comes_to(&ground, pod, "Succeeded").await?;
        let states = history.states(pod);
        ensure!(!states.iter().any(|state| state.starts_with("Failed")), "{pod}: {states:?}");
        made(&ground, pod, 1).await?;
    }
    // Whether a group is there is asked at each end too, and lists go on.
    all_went_wrong(&ground).await?;
    ground.corner.create(brief(&ground, "after", 1)).await?;
    comes_to(&ground, "after", "Succeeded").await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_about_which_azure_says_nothing_keeps_no_other_waiting() -> Result<()> {
    let ground = ground("mute").await?;
    let others = Others::beside(&ground).await?;
    for pod in ["mute", "mad"] {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    run(&ground, &["mute", "mad"]).await?;
    let for_ever = |how| Fault::next("GET", "", how).times(u32::MAX);
    ground.fake().fault(Fault { path: group_of(&ground, "mute"), ..for_ever(How::Hang) });
    ground.fake().fault(Fault { path: group_of(&ground, "mad"), ..for_ever(How::Malformed) });
    // They are to be looked at: they were changed behind the host's back.
    for pod in ["mute", "mad"] {
        let group = ground.group(pod).await?;
        others.stop(ground.fake(), group["name"].as_str().unwrap_or_default()).await?;
    }
    let began = Instant::now();
    for number in 0..OTHERS {
        let name = format!("other{number}");
        ground.corner.create(brief(&ground, &name, 2)).await?;
        comes_to(&ground, &name, "Succeeded").await?;
        ground.corner.delete(&name, None).await?;
        ground.corner.gone(&name).await?;
    }
    let took = began.elapsed();
    ensure!(
        took < OTHERS * 2 * LOOK,
        "{OTHERS} pods came and went in {took:.1?}: they wait for looks that are not answered"
    );
    ground.fake().clear_faults();
    for pod in ["mute", "mad"] {
        comes_to(&ground, pod, "Failed").await?;
    }
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn pods_run_fail_and_go_though_nobody_may_ask_how_far_operations_are() -> Result<()> {
    let ground = ground("blind").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    // The role of the subscription, which the README has apart, was forgotten.
    let forbidden = refuse(403, "AuthorizationFailed", "The client has no right to read operations.");
    ground.fake().fault(Fault::next("GET", OPERATIONS, forbidden).times(u32::MAX));
    let fails = fails("InsufficientCapacity", "There is none.");
    ground.fake().fault(Fault::next("PUT", &group_of(&ground, "fails"), fails));
    for pod in ["a", "b", "fails"] {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    run(&ground, &["a", "b"]).await?;
    // Why it failed was to be read there.
    comes_to(&ground, "fails", "Failed").await?;
    history.comes_to("fails", "Failed ContainerGroupFailed").await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_node_whose_azure_is_out_of_reach_says_so_and_its_pods_stay_as_they_are() -> Result<()> {
    let ground = ground("outage").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    ground.corner.create(idle(&ground, "there")).await?;
    run(&ground, &["there"]).await?;
    is_reachable(&ground, true).await?;
    let outage = refuse(503, "ServiceUnavailable", "The service is unavailable.");
    ground.fake().fault(Fault { method: None, ..Fault::next("", "/containerGroups", outage).times(u32::MAX) });
    is_out_of_reach(&ground, "ServiceUnavailable").await?;
    ground.corner.create(idle(&ground, "new")).await?;
    ground.corner.delete("there", Some(1)).await?;
    is_told(&ground, "there", "FailedToDeletePod", "ServiceUnavailable").await?;
    ensure!(history.states("there").last().is_some_and(|state| state.starts_with("Running")));
    ground.fake().clear_faults();
    is_reachable(&ground, true).await?;
    run(&ground, &["new"]).await?;
    ground.corner.gone_within(CONVERGED, "there").await?;
    made(&ground, "new", 1).await?;
    end(&ground, &others).await
}
