//! The security context of a container, in an engine's words. What is not said is the engine's default: its own seccomp
//! and AppArmor profiles, its own set of capabilities.

use vk_engine::container::{ContainerSpec, HostConfig};

use crate::manifest::{Container, PodSecurity, Profile, SeLinux};

/// What the container's own context says goes before what the pod's says.
pub(crate) fn apply(container: &Container, of_pod: &PodSecurity, spec: &mut ContainerSpec) {
    let own = &container.security_context;
    spec.user = own.run_as_user.or(of_pod.run_as_user).map(|user| {
        let group = own.run_as_group.or(of_pod.run_as_group);
        group.map_or_else(|| user.to_string(), |group| format!("{user}:{group}"))
    });
    let host: &mut HostConfig = &mut spec.host_config;
    host.group_add = of_pod.supplemental_groups.iter().chain(&of_pod.fs_group).map(u32::to_string).collect();
    host.privileged = own.privileged;
    host.readonly_rootfs = own.read_only_root_filesystem;
    host.cap_add.clone_from(&own.capabilities.add);
    host.cap_drop.clone_from(&own.capabilities.drop);
    host.security_opt = options(container, of_pod);
}

fn options(container: &Container, of_pod: &PodSecurity) -> Vec<String> {
    let own = &container.security_context;
    let mut options = Vec::new();
    if own.allow_privilege_escalation == Some(false) {
        options.push("no-new-privileges".to_owned());
    }
    // `Localhost` was refused: the profile would have to be sent whole.
    options.extend(profile("seccomp", own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref())));
    options.extend(profile("apparmor", own.app_armor_profile.as_ref().or(of_pod.app_armor_profile.as_ref())));
    options.extend(labels(own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref())));
    options
}

fn profile(kind: &str, profile: Option<&Profile>) -> Option<String> {
    match profile? {
        Profile { r#type, .. } if r#type == "Unconfined" => Some(format!("{kind}=unconfined")),
        Profile { r#type, localhost_profile } if r#type == "Localhost" => Some(format!("{kind}={localhost_profile}")),
        Profile { .. } => None,
    }
}

fn labels(options: Option<&SeLinux>) -> Vec<String> {
    let Some(SeLinux { user, role, r#type, level }) = options else { return Vec::new() };
    let all = [("user", user), ("role", role), ("type", r#type), ("level", level)];
    all.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("label={name}:{value}"))
        .collect()
}

/// It must not run as root, and does not say as whom it runs: the image decides.
pub(crate) fn depends_on_image(container: &Container, of_pod: &PodSecurity) -> bool {
    let own = &container.security_context;
    own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) && own.run_as_user.or(of_pod.run_as_user).is_none()
}

/// Why an image's user will not do for a container that must not be root, in the kubelet's words; none: it will.
pub(crate) fn root_by_image(user: Option<&str>) -> Option<String> {
    match user.map(|user| (user, user.parse::<u32>())) {
        None | Some((_, Ok(0))) => Some("container has runAsNonRoot and image will run as root".to_owned()),
        Some((_, Ok(_))) => None,
        Some((name, Err(_))) => Some(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn applied(own: &str, of_pod: &str) -> ContainerSpec {
        let pod =
            parse(&format!(r#"{{"securityContext":{of_pod},"containers":[{{"name":"c","securityContext":{own}}}]}}"#));
        let mut spec = ContainerSpec::default();
        apply(&pod.containers[0], &pod.security_context, &mut spec);
        spec
    }

    #[test]
    fn users_and_groups_follow_container_and_pod() {
        for (own, of_pod, user, groups) in [
            ("{}", "{}", None, vec![]),
            (r#"{"runAsUser":1}"#, r#"{"runAsUser":9,"runAsGroup":8}"#, Some("1:8"), vec![]),
            ("{}", r#"{"runAsUser":9,"fsGroup":2000,"supplementalGroups":[5,6]}"#, Some("9"), vec!["5", "6", "2000"]),
            (r#"{"runAsUser":0,"runAsGroup":0}"#, "null", Some("0:0"), vec![]),
        ] {
            let spec = applied(own, of_pod);
            assert_eq!(
                (spec.user.as_deref(), spec.host_config.group_add),
                (user, groups.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn rights_are_what_the_container_says() {
        let spec = applied(
            r#"{"privileged":true,"readOnlyRootFilesystem":true,"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]}}"#,
            "{}",
        );
        assert!(spec.host_config.privileged && spec.host_config.readonly_rootfs);
        assert_eq!(
            (spec.host_config.cap_add, spec.host_config.cap_drop),
            (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()])
        );
        assert!(spec.host_config.security_opt.is_empty());
    }

    #[test]
    fn options_are_the_engines() {
        for (own, of_pod, options) in [
            (r#"{"allowPrivilegeEscalation":false}"#, "{}", vec!["no-new-privileges"]),
            (r#"{"allowPrivilegeEscalation":true,"seccompProfile":{"type":"RuntimeDefault"}}"#, "{}", vec![]),
            (
                "{}",
                r#"{"seccompProfile":{"type":"Unconfined"},"appArmorProfile":{"type":"Unconfined"}}"#,
                vec!["seccomp=unconfined", "apparmor=unconfined"],
            ),
            (r#"{"seccompProfile":{"type":"RuntimeDefault"}}"#, r#"{"seccompProfile":{"type":"Unconfined"}}"#, vec![]),
            (r#"{"appArmorProfile":{"type":"Localhost","localhostProfile":"mine"}}"#, "{}", vec!["apparmor=mine"]),
            (
                r#"{"seLinuxOptions":{"type":"t","level":"s0:c1"}}"#,
                r#"{"seLinuxOptions":{"user":"u"}}"#,
                vec!["label=type:t", "label=level:s0:c1"],
            ),
        ] {
            assert_eq!(applied(own, of_pod).host_config.security_opt, options, "{own} {of_pod}");
        }
    }

    #[test]
    fn an_image_that_runs_as_root_will_not_do_for_who_must_not() {
        let pod = parse(
            r#"{"securityContext":{"runAsNonRoot":true},"containers":[{"name":"a"},{"name":"b","securityContext":{"runAsUser":7}}]}"#,
        );
        let depends = |index: usize| depends_on_image(&pod.containers[index], &pod.security_context);
        assert!(depends(0) && !depends(1));
        assert!(root_by_image(None).is_some() && root_by_image(Some("0")).is_some());
        assert_eq!(root_by_image(Some("1000")), None);
        assert!(root_by_image(Some("web")).unwrap().contains("non-numeric user (web)"));
    }
}
