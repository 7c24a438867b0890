//! That the ground is firm, before anything of this project stands on it.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::json;
use vk_tests::cluster::eventually;
use vk_tests::engine::{Engine, Registry, tagged};

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_engine_runs_a_container_of_the_image() -> Result<()> {
    let api = Engine::shared().await?.api();
    let spec = json!({"Image": tagged(1), "Cmd": ["sh", "-c", "echo it is $(id -u); exit 3"]});
    let json = [("content-type", "application/json")];
    let made = api.send(Method::POST, "/containers/create?name=ground", &json, spec.to_string().into_bytes()).await?;
    ensure!(made.contains("Id"), "{made}");
    api.send(Method::POST, "/containers/ground/start", &[], Vec::new()).await?;
    let state = eventually("it has ended", || async {
        let state = api.get("/containers/ground/json").await?["State"].clone();
        Ok((state["Status"] == "exited").then_some(state))
    })
    .await?;
    ensure!(state["ExitCode"] == 3, "{state}");
    let log = api.send(Method::GET, "/containers/ground/logs?stdout=1", &[], Vec::new()).await?;
    ensure!(log.contains("it is 0"), "{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn the_registry_lets_nobody_in_without_a_word() -> Result<()> {
    let engine = Engine::shared().await?;
    let image = Registry::shared().await?.publish(engine, "ground/app").await?;
    let (name, tag) = image.rsplit_once(':').context("no tag")?;
    let pull = format!("/images/create?fromImage={name}&tag={tag}");
    let refused = engine.api().send(Method::POST, &pull, &[], Vec::new()).await;
    ensure!(refused.is_err(), "{refused:?}");
    Ok(())
}
