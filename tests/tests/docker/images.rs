//! Images: where they come from, and what is said if they do not.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, within};
use vk_tests::engine::{Engine, Registry};

use crate::corner::{change, corner, idle, pod, put, told, waits_for};

/// A pull is tried again after ten seconds, and then after twenty.
const PULLS: Duration = Duration::from_secs(90);

/// The credentials of a pull secret.
fn credentials(password: &str) -> ByteString {
    let entry = json!({"username": Registry::USER, "password": password});
    ByteString(json!({"auths": {"127.0.0.1:5000": entry}}).to_string().into_bytes())
}

async fn put_credentials(corner: &Corner<'_>, name: &str, password: &str) -> Result<()> {
    let data = json!({".dockerconfigjson": credentials(password)});
    let secret = json!({"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson", "data": data});
    put::<Secret>(corner, secret).await.map(drop)
}

/// A pod with this image.
fn of(corner: &Corner<'_>, name: &str, image: &str, secret: Option<&str>) -> Value {
    let mut pod = pod(corner, name, idle());
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod["spec"]["imagePullSecrets"] = secret.map(|name| json!({"name": name})).into_iter().collect();
    pod
}

async fn until_waits(corner: &Corner<'_>, name: &str, reason: &str) -> Result<Pod> {
    corner.until(name, &format!("waits for {reason}"), |pod| waits_for(pod, "main").as_deref() == Some(reason)).await
}

async fn until_running(corner: &Corner<'_>, name: &str) -> Result<()> {
    within(PULLS, &format!("{name} runs"), || async {
        Ok((vk_tests::cluster::phase(&corner.pods().get(name).await?) == "Running").then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_image_that_is_not_there_is_waited_for() -> Result<()> {
    let (engine, registry, corner) = (Engine::shared().await?, Registry::shared().await?, corner("no-image").await?);
    put_credentials(&corner, "good", Registry::PASSWORD).await?;
    let image = "127.0.0.1:5000/late/app:1";
    corner.create(of(&corner, "web", image, Some("good"))).await?;
    until_waits(&corner, "web", "ErrImagePull").await?;
    told(&corner, "web", "Failed", image).await?;
    until_waits(&corner, "web", "ImagePullBackOff").await?;
    corner.event("web", "BackOff").await?;
    ensure!(registry.publish(engine, "late/app").await? == image);
    until_running(&corner, "web").await?;
    corner.event("web", "Pulled").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn wrong_credentials_are_told_and_right_ones_pull() -> Result<()> {
    let (engine, registry, corner) = (Engine::shared().await?, Registry::shared().await?, corner("credentials").await?);
    let image = registry.publish(engine, "private/app").await?;
    put_credentials(&corner, "bad", "guessed").await?;
    put_credentials(&corner, "good", Registry::PASSWORD).await?;
    corner.create(of(&corner, "wrong", &image, Some("bad"))).await?;
    corner.create(of(&corner, "nobody", &image, None)).await?;
    for name in ["wrong", "nobody"] {
        until_waits(&corner, name, "ImagePullBackOff").await?;
        let failed = corner.event(name, "Failed").await?;
        let message = failed.message.unwrap_or_default();
        ensure!(message.contains(&image) && !message.contains("guessed"), "{message}");
    }
    // Not before: a node that has an image gives it to every pod, unless it is told to ask.
    corner.create(of(&corner, "right", &image, Some("good"))).await?;
    corner.running("right").await?;
    change::<Secret>(&corner, "bad", json!({"data": {".dockerconfigjson": credentials(Registry::PASSWORD)}})).await?;
    until_running(&corner, "wrong").await?;
    ensure!(!corner.host.log()?.contains(Registry::PASSWORD), "a password reached the host's log");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_image_that_may_not_be_pulled_and_one_whose_name_is_wrong_are_told() -> Result<()> {
    let corner = corner("bad-image").await?;
    let mut never = of(&corner, "never", "images.test/none:1", None);
    never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    corner.create(never).await?;
    corner.create(of(&corner, "invalid", "images.test/UPPER:1", None)).await?;
    until_waits(&corner, "never", "ErrImageNeverPull").await?;
    until_waits(&corner, "invalid", "InvalidImageName").await?;
    Ok(())
}
