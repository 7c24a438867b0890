//! What a container may do: the API has it for containers alone, so that what the pod says is each container's.

use vk_aci::group::{LinuxCapabilities, SecurityContext};

use crate::manifest::{Container, PodSecurity};

/// How Azure's examples call a right; Kubernetes leaves it out.
const PREFIX: &str = "CAP_";
/// All of them, to both.
const ALL: &str = "ALL";

/// none: nothing is said. Refusals have seen to it that users fit.
pub(super) fn of(container: &Container, of_pod: &PodSecurity) -> Option<SecurityContext> {
    let own = &container.security_context;
    let id = |own: Option<i64>, of_pod: Option<i64>| own.or(of_pod).and_then(|id| i32::try_from(id).ok());
    let capabilities = LinuxCapabilities {
        add: own.capabilities.add.iter().map(|name| right(name)).collect(),
        drop: own.capabilities.drop.iter().map(|name| right(name)).collect(),
    };
    let context = SecurityContext {
        privileged: own.privileged,
        allow_privilege_escalation: own.allow_privilege_escalation,
        capabilities: Some(capabilities).filter(|some| *some != LinuxCapabilities::default()),
        run_as_user: id(own.run_as_user, of_pod.run_as_user),
        run_as_group: id(own.run_as_group, of_pod.run_as_group),
        seccomp_profile: None,
    };
    Some(context).filter(|some| *some != SecurityContext::default())
}

fn right(name: &str) -> String {
    if name.starts_with(PREFIX) || name == ALL { name.to_owned() } else { format!("{PREFIX}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    #[test]
    fn contexts_are_the_containers() {
        for (of_pod, own, expected) in [
            ("{}", "{}", "null"),
            (r#"{"seccompProfile":{"type":"RuntimeDefault"}}"#, r#"{"readOnlyRootFilesystem":false}"#, "null"),
            (r#"{"runAsUser":1,"runAsGroup":2}"#, "{}", r#"{"runAsUser":1,"runAsGroup":2}"#),
            (r#"{"runAsUser":1}"#, r#"{"runAsUser":0}"#, r#"{"runAsUser":0}"#),
            (
                "{}",
                r#"{"privileged":false,"allowPrivilegeEscalation":false,"capabilities":{"add":["NET_ADMIN","CAP_SYS_PTRACE"],"drop":["ALL"]}}"#,
                r#"{"privileged":false,"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_NET_ADMIN","CAP_SYS_PTRACE"],"drop":["ALL"]}}"#,
            ),
        ] {
            let spec = parse(&format!(
                r#"{{"securityContext":{of_pod},"containers":[{{"name":"c","securityContext":{own}}}]}}"#
            ));
            let made = of(&spec.containers[0], &spec.security_context);
            assert_eq!(serde_json::to_string(&made).unwrap(), expected, "{of_pod} {own}");
        }
    }
}
