//! One attempt at a container, as the engine's.

use std::collections::BTreeMap;

use vk_engine::container::{Bind, ContainerSpec, HealthCheck, HostConfig, LogConfig};
use vk_engine::dialect::Dialect;
use vk_provider::pod::ResolvedContainer;

use crate::labels::Labels;
use crate::manifest::{Placed, Spec};
use crate::{resources, security};

/// The kubelet's own bounds of a container's log.
const LOG_SIZE: &str = "10m";
const LOG_FILES: &str = "5";

/// What a container of a pod is made from, beside its spec.
pub(crate) struct Parts<'a> {
    pub(crate) resolved: &'a ResolvedContainer,
    /// What the pull returned.
    pub(crate) image: &'a str,
    pub(crate) labels: Labels,
    /// The id of the sandbox.
    pub(crate) sandbox: &'a str,
    /// The id of the container whose processes an ephemeral one sees.
    pub(crate) target: Option<&'a str>,
    pub(crate) binds: Vec<String>,
    pub(crate) mounts: Vec<Bind>,
    /// Who goes first when the machine runs out of memory.
    pub(crate) oom_score: Option<i64>,
}

/// A container to be made.
pub(crate) fn spec(spec: &Spec, placed: Placed<'_>, dialect: Dialect, parts: Parts<'_>) -> ContainerSpec {
    let container = placed.container;
    let Parts { resolved, image, labels, sandbox, target, binds, mounts, oom_score } = parts;
    let list = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    let joined = format!("container:{sandbox}");
    let mut made = ContainerSpec {
        image: image.to_owned(),
        entrypoint: list(&resolved.command),
        // The image's own arguments count only beside its own entrypoint, in both worlds.
        cmd: list(&resolved.args),
        env: resolved.env.iter().map(|variable| format!("{}={}", variable.name, variable.value)).collect(),
        working_dir: container.working_dir.clone().filter(|directory| !directory.is_empty()),
        labels,
        open_stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        stop_signal: container.lifecycle.stop_signal.clone(),
        // Probes are the host's.
        healthcheck: Some(HealthCheck::none()),
        host_config: HostConfig {
            ipc_mode: Some(if spec.host_ipc { "host".to_owned() } else { joined.clone() }),
            pid_mode: pid_mode(spec, sandbox, target),
            // Docker joins the name with the network; Podman has to be told.
            uts_mode: dialect.podman.then(|| joined.clone()),
            network_mode: joined,
            binds,
            mounts,
            log_config: log_config(dialect),
            oom_score_adj: oom_score,
            ..HostConfig::default()
        },
        ..ContainerSpec::default()
    };
    resources::apply(&container.resources, &mut made.host_config);
    security::apply(container, &spec.security_context, &mut made);
    made
}

/// Whose processes it sees; none: its own alone.
fn pid_mode(spec: &Spec, sandbox: &str, target: Option<&str>) -> Option<String> {
    match target {
        _ if spec.host_pid => Some("host".to_owned()),
        _ if spec.share_process_namespace => Some(format!("container:{sandbox}")),
        Some(target) => Some(format!("container:{target}")),
        None => None,
    }
}

/// Podman's default can be read through the API, while a Docker engine may be set to a driver that cannot.
fn log_config(dialect: Dialect) -> Option<LogConfig> {
    let bounds = [("max-size", LOG_SIZE), ("max-file", LOG_FILES)];
    let config: BTreeMap<String, String> =
        bounds.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    (!dialect.podman).then(|| LogConfig { r#type: "json-file".to_owned(), config })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_engine::dialect::Version;

    fn made(pod: &str, container: &str, podman: bool, target: Option<&str>) -> serde_json::Value {
        let text = format!(r#"{{{pod}"containers":[{{"name":"c","image":"nginx:1",{container}}}]}}"#);
        let (manifest, desired) = (parse(&text), vk_provider::testing::desired(&format!(r#"{{"spec":{text}}}"#)));
        let parts = Parts {
            resolved: &desired.containers[0],
            image: "nginx@sha256:1",
            labels: Labels::new(),
            sandbox: "5a",
            target,
            binds: Vec::new(),
            mounts: Vec::new(),
            oom_score: None,
        };
        let dialect = Dialect { version: Version::new(1, 41), podman };
        serde_json::to_value(spec(&manifest, manifest.all().next().unwrap(), dialect, parts)).unwrap()
    }

    #[test]
    fn a_plain_container_joins_its_sandbox() {
        let expected = serde_json::json!({
            "Image": "nginx@sha256:1", "Labels": {}, "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "NetworkMode": "container:5a", "IpcMode": "container:5a", "CpuShares": 2, "RestartPolicy": {"Name": "no"},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}},
            },
        });
        assert_eq!(made("", r#""command":null"#, false, None), expected);
    }

    #[test]
    fn what_the_manifest_says_is_honoured() {
        let made = made(
            "",
            r#""command":["/bin/sh"],"args":["-c","x"],"env":[{"name":"A","value":"1=2"}],"workingDir":"/srv","stdin":true,"stdinOnce":true,
            "tty":true,"lifecycle":{"stopSignal":"SIGQUIT"},"resources":{"limits":{"memory":"64Mi"}},"securityContext":{"runAsUser":7}"#,
            false,
            None,
        );
        for (field, value) in [
            ("Entrypoint", serde_json::json!(["/bin/sh"])),
            ("Cmd", serde_json::json!(["-c", "x"])),
            ("Env", serde_json::json!(["A=1=2"])),
            ("WorkingDir", "/srv".into()),
            ("OpenStdin", true.into()),
            ("StdinOnce", true.into()),
            ("Tty", true.into()),
            ("StopSignal", "SIGQUIT".into()),
            ("User", "7".into()),
        ] {
            assert_eq!(made[field], value, "{field}");
        }
        assert_eq!(made["HostConfig"]["Memory"], 67_108_864);
    }

    #[test]
    fn podman_is_told_whose_name_it_has() {
        let made = made("", r#""args":["x"]"#, true, None);
        assert_eq!(made["HostConfig"]["UTSMode"], "container:5a");
        assert!(made.get("Entrypoint").is_none() && made["HostConfig"].get("LogConfig").is_none());
    }

    #[test]
    fn processes_are_seen_as_far_as_the_pod_says() {
        for (pod, target, mode) in [
            ("", None, serde_json::Value::Null),
            (r#""shareProcessNamespace":true,"#, None, "container:5a".into()),
            (r#""hostPID":true,"hostIPC":true,"#, None, "host".into()),
            ("", Some("4f"), "container:4f".into()),
            (r#""shareProcessNamespace":true,"#, Some("4f"), "container:5a".into()),
        ] {
            assert_eq!(made(pod, r#""command":null"#, false, target)["HostConfig"]["PidMode"], mode, "{pod}");
        }
        assert_eq!(made(r#""hostIPC":true,"#, r#""command":null"#, false, None)["HostConfig"]["IpcMode"], "host");
    }
}
