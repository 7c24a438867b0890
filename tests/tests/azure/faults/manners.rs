//! Nothing goes wrong, but Azure has other manners than usual: it tells of operations by one header or by none, its lists
//! are late, or it makes a group after it has given it up.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vk_fake_aci::config::Headers;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::{phase, within};

use super::history::History;
use super::others::Others;
use super::{
    CONVERGED, LIST, OPERATIONS, all_went_wrong, brief, comes_to, end, fails, ground, group_of, idle, is_told, made,
    now, refuse, requests, run,
};
use crate::corner::Ground;

/// What the paths of questions have in them to which `Location` leads.
const RESULTS: &str = "/operationResults/";
/// Lists know so late what was made: not in a test, unless it changes that.
const NEVER: Duration = Duration::from_secs(3600);
/// Lists know so late what was removed: many periods of the poll, and time enough to start a host.
const LAG: Duration = Duration::from_secs(30);
/// Azure gives a group up after so long, which the group takes several times.
const GIVE_UP: Duration = Duration::from_secs(2);
const MAKING: u32 = 8;

/// A pod runs, one comes to nothing, and both are removed, though the first removal of a third fails. Operations are told by
/// `headers`, and asked about at `asked` alone. `reason`: why the second has failed.
async fn goes_by(name: &str, headers: Headers, asked: Option<&str>, reason: &str) -> Result<()> {
    let ground = ground(name).await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    ground.fake().behave(|behaviour| (behaviour.headers, behaviour.retry_after) = (headers, None));
    let since = ground.fake().elapsed();
    for (pod, how) in
        [("well", How::SlowOperation(5000)), ("badly", fails("ZonalAllocationFailed", "No capacity in the zone."))]
    {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), how));
    }
    let stuck = fails("InternalServerError", "It could not be removed.");
    ground.fake().fault(Fault::next("DELETE", &group_of(&ground, "stuck"), stuck));
    for pod in ["well", "badly", "stuck"] {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    run(&ground, &["well", "stuck"]).await?;
    comes_to(&ground, "badly", "Failed").await?;
    history.comes_to("badly", &format!("Failed {reason}")).await?;
    is_told(&ground, "badly", "ContainerGroupRemoved", "").await?;
    for pod in ["well", "badly", "stuck"] {
        made(&ground, pod, 1).await?;
        ground.corner.delete(pod, Some(1)).await?;
    }
    for (pod, removals) in [("well", 1), ("badly", 1), ("stuck", 2)] {
        ground.corner.gone_within(CONVERGED, pod).await?;
        let sent = requests(&ground, "DELETE", pod);
        ensure!(sent.len() == removals, "{pod}: {sent:?}");
    }
    all_went_wrong(&ground).await?;
    for place in [OPERATIONS, RESULTS] {
        let questions = ground.fake().count(since, |request| request.path.contains(place));
        ensure!((questions > 0) == (asked == Some(place)), "{questions} questions at {place}");
    }
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn operations_are_followed_by_either_header_and_without_one_the_group_itself_tells() -> Result<()> {
    // The answers of `Location` have no words for what came to nothing.
    tokio::try_join!(
        goes_by("status", Headers::AsyncOperation, Some(OPERATIONS), "InsufficientCapacity"),
        goes_by("location", Headers::Location, Some(RESULTS), "Failed"),
        goes_by("untold", Headers::None, None, "ContainerGroupFailed"),
    )?;
    Ok(())
}

/// When groups were listed since then, in milliseconds.
fn lists(ground: &Ground, since: u64) -> Vec<u64> {
    let requests = ground.fake().requests().into_iter();
    let lists = requests.filter(|request| request.path.ends_with(LIST.trim_end_matches('$')));
    lists.map(|list| list.at).filter(|at| *at >= since).collect()
}

/// Waits until groups have been listed twice since then: what the first of these tells has been done.
async fn listed(ground: &Ground, since: u64) -> Result<()> {
    within(CONVERGED, "groups are listed", || async { Ok((lists(ground, since).len() > 1).then_some(())) }).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn lists_that_are_late_lose_no_pod_make_none_twice_and_bring_none_back_though_the_host_is_killed() -> Result<()> {
    let mut ground = ground("lag").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    ground.fake().behave(|behaviour| behaviour.list_lag = NEVER);
    ground.corner.create(idle(&ground, "told")).await?;
    ground.corner.create(brief(&ground, "brief", 2)).await?;
    run(&ground, &["told"]).await?;
    ground.fake().fault(Fault::next("PUT", &group_of(&ground, "untold"), How::HoldAnswer));
    ground.corner.create(idle(&ground, "untold")).await?;
    all_went_wrong(&ground).await?;
    ground.corner.host.kill()?;
    ground = ground.restarted()?;
    run(&ground, &["told", "untold"]).await?;
    comes_to(&ground, "brief", "Succeeded").await?;
    listed(&ground, now(&ground)?).await?;
    ground.fake().behave(|behaviour| behaviour.list_lag = Duration::ZERO);
    let made_before = now(&ground)?;
    listed(&ground, made_before).await?;
    run(&ground, &["told", "untold"]).await?;
    for pod in ["told", "untold", "brief"] {
        made(&ground, pod, 1).await?;
        let states = history.states(pod);
        ensure!(!states.iter().any(|state| state.starts_with("Failed")), "{pod}: {states:?}");
    }

    // Lists have all that was made as long ago, and what has been gone for less.
    let lag = u64::try_from(LAG.as_millis())?;
    within(CONVERGED, "all are old enough", || async { Ok((now(&ground)? > made_before + lag).then_some(())) }).await?;
    ground.fake().behave(|behaviour| behaviour.list_lag = LAG);
    let there_until = now(&ground)? + lag;
    ground.corner.delete("told", Some(1)).await?;
    ground.corner.gone_within(CONVERGED, "told").await?;
    ground.corner.host.kill()?;
    let killed = now(&ground)?;
    ground = ground.restarted()?;
    listed(&ground, killed).await?;
    let first = lists(&ground, killed).first().copied();
    ensure!(first.is_some_and(|first| first < there_until), "lists had caught up when the host was back");
    listed(&ground, there_until).await?;
    let asked = requests(&ground, "DELETE", "told");
    ensure!(asked.len() == 1, "{asked:?}");
    ensure!(phase(&ground.corner.pods().get("untold").await?) == "Running");
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_that_azure_makes_after_it_gave_it_up_is_stopped_and_its_pod_stays_failed() -> Result<()> {
    let ground = ground("given-up").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    ground.fake().behave(|behaviour| behaviour.give_up = GIVE_UP);
    // It is not stopped before.
    let busy = refuse(409, "ContainerGroupTransitioning", "It is transitioning.");
    ground.fake().fault(Fault::next("POST", &group_of(&ground, "web"), busy).times(u32::MAX));
    let mut pod = idle(&ground, "web");
    let mut first = brief(&ground, "web", MAKING)["spec"]["containers"][0].take();
    first["name"] = json!("first");
    pod["spec"]["initContainers"] = json!([first]);
    ground.corner.create(pod).await?;
    comes_to(&ground, "web", "Failed").await?;
    let seen = |state: &'static str| {
        let ground = &ground;
        move || async move {
            let group = ground.group("web").await?;
            let of = &group["properties"];
            ensure!(of["provisioningState"] == "Succeeded" && of["instanceView"]["state"] == state, "{group}");
            Ok(Some(()))
        }
    };
    within(CONVERGED, "it is made all the same", seen("Running")).await?;
    ground.fake().clear_faults();
    within(CONVERGED, "it is stopped", seen("Stopped")).await?;
    is_told(&ground, "web", "ContainerGroupStopped", "").await?;
    history.comes_to("web", "Failed Timeout").await?;
    let states = history.states("web");
    ensure!(states.iter().filter(|state| state.starts_with("Failed")).count() == 1, "{states:?}");
    ensure!(states.last().is_some_and(|last| last == "Failed Timeout"), "{states:?}");
    made(&ground, "web", 1).await?;
    end(&ground, &others).await
}
