//! What only groups of Linux containers can do.

use vk_provider::Result;

use super::refuse;
use crate::manifest::Spec;
use crate::translate::is_service_account_token;

const ALONE: &str = "a group of Windows has one container";

/// # Errors
/// The first field that cannot be honoured.
pub(super) fn check(spec: &Spec) -> Result<()> {
    if !spec.init_containers.is_empty() {
        return Err(refuse("spec.initContainers", ALONE));
    }
    if spec.containers.len() > 1 {
        return Err(refuse("spec.containers[1]", ALONE));
    }
    if let Some(index) = spec.volumes.iter().position(|volume| !is_service_account_token(volume)) {
        return Err(refuse(format!("spec.volumes[{index}]"), "a group of Windows has no volumes"));
    }
    if !spec.dns_config.says_nothing() {
        return Err(refuse("spec.dnsConfig", "Azure has no DNS settings for Windows"));
    }
    for placed in spec.all() {
        let own = &placed.container.security_context;
        let pods = &spec.security_context;
        for (name, of_pod, is_own) in [
            ("runAsUser", pods.run_as_user.is_some(), own.run_as_user.is_some()),
            ("runAsGroup", pods.run_as_group.is_some(), own.run_as_group.is_some()),
            ("capabilities", false, !own.capabilities.add.is_empty() || !own.capabilities.drop.is_empty()),
        ] {
            let why = "it means nothing to Windows";
            if is_own {
                return Err(refuse(placed.field(&format!("securityContext.{name}")), why));
            }
            if of_pod {
                return Err(refuse(format!("spec.securityContext.{name}"), why));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use crate::config::Os;

    #[test]
    fn windows_is_refused_by_field() {
        for (spec, field) in [
            (r#"{"initContainers":[{"name":"i"}],"containers":[{"name":"c"}]}"#, "spec.initContainers"),
            (r#"{"containers":[{"name":"c"},{"name":"d"}]}"#, "spec.containers[1]"),
            (r#"{"volumes":[{"name":"data","emptyDir":{}}],"containers":[{"name":"c"}]}"#, "spec.volumes[0]"),
            (r#"{"dnsConfig":{"searches":["x"]},"containers":[{"name":"c"}]}"#, "spec.dnsConfig"),
            (r#"{"securityContext":{"runAsUser":1},"containers":[{"name":"c"}]}"#, "spec.securityContext.runAsUser"),
            (
                r#"{"containers":[{"name":"c","securityContext":{"capabilities":{"drop":["ALL"]}}}]}"#,
                "spec.containers[0].securityContext.capabilities",
            ),
        ] {
            assert_eq!(refused(spec, Os::Windows).as_deref(), Some(field), "{spec}");
        }
    }

    #[test]
    fn the_token_that_every_pod_gets_is_no_reason() {
        let spec = r#"{"volumes":[{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}],
            "containers":[{"name":"c","image":"i","volumeMounts":[{"name":"kube-api-access-x7k2p",
            "mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}]}]}"#;
        assert_eq!(refused(spec, Os::Windows), None);
    }
}
