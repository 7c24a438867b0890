//! Fields of one container.

use vk_provider::Result;
use vk_provider::pod::RestartPolicy;

use super::refuse;
use crate::manifest::{Container, List, Mount, Placed, Spec};

/// Where the API server puts it, which nothing reads here: there is no way to read a file of a container.
const MESSAGE_PATH: &str = "/dev/termination-log";

/// # Errors
/// The first field that cannot be honoured.
pub(super) fn check(spec: &Spec, placed: Placed<'_>) -> Result<()> {
    let Container { lifecycle, termination_message_path, .. } = placed.container;
    let container = placed.container;
    let message_elsewhere = !termination_message_path.is_empty() && termination_message_path != MESSAGE_PATH;
    for (field, is_set, why) in [
        (
            "workingDir",
            !container.working_dir.is_empty(),
            "a group's containers start in the image's directory: begin with [\"sh\", \"-c\", \"cd … && exec …\"]",
        ),
        (
            "imagePullPolicy",
            container.image_pull_policy == "Never",
            "Azure has no images of its own but those that it pulls: Always and IfNotPresent are known",
        ),
        ("stdin", container.stdin, "a group's containers have no stdin"),
        ("tty", container.tty, "a group's containers have no terminal"),
        ("volumeDevices", !container.volume_devices.is_empty(), "a group has no block devices"),
        (
            "startupProbe",
            container.startup_probe.is_some(),
            "Azure asks for liveness and readiness alone: give livenessProbe an initialDelaySeconds",
        ),
        ("lifecycle.postStart", lifecycle.post_start.is_some(), "Azure runs no hooks: let the command do it"),
        ("lifecycle.preStop", lifecycle.pre_stop.is_some(), "Azure runs no hooks, and ends a group without grace"),
        ("lifecycle.stopSignal", lifecycle.stop_signal.is_some(), "Azure ends a group without grace"),
        (
            "terminationMessagePath",
            message_elsewhere,
            "no file of a container can be read: leave it out, and write to the log",
        ),
        (
            "restartPolicyRules",
            !container.restart_policy_rules.is_empty(),
            "a group has one restartPolicy for all its containers, and no rules",
        ),
    ] {
        if is_set {
            return Err(refuse(placed.field(field), why));
        }
    }
    of_restart(spec, placed)?;
    if placed.list == List::Init {
        of_init(placed)?;
    }
    container.volume_mounts.iter().enumerate().try_for_each(|(index, mount)| of_mount(spec, placed, index, mount))
}

/// A container's own policy, unless it is the pod's.
fn of_restart(spec: &Spec, placed: Placed<'_>) -> Result<()> {
    let why = match (placed.list, placed.container.restart_policy) {
        (_, None) => return Ok(()),
        (List::Init, Some(RestartPolicy::Always)) => {
            "Azure starts a group's containers together, after the init containers: a sidecar has to be one of spec.containers"
        }
        (_, Some(own)) if own == spec.restart_policy => return Ok(()),
        _ => "a group has one restartPolicy for all its containers",
    };
    Err(refuse(placed.field("restartPolicy"), why))
}

fn of_init(placed: Placed<'_>) -> Result<()> {
    let Container { ports, liveness_probe, readiness_probe, .. } = placed.container;
    for (field, is_set, why) in [
        ("ports", !ports.is_empty(), "an init container gets no port of the group"),
        ("livenessProbe", liveness_probe.is_some(), "an init container is not probed"),
        ("readinessProbe", readiness_probe.is_some(), "an init container is not probed"),
    ] {
        if is_set {
            return Err(refuse(placed.field(field), why));
        }
    }
    Ok(())
}

