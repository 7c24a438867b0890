//! Pods that end otherwise than they should, and what becomes of their groups.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use vk_tests::cluster::{eventually, phase, within};

use crate::corner::{Ground, container, status};
use crate::pods::ended;

/// Groups that the subscription may have.
const QUOTA: u32 = 5;
/// More pods than that are made, each after the last has failed: some seconds each on a slow machine.
const FAILED: usize = 10;
const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_that_azure_starts_again_against_its_policy_has_failed_as_it_ended_first() -> Result<()> {
    let ground = Ground::with("never", |setup| {
        setup.fake.behaviour.restarts_of_never = 1;
        setup.fake.behaviour.back_off = Duration::from_millis(50);
        // Time enough for it to be started again before anybody looks.
        setup.provider = setup.provider.replace("poll-period = \"1s\"", "poll-period = \"5s\"");
    })
    .await?;
    let corner = &ground.corner;
    let mut main = container("[ -e /work/again ] && exec sleep 100000; touch /work/again; exit 7");
    main["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    let mut pod = ground.pod("once", main);
    pod["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {}}]);
    corner.create(pod).await?;
    let code = |pod: &Pod| status(pod).and_then(|status| Some(status.state.as_ref()?.terminated.as_ref()?.exit_code));
    let ended = ended(&ground, "once").await?;
    ensure!(phase(&ended) == "Failed" && code(&ended) == Some(7), "{:?}", ended.status);
    eventually("its group is stopped", || async {
        let group = ground.group("once").await?;
        Ok((group["properties"]["instanceView"]["state"] == "Stopped").then_some(()))
    })
    .await?;
    let last = corner.pods().get("once").await?;
    ensure!(phase(&last) == "Failed" && code(&last) == Some(7), "{:?}", last.status);
    ground.over(&["once"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_deployment_whose_mount_cannot_be_had_takes_nobody_s_place() -> Result<()> {
    let ground = Ground::with("mount", |setup| {
        setup.played();
        setup.fake.behaviour.groups = QUOTA;
    })
    .await?;
    let corner = &ground.corner;
    // The account is the fake's, and its key another.
    let (account, key) = ("shares", "d3Jvbmc=");
    ground.secret("key", json!({"azurestorageaccountname": account, "azurestorageaccountkey": key})).await?;
    let mut main = container("serve");
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut spec = ground.pod("", main)["spec"].take();
    spec["restartPolicy"] = json!("Always");
    spec["volumes"] = json!([{"name": "data", "azureFile": {"shareName": "files", "secretName": "key"}}]);
    let labels = json!({"app": "bad"});
    let deployment = json!({
        "metadata": {"name": "bad"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    });
    let deployments: Api<Deployment> = Api::namespaced(corner.client.clone(), &corner.namespace);
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    within(LIMIT, "more pods have failed than groups may be", || async {
        let failed = corner.count(|pod| phase(pod) == "Failed").await?;
        ensure!(failed >= FAILED, "{failed} have failed, and there are {} groups", ground.fake().groups().len());
        Ok(Some(()))
    })
    .await?;
    corner.create(ground.pod("other", container("serve"))).await?;
    corner.running("other").await?;

    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    deployments.patch("bad", &PatchParams::default(), &none).await?;
    let pods = within(LIMIT, "one group is left, and of the others' pods those that have failed", || async {
        let pods = corner.pods().list(&ListParams::default().labels("app=bad")).await?.items;
        let (left, groups) = (pods.iter().filter(|pod| phase(pod) != "Failed").count(), ground.fake().groups().len());
        ensure!(groups == 1 && left == 0, "{groups} groups, and {left} of {} pods that have not failed", pods.len());
        Ok(Some(pods))
    })
    .await?;
    ensure!(pods.len() >= FAILED, "{} pods are left", pods.len());
    for pod in &pods {
        let status = pod.status.as_ref().context("no status")?;
        let message = status.message.as_deref().unwrap_or_default();
        ensure!(message.contains("Permission denied"), "{status:?}");
    }
    deployments.delete("bad", &DeleteParams::background()).await?;
    within(LIMIT, "its pods are gone", || async {
        let left = corner.pods().list(&ListParams::default().labels("app=bad")).await?.items.len();
        ensure!(left == 0, "{left} pods");
        Ok(Some(()))
    })
    .await?;
    ground.over(&["other"]).await
}
