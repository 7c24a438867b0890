//! The host is killed in the middle of each step, and started again: it goes on where it was, and nothing is made twice
//! or left.

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::{eventually, phase, within};

use super::history::History;
use super::others::Others;
use super::{
    CONVERGED, LIST, OPERATIONS, all_went_wrong, comes_to, creates, end, failing, fails, ground, group_of, idle,
    is_told, looks_before_removal, made, now, polled, rarely_polled, refuse, removals, requests, run,
};
use crate::corner::Ground;

/// When somebody waits for an answer of this.
struct Step {
    pod: &'static str,
    method: &'static str,
    /// none: what is asked about the pod's group.
    path: Option<&'static str>,
    skip: u32,
    how: How,
    /// What becomes of the pod's making besides.
    making: Option<How>,
    /// The pod fails by itself.
    fails: bool,
}

fn step(pod: &'static str, method: &'static str, how: How) -> Step {
    Step { pod, method, path: None, skip: 0, how, making: None, fails: false }
}

fn comes_to_nothing() -> Option<How> {
    Some(fails("InsufficientCapacity", "There is none."))
}

/// What makes a pod, and looks at it.
fn making() -> Vec<Step> {
    vec![
        // Never done: a minute later nothing is there, and it is asked for again.
        step("unmade", "PUT", How::Hang),
        // Done when the next host has looked already.
        step("late", "PUT", How::Hold),
        step("put", "PUT", How::HoldAnswer),
        step("asked", "GET", How::HoldAnswer),
        Step {
            path: Some(OPERATIONS),
            making: Some(How::SlowOperation(5000)),
            ..step("operation", "GET", How::HoldAnswer)
        },
        Step { skip: 1, ..step("looked", "GET", How::HoldAnswer) },
        Step { path: Some(LIST), ..step("listed", "GET", How::HoldAnswer) },
    ]
}

/// What ends the group of a pod that failed: one that came to nothing is removed, one whose container ended badly is
/// stopped.
fn ending() -> Vec<Step> {
    vec![
        Step { making: comes_to_nothing(), ..step("given", "DELETE", How::HoldAnswer) },
        Step { making: comes_to_nothing(), ..step("kept", "DELETE", How::Hang) },
        Step { making: Some(How::CancelOperation), ..step("canceled", "DELETE", How::HoldAnswer) },
        Step { fails: true, ..step("stopped", "POST", How::HoldAnswer) },
        Step { fails: true, ..step("unstopped", "POST", How::Hang) },
    ]
}

/// What removes one.
fn removing() -> Vec<Step> {
    vec![step("unmade", "DELETE", How::Hang), step("late", "DELETE", How::Hold), step("put", "DELETE", How::HoldAnswer)]
}

impl Step {
    fn arm(&self, ground: &Ground) {
        let own = group_of(ground, self.pod);
        let path = self.path.map_or_else(|| own.clone(), str::to_owned);
        ground.fake().fault(Fault::next(self.method, &path, self.how.clone()).after(self.skip));
        if let Some(making) = &self.making {
            ground.fake().fault(Fault::next("PUT", &own, making.clone()));
        }
    }
}

/// Waits until somebody waits for an answer that does not come, and kills it.
async fn killed_meanwhile(mut ground: Ground) -> Result<Ground> {
    all_went_wrong(&ground).await?;
    ground.corner.host.kill()?;
    ground.restarted()
}

