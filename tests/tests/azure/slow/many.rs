//! As many pods as Azure's rates bear.

use std::collections::BTreeMap;
use std::io::{Write as _, stderr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use vk_fake_aci::Fake;
use vk_tests::cluster::within;

use crate::corner::{Ground, container};
use crate::crowd::{ACTS, Crowd, Lateness, PERIOD, create, floor, roomy};

/// How many there are.
const PODS: usize = 500;
/// So many of them end by themselves, a while after their start.
const JOBS: usize = 50;
const JOB: [&str; 2] = ["sleep", "20"];
/// So many are removed while creates wait for their turn.
const REMOVED: usize = 20;
/// Several times the floor: for what has to come at all.
const LIMIT: Duration = Duration::from_secs(400);
/// What is promised, in floors of the rates and in periods. A window of a rate that is lost is 1.08 floors more.
const SLOWEST: f64 = 1.2;
const LATEST: Duration = PERIOD.saturating_mul(2);
/// Creates have the next window of theirs in a minute: a removal that waited for one would take most of that.
const REMOVAL: Duration = Duration::from_secs(20);

/// What each pod is like: most go on.
fn pod(ground: &Ground, index: usize) -> Value {
    let mut main = container("");
    main["command"] = if index < JOBS { json!(JOB) } else { json!(["serve"]) };
    let mut pod = ground.pod(&format!("pod-{index}"), main);
    pod["spec"]["restartPolicy"] = json!(if index < JOBS { "Never" } else { "Always" });
    pod
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn five_hundred_pods_run_as_soon_as_rates_let_them_and_no_removal_waits_for_a_create() -> Result<()> {
    let ground = Ground::with("many", roomy).await?;
    let (corner, fake) = (&ground.corner, ground.fake());
    let crowd = Crowd::of(corner);
    let (began, since) = (Timestamp::now(), fake.elapsed());
    create(&ground, (0..PODS).map(|index| pod(&ground, index))).await?;

    let listed = corner.pods().list(&ListParams::default()).await?.items;
    let goes_on = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"));
    let those: Vec<(String, String)> =
        listed.iter().filter(goes_on).map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect();
    let [_, (in_long_window, _)] = ACTS;
    let removed = within(LIMIT, "a long window of creates is used up, and enough run", || async {
        let running = crowd.told("Running");
        let names = those.iter().filter(|(_, uid)| running.contains_key(uid)).map(|(name, _)| name.clone());
        let removed: Vec<String> = names.take(REMOVED).collect();
        let is_used_up = fake.made().len() >= usize::try_from(in_long_window)?;
        Ok((is_used_up && removed.len() == REMOVED).then_some(removed))
    })
    .await?;
    let asked = Timestamp::now();
    for name in &removed {
        corner.delete(name, None).await?;
    }
    for name in &removed {
        corner.gone_within(LIMIT, name).await?;
    }
    let removals = asked.duration_until(Timestamp::now());
    let made = fake.made().len();
    ensure!(made < PODS, "all was made before {REMOVED} were removed, in {removals:#}");

    within(LIMIT, "all have run", || async { Ok((crowd.told("Running").len() == PODS).then_some(())) }).await?;
    within(LIMIT, "what ends by itself has ended", || async {
        Ok((crowd.told("Succeeded").len() == JOBS).then_some(()))
    })
    .await?;
    let running = crowd.told("Running");
    let took = began.duration_until(running.values().copied().max().context("none runs")?).unsigned_abs();
    let refused = fake.count(since, |request| request.status == 429);
    let started = lateness(&ground, &running, "startTime")?;
    let ended = lateness(&ground, &crowd.told("Succeeded"), "finishTime")?;
    let floor = floor(PODS);
    let ratio = took.as_secs_f64() / floor.as_secs_f64();
    writeln!(
        stderr(),
        "\n{PODS} pods: Running in {took:.1?}, floor {floor:.1?}, ratio {ratio:.2}; {refused} answers of 429; {}\n\
         {REMOVED} removed in {removals:#} while {} creates waited\n\
         told after a start ({}): p50 {:.1?}, p99 {:.1?}; after an end ({}): p50 {:.1?}, p99 {:.1?}; period {PERIOD:?}\n",
        requests(fake),
        PODS - made,
        started.count(),
        started.at(50),
        started.at(99),
        ended.count(),
        ended.at(50),
        ended.at(99),
    )?;
    ensure!(refused == 0, "{refused} requests were refused");
    ensure!(removals.unsigned_abs() < REMOVAL, "removals waited for creates: {removals:#}");
    ensure!(started.count() == PODS - REMOVED && ended.count() == JOBS, "{}, {}", started.count(), ended.count());
    ensure!(ratio < SLOWEST, "it took {ratio:.2} times as long as the rates do");
    ensure!(started.at(99) < LATEST && ended.at(99) < LATEST, "{:?}, {:?}", started.at(99), ended.at(99));
    ensure!(fake.groups().len() == PODS - REMOVED && fake.made().len() == PODS, "{}", fake.groups().len());
    ground.keeps_to_the_rules()
}

/// How many there were of each kind.
fn requests(fake: &Fake) -> String {
    let mut counts = BTreeMap::<String, u32>::new();
    for request in fake.requests() {
        let path = request.path.to_lowercase();
        let of = |word: &str| path.contains(word);
        let what = match request.method.as_str() {
            "GET" if path.ends_with("/containergroups") => "lists",
            "GET" if of("/operation") => "questions about operations",
            "GET" if of("vk-host-ping") => "pings",
            "GET" => "looks",
            _ if of("/token") => "tokens",
            other => other,
        };
        *counts.entry(what.to_owned()).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

/// From what Azure's groups say of their first containers to when it was told of their pods.
fn lateness(ground: &Ground, told: &BTreeMap<String, Timestamp>, what: &str) -> Result<Lateness> {
    let mut spans = Vec::new();
    for (group, _) in ground.fake().groups() {
        let state = &group["properties"]["containers"][0]["properties"]["instanceView"]["currentState"];
        let uid = group["tags"]["UID"].as_str().context("a group without UID")?;
        if let (Some(at), Some(told)) = (state[what].as_str(), told.get(uid)) {
            spans.push((at.parse()?, *told));
        }
    }
    Ok(Lateness::of(spans.into_iter()))
}
