//! What becomes of pods, and of their groups, when Azure refuses, loses, delays or garbles what it is asked, when
//! groups come to nothing, and when the host is killed in the middle. Beside them groups of other people stand, which
//! nobody touches.
//!
//! | file | what goes wrong |
//! | --- | --- |
//! | at_once | all of it |
//! | creates | a group is asked for |
//! | removals | a group is removed |
//! | groups | what was taken comes to nothing, or takes long; its group is removed or stopped |
//! | looks | lists, looks, and questions how far something is |
//! | manners | nothing: Azure tells of operations otherwise, is late with lists, or succeeds after it gave up |
//! | updates | a group is changed |
//! | sign_in | tokens, from each of the three that give some |
//! | killed | the host, in the middle of each step |

mod at_once;
mod creates;
mod groups;
mod history;
mod killed;
mod looks;
mod manners;
mod others;
mod removals;
mod sign_in;
mod updates;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Event, Node, NodeCondition};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vk_fake_aci::{How, Request};
use vk_tests::cluster::{eventually, phase, within};

use crate::corner::{Ground, Setup, container};
use others::{NO_POD, Others};

/// How long things may take to be as they should. What may have been made and is not there proves nothing for a minute,
/// and the host waits half of one for an answer: both together, and room for a machine that is slow.
const CONVERGED: Duration = Duration::from_secs(240);

/// A node whose groups are played, as nothing here is about containers.
async fn ground(name: &str) -> Result<Ground> {
    Ground::with(name, Setup::played).await
}

/// The shortest time between two looks of the poll at one group, on the ground of [`rarely_polled`].
const PERIOD: Duration = Duration::from_secs(10);

/// The same, polled so rarely that a test can act between two looks: see [`polled`].
async fn rarely_polled(name: &str) -> Result<Ground> {
    let change = |setup: &mut Setup| {
        setup.played();
        let period = format!("poll-period = \"{}s\"", PERIOD.as_secs());
        setup.provider = setup.provider.replace("poll-period = \"1s\"", &period);
    };
    Ground::with(name, change).await
}

/// This moment, as the fake counts.
fn now(ground: &Ground) -> Result<u64> {
    Ok(u64::try_from(ground.fake().elapsed().as_millis())?)
}

/// Waits until a pod's group is looked at from now on.
async fn polled(ground: &Ground, pod: &str) -> Result<()> {
    let since = now(ground)?;
    within(CONVERGED, &format!("the group of {pod} is looked at"), || async {
        Ok(requests(ground, "GET", pod).iter().any(|request| request.at >= since).then_some(()))
    })
    .await
}

/// A pod that goes on until somebody ends it.
fn idle(ground: &Ground, name: &str) -> Value {
    ground.pod(name, container("exec sleep 100000"))
}

/// A pod that ends well by itself, after so many seconds.
fn brief(ground: &Ground, name: &str, seconds: u32) -> Value {
    played(ground, name, "sleep", seconds)
}

/// A pod that ends at once with this code, and is not to be started again.
fn failing(ground: &Ground, name: &str, code: u32) -> Value {
    played(ground, name, "exit", code)
}

/// A pod whose container does what the fake's players understand.
fn played(ground: &Ground, name: &str, word: &str, number: u32) -> Value {
    let mut main = container("");
    main["command"] = json!([word, number.to_string()]);
    ground.pod(name, main)
}

/// What the path of a pod's group has in it, and that of no other's: no pod here is called as another one and a hyphen.
fn group_of(ground: &Ground, pod: &str) -> String {
    format!("/containerGroups/{}-{pod}-", ground.corner.namespace)
}

/// What the path of the list of groups ends with.
const LIST: &str = "/containerGroups$";

/// What the paths of questions how far something is have in them.
const OPERATIONS: &str = "/operations/";

/// What Azure says that has no room in the region.
const CAPACITY: &str = "The requested resource with '4' CPU and '16' GB memory is not available in the location \
                        'westeurope' at this moment. Please retry in another location.";

/// Azure takes it, and it comes to nothing.
fn fails(code: &str, message: &str) -> How {
    How::FailOperation { code: code.to_owned(), message: message.to_owned() }
}

/// Azure says no.
pub(crate) fn refuse(status: u16, code: &str, message: &str) -> How {
    How::Refuse { status, code: code.to_owned(), message: message.to_owned(), retry_after: None }
}

/// Azure has no room for more requests, and may say for how long.
fn throttle(retry_after: Option<u32>) -> How {
    let (code, message) = ("TooManyRequests".to_owned(), "Please try again later.".to_owned());
    How::Refuse { status: 429, code, message, retry_after }
}

/// Requests about a pod's group, in their order.
fn requests(ground: &Ground, method: &str, pod: &str) -> Vec<Request> {
    let path = group_of(ground, pod);
    let mut requests = ground.fake().requests();
    requests.retain(|request| request.method == method && request.path.contains(&path));
    requests
}

