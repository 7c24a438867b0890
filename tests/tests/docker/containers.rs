//! How containers of a pod begin, end and begin again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStateTerminated, Pod};
use kube::ResourceExt as _;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, within};
use vk_tests::engine::{Engine, Kind, tagged};

use crate::corner::{
    at_engine, change, container, corner, idle, kubectl, last_words, once, pod, put, restarts, status, told, waits_for,
};

/// Two restarts: at once, and after ten seconds.
const CRASHES: Duration = Duration::from_secs(60);

fn terminated<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStateTerminated> {
    status(pod, container)?.state.as_ref()?.terminated.as_ref()
}

fn last<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStateTerminated> {
    status(pod, container)?.last_state.as_ref()?.terminated.as_ref()
}

async fn podman() -> Result<bool> {
    Ok(Engine::shared().await?.kind() == Kind::Podman)
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn init_containers_come_in_order_and_a_sidecar_is_there_until_the_last_has_ended() -> Result<()> {
    let corner = corner("init").await?;
    let mount = json!([{"name": "notes", "mountPath": "/notes"}]);
    let mounting = |name: &str, script: &str| {
        let mut container = container(name, script);
        container["volumeMounts"] = mount.clone();
        container
    };
    let mut sidecar = mounting(
        "sidecar",
        "echo sidecar >> /notes/all; trap 'echo end; exit 0' TERM; httpd -p 8080; while true; do sleep 0.1; done",
    );
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    let main = "wget -q -O- http://127.0.0.1:8080/ 2>&1 | head -1; echo main >> /notes/all; cat /notes/all";
    let mut pod = once(&corner, "web", mounting("main", main));
    pod["spec"]["initContainers"] = json!([
        mounting("first", "sleep 1; echo first >> /notes/all"),
        sidecar,
        mounting("second", "echo second >> /notes/all"),
    ]);
    pod["spec"]["volumes"] = json!([{"name": "notes", "emptyDir": {}}]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(20);
    corner.create(pod).await?;
    let log = last_words(&corner, "web").await?;
    ensure!(log.ends_with("first\nsidecar\nsecond\nmain\n"), "{log}");
    // The sidecar was asked to end, and could.
    let pod = corner.pods().get("web").await?;
    let sidecar = terminated(&pod, "sidecar").context("the sidecar has not ended")?;
    let main = terminated(&pod, "main").context("the container has not ended")?;
    ensure!(sidecar.exit_code == 0 && sidecar.finished_at >= main.finished_at, "{sidecar:?} {main:?}");
    for init in ["first", "second"] {
        ensure!(terminated(&pod, init).is_some_and(|end| end.reason.as_deref() == Some("Completed")), "{pod:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_init_container_that_fails_is_tried_again_and_ends_a_pod_that_is_never_started_again() -> Result<()> {
    let corner = corner("init-fails").await?;
    let (mut loops, mut fails) = (pod(&corner, "loops", idle()), once(&corner, "fails", idle()));
    for pod in [&mut loops, &mut fails] {
        pod["spec"]["initContainers"] = json!([container("init", "exit 4")]);
        corner.create(pod.clone()).await?;
    }
    let failed = corner.in_phase("fails", "Failed").await?;
    ensure!(terminated(&failed, "init").map(|end| end.exit_code) == Some(4));
    let looping =
        corner.until("loops", "backs off", |pod| waits_for(pod, "init").as_deref() == Some("CrashLoopBackOff"));
    let looping = looping.await?;
    ensure!(waits_for(&looping, "main").as_deref() == Some("PodInitializing"), "{looping:?}");
    let main = |container: &vk_tests::engine::Container| container.identity().1 == "main";
    ensure!(!at_engine(&corner).await?.iter().any(main), "an ordinary container was made too early");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_crashing_container_backs_off_and_its_last_end_is_told() -> Result<()> {
    let corner = corner("crash").await?;
    corner.create(pod(&corner, "web", container("main", "echo crash; exit 3"))).await?;
    let again = within(CRASHES, "it has been started three times", || async {
        let pod = corner.pods().get("web").await?;
        let waits = waits_for(&pod, "main").as_deref() == Some("CrashLoopBackOff");
        Ok((waits && restarts(&pod, "main") >= 2).then_some(pod))
    });
    let pod = again.await?;
    let end = last(&pod, "main").context("no last state")?;
    ensure!(end.exit_code == 3 && end.reason.as_deref() == Some("Error"), "{end:?}");
    let message = status(&pod, "main").and_then(|s| s.state.clone()?.waiting?.message).context("no message")?;
    ensure!(message.contains("back-off") && message.contains("restarting failed container=main"), "{message}");
    corner.event("web", "BackOff").await?;
    // The one before that is removed once the newest is there, which is told meanwhile.
    eventually("the newest one is there, and the one before, whose log can still be read", || async {
        let mut attempts: Vec<String> =
            at_engine(&corner).await?.iter().filter(|c| c.is_attempt()).map(|c| c.identity().2).collect();
        attempts.sort();
        ensure!(attempts == ["1", "2"], "{attempts:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_container_that_wants_too_much_memory_is_killed_for_it() -> Result<()> {
    let corner = corner("oom").await?;
    // Docker begins to listen for it just after the start, and forgets it if it hears of the end first: the container lives
    // before and after.
    let script = "sleep 3; dd if=/dev/zero of=/dev/null bs=200M count=1; code=$?; sleep 3; exit $code";
    let mut greedy = container("main", script);
    greedy["resources"] = json!({"limits": {"memory": "16Mi"}});
    corner.create(once(&corner, "web", greedy)).await?;
    let pod = corner.in_phase("web", "Failed").await?;
    let end = terminated(&pod, "main").context("it has not ended")?;
    // Podman 4.3 does not tell.
    let reason = if podman().await? { "Error" } else { "OOMKilled" };
    ensure!(end.exit_code == 137 && end.reason.as_deref() == Some(reason), "{end:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_command_that_is_not_there_is_told_and_tried_again() -> Result<()> {
    let corner = corner("no-command").await?;
    let missing = json!({"name": "main", "image": tagged(1), "command": ["/no/such/program"]});
    corner.create(pod(&corner, "loops", missing.clone())).await?;
    corner.create(once(&corner, "fails", missing)).await?;
    told(&corner, "loops", "Failed", "/no/such/program").await?;
    let failed = corner.in_phase("fails", "Failed").await?;
    let end = terminated(&failed, "main").context("it has not ended")?;
    ensure!(end.reason.as_deref() == Some("StartError") && [127, 128].contains(&end.exit_code), "{end:?}");
    let looping = corner.until("loops", "backs off", |pod| {
        matches!(waits_for(pod, "main").as_deref(), Some("CrashLoopBackOff" | "RunContainerError"))
            && last(pod, "main").is_some()
    });
    let looping = looping.await?;
    ensure!(last(&looping, "main").and_then(|end| end.reason.as_deref()) == Some("StartError"), "{looping:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn last_words_are_read_from_their_file_or_from_the_log() -> Result<()> {
    let corner = corner("words").await?;
    let file = container("main", "echo -n gone > /dev/termination-log; exit 1");
    let mut own = container("main", "echo -n fishing > /tmp/words; exit 0");
    own["terminationMessagePath"] = json!("/tmp/words");
    let mut log = container("main", "echo a last line; exit 1");
    log["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    for (name, container, words) in [("file", file, "gone"), ("own", own, "fishing"), ("log", log, "a last line")] {
        corner.create(once(&corner, name, container)).await?;
        let says = |pod: &Pod| terminated(pod, "main").and_then(|end| end.message.clone());
        corner
            .until(name, &format!("says {words:?}"), |pod| says(pod).is_some_and(|said| said.trim() == words))
            .await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_killed_container_comes_back_and_the_rest_of_its_pod_goes_on() -> Result<()> {
    let corner = corner("killed").await?;
    let mut two = pod(&corner, "web", container("main", "exec sleep 100000"));
    two["spec"]["containers"].as_array_mut().context("no list")?.push(container("other", "exec sleep 100000"));
    corner.create(two).await?;
    let before = corner.running("web").await?;
    kill(&corner, "main", "KILL").await?;
    let after = corner.until("web", "has it again", |pod| {
        restarts(pod, "main") == 1 && status(pod, "main").is_some_and(|status| status.ready)
    });
    let after = after.await?;
    let id = |pod: &Pod, name: &str| status(pod, name).and_then(|status| status.container_id.clone());
    ensure!(id(&before, "main") != id(&after, "main") && id(&before, "other") == id(&after, "other"));
    ensure!(last(&after, "main").map(|end| end.exit_code) == Some(137), "{after:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_whose_sandbox_was_killed_gets_another_one_and_all_its_containers() -> Result<()> {
    let corner = corner("sandbox").await?;
    corner.create(pod(&corner, "web", container("main", "exec sleep 100000"))).await?;
    let before = corner.running("web").await?;
    kill(&corner, "(sandbox)", "KILL").await?;
    let after = corner.until("web", "runs again", |pod| {
        restarts(pod, "main") >= 1 && status(pod, "main").is_some_and(|status| status.ready)
    });
    let after = after.await?;
    ensure!(before.uid() == after.uid());
    corner.event("web", "SandboxChanged").await?;
    Ok(())
}

/// A container that says what it has of a ConfigMap.
fn says_value(name: &str) -> serde_json::Value {
    let mut container = container(name, "echo $VALUE");
    let key = json!({"name": "values", "key": "value"});
    container["env"] = json!([{"name": "VALUE", "valueFrom": {"configMapKeyRef": key}}]);
    container
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_container_that_waits_for_its_values_holds_up_no_other() -> Result<()> {
    let corner = corner("values-wait").await?;
    let mut pod = once(&corner, "web", says_value("main"));
    pod["spec"]["initContainers"] = json!([container("init", "true")]);
    let other = container("other", "until [ -e /tmp/end ]; do sleep 0.1; done");
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(other);
    corner.create(pod).await?;
    // As where an init container makes what the others need.
    let waiting = corner.until("web", "runs but for one", |pod| {
        let runs = status(pod, "other").is_some_and(|status| status.ready);
        runs && waits_for(pod, "main").as_deref() == Some("CreateContainerConfigError")
    });
    let waiting = waiting.await?;
    ensure!(terminated(&waiting, "init").is_some_and(|end| end.exit_code == 0), "{waiting:?}");
    put::<ConfigMap>(&corner, json!({"metadata": {"name": "values"}, "data": {"value": "there now"}})).await?;
    corner.until("web", "has run", |pod| terminated(pod, "main").is_some_and(|end| end.exit_code == 0)).await?;
    let log = kubectl(&corner, &["logs", "web", "-c", "main"])?;
    ensure!(log == "there now\n", "{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn the_values_of_a_container_are_those_of_when_it_starts() -> Result<()> {
    let corner = corner("values-late").await?;
    put::<ConfigMap>(&corner, json!({"metadata": {"name": "values"}, "data": {"value": "old"}})).await?;
    let mut pod = once(&corner, "web", says_value("main"));
    let init = container("init", "trap 'exit 0' TERM; while true; do sleep 0.1; done");
    pod["spec"]["initContainers"] = json!([init]);
    corner.create(pod).await?;
    corner.until("web", "is held up", |pod| status(pod, "init").is_some_and(|s| s.started == Some(true))).await?;
    change::<ConfigMap>(&corner, "values", json!({"data": {"value": "new"}})).await?;
    // It hears the signal once it has said so; until then it is lost.
    eventually("the init container has ended", || async {
        kill(&corner, "init", "TERM").await.ok();
        let pod = corner.pods().get("web").await?;
        Ok(terminated(&pod, "init").map(|_| ()))
    })
    .await?;
    let log = last_words(&corner, "web").await?;
    ensure!(log == "new\n", "{log}");
    Ok(())
}

/// Sends a container a signal behind everybody's back, as somebody at the engine would.
async fn kill(corner: &Corner<'_>, name: &str, signal: &str) -> Result<()> {
    let there = at_engine(corner).await?;
    let found = there.iter().find(|container| container.identity().1 == name && container.state == "running");
    let found = found.with_context(|| format!("no {name} in {there:?}"))?;
    let path = format!("/containers/{}/kill?signal={signal}", found.id);
    Engine::shared().await?.api().send(http::Method::POST, &path, &[], Vec::new()).await.map(drop)
}