/// The same in a step. What is held is done once the next host has looked.
async fn killed_in(step: &Step, ground: Ground) -> Result<Ground> {
    let ground = killed_meanwhile(ground).await?;
    if step.how == How::Hold {
        polled(&ground, step.pod).await?;
        ground.fake().release();
    }
    Ok(ground)
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_in_the_middle_of_any_step_goes_on_where_it_was() -> Result<()> {
    let mut ground = ground("killed").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    // It signs in when it starts, as tokens are in its memory alone.
    ground.corner.host.kill()?;
    ground.fake().fault(Fault::next("POST", "/token$", How::HoldAnswer));
    ground = ground.restarted()?;
    ground = killed_meanwhile(ground).await.context("a token")?;
    for step in making().iter().chain(&ending()) {
        step.arm(&ground);
        let pod = if step.fails { failing(&ground, step.pod, 3) } else { idle(&ground, step.pod) };
        ground.corner.create(pod).await?;
        ground = killed_in(step, ground).await.with_context(|| format!("{} for {}", step.method, step.pod))?;
    }
    // Its making goes on.
    ground.fake().fault(Fault::next("PUT", &group_of(&ground, "goeson"), How::SlowOperation(5000)));
    ground.corner.create(idle(&ground, "goeson")).await?;
    eventually("it is being made", || async { Ok(ground.group("goeson").await.ok()) }).await?;
    ground.corner.host.kill()?;
    ground = ground.restarted()?;

    let pods: Vec<&str> = making().iter().map(|step| step.pod).chain(["goeson"]).collect();
    run(&ground, &pods).await?;
    for step in ending() {
        comes_to(&ground, step.pod, "Failed").await?;
        within(CONVERGED, "its group costs nothing", || async {
            let group = ground.group(step.pod).await.ok();
            let stops = requests(&ground, "POST", step.pod);
            let is_stopped = stops.last().is_some_and(|last| last.status == 204);
            ensure!(if step.fails { is_stopped } else { group.is_none() }, "{stops:?} {group:?}");
            Ok(Some(()))
        })
        .await?;
        let state = match step.making {
            None => "Failed",
            Some(How::CancelOperation) => "Failed OperationCanceled",
            Some(_) => "Failed InsufficientCapacity",
        };
        history.comes_to(step.pod, state).await?;
        let states = history.states(step.pod);
        ensure!(states.last().is_some_and(|last| last == state), "{}: {states:?}", step.pod);
    }
    for pod in pods.iter().copied().chain(ending().iter().map(|step| step.pod)) {
        made(&ground, pod, 1).await?;
    }

    for step in removing() {
        step.arm(&ground);
        ground.corner.delete(step.pod, Some(1)).await?;
        ground = killed_in(&step, ground).await.with_context(|| format!("{} for {}", step.method, step.pod))?;
    }
    // Its removal goes on.
    ground.fake().fault(Fault::next("DELETE", &group_of(&ground, "goeson"), How::SlowOperation(5000)));
    ground.corner.delete("goeson", Some(1)).await?;
    ground = killed_meanwhile(ground).await.context("a removal that goes on")?;
    for pod in removing().iter().map(|step| step.pod).chain(["goeson"]) {
        ground.corner.gone_within(CONVERGED, pod).await?;
    }
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_in_the_look_before_a_removal_looks_and_removes_when_it_is_back() -> Result<()> {
    let mut ground = rarely_polled("unlooked").await?;
    let others = Others::beside(&ground).await?;
    ground.corner.create(idle(&ground, "web")).await?;
    run(&ground, &["web"]).await?;
    polled(&ground, "web").await?;
    let since = now(&ground)?;
    ground.fake().fault(Fault::next("GET", &group_of(&ground, "web"), How::HoldAnswer));
    ground.corner.delete("web", Some(1)).await?;
    ground = killed_meanwhile(ground).await?;
    ground.corner.gone_within(CONVERGED, "web").await?;
    let looks = looks_before_removal(&ground, "web", since)?;
    ensure!(looks.len() > 1 && looks.first().is_some_and(|first| first.status == 0), "{looks:?}");
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_was_asked_for_by_a_host_that_was_killed_goes_with_its_pod() -> Result<()> {
    let mut ground = ground("left").await?;
    let others = Others::beside(&ground).await?;
    // There before the next host is, and after it has looked.
    let cases = [("before", How::HoldAnswer), ("after", How::Hold)];
    for (pod, how) in &cases {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), how.clone()));
        ground.corner.create(idle(&ground, pod)).await?;
    }
    ground.corner.create(idle(&ground, "stays")).await?;
    run(&ground, &["stays"]).await?;
    all_went_wrong(&ground).await?;
    ground.corner.host.kill()?;
    let by_force = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    for (pod, _) in &cases {
        ground.corner.pods().delete(pod, &by_force).await?;
        ground.corner.gone(pod).await?;
    }
    ground = ground.restarted()?;
    polled(&ground, "after").await?;
    ground.fake().release();
    within(CONVERGED, "both were made, and are gone", || async {
        let (made, groups) = (ground.fake().made(), ground.fake().groups());
        let names: Vec<_> = groups.iter().map(|(group, _)| group["tags"]["PodName"].clone()).collect();
        ensure!(cases.iter().all(|(pod, _)| !names.iter().any(|name| name == pod)), "{names:?}");
        // With those of others, of which one has no tag.
        Ok((made.len() == others.tagged() + 3).then_some(()))
    })
    .await?;
    let stays = ground.corner.pods().get("stays").await?;
    ensure!(phase(&stays) == "Running");
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_while_azure_is_out_of_order_makes_nothing_twice() -> Result<()> {
    let mut ground = ground("disorder").await?;
    let others = Others::beside(&ground).await?;
    for pod in ["a", "b"] {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), How::LoseAnswer));
        ground.corner.create(idle(&ground, pod)).await?;
    }
    all_went_wrong(&ground).await?;
    // Neither this host nor the next can see them.
    let outage = refuse(503, "ServiceUnavailable", "The service is unavailable.");
    ground.fake().fault(Fault::next("GET", "/containerGroups", outage).times(u32::MAX));
    ground.corner.host.kill()?;
    ground = ground.restarted()?;
    ground.corner.create(idle(&ground, "c")).await?;
    eventually("the next host says that it cannot see what is there", || async {
        Ok(ground.corner.host.log()?.contains("the provider has not listed its pods yet").then_some(()))
    })
    .await?;
    ensure!(ground.fake().made().len() == others.tagged() + 2, "something was made blindly");
    ground.fake().clear_faults();
    run(&ground, &["a", "b", "c"]).await?;
    for pod in ["a", "b", "c"] {
        made(&ground, pod, 1).await?;
    }
    end(&ground, &others).await
}

