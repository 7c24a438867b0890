//! A group is changed, and something goes wrong: with the request for it, with its answer, or with the host. Each change
//! starts a group's containers again, so it is made once.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::{eventually, unique, within};
use vk_tests::engine::tagged;

use super::others::Others;
use super::{CONVERGED, all_went_wrong, comes_to, end, group_of, idle, is_told, made, refuse, requests, run, told};
use crate::corner::{Ground, Setup, status};
use crate::pods::change_image;
use crate::rows::subnet_path;

/// A node whose pods may be changed.
async fn ground(name: &str) -> Result<Ground> {
    let change = |setup: &mut Setup| {
        setup.played();
        setup.may_change = true;
    };
    Ground::with(name, change).await
}

/// A pod has come to run its second image, and is the pod that it was: of its group one was made, and changed once.
async fn was_changed_once(ground: &Ground, pod: &str, uid: &str) -> Result<()> {
    let image = tagged(2);
    within(CONVERGED, &format!("{pod} has its new image"), || async {
        let found = ground.corner.pods().get(pod).await?;
        ensure!(status(&found).is_some_and(|status| status.image == image), "{:?}", found.status);
        Ok(Some(()))
    })
    .await?;
    comes_to(ground, pod, "Running").await?;
    let group = ground.group(pod).await?;
    ensure!(group["properties"]["containers"][0]["properties"]["image"] == image, "{group}");
    ensure!(ground.corner.pods().get(pod).await?.uid().as_deref() == Some(uid), "{pod} is another pod");
    made(ground, pod, 1).await?;
    let changed = ground.fake().changed().get(uid).copied().unwrap_or_default();
    ensure!(changed == 1, "the group of {pod} was changed {changed} times");
    Ok(())
}

