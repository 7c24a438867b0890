//! What is changed in place: an image, with which the group's containers are started again.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use vk_fake_aci::LABEL;
use vk_tests::engine::{Engine, tagged};

use crate::corner::{Ground, container, status};
use crate::pods::change_image;

/// How many containers run with an image of those that the engine has of the ground's fake.
async fn running(ground: &Ground, image: &str) -> Result<usize> {
    let own = json!(ground.fake().folder());
    let all: Value = Engine::shared().await?.api().get("/containers/json").await?;
    let containers = all.as_array().into_iter().flatten();
    Ok(containers.filter(|container| container["Labels"][LABEL] == own && container["Image"] == image).count())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_image_that_is_changed_runs_in_the_same_group_of_the_same_pod() -> Result<()> {
    let ground = Ground::with("updated", |setup| setup.may_change = true).await?;
    let (corner, fake) = (&ground.corner, ground.fake());
    let mut pod = ground.pod("web", container("echo started; exec sleep 100000"));
    pod["spec"]["restartPolicy"] = json!("Always");
    let uid = corner.create(pod).await?.uid().context("no UID")?;
    corner.running("web").await?;
    let before = ground.group("web").await?;
    ensure!(running(&ground, &tagged(2)).await? == 0);

    change_image(&ground, "web", &tagged(2)).await?;
    let has_it = |pod: &_| status(pod).is_some_and(|status| status.ready && status.image == tagged(2));
    let pod = corner.until("web", "runs with the new image", has_it).await?;
    ensure!(pod.uid().as_deref() == Some(uid.as_str()), "it is another pod");
    ensure!(status(&pod).is_some_and(|status| status.restart_count == 0), "{:?}", pod.status);
    corner.event("web", "Updated").await?;
    let count = running(&ground, &tagged(2)).await?;
    ensure!(count == 1, "{count} containers run with the new image");
    let log = corner.log("web").await?;
    ensure!(log == "started\n", "it has started once: {log}");
    let after = ground.group("web").await?;
    ensure!(before["name"] == after["name"] && before["tags"]["Revision"] != after["tags"]["Revision"], "{after}");
    let (made, changed) = (fake.made().get(&uid).copied(), fake.changed().get(&uid).copied());
    ensure!(made == Some(1) && changed == Some(1), "{made:?} {changed:?}");
    ground.over(&["web"]).await
}