/// From now on this goes wrong with each request of this kind, until faults are cleared.
fn goes_wrong(ground: &Ground, method: &str, pod: &str, how: &How) {
    ground.fake().fault(Fault::next(method, &group_of(ground, pod), how.clone()).times(u32::MAX));
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_while_it_asks_for_groups_again_and_again_makes_one_of_each() -> Result<()> {
    let mut ground = ground("again").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    let cases = creates::tried_again();
    for (pod, how, _) in &cases {
        goes_wrong(&ground, "PUT", pod, how);
        ground.corner.create(idle(&ground, pod)).await?;
    }
    for (pod, _, reason) in &cases {
        history.comes_to(pod, &format!("Pending {reason}")).await?;
    }
    ground.corner.host.kill()?;
    ground.fake().clear_faults();
    ground = ground.restarted()?;
    for (pod, ..) in &cases {
        comes_to(&ground, pod, "Running").await?;
        made(&ground, pod, 1).await?;
    }
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_while_it_removes_groups_again_and_again_leaves_none() -> Result<()> {
    let mut ground = ground("yetagain").await?;
    let others = Others::beside(&ground).await?;
    let cases = removals::tried_again();
    for (pod, ..) in &cases {
        ground.corner.create(idle(&ground, pod)).await?;
    }
    run(&ground, &cases.iter().map(|(pod, ..)| *pod).collect::<Vec<_>>()).await?;
    for (pod, how, _) in &cases {
        goes_wrong(&ground, "DELETE", pod, how);
        ground.corner.delete(pod, Some(1)).await?;
    }
    for (pod, _, words) in &cases {
        is_told(&ground, pod, "FailedToDeletePod", words).await?;
    }
    ground.corner.host.kill()?;
    ground.fake().clear_faults();
    ground = ground.restarted()?;
    for (pod, ..) in &cases {
        ground.corner.gone_within(CONVERGED, pod).await.context(*pod)?;
    }
    end(&ground, &others).await
}
