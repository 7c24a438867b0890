//! Security contexts: what a group cannot be held to is refused, rather than left out in silence.

use vk_provider::Result;

use super::refuse;
use crate::manifest::{Placed, PodSecurity, Profile};

/// # Errors
/// The first field that cannot be honoured.
pub(super) fn check_pod(security: &PodSecurity) -> Result<()> {
    let field = |name: &str| format!("spec.securityContext.{name}");
    for (name, is_set, why) in [
        ("fsGroup", security.fs_group.is_some(), "volumes of a group have no owner that could be chosen"),
        ("supplementalGroups", !security.supplemental_groups.is_empty(), "a process has the groups of its user alone"),
        (
            "supplementalGroupsPolicy",
            security.supplemental_groups_policy.as_deref() == Some("Strict"),
            "a process has the groups that the image has for its user",
        ),
        ("sysctls", !security.sysctls.is_empty(), "the kernel's settings are Azure's own"),
        ("seLinuxOptions", !security.se_linux_options.is_empty(), "there is no SELinux"),
        ("windowsOptions", !security.windows_options.is_empty(), "the API has none of these"),
    ] {
        if is_set {
            return Err(refuse(field(name), why));
        }
    }
    of_profiles(&field, security.seccomp_profile.as_ref(), security.app_armor_profile.as_ref())
}

/// # Errors
/// The first field that cannot be honoured.
pub(super) fn check_container(placed: Placed<'_>, of_pod: &PodSecurity) -> Result<()> {
    let security = &placed.container.security_context;
    let field = |name: &str| placed.field(&format!("securityContext.{name}"));
    for (name, is_set, why) in [
        ("privileged", security.privileged == Some(true), "Azure does not let containers be privileged"),
        (
            "readOnlyRootFilesystem",
            security.read_only_root_filesystem,
            "a container can always write its own file system",
        ),
        ("procMount", security.proc_mount.as_deref() == Some("Unmasked"), "paths below /proc stay masked"),
        ("seLinuxOptions", !security.se_linux_options.is_empty(), "there is no SELinux"),
        ("windowsOptions", !security.windows_options.is_empty(), "the API has none of these"),
    ] {
        if is_set {
            return Err(refuse(field(name), why));
        }
    }
    of_user(placed, of_pod)?;
    of_profiles(&field, security.seccomp_profile.as_ref(), security.app_armor_profile.as_ref())
}

/// Nobody looks into the image, so only a user that is said can be seen not to be root.
fn of_user(placed: Placed<'_>, of_pod: &PodSecurity) -> Result<()> {
    let own = &placed.container.security_context;
    let at = |is_own: bool, name: &str| {
        if is_own { placed.field(&format!("securityContext.{name}")) } else { format!("spec.securityContext.{name}") }
    };
    let user = own.run_as_user.or(of_pod.run_as_user);
    let group = own.run_as_group.or(of_pod.run_as_group);
    for (id, is_own, name) in
        [(user, own.run_as_user.is_some(), "runAsUser"), (group, own.run_as_group.is_some(), "runAsGroup")]
    {
        if let Some(id) = id.filter(|id| i32::try_from(*id).is_err()) {
            return Err(refuse(at(is_own, name), format!("{id} is more than the API takes: {}", i32::MAX)));
        }
    }
    if own.run_as_non_root.or(of_pod.run_as_non_root) != Some(true) {
        return Ok(());
    }
    match user {
        Some(0) => Err(refuse(at(own.run_as_user.is_some(), "runAsUser"), "0 is root, and runAsNonRoot is set")),
        Some(_) => Ok(()),
        None => Err(refuse(
            at(own.run_as_non_root.is_some(), "runAsNonRoot"),
            "nobody can tell as whom the image runs: set runAsUser beside it",
        )),
    }
}

