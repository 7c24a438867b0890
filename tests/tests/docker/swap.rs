//! The provider is exchanged while pods are made and ended.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use vk_tests::cluster::{eventually, within};
use vk_tests::engine::proxy::{Fault, Proxy};
use vk_tests::engine::{Engine, tagged};
use vk_tests::host::plugin;

use crate::corner::{change, container, corner_at, nothing_left, objects, put, template};
use crate::faults::{CONVERGED, is_ready, made_once, once_each};

/// The provider's build, and the same with a note at its end: another file, which the host takes for another build.
fn builds(folder: &Path) -> Result<(PathBuf, [Vec<u8>; 2])> {
    let build = std::fs::read(plugin("docker")?)?;
    // A custom section: its id, its length, its name with its length.
    let noted = [build.as_slice(), b"\x00\x05\x04note"].concat();
    let file = folder.join("swapped.wasm");
    std::fs::write(&file, &build)?;
    Ok((file, [noted, build]))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_provider_that_is_exchanged_in_the_middle_of_a_rolling_update_makes_nothing_twice() -> Result<()> {
    let engine = Engine::shared().await?;
    let proxy = Proxy::before(engine, "swap", |_| Fault::None)?;
    let (file, builds) = builds(&vk_tests::engine::folder()?)?;
    let corner = corner_at("swap", proxy.socket(), file.clone()).await?;
    let mut serving = container("main", "touch /tmp/ready; exec sleep 100000");
    // A busy engine takes seconds for a command.
    serving["readinessProbe"] =
        json!({"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1, "timeoutSeconds": 10});
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template(&corner, "web", serving)},
    });
    put::<Deployment>(&corner, deployment).await?;
    eventually("four are available", || async {
        let status = objects::<Deployment>(&corner).get("web").await?.status.unwrap_or_default();
        Ok((status.available_replicas == Some(4)).then_some(()))
    })
    .await?;
    for (round, build) in builds.iter().enumerate() {
        let mut spec = serde_json::to_value(objects::<Deployment>(&corner).get("web").await?.spec)?;
        let image = tagged(if round == 0 { 2 } else { 1 });
        spec["template"]["spec"]["containers"][0]["image"] = json!(image);
        change::<Deployment>(&corner, "web", json!({"spec": {"template": spec["template"]}})).await?;
        let of_image = |pod: &Pod| pod.spec.as_ref().is_some_and(|s| s.containers[0].image.as_deref() == Some(&image));
        eventually("the update has begun", || async { Ok((corner.count(of_image).await? > 0).then_some(())) }).await?;
        let new = file.with_extension("new");
        std::fs::write(&new, build)?;
        std::fs::rename(&new, &file)?;
        let swaps = |log: &str| log.matches("took over from").count();
        eventually("the other build serves", || async { Ok((swaps(&corner.host.log()?) > round).then_some(())) })
            .await?;
        within(CONVERGED, "four of the new image run, and no other", || async {
            let pods = corner.pods().list(&ListParams::default()).await?.items;
            ensure!(pods.len() == 4 && pods.iter().all(|pod| of_image(pod) && is_ready(pod)), "{} pods", pods.len());
            once_each(&corner, engine, &pods).await?;
            Ok(Some(()))
        })
        .await?;
    }
    made_once(&proxy)?;
    objects::<Deployment>(&corner).delete("web", &DeleteParams::foreground()).await?;
    eventually("no pod is left", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    nothing_left(&corner, engine).await
}
