//! The provider is exchanged, and its host killed, while pods are made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vk_fake_aci::config::Rate;
use vk_tests::cluster::{unique, within};
use vk_tests::engine::folder;
use vk_tests::host::plugin;

use crate::corner::{Ground, container};
use crate::crowd::{Crowd, create, roomy};

/// How many pods there are.
const PODS: usize = 200;
/// So many creates in so long: slow enough for a few swaps while they last, on a slow machine too.
const CREATES: u32 = 20;
const WINDOW: u64 = 5;
/// When the provider is exchanged: once so many groups are made.
const SWAPS: [usize; 4] = [20, 60, 100, 140];
/// What a host says of a swap: that it begins, that the other build is fit, that it serves.
const STEPS: [&str; 3] = ["the plugin's file is read anew", "plugin loaded", "took over from"];
/// Many times what these take.
const LIMIT: Duration = Duration::from_secs(300);

/// The provider's build, and the same with a note at its end: another file, which the host takes for another build.
struct Builds {
    file: PathBuf,
    both: [Vec<u8>; 2],
}

impl Builds {
    fn new(name: &str) -> Result<Self> {
        let build = fs::read(plugin("azure")?)?;
        // A custom section: its id, its length, its name with its length.
        let noted = [build.as_slice(), b"\x00\x05\x04note"].concat();
        let builds = Self { file: folder()?.join(unique(name)).with_extension("wasm"), both: [build, noted] };
        builds.put(0)?;
        Ok(builds)
    }

    /// Puts one of the two there, whole or not at all.
    fn put(&self, number: usize) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, &self.both[number % self.both.len()])?;
        Ok(fs::rename(new, &self.file)?)
    }
}

/// A cloud that takes so many creates in so long, and a provider that keeps to that.
async fn ground(name: &str, provider: &Path) -> Result<Ground> {
    Ground::with(name, |setup| {
        roomy(setup);
        setup.plugin = provider.to_owned();
        setup.fake.behaviour.acts = Some(vec![Rate { most: CREATES.into(), window: Duration::from_secs(WINDOW) }]);
        let rates = format!("creates = [\"{CREATES}/{WINDOW}s\"]\ndeletes = [\"{CREATES}/{WINDOW}s\"]\n");
        let kept = setup.provider.lines().filter(|line| !line.contains("etes = ") && !line.contains("eates = "));
        setup.provider = kept.map(|line| format!("{line}\n")).collect::<String>() + &rates;
    })
    .await
}

fn pod(ground: &Ground, index: usize) -> Value {
    let mut main = container("");
    main["command"] = json!(["serve"]);
    let mut pod = ground.pod(&format!("pod-{index}"), main);
    pod["spec"]["restartPolicy"] = json!("Always");
    pod
}

/// Exchanges the provider, and waits until the other build serves.
async fn swap(ground: &Ground, builds: &Builds, number: usize) -> Result<()> {
    let place = ground.corner.host.log_end()?;
    builds.put(number)?;
    let [.., serves] = STEPS;
    says(ground, place, serves).await
}

/// Waits until the host says so behind this place of its log.
async fn says(ground: &Ground, place: u64, words: &str) -> Result<()> {
    let host = &ground.corner.host;
    within(LIMIT, words, || async { Ok(host.log_behind(place)?.contains(words).then_some(())) }).await
}

/// Both builds are compiled once, which takes long: later swaps find that done.
async fn compiled(ground: &Ground, builds: &Builds) -> Result<()> {
    swap(ground, builds, 1).await?;
    swap(ground, builds, 0).await
}

async fn made(ground: &Ground, so_many: usize) -> Result<()> {
    within(LIMIT, "so many are made", || async { Ok((ground.fake().made().len() >= so_many).then_some(())) }).await
}

/// No pod is lost, none is made twice, and nothing was refused.
async fn all_once(ground: &Ground, crowd: &Crowd) -> Result<()> {
    within(LIMIT, "all run", || async { Ok((crowd.told("Running").len() == PODS).then_some(())) }).await?;
    let fake = ground.fake();
    ensure!((fake.made().len(), fake.groups().len()) == (PODS, PODS), "{:?}", fake.made());
    let others: usize = ["Failed", "Succeeded"].iter().map(|phase| crowd.told(phase).len()).sum();
    ensure!(others == 0, "{others} have ended");
    ground.keeps_to_the_rules()
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn two_hundred_pods_are_made_once_each_while_the_provider_is_exchanged_again_and_again() -> Result<()> {
    let builds = Builds::new("exchanged")?;
    let ground = ground("swaps", &builds.file).await?;
    compiled(&ground, &builds).await?;
    let crowd = Crowd::of(&ground.corner);
    create(&ground, (0..PODS).map(|index| pod(&ground, index))).await?;
    for (round, begin) in SWAPS.into_iter().enumerate() {
        made(&ground, begin).await?;
        swap(&ground, &builds, round + 1).await?;
        let so_far = ground.fake().made().len();
        ensure!(so_far < PODS, "all were made before swap {round} was done");
    }
    all_once(&ground, &crowd).await?;
    // What one build has sent counts for the next: the cloud's rates are kept over all of them.
    let refused = ground.fake().count(Duration::ZERO, |request| request.status == 429);
    ensure!(refused == 0, "{refused} requests were refused");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn two_hundred_pods_are_made_once_each_though_the_host_is_killed_in_the_middle_of_swaps() -> Result<()> {
    let builds = Builds::new("killed")?;
    let mut ground = ground("swap-kills", &builds.file).await?;
    compiled(&ground, &builds).await?;
    let crowd = Crowd::of(&ground.corner);
    create(&ground, (0..PODS).map(|index| pod(&ground, index))).await?;
    for (round, begin) in SWAPS.into_iter().enumerate() {
        made(&ground, begin).await?;
        let place = ground.corner.host.log_end()?;
        builds.put(round + 1)?;
        ground.corner.host.signal(nix::sys::signal::Signal::SIGHUP)?;
        // Once at each step, and once before it has begun to look.
        if let Some(step) = STEPS.get(round) {
            says(&ground, place, step).await?;
        }
        ground.corner.host.kill()?;
        let so_far = ground.fake().made().len();
        ensure!(so_far < PODS, "all were made before the host was killed at step {round}");
        ground = ground.restarted()?;
    }
    all_once(&ground, &crowd).await
}
