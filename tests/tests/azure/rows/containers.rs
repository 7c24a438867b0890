//! `containers`, `initContainers`, `restartPolicy`, `securityContext`.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use super::{container as of, log};
use crate::corner::{Ground, container};

/// The same with another name.
fn named(name: &str, script: &str) -> Value {
    let mut container = container(script);
    container["name"] = json!(name);
    container
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses)).flatten()
}

/// The code that a container ended with.
fn code(pod: &Pod, container: &str) -> Option<i32> {
    let status = statuses(pod).find(|status| status.name == container)?;
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn init_containers_run_one_after_the_other_and_then_all_others() -> Result<()> {
    let ground = Ground::new("init").await?;
    let corner = &ground.corner;
    let noting = |name: &str, script: &str| {
        let mut container = named(name, script);
        container["volumeMounts"] = json!([{"name": "notes", "mountPath": "/notes"}]);
        container
    };
    let mut pod = ground.pod("web", noting("main", "cat /notes/all"));
    pod["spec"]["initContainers"] =
        json!([noting("first", "sleep 1; echo first >> /notes/all"), noting("second", "echo second >> /notes/all")]);
    pod["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    corner.create(pod).await?;
    let log = ground.last_words("web").await?;
    ensure!(log == "first\nsecond\n", "{log}");
    let pod = corner.pods().get("web").await?;
    let ends: Vec<(&str, Option<i32>)> =
        statuses(&pod).map(|status| (status.name.as_str(), code(&pod, &status.name))).collect();
    ensure!(ends == [("first", Some(0)), ("second", Some(0)), ("main", Some(0))], "{ends:?}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_init_container_that_fails_ends_the_pod_and_nothing_else_runs() -> Result<()> {
    let ground = Ground::new("init-fails").await?;
    let corner = &ground.corner;
    let mut pod = ground.pod("web", named("main", "echo it ran"));
    pod["spec"]["initContainers"] = json!([named("first", "echo no; exit 3")]);
    corner.create(pod).await?;
    let pod = corner.in_phase("web", "Failed").await?;
    ensure!(code(&pod, "first") == Some(3), "{:?}", pod.status);
    let main = statuses(&pod).find(|status| status.name == "main").context("no status of main")?;
    ensure!(main.container_id.is_none() && code(&pod, "main").is_none(), "{main:?}");
    ensure!(log(&ground, "web", "first").await? == "no\n");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn several_containers_share_one_address_and_have_logs_of_their_own() -> Result<()> {
    let ground = Ground::new("several").await?;
    let corner = &ground.corner;
    let mut pod = ground.pod("web", named("serves", "echo hello | nc -l -p 8080; echo served"));
    let asks = "until nc 127.0.0.1 8080 2> /dev/null | grep .; do sleep 0.2; done";
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(named("asks", asks));
    corner.create(pod).await?;
    let pod = corner.in_phase("web", "Succeeded").await?;
    ensure!(statuses(&pod).count() == 2, "{:?}", pod.status);
    for (container, expected) in [("serves", "served\n"), ("asks", "hello\n")] {
        let log = log(&ground, "web", container).await?;
        ensure!(log == expected, "{container}: {log}");
    }
    let group = ground.group("web").await?;
    let names: Vec<&str> = group["properties"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    ensure!(names == ["serves", "asks"], "{names:?}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn on_failure_a_container_runs_until_it_ends_well() -> Result<()> {
    let ground = Ground::new("on-failure").await?;
    let corner = &ground.corner;
    let mut main = named("main", "[ -e /notes/once ] && exit 0; touch /notes/once; exit 9");
    main["volumeMounts"] = json!([{"name": "notes", "mountPath": "/notes"}]);
    let mut pod = ground.pod("web", main);
    pod["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    corner.create(pod).await?;
    let pod = corner.in_phase("web", "Succeeded").await?;
    let status = statuses(&pod).next().context("no status")?;
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref()).map(|last| last.exit_code);
    ensure!(status.restart_count == 1 && last == Some(9) && code(&pod, "main") == Some(0), "{status:?}");
    ensure!(ground.group("web").await?["properties"]["restartPolicy"] == "OnFailure");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn users_and_rights_are_those_of_the_security_context() -> Result<()> {
    let ground = Ground::new("rights").await?;
    let corner = &ground.corner;
    let script = "echo $(id -u):$(id -g); grep -e CapBnd -e NoNewPrivs /proc/self/status";
    let mut user = ground.pod("user", container(script));
    user["spec"]["securityContext"] = json!({"runAsUser": 1234, "runAsGroup": 5678, "runAsNonRoot": true});
    let mut less = ground.pod("less", container(script));
    less["spec"]["securityContext"] = json!({"runAsUser": 1234});
    less["spec"]["containers"][0]["securityContext"] = json!({
        "runAsUser": 0, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    });
    for pod in [user, less] {
        corner.create(pod).await?;
    }
    let said = ground.last_words("user").await?;
    ensure!(said.starts_with("1234:5678\n"), "{said}");
    let said = ground.last_words("less").await?;
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    // Of all rights the tenth alone.
    let expected = [vec!["0:0"], vec!["CapBnd:", "0000000000000400"], vec!["NoNewPrivs:", "1"]];
    ensure!(lines == expected, "{said}");
    let group = ground.group("less").await?;
    let shown = &of(&group, "main")["securityContext"];
    let rights = json!({"add": ["CAP_NET_BIND_SERVICE"], "drop": ["ALL"]});
    ensure!(*shown == json!({"allowPrivilegeEscalation": false, "capabilities": rights, "runAsUser": 0}), "{shown}");
    ground.over(&["user", "less"]).await
}