fn of_profiles(field: &dyn Fn(&str) -> String, seccomp: Option<&Profile>, apparmor: Option<&Profile>) -> Result<()> {
    for (name, profile) in [("seccompProfile", seccomp), ("appArmorProfile", apparmor)] {
        if let Some(Profile { r#type }) = profile.filter(|profile| profile.r#type != "RuntimeDefault") {
            let why = format!("Azure's own counts: RuntimeDefault is known, {type:?} is not");
            return Err(refuse(field(&format!("{name}.type")), why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use crate::config::Os;

    #[test]
    fn a_pod_is_refused_by_field() {
        for (context, field) in [
            (r#"{"fsGroup":2000}"#, "fsGroup"),
            (r#"{"supplementalGroups":[1]}"#, "supplementalGroups"),
            (r#"{"supplementalGroupsPolicy":"Strict"}"#, "supplementalGroupsPolicy"),
            (r#"{"sysctls":[{"name":"a","value":"b"}]}"#, "sysctls"),
            (r#"{"seLinuxOptions":{"level":"x"}}"#, "seLinuxOptions"),
            (r#"{"windowsOptions":{"hostProcess":true}}"#, "windowsOptions"),
            (r#"{"seccompProfile":{"type":"Unconfined"}}"#, "seccompProfile.type"),
            (r#"{"appArmorProfile":{"type":"Localhost","localhostProfile":"a"}}"#, "appArmorProfile.type"),
            (r#"{"runAsNonRoot":true}"#, "runAsNonRoot"),
            (r#"{"runAsNonRoot":true,"runAsUser":0}"#, "runAsUser"),
            (r#"{"runAsUser":2147483648}"#, "runAsUser"),
            (r#"{"runAsGroup":2147483648}"#, "runAsGroup"),
        ] {
            let spec = format!(r#"{{"securityContext":{context},"containers":[{{"name":"c"}}]}}"#);
            assert_eq!(refused(&spec, Os::Linux), Some(format!("spec.securityContext.{field}")), "{context}");
        }
    }

    #[test]
    fn a_container_is_refused_by_field() {
        for (context, field) in [
            (r#"{"privileged":true}"#, "privileged"),
            (r#"{"readOnlyRootFilesystem":true}"#, "readOnlyRootFilesystem"),
            (r#"{"procMount":"Unmasked"}"#, "procMount"),
            (r#"{"seLinuxOptions":{"level":"x"}}"#, "seLinuxOptions"),
            (r#"{"windowsOptions":{"hostProcess":true}}"#, "windowsOptions"),
            (r#"{"seccompProfile":{"type":"Localhost","localhostProfile":"a.json"}}"#, "seccompProfile.type"),
            (r#"{"appArmorProfile":{"type":"Unconfined"}}"#, "appArmorProfile.type"),
            (r#"{"runAsNonRoot":true}"#, "runAsNonRoot"),
            (r#"{"runAsNonRoot":true,"runAsUser":0}"#, "runAsUser"),
            (r#"{"runAsUser":4294967296}"#, "runAsUser"),
        ] {
            let spec = format!(r#"{{"containers":[{{"name":"c","securityContext":{context}}}]}}"#);
            assert_eq!(
                refused(&spec, Os::Linux),
                Some(format!("spec.containers[0].securityContext.{field}")),
                "{context}"
            );
        }
    }

    #[test]
    fn what_the_container_says_goes_before_what_the_pod_says() {
        for (of_pod, own, field) in [
            (r#"{"runAsNonRoot":true}"#, r#"{"runAsNonRoot":false}"#, None),
            (r#"{"runAsNonRoot":true}"#, r#"{"runAsUser":7}"#, None),
            (r#"{"runAsUser":0}"#, r#"{"runAsNonRoot":true}"#, Some("spec.securityContext.runAsUser")),
        ] {
            let spec =
                format!(r#"{{"securityContext":{of_pod},"initContainers":[{{"name":"c","securityContext":{own}}}]}}"#);
            assert_eq!(refused(&spec, Os::Linux).as_deref(), field, "{of_pod} {own}");
        }
    }
}
