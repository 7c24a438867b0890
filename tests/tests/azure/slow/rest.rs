//! Pods at rest.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vk_tests::cluster::within;

use crate::corner::{Ground, container};
use crate::crowd::{Crowd, PERIOD, create, roomy};

/// How many pods there are. All go on.
const PODS: usize = 500;
/// Many times what their creation takes.
const LIMIT: Duration = Duration::from_secs(400);
/// A pod is looked at after a quarter of the time since its last change, but at least each two minutes: from then on all are at rest.
const QUIET: Duration = Duration::from_secs(4 * 120 + 10);
/// In so long each is looked at twice.
const WINDOW: Duration = Duration::from_secs(240);

/// Requests a minute at rest, as the provider's README has it, for pods that go on.
fn formula(pods: usize, page: usize) -> f64 {
    60.0 / PERIOD.as_secs_f64() * pods.div_ceil(page) as f64 + 6.0 + pods as f64 / 2.0
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn five_hundred_pods_at_rest_cost_as_many_requests_as_the_formula_says() -> Result<()> {
    let ground = Ground::with("rest", roomy).await?;
    let (fake, crowd) = (ground.fake(), Crowd::of(&ground.corner));
    let pods = (0..PODS).map(|index| {
        let mut main = container("");
        main["command"] = json!(["serve"]);
        let mut pod = ground.pod(&format!("pod-{index}"), main);
        pod["spec"]["restartPolicy"] = json!("Always");
        pod
    });
    create(&ground, pods).await?;
    within(LIMIT, "all run", || async { Ok((crowd.told("Running").len() == PODS).then_some(())) }).await?;
    tokio::time::sleep(QUIET).await;
    let since = fake.elapsed();
    tokio::time::sleep(WINDOW).await;
    let minutes = (fake.elapsed() - since).as_secs_f64() / 60.0;
    let asked = fake.count(since, |_| true);
    let lists = fake.count(since, |request| request.path.to_lowercase().ends_with("/containergroups"));
    let (rate, expected) = (asked as f64 / minutes, formula(PODS, fake.behaviour().page));
    writeln!(
        std::io::stderr(),
        "\n{PODS} pods at rest, {minutes:.2} minutes: {asked} requests ({lists} of lists), {rate:.0} a minute, {:.2} a pod; the formula says {expected:.0}\n",
        rate / PODS as f64,
    )?;
    // Each pod's looks fall into a window once more, or not; a list may begin in it.
    ensure!(rate < PODS as f64 && rate < expected * 1.1, "{rate:.0} a minute, and not {expected:.0}");
    ensure!(rate > expected * 0.5, "{rate:.0} a minute: nobody looks");
    ground.keeps_to_the_rules()
}