/// The looks that a pod's removal began with, since `since`: the first of them is none of the poll's, which had looked just
/// before.
fn looks_before_removal(ground: &Ground, pod: &str, since: u64) -> Result<Vec<Request>> {
    let removal = requests(ground, "DELETE", pod).first().context("nobody has asked for its removal")?.at;
    let mut looks = requests(ground, "GET", pod);
    looks.sort_by_key(|look| look.at);
    let polled = looks.iter().rfind(|look| look.at < since).context("the poll has not looked")?.at;
    looks.retain(|look| (since..=removal).contains(&look.at));
    let first = looks.first().context("nobody has looked before")?.at;
    ensure!(Duration::from_millis(first - polled) < PERIOD, "the poll may have looked at {pod}: {polled}, {first}");
    Ok(looks)
}

/// Waits until a pod is in this phase.
async fn comes_to(ground: &Ground, pod: &str, wanted: &str) -> Result<()> {
    let pods = ground.corner.pods();
    within(CONVERGED, &format!("pod {pod} is {wanted}"), || async {
        let found = pods.get(pod).await?;
        ensure!(phase(&found) == wanted, "{}", serde_json::to_string(&found.status)?);
        Ok(Some(()))
    })
    .await
}

/// Waits until these pods run.
async fn run(ground: &Ground, pods: &[&str]) -> Result<()> {
    for pod in pods {
        comes_to(ground, pod, "Running").await?;
    }
    Ok(())
}

/// What was told of a pod with this reason, in one text.
async fn told(ground: &Ground, pod: &str, reason: &str) -> Result<String> {
    let events: Api<Event> = Api::namespaced(ground.corner.client.clone(), &ground.corner.namespace);
    let params = ListParams::default().fields(&format!("involvedObject.name={pod},reason={reason}"));
    let messages = events.list(&params).await?.items.into_iter().filter_map(|event| event.message);
    Ok(messages.collect::<Vec<_>>().join("\n"))
}

/// Waits until the node says that Azure answers, or that it does not, and returns what it says. It stays Ready: an outage
/// of Azure's evicts nobody.
pub(crate) async fn is_reachable(ground: &Ground, wanted: bool) -> Result<NodeCondition> {
    let nodes: Api<Node> = Api::all(ground.corner.client.clone());
    within(CONVERGED, &format!("the node says {wanted} of whether Azure answers"), || async {
        let node = nodes.get(ground.corner.host.node()).await?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
        ensure!(find("Ready").is_some_and(|ready| ready.status == "True"), "{conditions:?}");
        let reachable = find("ProviderReachable").context("no condition")?;
        let is_so = reachable.status == if wanted { "True" } else { "False" };
        Ok(is_so.then(|| reachable.clone()))
    })
    .await
}

/// Waits until the node says that Azure does not answer, for this reason.
async fn is_out_of_reach(ground: &Ground, reason: &str) -> Result<()> {
    let told = is_reachable(ground, false).await?;
    ensure!(told.reason.as_deref() == Some(reason), "{told:?}");
    Ok(())
}

/// Waits until something is told of a pod for this reason that has these words in it.
async fn is_told(ground: &Ground, pod: &str, reason: &str, words: &str) -> Result<()> {
    within(CONVERGED, &format!("{reason} is told of {pod} with {words:?}"), || async {
        let told = told(ground, pod, reason).await?;
        ensure!(!told.is_empty() && told.contains(words), "{told:?}");
        Ok(Some(()))
    })
    .await
}

/// Waits until all went wrong that was to.
async fn all_went_wrong(ground: &Ground) -> Result<()> {
    within(CONVERGED, "all goes wrong that is to", || async {
        let left = ground.fake().faults();
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await
}

/// No group was made of a pod, or one.
async fn made(ground: &Ground, pod: &str, count: u32) -> Result<()> {
    let uid = ground.corner.pods().get(pod).await?.uid().context("no UID")?;
    let made = ground.fake().made().get(&uid).copied().unwrap_or_default();
    ensure!(made == count, "{made} groups were made of {pod}");
    Ok(())
}

/// All pods go, and all that was made of them; what is others' is as it was, and told of where it could be the node's.
async fn end(ground: &Ground, others: &Others) -> Result<()> {
    let corner = &ground.corner;
    corner.pods().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    within(CONVERGED, "no pod is left", || async {
        let left: Vec<String> =
            corner.pods().list(&ListParams::default()).await?.items.iter().map(|pod| pod.name_any()).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await?;
    others.were_left_alone(ground.fake())?;
    eventually("it is told of the group whose pod nobody knows", || async {
        let log = corner.host.log()?;
        Ok(log.lines().any(|line| line.contains(NO_POD) && line.contains("left alone")).then_some(()))
    })
    .await?;
    others.go(ground.fake()).await?;
    ground.nothing_left().await?;
    ground.keeps_to_the_rules()
}
