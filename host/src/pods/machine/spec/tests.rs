use serde_json::{Value, json};

use super::*;
use crate::pods::machine::fixture::{containers, pod};

fn one(more: Value) -> Spec {
    Spec::of(&pod(json!({"containers": containers(&[("a", more)])})))
}

fn refused(spec: Value, abilities: Abilities) -> Option<String> {
    let pod = pod(spec);
    Spec::of(&pod).refusal(&pod, abilities).map(|refusal| refusal.field)
}

#[test]
fn a_probe_has_the_kubelet_s_defaults() {
    let spec = one(json!({"livenessProbe": {"tcpSocket": {"port": 80}}}));
    let probe = spec.ordinary[0].probe(ProbeKind::Liveness).unwrap();
    assert_eq!(
        *probe,
        Probe {
            check: Check::Tcp { host: None, port: Ok(80) },
            initial_delay: Duration::ZERO,
            timeout: Duration::from_secs(1),
            period: Duration::from_secs(10),
            successes: 1,
            failures: 3,
            grace: None,
        }
    );
    assert!(spec.ordinary[0].probe(ProbeKind::Startup).is_none());
}

#[test]
fn ports_are_found_by_number_and_by_name() {
    let port = |port: Value| {
        let ports = json!([{"name": "web", "containerPort": 8080}]);
        let spec = one(json!({"ports": ports, "livenessProbe": {"tcpSocket": {"port": port}}}));
        match &spec.ordinary[0].probe(ProbeKind::Liveness).unwrap().check {
            Check::Tcp { port, .. } => port.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([port(json!(80)), port(json!("web")), port(json!("81"))], [Ok(80), Ok(8080), Ok(81)]);
    assert!(port(json!("nope")).unwrap_err().contains("nope"));
    assert!(port(json!(70_000)).is_err());
}

#[test]
fn a_probe_s_command_sees_the_values_of_the_spec_and_a_hook_s_none() {
    let env = json!([
        {"name": "A", "value": "1"},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]);
    let exec = json!({"exec": {"command": ["echo", "$(A)", "$(S)", "$(B)", "$$(A)"]}});
    let spec = one(json!({"env": env, "readinessProbe": exec, "lifecycle": {"preStop": exec}}));
    let container = &spec.ordinary[0];
    let expanded = ["echo", "1", "", "$(B)", "$(A)"].map(String::from).to_vec();
    assert_eq!(container.probe(ProbeKind::Readiness).unwrap().check, Check::Exec(expanded));
    let verbatim = ["echo", "$(A)", "$(S)", "$(B)", "$$(A)"].map(String::from).to_vec();
    assert_eq!(container.pre_stop, Some(Hook::Exec(verbatim)));
}

#[test]
fn hooks_are_what_the_kubelet_runs() {
    let hook = |hook: Value| one(json!({"lifecycle": {"postStart": hook}})).ordinary[0].post_start.clone();
    assert_eq!(hook(json!({"sleep": {"seconds": 3}})), Some(Hook::Sleep(Duration::from_secs(3))));
    assert_eq!(hook(json!({"tcpSocket": {"port": 1}})), Some(Hook::Unknown));
    let get =
        json!({"httpGet": {"port": 1, "scheme": "HTTPS", "path": "/x", "httpHeaders": [{"name": "a", "value": "b"}]}});
    let Some(Hook::Http(get)) = hook(get) else { panic!("it is a request") };
    assert!(get.tls && get.path == "/x" && get.headers == [("a".to_string(), "b".to_string())]);
}

#[test]
fn init_containers_that_restart_always_are_sidecars() {
    let init = containers(&[("x", json!({})), ("s", json!({"restartPolicy": "Always"}))]);
    let spec = Spec::of(&pod(json!({"initContainers": init, "containers": containers(&[("a", json!({}))])})));
    let kinds: Vec<Kind> = spec.all().map(|container| container.kind).collect();
    assert_eq!(kinds, [Kind::Init, Kind::Sidecar, Kind::Ordinary]);
    let fields: Vec<&str> = spec.all().map(|container| container.field.as_str()).collect();
    assert_eq!(fields, ["spec.initContainers[0]", "spec.initContainers[1]", "spec.containers[0]"]);
}

#[test]
fn what_nobody_here_can_do_is_refused_by_its_field() {
    let able = Abilities { exec: true, reaches_pods: true };
    let spec = |handler: Value| json!({"containers": containers(&[("a", json!({})), ("b", handler)])});
    let get = json!({"httpGet": {"port": 1}});
    let exec = json!({"exec": {"command": ["x"]}});
    for (handler, field, exec_is_missing) in [
        (json!({"livenessProbe": get}), "spec.containers[1].livenessProbe.httpGet", false),
        (json!({"startupProbe": {"tcpSocket": {"port": 1}}}), "spec.containers[1].startupProbe.tcpSocket", false),
        (json!({"readinessProbe": {"grpc": {"port": 1}}}), "spec.containers[1].readinessProbe.grpc", false),
        (json!({"readinessProbe": exec}), "spec.containers[1].readinessProbe.exec", true),
        (json!({"lifecycle": {"preStop": get}}), "spec.containers[1].lifecycle.preStop.httpGet", false),
        (json!({"lifecycle": {"postStart": exec}}), "spec.containers[1].lifecycle.postStart.exec", true),
    ] {
        let lacking = Abilities { exec: !exec_is_missing, reaches_pods: exec_is_missing };
        assert_eq!(refused(spec(handler.clone()), lacking).as_deref(), Some(field));
        assert_eq!(refused(spec(handler), able), None);
    }
    let sleep = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}});
    assert_eq!(refused(spec(sleep), Abilities::default()), None, "it needs nobody");
}

#[test]
fn a_rule_that_would_restart_all_containers_is_refused() {
    let rules = json!([
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}},
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [2]}},
    ]);
    let spec =
        json!({"containers": containers(&[("a", json!({"restartPolicy": "Never", "restartPolicyRules": rules}))])});
    let field = "spec.containers[0].restartPolicyRules[1].action";
    assert_eq!(refused(spec, Abilities { exec: true, reaches_pods: true }).as_deref(), Some(field));
}

#[test]
fn a_pod_says_how_long_it_may_take_to_end() {
    let mut object = pod(json!({"terminationGracePeriodSeconds": 7, "containers": containers(&[("a", json!({}))])}));
    assert_eq!((Spec::of(&object).grace, Spec::of(&object).deletion), (Duration::from_secs(7), None));
    object.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    object.metadata.deletion_grace_period_seconds = Some(3);
    assert_eq!(Spec::of(&object).deletion, Some(Duration::from_secs(3)));
    assert_eq!(one(json!({})).grace, Duration::from_secs(30));
}
