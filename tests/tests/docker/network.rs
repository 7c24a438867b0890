//! What a process finds around it: variables, names, addresses, rights.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use vk_tests::cluster::{eventually, phase};
use vk_tests::control_plane::succeed;
use vk_tests::engine;

use crate::corner::{at_engine, container, corner, idle, last_words, once, pod};

fn ip(pod: &Pod) -> Result<String> {
    pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("it has no address")
}

/// What a server says to whoever connects.
async fn hear(host: &str, port: u16) -> Result<String> {
    eventually(&format!("{host}:{port} answers"), || async {
        let (mut stream, mut text) = (TcpStream::connect((host, port)).await?, String::new());
        stream.read_to_string(&mut text).await?;
        Ok((!text.is_empty()).then_some(text))
    })
    .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn variables_names_and_the_pods_own_address_are_what_the_pod_says() -> Result<()> {
    let corner = corner("around").await?;
    let script = "echo $GREETING; echo $ADDRESS; ip -4 -o addr show eth0 2>/dev/null | awk '{print $4}'; hostname; pwd; echo $0 $1";
    let mut main = container("main", script);
    main["args"] = json!(["$(GREETING)", "$$(GREETING)"]);
    main["workingDir"] = json!("/tmp");
    main["env"] = json!([
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GREETING", "value": "it is $(NAME)"},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]);
    let mut pod = once(&corner, "web", main);
    pod["spec"]["hostname"] = json!("front");
    corner.create(pod).await?;
    let log = last_words(&corner, "web").await?;
    let lines: Vec<&str> = log.lines().collect();
    let [greeting, address, interface, hostname, folder, arguments] = lines[..] else { anyhow::bail!("{log}") };
    ensure!(
        (greeting, hostname, folder, arguments) == ("it is web", "front", "/tmp", "it is web $(GREETING)"),
        "{log}"
    );
    address.parse::<Ipv4Addr>()?;
    ensure!(interface == format!("{address}/24"), "{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn names_are_resolved_as_the_pod_says() -> Result<()> {
    let corner = corner("names").await?;
    let mut pod = once(&corner, "web", container("main", "cat /etc/resolv.conf; cat /etc/hosts"));
    pod["spec"]["dnsPolicy"] = json!("None");
    pod["spec"]["dnsConfig"] = json!({"nameservers": ["10.98.0.53"], "searches": ["example.test"], "options": [{"name": "ndots", "value": "3"}]});
    pod["spec"]["hostAliases"] = json!([{"ip": "10.98.0.7", "hostnames": ["db.test", "db"]}]);
    corner.create(pod).await?;
    let log = last_words(&corner, "web").await?;
    for said in ["nameserver 10.98.0.53\n", "search example.test\n", "options ndots:3\n"] {
        ensure!(log.contains(said), "{said}: {log}");
    }
    let alias = log.lines().filter(|line| line.starts_with("10.98.0.7")).collect::<Vec<_>>().join(" ");
    ensure!(
        alias.split_whitespace().any(|word| word == "db.test") && alias.split_whitespace().any(|word| word == "db"),
        "{log}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn nothing_of_the_machines_resolver_is_in_a_pod_that_names_its_servers() -> Result<()> {
    // In this namespace alone, for engines and for all that looks at it while this test runs.
    let (machine, file) = ("/etc/resolv.conf", engine::folder()?.join("resolv.conf"));
    std::fs::write(&file, "nameserver 10.98.0.1\nsearch machine.test\noptions attempts:9 rotate\n")?;
    succeed(Command::new("mount").arg("--bind").arg(&file).arg(machine))?;
    let shown = resolver_of_a_pod().await;
    succeed(Command::new("umount").arg(machine))?;
    let (machines, named) = shown?;
    ensure!(machines.contains("search machine.test"), "it would not be seen: {machines}");
    let lines: Vec<&str> = named.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    ensure!(lines.contains(&"nameserver 10.98.0.53"), "{named}");
    ensure!(!named.contains("machine.test") && !named.contains("attempts") && !named.contains("rotate"), "{named}");
    Ok(())
}

/// What resolv.conf says in a pod that leaves it to the machine, and in one that names a server and nothing else.
async fn resolver_of_a_pod() -> Result<(String, String)> {
    let corner = corner("servers").await?;
    let mut logs = Vec::new();
    for (name, policy, config) in
        [("machines", "Default", json!(null)), ("named", "None", json!({"nameservers": ["10.98.0.53"]}))]
    {
        let mut pod = once(&corner, name, container("main", "cat /etc/resolv.conf"));
        pod["spec"]["dnsPolicy"] = json!(policy);
        pod["spec"]["dnsConfig"] = config;
        corner.create(pod).await?;
        logs.push(last_words(&corner, name).await?);
    }
    let [machines, named] = <[String; 2]>::try_from(logs).map_err(|logs| anyhow::anyhow!("{logs:?}"))?;
    Ok((machines, named))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_that_is_called_by_its_whole_name_finds_itself_by_it() -> Result<()> {
    let corner = corner("whole-name").await?;
    for (name, whole) in [("web-0", true), ("web-1", false)] {
        let mut pod = once(&corner, name, container("main", "hostname; cat /etc/hosts"));
        pod["spec"]["subdomain"] = json!("web");
        pod["spec"]["setHostnameAsFQDN"] = json!(whole);
        corner.create(pod).await?;
        let log = last_words(&corner, name).await?;
        let domain = format!("web.{}.svc.cluster.local", corner.namespace);
        let expected = if whole { format!("{name}.{domain}") } else { name.to_owned() };
        let (hostname, hosts) = log.split_once('\n').context("no line")?;
        ensure!(hostname == expected, "{log}");
        ensure!(!hosts.contains(&format!("{domain}.{domain}")), "{log}");
        let own = hosts.lines().find(|line| line.split_whitespace().any(|word| word == expected));
        ensure!(own.is_some_and(|line| !line.starts_with("127.")), "{log}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn kernel_parameters_are_the_pods_own_and_no_others() -> Result<()> {
    let corner = corner("sysctls").await?;
    let script = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let mut pod = once(&corner, "web", container("main", script));
    // Both spellings are the API's.
    let own = json!([{"name": "kernel/shm_rmid_forced", "value": "1"}, {"name": "net.ipv4.ip_unprivileged_port_start", "value": "99"}]);
    pod["spec"]["securityContext"] = json!({"sysctls": own});
    corner.create(pod.clone()).await?;
    let log = last_words(&corner, "web").await?;
    ensure!(log == "1\n99\n", "{log}");
    pod["metadata"]["name"] = json!("machines");
    pod["spec"]["securityContext"] = json!({"sysctls": [{"name": "vm.max_map_count", "value": "65536"}]});
    corner.create(pod).await?;
    let failed = corner.until("machines", "has failed", |pod| phase(pod) == "Failed").await?;
    let (uid, status) = (failed.metadata.uid.context("no uid")?, failed.status.context("no status")?);
    ensure!(status.reason.as_deref() == Some("SysctlForbidden"), "{status:?}");
    let made = at_engine(&corner).await?;
    ensure!(!made.iter().any(|container| container.pod() == uid), "{made:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn containers_of_a_pod_share_their_network_and_a_port_of_the_node_leads_there() -> Result<()> {
    let corner = corner("ports").await?;
    let serve = "printf '#!/bin/sh\\nhostname\\n' > /tmp/serve; chmod +x /tmp/serve; exec nc -ll -p 7000 -e /tmp/serve";
    let mut serving = container("main", serve);
    serving["ports"] = json!([{"containerPort": 7000, "hostPort": 17000}]);
    let mut pod = pod(&corner, "web", serving);
    let asks = container("asks", "until nc 127.0.0.1 7000 2>/dev/null; do sleep 0.1; done; exec sleep 100000");
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(asks);
    corner.create(pod).await?;
    let running = corner.running("web").await?;
    for (host, port) in [(ip(&running)?.as_str(), 7000), ("127.0.0.1", 17000)] {
        ensure!(hear(host, port).await? == "web\n", "{host}:{port}");
    }
    eventually("its neighbour has asked", || async {
        let params = kube::api::LogParams { container: Some("asks".into()), ..Default::default() };
        let log = corner.pods().logs("web", &params).await?;
        ensure!(log == "web\n", "{log:?}");
        Ok(Some(()))
    })
    .await
}

/// A Job's pod stays for its log and must not keep the port from the next one.
#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_that_has_ended_gives_its_port_of_the_node_back_and_keeps_its_log() -> Result<()> {
    let corner = corner("port-back").await?;
    for name in ["one", "two"] {
        let mut runs = container("main", "echo done");
        runs["ports"] = json!([{"containerPort": 7000, "hostPort": 17002}]);
        let mut pod = pod(&corner, name, runs);
        pod["spec"]["restartPolicy"] = json!("Never");
        corner.create(pod).await?;
        corner.until(name, "has ended", |pod| phase(pod) == "Succeeded").await?;
    }
    let log = corner.pods().logs("one", &kube::api::LogParams::default()).await?;
    ensure!(log == "done\n", "{log:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_on_the_machines_own_network_has_the_nodes_address() -> Result<()> {
    let corner = corner("host-network").await?;
    let serve =
        "printf '#!/bin/sh\\necho here\\n' > /tmp/serve; chmod +x /tmp/serve; exec nc -ll -p 17001 -e /tmp/serve";
    let mut pod = pod(&corner, "web", container("main", serve));
    pod["spec"]["hostNetwork"] = json!(true);
    corner.create(pod).await?;
    let running = corner.running("web").await?;
    ensure!(running.status.as_ref().and_then(|status| status.host_ip.clone()) == Some(ip(&running)?));
    ensure!(hear(&ip(&running)?, 17001).await? == "here\n");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_process_has_no_more_rights_than_its_pod_gives_it() -> Result<()> {
    let corner = corner("rights").await?;
    let script = "id -u; id -g; id -G; touch /x 2>&1 | grep -o 'Read-only'; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status | awk '{print $2}'; \
                  cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true";
    let mut main = container("main", script);
    main["resources"] = json!({"limits": {"memory": "64Mi", "cpu": "500m"}});
    main["securityContext"] =
        json!({"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let mut pod = once(&corner, "web", main);
    pod["spec"]["securityContext"] =
        json!({"runAsUser": 1000, "runAsGroup": 1001, "supplementalGroups": [3000], "runAsNonRoot": true});
    corner.create(pod).await?;
    let log = last_words(&corner, "web").await?;
    let expected = ["1000", "1001", "1001 3000", "Read-only", "0000000000000000", "1", "67108864"];
    ensure!(log.lines().collect::<Vec<_>>() == expected, "{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_an_engine_cannot_do_is_refused_by_field_before_anything_is_made() -> Result<()> {
    let corner = corner("refused").await?;
    let mut pod = pod(&corner, "web", idle());
    pod["spec"]["volumes"] = json!([{"name": "disk", "hostPath": {"path": "/"}}]);
    corner.create(pod).await?;
    let failed = corner.until("web", "has failed", |pod| phase(pod) == "Failed").await?;
    let status = failed.status.context("no status")?;
    ensure!(
        status.message.as_deref().is_some_and(|message| message.contains("spec.volumes[0].hostPath")),
        "{status:?}"
    );
    let made = at_engine(&corner).await?;
    ensure!(made.is_empty(), "{made:?}");
    Ok(())
}
