use serde_json::json;

use crate::pods::machine::fixture::{Stage, container, containers, stage};
use crate::provider::containers::{Container, Phase};

fn running(spec: serde_json::Value) -> Stage {
    let mut stage = stage(spec);
    stage.run();
    stage
}

fn one() -> serde_json::Value {
    json!({"containers": containers(&[("a", json!({}))])})
}

#[test]
fn a_running_container_is_told_as_the_kubelet_tells_it() {
    let mounts = json!({"volumeMounts": [
        {"name": "v", "mountPath": "/v"},
        {"name": "w", "mountPath": "/w", "readOnly": true},
    ]});
    let stage = running(json!({"containers": containers(&[("a", mounts)])}));
    let status = serde_json::to_value(stage.status()).unwrap();
    assert_eq!(
        status,
        json!({
            "phase": "Running",
            "hostIP": "192.0.2.1",
            "podIP": "10.0.0.7",
            "podIPs": [{"ip": "10.0.0.7"}],
            "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}],
            "containerStatuses": [{
                "name": "a",
                "image": "i:1",
                "imageID": "sha256:1",
                "containerID": "docker://a0",
                "ready": true,
                "started": true,
                "restartCount": 0,
                "state": {"running": {"startedAt": "1970-01-12T13:46:40Z"}},
                "volumeMounts": [
                    {"name": "v", "mountPath": "/v"},
                    {"name": "w", "mountPath": "/w", "readOnly": true, "recursiveReadOnly": "Disabled"},
                ],
            }],
        })
    );
}

#[test]
fn ends_have_the_reasons_of_the_kubelet() {
    let ended = |change: fn(&mut Container)| {
        let mut stage = running(json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({}))])}));
        let mut container = container("a", 0, Phase::Exited);
        change(&mut container);
        stage.put(container).run();
        let end = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
        (end.exit_code, end.reason.unwrap(), end.signal)
    };
    assert_eq!(ended(|_| {}), (0, "Completed".into(), None));
    assert_eq!(ended(|c| c.exit_code = Some(3)), (3, "Error".into(), None));
    assert_eq!(ended(|c| (c.exit_code, c.signal) = (Some(137), Some(9))), (137, "Error".into(), Some(9)));
    assert_eq!(ended(|c| (c.exit_code, c.oom_killed) = (Some(137), true)), (137, "OOMKilled".into(), None));
    assert_eq!(ended(|c| c.exit_code = None), (137, "ContainerStatusUnknown".into(), None), "never a made-up 0");
    let unstarted = ended(|c| (c.exit_code, c.engine_error) = (Some(127), Some("no such file".into())));
    assert_eq!(unstarted, (127, "StartError".into(), None));
}

#[test]
fn the_phase_is_that_of_the_kubelet() {
    for (policy, codes, phase) in [
        ("Always", [Some(0), Some(1)], "Running"),
        ("OnFailure", [Some(0), Some(1)], "Running"),
        ("OnFailure", [Some(0), None], "Running"),
        ("OnFailure", [Some(0), Some(0)], "Succeeded"),
        ("Never", [Some(0), Some(1)], "Failed"),
        ("Never", [Some(1), None], "Running"),
        ("Never", [Some(0), Some(0)], "Succeeded"),
    ] {
        let spec = json!({"restartPolicy": policy, "containers": containers(&[("a", json!({})), ("b", json!({}))])});
        let mut stage = running(spec);
        for (name, code) in [("a", codes[0]), ("b", codes[1])] {
            if let Some(code) = code {
                stage.exit(name, 0, code);
            }
        }
        stage.run();
        assert_eq!(stage.phase(), phase, "{policy} {codes:?}");
    }
}

#[test]
fn a_pod_on_the_host_s_network_has_its_address() {
    let mut stage = running(json!({"hostNetwork": true, "containers": containers(&[("a", json!({}))])}));
    stage.engine.as_mut().unwrap().sandbox.ips.clear();
    stage.memory.look.hinted = true;
    assert_eq!(stage.run().status().pod_ip.as_deref(), Some("192.0.2.1"));
}

#[test]
fn the_words_of_all_containers_fit_into_one_pod() {
    let words = json!({"terminationMessagePath": "/w"});
    let mut stage =
        running(json!({"restartPolicy": "Never", "containers": containers(&[("a", words.clone()), ("b", words)])}));
    stage.exit("a", 0, 1).run();
    let long = "ü".repeat(6000);
    stage.memory.settle(
        &stage.spec.clone(),
        &crate::pods::machine::action::Action::LastWords { name: "a".into(), attempt: 0 },
        crate::pods::machine::memory::outcome::Outcome::Words(Ok(long)),
        stage.now,
    );
    let end = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(end.message.unwrap().len(), 6 << 10);
}

#[test]
fn a_pod_that_is_over_is_told_so_once_nothing_of_it_runs() {
    let init = containers(&[("s", json!({"restartPolicy": "Always"}))]);
    let mut stage = running(
        json!({"restartPolicy": "Never", "initContainers": init, "containers": containers(&[("a", json!({}))])}),
    );
    stage.exit("a", 0, 1).run();
    assert_eq!(stage.phase(), "Running", "its sidecar still has its grace");
    stage.after(30);
    assert_eq!(stage.phase(), "Failed");
}

#[test]
fn nothing_is_told_of_a_sandbox_that_is_not_there() {
    let mut stage = stage(one());
    stage.slow = vec!["ensure sandbox".into()];
    let status = stage.run().status();
    assert_eq!((status.pod_ip, status.host_ip), (None, None));
    assert_eq!(status.conditions.unwrap()[0].status, "False");
}
