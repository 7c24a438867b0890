//! A group is asked for, and something goes wrong: with the question whether it is there, or with the request for it.

use anyhow::{Context as _, Result, ensure};
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::eventually;

use super::history::History;
use super::others::Others;
use super::{
    CAPACITY, all_went_wrong, comes_to, end, ground, group_of, idle, is_told, made, refuse, requests, run, throttle,
    told,
};
use crate::corner::Ground;

/// What goes wrong with one pod.
struct Case {
    pod: &'static str,
    method: &'static str,
    times: u32,
    how: How,
    comes_to: Outcome,
}

/// What comes of it.
#[derive(Clone, Copy)]
enum Outcome {
    /// Nobody hears of it.
    Unheard,
    /// This reason is told, as the answer did not come, or was none; what was made is found, and asked for once.
    Found(&'static str),
    /// It is tried again, and the pod waits with this reason meanwhile.
    Waits(&'static str),
    /// The pod is refused for good with this reason.
    Refused(&'static str),
}

use Outcome::{Found, Refused, Unheard, Waits};

fn put(pod: &'static str, how: How, comes_to: Outcome) -> Case {
    Case { pod, method: "PUT", times: 1, how, comes_to }
}

fn look(pod: &'static str, how: How, comes_to: Outcome) -> Case {
    Case { method: "GET", ..put(pod, how, comes_to) }
}

impl Case {
    fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn fault(&self, ground: &Ground) -> Fault {
        Fault::next(self.method, &group_of(ground, self.pod), self.how.clone()).times(self.times)
    }
}

/// Refusals. Each but the last two is tried again, whatever the pod's restart policy.
fn refusals() -> Vec<Case> {
    let transitioning = "The container group 'x' is still transitioning, please retry later.";
    let quota = "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota \
                 'StandardCores' exceeded in region 'westeurope'. Limit: '10', Usage: '10' Requested: '1'.";
    vec![
        put(
            "unsigned",
            refuse(401, "InvalidAuthenticationToken", "The access token is invalid."),
            Waits("InvalidAuthenticationToken"),
        ),
        put("forbidden", refuse(403, "AuthorizationFailed", "The client has no right."), Waits("AuthorizationFailed")),
        put(
            "policy",
            refuse(403, "RequestDisallowedByPolicy", "A policy forbids it."),
            Waits("RequestDisallowedByPolicy"),
        ),
        put(
            "nowhere",
            refuse(404, "ResourceGroupNotFound", "Resource group 'pods' could not be found."),
            Waits("ResourceGroupNotFound"),
        ),
        put("absent", refuse(404, "NotFound", "It is not there."), Waits("NotFound")),
        // A proxy's.
        put("proxied", refuse(404, "", ""), Waits("AzureSetup")),
        put("busy", refuse(409, "ContainerGroupTransitioning", transitioning), Waits("ContainerGroupTransitioning"))
            .times(2),
        put("quota", refuse(409, "ContainerGroupQuotaReached", quota), Waits("ContainerGroupQuotaReached")).times(2),
        put("capacity", refuse(409, "ServiceUnavailable", CAPACITY), Waits("InsufficientCapacity")).times(2),
        put("throttled", throttle(Some(3)), Waits("TooManyRequests")),
        put("hurried", throttle(None), Waits("TooManyRequests")).times(2),
        put("image", refuse(400, "InaccessibleImage", "The image 'x' is not accessible."), Waits("InaccessibleImage")),
        put(
            "label",
            refuse(400, "InvalidDnsNameLabel", "The DNS name label is invalid."),
            Refused("InvalidDnsNameLabel"),
        ),
        put("unknown", refuse(422, "NotAGroup", "It cannot be."), Refused("NotAGroup")),
    ]
}

/// Answers that do not come, or are none. What may have been made is looked for.
fn losses() -> Vec<Case> {
    vec![
        put("broken", refuse(500, "InternalServerError", "Sorry."), Waits("InternalServerError")),
        put("unmade", How::LoseRequest, Waits("ConnectionTerminated")),
        put("lost", How::LoseAnswer, Found("ConnectionTerminated")),
        put("cut", How::BreakBody, Found("ConnectionTerminated")),
        put("garbled", How::Malformed, Found("AzureAnswerUnreadable")),
        put("late", How::Delay(3000), Unheard),
        // The host waits for half a minute.
        put("toolate", How::Delay(40_000), Waits("HTTPResponseTimeout")),
        put("silent", How::Hang, Waits("HTTPResponseTimeout")),
        put("held", How::HoldAnswer, Found("HTTPResponseTimeout")),
    ]
}

/// What is asked for again and again while this goes on: the pod, what goes wrong with its group's making, and why it waits.
pub(super) fn tried_again() -> Vec<(&'static str, How, &'static str)> {
    let waits = |case: Case| match case.comes_to {
        Waits(reason) => Some((case.pod, case.how, reason)),
        Unheard | Found(_) | Refused(_) => None,
    };
    refusals().into_iter().chain(losses()).filter_map(waits).collect()
}

/// The question whether it is there already. Without an answer nothing is made. It changes nothing, so it is repeated
/// at once.
fn questions() -> Vec<Case> {
    vec![
        look("askthrottled", throttle(Some(2)), Waits("TooManyRequests")),
        look(
            "askforbidden",
            refuse(403, "AuthorizationFailed", "The client has no right."),
            Waits("AuthorizationFailed"),
        ),
        look("askbroken", refuse(500, "InternalServerError", "Sorry."), Waits("InternalServerError")).times(3),
        look("asklost", How::LoseAnswer, Waits("ConnectionTerminated")).times(3),
        // `it is not there` is not to be read from them.
        look("askcut", How::BreakBody, Waits("AzureSetup")),
        look("askgarbled", How::Malformed, Waits("AzureSetup")),
    ]
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_create_that_azure_refuses_or_loses_is_tried_again_or_ends_the_pod_and_makes_one_group() -> Result<()> {
    let ground = ground("creates").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    let cases: Vec<Case> = [refusals(), losses(), questions()].into_iter().flatten().collect();
    for case in &cases {
        ground.fake().fault(case.fault(&ground));
        ground.corner.create(idle(&ground, case.pod)).await?;
    }
    for case in &cases {
        let phase = if matches!(case.comes_to, Refused(_)) { "Failed" } else { "Running" };
        comes_to(&ground, case.pod, phase).await?;
    }
    all_went_wrong(&ground).await?;
    for case in &cases {
        was_seen(&ground, &history, case)
            .await
            .with_context(|| format!("{}: {:?}", case.pod, history.states(case.pod)))?;
    }
    let times: Vec<(u64, u16)> =
        requests(&ground, "PUT", "throttled").iter().map(|request| (request.at, request.status)).collect();
    ensure!(matches!(times[..], [(first, 429), (second, 201)] if second - first >= 2900), "{times:?}");

    // A token that was good for long enough, and is not any more, is replaced at once.
    ground.fake().expire_tokens();
    ground.corner.create(idle(&ground, "later")).await?;
    run(&ground, &["later"]).await?;
    ensure!(history.states("later").iter().all(|state| !state.contains("Token")), "{:?}", history.states("later"));
    end(&ground, &others).await
}

/// What was to be seen of a case was seen.
async fn was_seen(ground: &Ground, history: &History, case: &Case) -> Result<()> {
    let puts = || requests(ground, "PUT", case.pod).len();
    match case.comes_to {
        Unheard => {
            let failure = told(ground, case.pod, "FailedToCreatePod").await?;
            ensure!(failure.is_empty() && puts() == 1, "{} times, and it is told: {failure:?}", puts());
        }
        Found(reason) => {
            is_told(ground, case.pod, "FailedToCreatePod", reason).await?;
            ensure!(puts() == 1, "what was made is asked for {} times", puts());
        }
        Waits(reason) => {
            history.comes_to(case.pod, &format!("Pending {reason}")).await?;
            is_told(ground, case.pod, "FailedToCreatePod", reason).await?;
        }
        Refused(reason) => {
            history.comes_to(case.pod, &format!("Failed {reason}")).await?;
            is_told(ground, case.pod, reason, "").await?;
            ensure!(puts() == 1, "what is refused for good is asked for {} times", puts());
            return made(ground, case.pod, 0).await;
        }
    }
    made(ground, case.pod, 1).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_waits_while_the_subscription_has_no_room_and_runs_once_it_has() -> Result<()> {
    let ground = ground("room").await?;
    let others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    let there = u32::try_from(ground.fake().groups().len())?;
    ground.fake().behave(|behaviour| behaviour.groups = there + 1);
    ground.corner.create(idle(&ground, "first")).await?;
    run(&ground, &["first"]).await?;
    ground.corner.create(idle(&ground, "second")).await?;
    history.comes_to("second", "Pending ContainerGroupQuotaReached").await?;
    is_told(&ground, "second", "FailedToCreatePod", "quota 'ContainerGroups' exceeded").await?;
    ground.corner.delete("first", None).await?;
    run(&ground, &["second"]).await?;
    ground.fake().behave(|behaviour| (behaviour.groups, behaviour.cores) = (100, f64::from(there) + 1.0));
    ground.corner.create(idle(&ground, "third")).await?;
    is_told(&ground, "third", "FailedToCreatePod", "quota 'StandardCores' exceeded").await?;
    ground.fake().behave(|behaviour| behaviour.cores = 100.0);
    run(&ground, &["third"]).await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_of_the_pod_s_name_that_is_somebody_else_s_is_left_alone_and_the_pod_waits() -> Result<()> {
    let ground = ground("taken").await?;
    let mut others = Others::beside(&ground).await?;
    let history = History::of(&ground.corner);
    // Nobody knows its name before it is asked for.
    ground.fake().fault(Fault::next("PUT", &group_of(&ground, "web"), throttle(Some(10))));
    ground.corner.create(idle(&ground, "web")).await?;
    let asked = eventually("it was asked for", || async { Ok(requests(&ground, "PUT", "web").pop()) }).await?;
    let name = asked.path.rsplit('/').next().context("no name")?.to_owned();
    let mut tags = ground.fake().group("pods", "other-cluster").context("it is gone")?["tags"].clone();
    tags["UID"] = "uid-taken".into();
    others.put(ground.fake(), &name, tags).await?;
    history.comes_to("web", "Pending ContainerGroupNameTaken").await?;
    others.were_left_alone(ground.fake())?;
    others.remove(ground.fake(), &name).await?;
    run(&ground, &["web"]).await?;
    made(&ground, "web", 1).await?;
    end(&ground, &others).await
}
