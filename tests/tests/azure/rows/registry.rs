//! `imagePullSecrets`, with a registry of the tests' own, which a fake's engine can reach; and pulls as a managed identity, which are
//! pretended: no registry here knows one.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use vk_tests::engine::{Engine, IMAGE, Registry};

use crate::corner::{Ground, container};

const PULL_IDENTITY: &str = "virtual-kubelet.io/pull-identity";

/// A pull secret for the registry of all tests.
pub(super) async fn put_credentials(ground: &Ground, name: &str, password: &str) -> Result<()> {
    let entry = json!({"username": Registry::USER, "password": password});
    let text = json!({"auths": {"127.0.0.1:5000": entry}}).to_string();
    let secret = json!({"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": text}});
    let secrets: Api<Secret> = Api::namespaced(ground.corner.client.clone(), &ground.corner.namespace);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}

fn of(ground: &Ground, name: &str, image: &str, secret: Option<&str>) -> Value {
    let mut pod = ground.pod(name, container("echo pulled"));
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod["spec"]["imagePullSecrets"] = secret.map(|name| json!({"name": name})).into_iter().collect();
    pod
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_private_image_is_pulled_with_the_pods_secret_and_not_without() -> Result<()> {
    let image = Registry::shared().await?.publish(Engine::shared().await?, "azure/app").await?;
    let ground = Ground::new("registry").await?;
    let corner = &ground.corner;
    put_credentials(&ground, "bad", "guessed-password").await?;
    put_credentials(&ground, "good", Registry::PASSWORD).await?;
    corner.create(of(&ground, "nobody", &image, None)).await?;
    corner.create(of(&ground, "wrong", &image, Some("bad"))).await?;
    for name in ["nobody", "wrong"] {
        let told = corner.event(name, "FailedToCreatePod").await?.message.unwrap_or_default();
        ensure!(told.contains(&image) && told.contains("InaccessibleImage"), "{told}");
        ensure!(ground.group(name).await.is_err(), "{name} has a group");
    }
    // Not before: an engine that has an image gives it to everybody.
    corner.create(of(&ground, "right", &image, Some("good"))).await?;
    ensure!(ground.last_words("right").await? == "pulled\n");
    let shown = ground.group("right").await?["properties"]["imageRegistryCredentials"].clone();
    ensure!(shown == json!([{"server": "127.0.0.1:5000", "username": Registry::USER}]), "{shown}");
    let told = corner.host.log()?;
    ensure!(!told.contains(Registry::PASSWORD) && !told.contains("guessed-password"), "a password is in the log");
    ground.over(&["nobody", "wrong", "right"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_image_of_azures_own_registries_is_asked_for_as_an_identity_that_the_group_has() -> Result<()> {
    // The engine has it: nothing is pulled.
    let path = format!("/images/{IMAGE}:1/tag?repo=mine.azurecr.io/web&tag=1");
    Engine::shared().await?.api().send(Method::POST, &path, &[], Vec::new()).await?;
    let ground = Ground::new("acr").await?;
    let identity =
        "/subscriptions/s/resourceGroups/ids/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pull";
    let mut pod = of(&ground, "web", "mine.azurecr.io/web:1", None);
    pod["metadata"]["annotations"] = json!({PULL_IDENTITY: identity});
    ground.corner.create(pod).await?;
    ensure!(ground.last_words("web").await? == "pulled\n");
    let is_webs = |(group, _): &(Value, Vec<&'static str>)| group["tags"]["PodName"] == "web";
    let (group, pretended) = ground.fake().groups().into_iter().find(is_webs).context("it has no group")?;
    ensure!(pretended == ["identity", "pull identity"], "{pretended:?}");
    let shown = &group["properties"]["imageRegistryCredentials"];
    ensure!(*shown == json!([{"server": "mine.azurecr.io", "identity": identity}]), "{shown}");
    ensure!(group["identity"]["userAssignedIdentities"].get(identity).is_some(), "{}", group["identity"]);
    ground.over(&["web"]).await
}
