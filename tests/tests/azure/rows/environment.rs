//! `env`: what a process has of what its pod says, and what Azure shows of it.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::container as of;
use crate::corner::{Ground, container};

/// Prints variables by their names, each in brackets, as values may have more than one line.
fn prints(names: &[&str]) -> String {
    let each = |name: &&str| format!("echo \"{name}=[${name}]\";");
    names.iter().map(each).collect()
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_process_has_its_variables_from_wherever_they_come() -> Result<()> {
    let ground = Ground::new("env").await?;
    let corner = &ground.corner;
    ground.config_map("settings", json!({"greeting": "hello", "lines": "one\ntwo"})).await?;
    ground.config_map("all", json!({"A": "a", "B": "b"})).await?;
    ground.secret("keys", json!({"token": "ünder \"quotes\" & $HOME", "none": ""})).await?;
    ground.secret("every", json!({"HIDDEN": "h1dden"})).await?;
    let names = [
        "PLAIN", "EMPTY", "GREETING", "LINES", "TOKEN", "NONE", "CFG_A", "CFG_B", "HIDDEN", "NAME", "SPACE", "NODE",
        "LABEL", "CORES", "BOTH", "ESCAPED", "MISSING",
    ];
    let mut main = container(&prints(&names));
    main["resources"] = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}});
    main["envFrom"] = json!([
        {"prefix": "CFG_", "configMapRef": {"name": "all"}}, {"secretRef": {"name": "every"}},
        {"configMapRef": {"name": "absent", "optional": true}},
    ]);
    let from = |name: &str, source: Value| json!({"name": name, "valueFrom": source});
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    main["env"] = json!([
        {"name": "PLAIN", "value": "as it is"}, {"name": "EMPTY", "value": ""},
        from("GREETING", json!({"configMapKeyRef": {"name": "settings", "key": "greeting"}})),
        from("LINES", json!({"configMapKeyRef": {"name": "settings", "key": "lines"}})),
        from("TOKEN", json!({"secretKeyRef": {"name": "keys", "key": "token"}})),
        from("NONE", json!({"secretKeyRef": {"name": "keys", "key": "none"}})),
        from("NAME", field("metadata.name")), from("SPACE", field("metadata.namespace")), from("NODE", field("spec.nodeName")),
        from("LABEL", field("metadata.labels['app']")),
        from("CORES", json!({"resourceFieldRef": {"resource": "limits.cpu"}})),
        {"name": "BOTH", "value": "$(GREETING), $(TOKEN)"}, {"name": "ESCAPED", "value": "$$(GREETING)"},
        from("MISSING", json!({"secretKeyRef": {"name": "keys", "key": "absent", "optional": true}})),
    ]);
    let mut pod = ground.pod("web", main);
    pod["metadata"]["labels"] = json!({"app": "web"});
    corner.create(pod).await?;
    let token = "ünder \"quotes\" & $HOME";
    let (node, space) = (corner.host.node(), &corner.namespace);
    let expected = format!(
        "PLAIN=[as it is]\nEMPTY=[]\nGREETING=[hello]\nLINES=[one\ntwo]\nTOKEN=[{token}]\nNONE=[]\nCFG_A=[a]\nCFG_B=[b]\n\
         HIDDEN=[h1dden]\nNAME=[web]\nSPACE=[{space}]\nNODE=[{node}]\nLABEL=[web]\nCORES=[1]\nBOTH=[hello, {token}]\n\
         ESCAPED=[$(GREETING)]\nMISSING=[]\n"
    );
    let log = ground.last_words("web").await?;
    ensure!(log == expected, "{log}");
    // What comes from a Secret, or has a part that does, is shown to nobody.
    let group = ground.group("web").await?;
    let shown = of(&group, "main")["environmentVariables"].as_array().cloned().unwrap_or_default();
    for name in names.iter().filter(|name| **name != "MISSING") {
        let value = shown.iter().find(|variable| variable["name"] == *name).map(|variable| &variable["value"]);
        let is_hidden = ["TOKEN", "HIDDEN", "BOTH"].contains(name);
        ensure!(value.is_some_and(|value| value.is_null() == is_hidden), "{name}: {value:?}");
    }
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn names_that_azure_does_not_take_are_left_out_where_nobody_wrote_them_for_this_pod() -> Result<()> {
    let ground = Ground::new("names").await?;
    let corner = &ground.corner;
    ground.config_map("odd", json!({"app.toml": "1", "_PRIVATE": "2", "GOOD": "3"})).await?;
    let mut main = container("echo $GOOD; env | grep -e app.toml -e PRIVATE || echo none");
    main["envFrom"] = json!([{"configMapRef": {"name": "odd"}}]);
    corner.create(ground.pod("web", main)).await?;
    let log = ground.last_words("web").await?;
    ensure!(log == "3\nnone\n", "{log}");
    let told = corner.event("web", "InvalidEnvironmentVariableNames").await?;
    let message = told.message.unwrap_or_default();
    ensure!(["app.toml", "_PRIVATE"].iter().all(|name| message.contains(name)), "{message}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn commands_and_arguments_are_one_list_with_variables_filled_in() -> Result<()> {
    let ground = Ground::new("command").await?;
    let corner = &ground.corner;
    let mut main = container("");
    main["command"] = json!(["sh", "-c", "echo \"$0|$1|$2\""]);
    main["args"] = json!(["$(WHO)", "two words", "$$(WHO) $(NOBODY)"]);
    main["env"] = json!([{"name": "WHO", "value": "me"}]);
    corner.create(ground.pod("web", main)).await?;
    let log = ground.last_words("web").await?;
    ensure!(log == "me|two words|$(WHO) $(NOBODY)\n", "{log}");
    let group = ground.group("web").await?;
    let command = &of(&group, "main")["command"];
    let expected = json!(["sh", "-c", "echo \"$0|$1|$2\"", "me", "two words", "$(WHO) $(NOBODY)"]);
    ensure!(*command == expected, "{command}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn services_of_the_namespace_are_variables_where_a_pod_wants_them() -> Result<()> {
    let ground = Ground::new("services").await?;
    let corner = &ground.corner;
    let services: Api<Service> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let service = json!({"metadata": {"name": "data-base"}, "spec": {"ports": [{"port": 5432}]}});
    let made = services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    let address = made.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
    let mut pod =
        ground.pod("web", container("echo $DATA_BASE_SERVICE_HOST:$DATA_BASE_SERVICE_PORT $KUBERNETES_SERVICE_PORT"));
    pod["spec"]["enableServiceLinks"] = json!(true);
    corner.create(pod).await?;
    let log = ground.last_words("web").await?;
    ensure!(log == format!("{address}:5432 443\n"), "{log}");
    ground.over(&["web"]).await
}
