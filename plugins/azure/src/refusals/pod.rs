//! Fields of the pod as a whole.

use vk_provider::Result;

use super::{refuse, too_much};
use crate::config::Os;
use crate::limits;
use crate::manifest::Spec;

/// # Errors
/// The first field that cannot be honoured.
pub(super) fn check(spec: &Spec, os: Os) -> Result<()> {
    if !spec.os.name.is_empty() && !spec.os.name.eq_ignore_ascii_case(os.as_str()) {
        return Err(refuse("spec.os.name", format!("this node runs containers of {}", os.as_str())));
    }
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    for (field, is_set, why) in [
        ("spec.hostNetwork", spec.host_network, "a group has a network of its own"),
        ("spec.hostPID", spec.host_pid, "there is no machine whose processes could be seen"),
        ("spec.hostIPC", spec.host_ipc, "there is no machine whose memory could be shared"),
        ("spec.hostUsers", spec.host_users == Some(false), "Azure gives no user namespace"),
        (
            "spec.shareProcessNamespace",
            spec.share_process_namespace,
            "containers of a group do not see each other's processes",
        ),
        ("spec.setHostnameAsFQDN", spec.set_hostname_as_fqdn, "the host name is Azure's own"),
        ("spec.hostnameOverride", set(&spec.hostname_override), "the host name is Azure's own"),
        ("spec.hostAliases", !spec.host_aliases.is_empty(), "the hosts file is Azure's own: use DNS"),
        (
            "spec.runtimeClassName",
            set(&spec.runtime_class_name),
            "there is one runtime; a confidential group is asked for by annotation",
        ),
        ("spec.resourceClaims", !spec.resource_claims.is_empty(), "Azure allocates no devices"),
        ("spec.resources", !spec.resources.says_nothing(), "a group has what its containers request: say it there"),
    ] {
        if is_set {
            return Err(refuse(field, why));
        }
    }
    count(spec)
}

fn count(spec: &Spec) -> Result<()> {
    let (init, all) = (spec.init_containers.len(), spec.init_containers.len() + spec.containers.len());
    if init > limits::INIT_CONTAINERS {
        let why = format!("{init} are more than a group has: {}", limits::INIT_CONTAINERS);
        return Err(too_much("spec.initContainers", why));
    }
    if all > limits::CONTAINERS {
        let why = format!("{all}, with those that run before, are more than a group has: {}", limits::CONTAINERS);
        return Err(too_much("spec.containers", why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use crate::config::Os;

    #[test]
    fn a_pod_is_refused_by_field() {
        for (spec, field) in [
            (r#"{"os":{"name":"windows"}}"#, "spec.os.name"),
            (r#"{"hostNetwork":true}"#, "spec.hostNetwork"),
            (r#"{"hostPID":true}"#, "spec.hostPID"),
            (r#"{"hostIPC":true}"#, "spec.hostIPC"),
            (r#"{"hostUsers":false}"#, "spec.hostUsers"),
            (r#"{"shareProcessNamespace":true}"#, "spec.shareProcessNamespace"),
            (r#"{"subdomain":"x","setHostnameAsFQDN":true}"#, "spec.setHostnameAsFQDN"),
            (r#"{"hostnameOverride":"x.example"}"#, "spec.hostnameOverride"),
            (r#"{"hostAliases":[{"ip":"10.0.0.1","hostnames":["a"]}]}"#, "spec.hostAliases"),
            (r#"{"runtimeClassName":"gvisor"}"#, "spec.runtimeClassName"),
            (r#"{"resourceClaims":[{"name":"gpu"}]}"#, "spec.resourceClaims"),
            (r#"{"resources":{"limits":{"cpu":"1"}}}"#, "spec.resources"),
        ] {
            assert_eq!(refused(spec, Os::Linux).as_deref(), Some(field), "{spec}");
        }
        assert_eq!(refused(r#"{"os":{"name":"linux"}}"#, Os::Windows).as_deref(), Some("spec.os.name"));
    }

    #[test]
    fn a_group_has_so_many_containers() {
        let pod = |init: usize, ordinary: usize| {
            let list = |letter: &str, count: usize| {
                let each = |number| format!(r#"{{"name":"{letter}{number}","image":"x"}}"#);
                (0..count).map(each).collect::<Vec<_>>().join(",")
            };
            format!(r#"{{"initContainers":[{}],"containers":[{}]}}"#, list("i", init), list("c", ordinary))
        };
        for (init, ordinary, field) in [
            (0, 60, None),
            (59, 1, None),
            (0, 61, Some("spec.containers")),
            (59, 2, Some("spec.containers")),
            (60, 1, Some("spec.initContainers")),
        ] {
            assert_eq!(refused(&pod(init, ordinary), Os::Linux).as_deref(), field, "{init} and {ordinary}");
        }
    }
}