fn of_mount(spec: &Spec, placed: Placed<'_>, index: usize, mount: &Mount) -> Result<()> {
    let field = |name: &str| placed.field(&format!("volumeMounts[{index}].{name}"));
    if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
        return Err(refuse(field("name"), format!("the pod has no volume {:?}", mount.name)));
    }
    if mount.mount_path.contains(':') {
        return Err(refuse(field("mountPath"), format!("{:?} must have no colon", mount.mount_path)));
    }
    for (name, is_set, why) in [
        (
            "subPath",
            !mount.sub_path.is_empty(),
            "a group mounts whole volumes: mount it at a directory of its own, and let the program read the file there",
        ),
        ("subPathExpr", !mount.sub_path_expr.is_empty(), "a group mounts whole volumes"),
        (
            "mountPropagation",
            mount.mount_propagation.as_deref().is_some_and(|kind| !kind.is_empty() && kind != "None"),
            "mounts stay where they are made: None is what there is",
        ),
        (
            "recursiveReadOnly",
            mount.recursive_read_only.as_deref() == Some("Enabled"),
            "Azure does not tell whether it can: IfPossible is known",
        ),
    ] {
        if is_set {
            return Err(refuse(field(name), why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use crate::config::Os;

    #[test]
    fn a_container_is_refused_by_field() {
        let pod = |list: &str, fields: &str| {
            let ordinary = if list == "containers" { "" } else { r#","containers":[{"name":"web","image":"x"}]"# };
            format!(
                r#"{{"volumes":[{{"name":"v","emptyDir":{{}}}}],"{list}":[{{"name":"c","image":"i",{fields}}}]{ordinary}}}"#
            )
        };
        let both = [
            (r#""workingDir":"/srv""#, "workingDir"),
            (r#""imagePullPolicy":"Never""#, "imagePullPolicy"),
            (r#""stdin":true"#, "stdin"),
            (r#""tty":true"#, "tty"),
            (r#""volumeDevices":[{"name":"v"}]"#, "volumeDevices"),
            (r#""startupProbe":{"exec":{"command":["x"]}}"#, "startupProbe"),
            (r#""lifecycle":{"postStart":{"exec":{"command":["x"]}}}"#, "lifecycle.postStart"),
            (r#""lifecycle":{"preStop":{"sleep":{"seconds":1}}}"#, "lifecycle.preStop"),
            (r#""lifecycle":{"stopSignal":"SIGINT"}"#, "lifecycle.stopSignal"),
            (r#""terminationMessagePath":"/tmp/message""#, "terminationMessagePath"),
            (r#""restartPolicyRules":[{"action":"Restart"}]"#, "restartPolicyRules"),
            (r#""restartPolicy":"Never""#, "restartPolicy"),
            (r#""volumeMounts":[{"name":"x","mountPath":"/x"}]"#, "volumeMounts[0].name"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/a:ro"}]"#, "volumeMounts[0].mountPath"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/x","subPath":"a"}]"#, "volumeMounts[0].subPath"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/x","subPathExpr":"$(A)"}]"#, "volumeMounts[0].subPathExpr"),
            (
                r#""volumeMounts":[{"name":"v","mountPath":"/x","mountPropagation":"Bidirectional"}]"#,
                "volumeMounts[0].mountPropagation",
            ),
            (
                r#""volumeMounts":[{"name":"v","mountPath":"/x","recursiveReadOnly":"Enabled"}]"#,
                "volumeMounts[0].recursiveReadOnly",
            ),
        ];
        for list in ["containers", "initContainers"] {
            for (fields, field) in both {
                assert_eq!(refused(&pod(list, fields), Os::Linux), Some(format!("spec.{list}[0].{field}")), "{fields}");
            }
        }
        for (fields, field) in [
            (r#""restartPolicy":"Always""#, "restartPolicy"),
            (r#""ports":[{"containerPort":80}]"#, "ports"),
            (r#""livenessProbe":{"exec":{}}"#, "livenessProbe"),
            (r#""readinessProbe":{"exec":{}}"#, "readinessProbe"),
        ] {
            let refused = refused(&pod("initContainers", fields), Os::Linux);
            assert_eq!(refused, Some(format!("spec.initContainers[0].{field}")), "{fields}");
        }
    }

    #[test]
    fn a_containers_own_policy_may_be_the_pods() {
        let pod = |of_pod: &str, list: &str, own: &str| {
            refused(
                &format!(r#"{{"restartPolicy":"{of_pod}","{list}":[{{"name":"c","restartPolicy":"{own}"}}]}}"#),
                Os::Linux,
            )
        };
        assert_eq!(pod("Never", "containers", "Never"), None);
        assert_eq!(pod("Never", "initContainers", "Never"), None);
        assert!(pod("Never", "containers", "OnFailure").is_some());
        assert!(pod("Always", "initContainers", "Always").is_some(), "it would be a sidecar");
    }
}
