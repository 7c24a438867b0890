//! No secret is shown: not in a group but as what Azure shows to nobody, and not in any log, status or event, in
//! whatever form.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use vk_fake_aci::{Fault, How};
use vk_tests::engine::{self, Engine, Registry};

use super::leaks::{forms, found, issued};
use super::registry::put_credentials;
use super::subnet_path;
use crate::corner::{Ground, container};
use crate::pods::ended;

/// What each secret ends with: letters that every way of writing writes otherwise.
const ODD: &str = ": \"quoted\" \\ & é+/=%";

fn odd(place: &str) -> String {
    format!("s3cret-{place}{ODD}")
}

/// The ground of the test: all that the operator can keep secret is set.
async fn ground(kubeconfig: &str) -> Result<Ground> {
    let file = engine::folder()?.join("secret.kubeconfig");
    fs::write(&file, kubeconfig)?;
    let file = file.display().to_string();
    let key = odd("workspace");
    Ground::with("hidden", |setup| {
        setup.flags = ["--log-level", "trace", "--grant"].map(str::to_owned).into();
        setup.flags.push(format!("file={file}"));
        setup.fake.account.client_secret = odd("application");
        setup.provider.push_str(&format!(
            "subnet = {:?}\n[log-analytics]\nworkspace-id = \"7\"\nworkspace-key = {key:?}\n[kube-proxy]\nkubeconfig = {file:?}\n",
            subnet_path("aci"),
        ));
    })
    .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn no_secret_is_in_a_group_or_in_any_word_of_the_host() -> Result<()> {
    let kubeconfig = format!("apiVersion: v1\n# {}\n", odd("kubeconfig"));
    let ground = ground(&kubeconfig).await?;
    let corner = &ground.corner;
    let image = Registry::shared().await?.publish(Engine::shared().await?, "hidden/app").await?;
    let account = ground.fake().account().shares.first().context("no share")?.clone();
    ground.secret("keys", json!({"variable": odd("variable"), "part": odd("part"), "file": odd("file")})).await?;
    ground.secret("all", json!({"ALL": odd("all")})).await?;
    ground.secret("late", json!({"key": odd("late")})).await?;
    ground
        .secret("storage", json!({"azurestorageaccountname": account.account, "azurestorageaccountkey": account.key}))
        .await?;
    put_credentials(&ground, "pull", Registry::PASSWORD).await?;
    let mut main = container("cat /token/token; echo; cat /keys/file; echo; echo \"$VARIABLE|$PART|$ALL\"");
    main["image"] = json!(image);
    main["envFrom"] = json!([{"secretRef": {"name": "all"}}]);
    let of = |key: &str| json!({"secretKeyRef": {"name": "keys", "key": key}});
    main["env"] = json!([
        {"name": "VARIABLE", "valueFrom": of("variable")}, {"name": "HELD", "valueFrom": of("part")},
        {"name": "PART", "value": "<$(HELD)>"},
    ]);
    main["volumeMounts"] = json!([
        {"name": "keys", "mountPath": "/keys"}, {"name": "token", "mountPath": "/token"}, {"name": "share", "mountPath": "/share"},
    ]);
    let mut web = ground.pod("web", main);
    web["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    web["spec"]["volumes"] = json!([
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        {"name": "share", "azureFile": {"shareName": account.name, "secretName": "storage"}},
    ]);
    corner.create(web).await?;
    let log = ground.last_words("web").await?;
    let token = log.lines().next().context("no token")?.to_owned();
    let said = format!("{token}\n{}\n{}|<{}>|{}\n", odd("file"), odd("variable"), odd("part"), odd("all"));
    ensure!(log == said, "{log}");

    // Azure repeats what it does not like; and answers break in the middle.
    let quoted: Vec<String> = forms(&odd("late"))?.into_iter().take(6).collect();
    let refuse = How::Refuse {
        status: 400,
        code: "InvalidParameter".to_owned(),
        message: format!("The value {} is invalid.", quoted.join(" or ")),
        retry_after: None,
    };
    let put = |how| Fault::next("PUT", "containerGroups/", how);
    let mut late = container("true");
    late["env"] = json!([{"name": "LATE", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}]);
    for (name, fault) in [("quoted", refuse), ("broken", How::BreakBody), ("malformed", How::Malformed)] {
        ground.fake().fault(put(fault));
        corner.create(ground.pod(name, late.clone())).await?;
        ended(&ground, name).await?;
    }
    let refused = corner.pods().get("quoted").await?.status.and_then(|status| status.message).unwrap_or_default();
    ensure!(refused.contains("[redacted]"), "{refused}");

    let secrets: Vec<(String, String)> =
        ["variable", "part", "file", "all", "late", "workspace", "application", "kubeconfig"]
            .into_iter()
            .map(|place| (place.to_owned(), odd(place)))
            .chain([("token".to_owned(), token), ("storage".to_owned(), account.key)])
            .chain([("registry".to_owned(), Registry::PASSWORD.to_owned())])
            .chain(issued(ground.fake()))
            .collect();
    let events: Api<Event> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let events = serde_json::to_string(&events.list(&ListParams::default()).await?.items)?;
    let statuses: Vec<_> =
        corner.pods().list(&ListParams::default()).await?.items.into_iter().map(|pod| pod.status).collect();
    let groups: Vec<Value> = ground.fake().groups().into_iter().map(|(group, _)| group).collect();
    let mut all = Vec::new();
    for (place, text) in [
        ("a group", serde_json::to_string(&groups)?),
        ("the host's log", corner.host.log()?),
        ("an event", events),
        ("a pod's status", serde_json::to_string(&statuses)?),
        ("a URL", serde_json::to_string(&ground.fake().requests())?),
    ] {
        all.extend(found(place, &text, &secrets)?);
    }
    ensure!(all.is_empty(), "{all:#?}");
    // What is looked for is there, as what Azure shows to nobody.
    let properties = groups.iter().find(|group| group["tags"]["PodName"] == "web").map(|group| &group["properties"]);
    let kinds =
        properties.map(|of| (of["volumes"].to_string(), of["diagnostics"].is_object(), of["extensions"].is_array()));
    ensure!(
        kinds.is_some_and(|(volumes, logs, proxy)| volumes.contains("azureFile") && logs && proxy),
        "{properties:?}"
    );
    ground.over(&["web", "quoted", "broken", "malformed"]).await
}