/// The uids of pods that run.
async fn running(ground: &Ground, pods: &[&str]) -> Result<Vec<String>> {
    for pod in pods {
        ground.corner.create(idle(ground, pod)).await?;
    }
    run(ground, pods).await?;
    let mut uids = Vec::new();
    for pod in pods {
        uids.push(ground.corner.pods().get(pod).await?.uid().context("no UID")?);
    }
    Ok(uids)
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_change_that_azure_refuses_or_whose_answer_is_lost_is_made_once() -> Result<()> {
    let ground = ground("changes").await?;
    let others = Others::beside(&ground).await?;
    // How often it is asked for, and what is told; empty: nothing.
    let cases = [
        ("well", None, 1, ""),
        ("late", Some(How::Delay(3000)), 1, ""),
        ("lost", Some(How::LoseAnswer), 1, "ConnectionTerminated"),
        ("garbled", Some(How::Malformed), 1, "AzureAnswerUnreadable"),
        ("unheard", Some(How::LoseRequest), 2, "ConnectionTerminated"),
        // The end of the call's time, or of the answer's: whichever comes first.
        ("silent", Some(How::Hang), 2, "PUT https://"),
        ("forbidden", Some(refuse(403, "AuthorizationFailed", "The client has no right.")), 2, "AuthorizationFailed"),
        ("busy", Some(refuse(409, "ContainerGroupTransitioning", "It is.")), 2, "ContainerGroupTransitioning"),
    ];
    let uids = running(&ground, &cases.each_ref().map(|(pod, ..)| *pod)).await?;
    for (pod, how, ..) in &cases {
        if let Some(how) = how {
            ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), how.clone()));
        }
        change_image(&ground, pod, &tagged(2)).await?;
    }
    for ((pod, _, times, words), uid) in cases.iter().zip(&uids) {
        was_changed_once(&ground, pod, uid).await?;
        // One whose answer was lost is found to be done.
        if words.is_empty() || *times > 1 {
            is_told(&ground, pod, "Updated", "").await?;
        }
        let asked = requests(&ground, "PUT", pod).len() - 1;
        ensure!(asked == *times, "{pod}: it was asked for {asked} times");
        if words.is_empty() {
            let failure = told(&ground, pod, "FailedToUpdatePod").await?;
            ensure!(failure.is_empty(), "{pod}: {failure}");
        } else {
            is_told(&ground, pod, "FailedToUpdatePod", words).await?;
        }
    }
    all_went_wrong(&ground).await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_host_that_is_killed_in_the_middle_of_a_change_makes_it_if_it_was_not_made() -> Result<()> {
    let mut ground = ground("change-killed").await?;
    let others = Others::beside(&ground).await?;
    let cases = [("done", How::HoldAnswer, 1), ("lost", How::LoseAnswer, 1), ("undone", How::Hang, 2)];
    let pods = cases.each_ref().map(|(pod, ..)| *pod);
    let uids = running(&ground, &pods).await?;
    for (pod, how, _) in &cases {
        ground.fake().fault(Fault::next("PUT", &group_of(&ground, pod), how.clone()));
    }
    for pod in pods {
        change_image(&ground, pod, &tagged(2)).await?;
    }
    all_went_wrong(&ground).await?;
    ground.corner.host.kill()?;
    ground = ground.restarted()?;
    for ((pod, _, times), uid) in cases.iter().zip(&uids) {
        was_changed_once(&ground, pod, uid).await?;
        let asked = requests(&ground, "PUT", pod).len() - 1;
        ensure!(asked == *times, "{pod}: it was asked for {asked} times");
    }
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_change_that_azure_cannot_make_of_a_group_is_refused_by_field_and_the_pod_runs_as_it_was() -> Result<()> {
    let ground = super::ground("unchangeable").await?;
    let others = Others::beside(&ground).await?;
    let mut pod = idle(&ground, "web");
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1", "memory": "1G"}});
    // Once its containers run, the API server lets resources be changed where the node says which it has given: this one does not.
    ground.fake().fault(Fault::next("PUT", &group_of(&ground, "web"), How::SlowOperation(10_000)));
    ground.corner.create(pod).await?;
    eventually("it is being made", || async { Ok(ground.group("web").await.ok()) }).await?;
    let more =
        Patch::Strategic(json!({"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "2"}}}]}}));
    ground.corner.pods().patch_subresource("resize", "web", &PatchParams::default(), &more).await?;
    is_told(&ground, "web", "UpdateRefused", "spec.containers[0].resources").await?;
    run(&ground, &["web"]).await?;
    let group = ground.group("web").await?;
    let requested = &group["properties"]["containers"][0]["properties"]["resources"]["requests"];
    ensure!(*requested == json!({"cpu": 1.0, "memoryInGB": 1.0}), "{requested}");
    let asked = requests(&ground, "PUT", "web");
    ensure!(asked.len() == 1, "{asked:?}");
    made(&ground, "web", 1).await?;
    end(&ground, &others).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_whose_group_is_elsewhere_than_the_configuration_says_now_runs_on_and_its_change_is_refused() -> Result<()>
{
    let ground = ground("elsewhere").await?;
    let others = Others::beside(&ground).await?;
    running(&ground, &["web"]).await?;
    let config = ground.corner.host.config();
    let said = config.provider_config.as_deref().context("no configuration")?;
    config.write_provider_config(&format!("{said}subnet = {:?}\n", subnet_path("other")))?;
    // New pods are there: it was read.
    within(CONVERGED, "a new pod is in the subnet", || async {
        let pod = unique("new");
        running(&ground, &[&pod]).await?;
        Ok((!ground.group(&pod).await?["properties"]["subnetIds"].is_null()).then_some(()))
    })
    .await?;
    change_image(&ground, "web", &tagged(2)).await?;
    is_told(&ground, "web", "UpdateRefused", "subnet").await?;
    let group = ground.group("web").await?;
    ensure!(group["properties"]["containers"][0]["properties"]["image"] == tagged(1), "{group}");
    comes_to(&ground, "web", "Running").await?;
    let asked = requests(&ground, "PUT", "web");
    ensure!(asked.len() == 1, "{asked:?}");
    end(&ground, &others).await
}
