//! Where a group is: addresses, subnets, names, zones, kinds of machines.

use super::*;

const LABEL: &str = "virtualkubelet.io/dnsnamelabel";
const PUBLIC: &str = "virtual-kubelet.io/public-ip";
const PRIORITY: &str = "virtual-kubelet.io/priority";
const SKU: &str = "virtual-kubelet.io/container-sku";
const POLICY: &str = "virtual-kubelet.io/confidential-compute-cce-policy";
const POLICY_TOO: &str = "microsoft.containerinstance.virtualnode.ccepolicy";
const OWN_SUBNET: &str = "microsoft.containerinstance.virtualnode.subnets.primary";
const ZONES: &str = "microsoft.containerinstance.virtualnode.zones";
const DNS: &str = "microsoft.containerinstance.virtualnode.injectdns";
const PROXY: &str = "microsoft.containerinstance.virtualnode.injectkubeproxy";
const PORT: &str = r#","ports":[{"containerPort":80}]"#;

fn in_subnet(rest: &str) {
    node(&format!("subnet = \"{SUBNET}\"\n{rest}"));
}

#[test]
fn a_port_has_a_public_address_unless_somebody_does_not_want_it() {
    for (config, annotations, fields, has) in [
        ("", vec![], PORT, true),
        ("", vec![], "", false),
        ("", vec![(PUBLIC, "false")], PORT, false),
        ("public-ip = false", vec![], PORT, false),
        ("public-ip = false", vec![(PUBLIC, "true")], PORT, true),
        ("public-ip = false", vec![(PUBLIC, "true"), (LABEL, "front")], PORT, true),
    ] {
        node(config);
        let group = properties(&plain(&annotations, fields));
        assert_eq!(group.get("ipAddress").is_some(), has, "{config} {annotations:?} {fields}");
        assert!(fields.is_empty() || group["containers"][0]["properties"]["ports"][0]["port"] == 80);
    }
}

#[test]
fn a_name_or_an_address_that_cannot_be_had_is_refused() {
    for (config, annotations, fields, field) in [
        ("", vec![(LABEL, "front")], "", LABEL),
        ("", vec![(LABEL, "front"), (PUBLIC, "false")], PORT, LABEL),
        ("public-ip = false", vec![(LABEL, "front")], PORT, LABEL),
        ("", vec![(PUBLIC, "true")], "", PUBLIC),
        ("", vec![(OWN_SUBNET, SUBNET), (LABEL, "front")], PORT, LABEL),
        ("", vec![(OWN_SUBNET, SUBNET), (PUBLIC, "true")], PORT, PUBLIC),
    ] {
        node(config);
        assert_eq!(refused(&plain(&annotations, fields)), at(field), "{config} {annotations:?}");
    }
}

