//! Whole groups, and the containers in them.

use vk_provider::Code;
use vk_provider::cluster::Credential;
use vk_provider::pod::EnvVar;

use super::*;

#[test]
fn a_pod_that_says_nothing_is_a_small_group() {
    node("");
    let Made { name, group, notices } = made(&plain(&[], "")).unwrap();
    assert!(name.starts_with("shop-web-0-") && notices.is_empty(), "{name}");
    assert_eq!(
        serde_json::to_value(group).unwrap(),
        json!({
            "location": "westeurope",
            "tags": {"PodName": "web-0", "Namespace": "shop", "UID": "u-1", "NodeName": "vk", "ClusterID": "cluster",
                "Revision": "1-pod", "CreationTimestamp": "2026-11-24T10:00:00Z"},
            "properties": {
                "osType": "Linux",
                "restartPolicy": "Always",
                "containers": [{"name": "web", "properties": {
                    "image": "nginx:1", "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.5}}}}],
            },
        })
    );
}

#[test]
fn a_pod_of_many_parts_is_a_group_of_them() {
    node("");
    rendered("conf", &[("app.toml", "a = 1"), ("key.pem", "s3cret")]);
    let mut pod = pod(
        &[
            ("virtualkubelet.io/dnsnamelabel", "shop-web"),
            ("microsoft.containerinstance.virtualnode.customtags", "env=dev"),
        ],
        r#"{"restartPolicy":"OnFailure","securityContext":{"runAsUser":1000},
        "volumes":[{"name":"conf","configMap":{"name":"c","defaultMode":420}},{"name":"data","emptyDir":{}},{"name":"unused","secret":{"secretName":"x"}}],
        "initContainers":[{"name":"first","image":"busybox:1","command":["sh"],"args":["-c","true"],
        "volumeMounts":[{"name":"data","mountPath":"data"}]}],
        "containers":[{"name":"web","image":"nginx:1","command":["nginx"],"args":["-g","daemon off;"],
        "ports":[{"name":"http","containerPort":80},{"containerPort":53,"protocol":"UDP"}],"resources":{"requests":{"cpu":"2",
        "memory":"4G"},"limits":{"cpu":"2","memory":"4G"}},"volumeMounts":[{"name":"conf","mountPath":"/etc/app"},
        {"name":"data","mountPath":"/data","readOnly":true}],"livenessProbe":{"httpGet":{"path":"/","port":"http","scheme":"HTTP"},
        "periodSeconds":5},"readinessProbe":{"exec":{"command":["true"]}},"securityContext":{"capabilities":{"drop":["ALL"]}}},
        {"name":"side","image":"side:1"}]}"#,
    );
    pod.containers[1].env = vec![
        EnvVar { name: "EMPTY".to_owned(), value: String::new(), secret: false },
        EnvVar { name: "PASSWORD".to_owned(), value: "s3cret".to_owned(), secret: true },
    ];
    let sent = sent(&pod);
    assert_eq!(sent["tags"]["env"], "dev");
    assert_eq!(
        sent["properties"],
        json!({
            "osType": "Linux",
            "restartPolicy": "OnFailure",
            "ipAddress": {"type": "Public", "dnsNameLabel": "shop-web",
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
            "initContainers": [{"name": "first", "properties": {
                "image": "busybox:1", "command": ["sh", "-c", "true"], "securityContext": {"runAsUser": 1000},
                "volumeMounts": [{"name": names::volume("data"), "mountPath": "/data", "readOnly": false}]}}],
            "containers": [
                {"name": "web", "properties": {
                    "image": "nginx:1",
                    "command": ["nginx", "-g", "daemon off;"],
                    "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                    "environmentVariables": [{"name": "EMPTY", "value": ""}, {"name": "PASSWORD", "secureValue": "s3cret"}],
                    "resources": {"requests": {"cpu": 2.0, "memoryInGB": 4.0}, "limits": {"cpu": 2.0, "memoryInGB": 4.0}},
                    "volumeMounts": [
                        {"name": names::volume("conf"), "mountPath": "/etc/app", "readOnly": true},
                        {"name": names::volume("data"), "mountPath": "/data", "readOnly": true}],
                    "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "http"}, "periodSeconds": 5},
                    "readinessProbe": {"exec": {"command": ["true"]}},
                    "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}}}},
                {"name": "side", "properties": {
                    "image": "side:1", "securityContext": {"runAsUser": 1000},
                    "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.5}}}}],
            "volumes": [
                {"name": names::volume("conf"), "secret": {"app.toml": "YSA9IDE=", "key.pem": "czNjcmV0"}},
                {"name": names::volume("data"), "emptyDir": {}}],
        })
    );
    let shown = format!("{:?}", made(&pod).unwrap());
    assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
}

#[test]
fn args_need_a_command_and_hold_no_secret() {
    node("");
    assert_eq!(refused(&plain(&[], r#","args":["-v"]"#)), "spec.containers[0].args");
    let mut pod = plain(&[], r#","command":["sh"],"args":["-c","x"]"#);
    pod.containers[0].secret_args = true;
    assert_eq!(refused(&pod), "spec.containers[0].args");
    let mut pod = plain(&[], r#","command":["sh"]"#);
    pod.containers[0].secret_args = true;
    assert_eq!(refused(&pod), "spec.containers[0].command");
}

#[test]
fn what_a_pod_cannot_be_is_refused_before_the_cluster_is_asked() {
    node("");
    // No volume is rendered: to ask for one would be another error.
    let spec = |rest: &str| {
        pod(
            &[],
            &format!(
                r#"{{"volumes":[{{"name":"conf","configMap":{{"name":"c"}}}}],"containers":[{{"name":"web","image":"x",
                "volumeMounts":[{{"name":"conf","mountPath":"/x"}}]{rest}}}]}}"#
            ),
        )
    };
    for (rest, field) in [
        (r#","workingDir":"/srv""#, "workingDir"),
        (r#","resources":{"limits":{"nvidia.com/gpu":1}}"#, "resources.limits[nvidia.com/gpu]"),
        (r#","livenessProbe":{"tcpSocket":{"port":80}}"#, "livenessProbe.tcpSocket"),
        (r#","readinessProbe":{"grpc":{"port":80}}"#, "readinessProbe.grpc"),
        (r#","ports":[{"containerPort":80,"hostPort":80}]"#, "ports[0].hostPort"),
    ] {
        assert_eq!(refused(&spec(rest)), format!("spec.containers[0].{field}"));
    }
    assert_eq!(made(&spec("")).unwrap_err().code, Code::NotFound, "now it is asked");
}

#[test]
fn registries_are_signed_in_to_with_the_pods_secrets() {
    node("");
    let credential = |server: &str, username: &str, password: &str| Credential {
        server: server.to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
    };
    let of = |all: Vec<Credential>| {
        testing::credentials(all);
        properties(&plain(&[], ""))["imageRegistryCredentials"].take()
    };
    assert_eq!(of(Vec::new()), Value::Null);
    assert_eq!(
        of(vec![credential("docker.io", "me", "s3cret"), credential("docker.io", "other", "x")]),
        json!([{"server": "index.docker.io", "username": "me", "password": "s3cret"}])
    );
    assert_eq!(
        of(vec![credential("mine.azurecr.io", "", "token")]),
        json!([{"server": "mine.azurecr.io", "username": "00000000-0000-0000-0000-000000000000", "password": "token"}])
    );
    testing::credentials(vec![credential("r.example", "me", "s3cret")]);
    let two = pod(
        &[],
        r#"{"initContainers":[{"name":"i","image":"r.example/a"}],"containers":[{"name":"c","image":"r.example/b"}]}"#,
    );
    assert_eq!(properties(&two)["imageRegistryCredentials"].as_array().unwrap().len(), 1, "one for each registry");
}

#[test]
fn azures_own_registries_are_signed_in_to_as_an_identity() {
    let (pull, web) = (format!("{IDENTITY}pull"), format!("{IDENTITY}web"));
    node(&format!("pull-identity = \"{pull}\"\nidentities = [\"{web}\"]"));
    let sent = |annotations: &[(&str, &str)], image: &str| {
        sent(&pod(annotations, &format!(r#"{{"containers":[{{"name":"c","image":"{image}"}}]}}"#)))
    };
    let group = sent(&[], "mine.azurecr.io/web:1");
    assert_eq!(
        group["properties"]["imageRegistryCredentials"],
        json!([{"server": "mine.azurecr.io", "identity": pull}])
    );
    assert_eq!(
        group["identity"],
        json!({"type": "UserAssigned", "userAssignedIdentities": {pull.clone(): {}, web.clone(): {}}})
    );
    let group = sent(&[], "nginx:1");
    assert_eq!(group["properties"].get("imageRegistryCredentials"), None);
    assert_eq!(group["identity"]["userAssignedIdentities"], json!({web: {}}), "what is not needed is not given");
    let own = format!("{IDENTITY}own");
    let annotations = [
        ("virtual-kubelet.io/pull-identity", own.as_str()),
        ("microsoft.containerinstance.virtualnode.identity", "SystemAssigned"),
    ];
    let group = sent(&annotations, "mine.azurecr.io/web:1");
    assert_eq!(
        group["identity"],
        json!({"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {own.clone(): {}}})
    );
    assert_eq!(sent(&annotations, "nginx:1")["identity"], json!({"type": "SystemAssigned"}));
}

#[test]
fn tags_are_the_pods_over_the_nodes_and_never_too_many() {
    node("[tags]\nenv = \"prod\"\nteam = \"web\"");
    let custom = "microsoft.containerinstance.virtualnode.customtags";
    let tags = sent(&plain(&[(custom, "ENV=dev")], ""))["tags"].take();
    assert_eq!((&tags["ENV"], tags.get("env"), &tags["team"]), (&"dev".into(), None, &"web".into()));
    let many: Vec<String> = (0..42).map(|number| format!("t{number}=x")).collect();
    assert_eq!(refused(&plain(&[(custom, &many.join(";"))], "")), at(custom));
    assert!(made(&plain(&[(custom, &many[..41].join(";"))], "")).is_ok());
}

#[test]
fn logs_go_to_the_workspace_with_what_each_pod_is() {
    node("[log-analytics]\nworkspace-id = \"w\"\nworkspace-key = \"k\"");
    let plainly = json!({"logAnalytics": {"workspaceId": "w", "workspaceKey": "k"}});
    assert_eq!(properties(&plain(&[], ""))["diagnostics"], plainly);
    testing::variable("CLUSTER_RESOURCE_ID", "/clusters/c");
    let mut other = plain(&[], "");
    other.id.uid = "u-2".to_owned();
    for (pod, uid) in [(plain(&[], ""), "u-1"), (other, "u-2")] {
        let metadata = json!({"cluster-resource-id": "/clusters/c", "node-name": "vk", "pod-uuid": uid});
        let insights =
            json!({"workspaceId": "w", "workspaceKey": "k", "logType": "ContainerInsights", "metadata": metadata});
        assert_eq!(properties(&pod)["diagnostics"]["logAnalytics"], insights);
    }
}

#[test]
fn windows_runs_one_container_without_volumes() {
    node("");
    testing::node(|node| node.operating_system = "windows".to_owned());
    let spec = r#"{"volumes":[{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}],"defaultMode":420}}],
        "containers":[{"name":"web","image":"iis","ports":[{"containerPort":80}],"volumeMounts":[{"name":"kube-api-access-x7k2p",
        "mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}]}]}"#;
    let group = properties(&pod(&[], spec));
    assert_eq!((&group["osType"], group.get("volumes")), (&"Windows".into(), None));
    assert_eq!(group["containers"][0]["properties"].get("volumeMounts"), None);
    assert_eq!(group["ipAddress"]["ports"][0]["port"], 80);
    let sku = "virtual-kubelet.io/container-sku";
    assert_eq!(refused(&pod(&[(sku, "Confidential")], spec)), at(sku));
}