#[test]
fn a_public_address_has_five_ports() {
    node("");
    let ports = |count: u16| {
        let each: Vec<String> = (0..count).map(|number| format!(r#"{{"containerPort":{}}}"#, 8000 + number)).collect();
        format!(r#","ports":[{}]"#, each.join(","))
    };
    assert_eq!(properties(&plain(&[], &ports(5)))["ipAddress"]["ports"].as_array().unwrap().len(), 5);
    assert_eq!(refused(&plain(&[], &ports(6))), "spec.containers[0].ports[5]");
    assert!(made(&plain(&[(PUBLIC, "false")], &ports(6))).is_ok());
    in_subnet("");
    assert!(made(&plain(&[], &ports(6))).is_ok(), "all ports are open to the network");
}

#[test]
fn a_group_in_a_subnet_has_an_address_of_it() {
    in_subnet("");
    let group = properties(&plain(&[], PORT));
    assert_eq!((&group["subnetIds"], group.get("ipAddress")), (&json!([{"id": SUBNET}]), None));
    assert_eq!(group.get("dnsConfig"), None, "no name servers are known");
    let other = SUBNET.replace("aci", "other");
    assert_eq!(properties(&plain(&[(OWN_SUBNET, &other)], ""))["subnetIds"], json!([{"id": other}]));
}

#[test]
fn names_are_resolved_as_the_host_worked_out() {
    in_subnet("");
    let mut pod = plain(&[], "");
    pod.network.nameservers = vec!["10.0.0.10".to_owned()];
    pod.network.searches = vec!["shop.svc.cluster.local".to_owned(), "svc.cluster.local".to_owned()];
    pod.network.options = vec!["ndots:5".to_owned(), "edns0".to_owned()];
    let dns = json!({"nameServers": ["10.0.0.10"], "searchDomains": "shop.svc.cluster.local svc.cluster.local", "options": "ndots:5 edns0"});
    assert_eq!(properties(&pod)["dnsConfig"], dns);
    pod.network.nameservers = (1..=4).map(|number| format!("10.0.0.{number}")).collect();
    pod.network.searches = (1..=7).map(|number| format!("s{number}")).collect();
    let Made { group, notices, .. } = made(&pod).unwrap();
    let dns = group.properties.dns_config.unwrap();
    assert_eq!((dns.name_servers.len(), dns.search_domains.as_deref()), (3, Some("s1 s2 s3 s4 s5 s6")));
    assert_eq!(notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), ["DNSConfigForming"; 2]);
    pod.network.searches.clear();
    pod.network.options.clear();
    assert_eq!(properties(&pod)["dnsConfig"].as_object().unwrap().len(), 1);
    let mut off = plain(&[(DNS, "false")], "");
    off.network.nameservers = vec!["10.0.0.10".to_owned()];
    assert_eq!(properties(&off).get("dnsConfig"), None);
    node("");
    testing::node(|node| node.operating_system = "windows".to_owned());
    let mut windows = plain(&[(OWN_SUBNET, SUBNET)], "");
    windows.network.nameservers = vec!["10.0.0.10".to_owned()];
    assert_eq!(properties(&windows).get("dnsConfig"), None);
}

#[test]
fn settings_of_names_that_cannot_be_had_are_refused() {
    let pod = |annotations: &[(&str, &str)]| {
        pod(annotations, r#"{"dnsConfig":{"searches":["x"]},"containers":[{"name":"c","image":"i"}]}"#)
    };
    node("");
    assert_eq!(refused(&pod(&[])), "spec.dnsConfig");
    in_subnet("");
    assert_eq!(refused(&pod(&[])), "spec.dnsConfig.nameservers", "there are none");
    assert_eq!(refused(&pod(&[(DNS, "false")])), at(DNS));
}

#[test]
fn name_servers_of_the_cluster_are_wanted_where_they_can_be_had_or_not_at_all() {
    let mut wants = plain(&[(DNS, "true")], "");
    in_subnet("");
    assert_eq!(refused(&wants), at(DNS), "the node knows none");
    wants.network.nameservers = vec!["10.0.0.10".to_owned()];
    assert_eq!(properties(&wants)["dnsConfig"]["nameServers"], json!(["10.0.0.10"]));
    testing::node(|node| node.operating_system = "windows".to_owned());
    assert_eq!(refused(&wants), at(DNS));
    node("");
    assert_eq!(refused(&wants), at(DNS), "without a subnet");
}

#[test]
fn zone_sku_and_priority_are_the_pods_or_those_of_all() {
    node("zone = \"1\"\nsku = \"Dedicated\"");
    let group = sent(&plain(&[], ""));
    assert_eq!((&group["zones"], &group["properties"]["sku"]), (&json!(["1"]), &"Dedicated".into()));
    let group = sent(&plain(&[(ZONES, "2"), (SKU, "standard"), (PRIORITY, "regular")], ""));
    assert_eq!(group["zones"], json!(["2"]));
    assert_eq!(
        (&group["properties"]["sku"], &group["properties"]["priority"]),
        (&"Standard".into(), &"Regular".into())
    );
}

#[test]
fn spot_is_cheap_and_has_little() {
    node("");
    let group = properties(&plain(&[(PRIORITY, "Spot")], PORT));
    assert_eq!((&group["priority"], group.get("ipAddress")), (&"Spot".into(), None));
    for (annotation, value) in [
        (OWN_SUBNET, SUBNET),
        (ZONES, "1"),
        (SKU, "Confidential"),
        (PUBLIC, "true"),
        (LABEL, "front"),
        (POLICY, "cG9saWN5"),
        (POLICY_TOO, "cG9saWN5"),
    ] {
        assert_eq!(refused(&plain(&[(PRIORITY, "Spot"), (annotation, value)], PORT)), at(annotation));
    }
    let large = r#","resources":{"requests":{"cpu":"5"}}"#;
    assert_eq!(refused(&plain(&[(PRIORITY, "Spot")], large)), "spec.containers[0].resources.requests[cpu]");
    for config in [format!("subnet = \"{SUBNET}\""), "zone = \"1\"".to_owned(), "sku = \"Confidential\"".to_owned()] {
        node(&config);
        assert_eq!(refused(&plain(&[(PRIORITY, "Spot")], "")), at(PRIORITY), "{config}");
    }
}

#[test]
fn a_confidential_group_of_windows_is_refused_where_it_is_asked_for() {
    let windows = |config: &str| {
        node(config);
        testing::node(|node| node.operating_system = "windows".to_owned());
    };
    windows("");
    for (annotation, value) in [(SKU, "Confidential"), (POLICY, "cG9saWN5"), (POLICY_TOO, "cG9saWN5")] {
        assert_eq!(refused(&plain(&[(annotation, value)], "")), at(annotation));
    }
    windows("sku = \"Confidential\"");
    let error = made(&plain(&[], "")).unwrap_err();
    assert!(error.message.contains("the configuration's sku is Confidential"), "{error}");
}

#[test]
fn a_confidential_group_has_its_policy_and_nothing_added() {
    testing::reset();
    in_subnet("realtime-metrics = true\n[kube-proxy]\nkubeconfig = \"/proxy\"");
    testing::file("/proxy", b"x");
    let group = properties(&plain(&[(POLICY, "cG9saWN5"), (PROXY, "true")], ""));
    assert_eq!(group["sku"], "Confidential");
    assert_eq!(group["confidentialComputeProperties"], json!({"ccePolicy": "cG9saWN5"}));
    assert_eq!(group.get("extensions"), None);
    let group = properties(&plain(&[(SKU, "confidential")], ""));
    assert_eq!((&group["sku"], group.get("confidentialComputeProperties")), (&"Confidential".into(), None));
    let most = |cpu: &str| {
        made(&plain(&[(SKU, "Confidential")], &format!(r#","resources":{{"requests":{{"cpu":"{cpu}"}}}}"#)))
    };
    assert!(most("32").is_ok() && most("33").is_err());
    node("");
    assert!(most("31").is_ok() && most("32").is_err(), "outside of a network one core less");
}

#[test]
fn extensions_are_added_in_a_subnet() {
    in_subnet("realtime-metrics = true\n[kube-proxy]\nkubeconfig = \"/proxy\"\ncluster-cidr = \"10.1.0.0/16\"");
    testing::file("/proxy", b"s3cret");
    let proxy = json!({"name": "kube-proxy", "properties": {"extensionType": "kube-proxy", "version": "1.0",
        "settings": {"clusterCidr": "10.1.0.0/16", "kubeVersion": "v1.9.10"}, "protectedSettings": {"kubeConfig": "czNjcmV0"}}});
    let metrics =
        json!({"name": "vk-realtime-metrics", "properties": {"extensionType": "realtime-metrics", "version": "1.0"}});
    assert_eq!(properties(&plain(&[], ""))["extensions"], json!([proxy, metrics]));
    assert_eq!(properties(&plain(&[(PROXY, "false")], ""))["extensions"], json!([metrics]));
    let shown = format!("{:?}", made(&plain(&[], "")).unwrap());
    assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    node("realtime-metrics = true");
    assert_eq!(properties(&plain(&[], "")).get("extensions"), None);
    assert_eq!(refused(&plain(&[(PROXY, "true")], "")), at(PROXY));
    in_subnet("");
    assert_eq!(refused(&plain(&[(PROXY, "true")], "")), at(PROXY), "there is nothing to give");
}

#[test]
fn pods_name_what_their_operator_allows() {
    let (web, other) = (format!("{IDENTITY}web"), format!("{IDENTITY}other"));
    let elsewhere = SUBNET.replace("/v/", "/other/");
    let key = |name: &str| format!("microsoft.containerinstance.virtualnode.{name}");
    let identity = key("identity");
    let vault = [key("cmk.vaultbaseurl"), key("cmk.keyname"), key("cmk.keyversion"), key("cmk.identity")];
    let pull = "virtual-kubelet.io/pull-identity";
    let with_key: Vec<(&str, &str)> =
        vault.iter().map(String::as_str).zip(["https://k.vault.azure.net", "k", "1", &other]).collect();
    let both = format!("{web};{other}");
    let wants = [
        (vec![(identity.as_str(), both.as_str())], identity.as_str(), (&other, "allowed-identities")),
        (vec![(pull, &other)], pull, (&other, "allowed-identities")),
        (with_key, &vault[3], (&other, "allowed-identities")),
        (vec![(OWN_SUBNET, &elsewhere)], OWN_SUBNET, (&elsewhere, "allowed-subnets")),
    ];
    node("");
    assert!(wants.iter().all(|(annotations, ..)| made(&plain(annotations, "")).is_ok()), "nobody says what may be");
    node(&format!("allowed-identities = [\"{web}\"]\nallowed-subnets = [\"{SUBNET}\"]"));
    for (annotations, name, (path, key)) in &wants {
        let pod = plain(annotations, "");
        assert_eq!(refused(&pod), at(name));
        let message = made(&pod).unwrap_err().message;
        assert!(message.contains(path.as_str()) && message.contains(key), "{message}");
    }
    let upper = web.to_uppercase();
    let fine = [(identity.as_str(), upper.as_str()), (OWN_SUBNET, SUBNET)];
    assert!(made(&plain(&fine, "")).is_ok());
    assert!(made(&plain(&[(&identity, "SystemAssigned")], "")).is_ok(), "that has no rights of its own");
    node(&format!(
        "subnet = \"{elsewhere}\"\nidentities = [\"{other}\"]\nallowed-identities = []\nallowed-subnets = []"
    ));
    assert!(made(&plain(&[], "")).is_ok(), "what holds for all need not be listed");
    assert_eq!(refused(&plain(&fine, "")), at(&identity));
}

#[test]
fn a_key_encrypts_what_is_stored() {
    let (key, own) = (format!("{IDENTITY}key"), format!("{IDENTITY}own"));
    node(&format!(
        "[encryption]\nvault-base-url = \"https://k.vault.azure.net\"\nkey-name = \"pods\"\nkey-version = \"1\"\nidentity = \"{key}\""
    ));
    let group = sent(&plain(&[], ""));
    assert_eq!(
        group["properties"]["encryptionProperties"],
        json!({"vaultBaseUrl": "https://k.vault.azure.net", "keyName": "pods", "keyVersion": "1", "identity": key})
    );
    assert_eq!(group["identity"], json!({"type": "UserAssigned", "userAssignedIdentities": {key: {}}}));
    let prefix = "microsoft.containerinstance.virtualnode.cmk";
    let names = [
        format!("{prefix}.vaultbaseurl"),
        format!("{prefix}.keyname"),
        format!("{prefix}.keyversion"),
        format!("{prefix}.identity"),
    ];
    let values = ["https://own.vault.azure.net", "k", "2", own.as_str()];
    let annotations: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values).collect();
    let group = sent(&plain(&annotations, ""));
    assert_eq!(group["properties"]["encryptionProperties"]["identity"], json!(own));
    assert_eq!(group["identity"]["userAssignedIdentities"], json!({own: {}}));
}
