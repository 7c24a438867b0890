//! What an engine's containers cannot be: refused by field, before anything is made. What is not refused here is
//! honoured, or is the host's.

use vk_provider::{Error, Result};

use crate::manifest::{Container, List, Mount, Placed, PodSecurity, Profile, Security, Spec};
use crate::volumes::Kind;
use crate::{resources, sysctls};

/// A pod that cannot be served as it is written.
pub(crate) fn refuse(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::unimplemented("FieldNotSupported", why).field(field)
}

/// All of a pod.
///
/// # Errors
/// The first field that cannot be honoured.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    of_pod(spec)?;
    of_pod_security(&spec.security_context)?;
    sysctls::check(spec)?;
    for (index, volume) in spec.volumes.iter().enumerate() {
        Kind::of(volume, index)?;
    }
    // An ephemeral container never ends its pod: it is looked at when it is started.
    spec.all().filter(|placed| placed.list != List::Ephemeral).try_for_each(|placed| check_container(spec, placed))
}

/// One container, such as one that was added later.
///
/// # Errors
/// The first field that cannot be honoured.
pub(crate) fn check_container(spec: &Spec, placed: Placed<'_>) -> Result<()> {
    let Container { volume_devices, security_context, target_container_name, .. } = placed.container;
    if !volume_devices.is_empty() {
        return Err(refuse(placed.field("volumeDevices"), "an engine's containers get no block devices"));
    }
    if let Some(target) = target_container_name.as_deref().filter(|target| !target.is_empty())
        && (placed.list != List::Ephemeral || !spec.all().any(|other| other.container.name == target))
    {
        return Err(refuse(placed.field("targetContainerName"), format!("the pod has no container {target:?}")));
    }
    resources::check(placed)?;
    of_security(placed, security_context, &spec.security_context)?;
    placed
        .container
        .volume_mounts
        .iter()
        .enumerate()
        .try_for_each(|(index, mount)| of_mount(spec, placed, index, mount))
}

fn of_pod(spec: &Spec) -> Result<()> {
    if let Some(class) = spec.runtime_class_name.as_deref().filter(|class| !class.is_empty()) {
        let why = format!("there is no runtime for the class {class:?}: the engine's default is what there is");
        return Err(refuse("spec.runtimeClassName", why));
    }
    for (field, is_set, why) in [
        ("spec.hostUsers", spec.host_users == Some(false), "the API gives no user namespace to a single pod"),
        ("spec.resourceClaims", !spec.resource_claims.is_empty(), "an engine allocates no devices"),
        ("spec.resources", spec.resources.is_some(), "an engine has no limits of whole pods"),
        ("spec.os.name", spec.os.name == "windows", "this provider runs containers of Linux"),
    ] {
        if is_set {
            return Err(refuse(field, why));
        }
    }
    Ok(())
}

fn of_pod_security(security: &PodSecurity) -> Result<()> {
    let field = |name: &str| format!("spec.securityContext.{name}");
    if security.windows_options.is_some() {
        return Err(refuse(field("windowsOptions"), "this provider runs containers of Linux"));
    }
    if security.supplemental_groups_policy.as_deref() == Some("Strict") {
        let why = "an engine always adds the groups that the image has for the user";
        return Err(refuse(field("supplementalGroupsPolicy"), why));
    }
    of_profiles(&field, security.seccomp_profile.as_ref(), security.app_armor_profile.as_ref())
}

fn of_security(placed: Placed<'_>, security: &Security, of_pod: &PodSecurity) -> Result<()> {
    let field = |name: &str| placed.field(&format!("securityContext.{name}"));
    if security.windows_options.is_some() {
        return Err(refuse(field("windowsOptions"), "this provider runs containers of Linux"));
    }
    if security.proc_mount.as_deref() == Some("Unmasked") {
        return Err(refuse(field("procMount"), "paths below /proc stay masked"));
    }
    let user = security.run_as_user.or(of_pod.run_as_user);
    if user.is_none() && security.run_as_group.or(of_pod.run_as_group).is_some() {
        let at = if security.run_as_group.is_some() {
            field("runAsGroup")
        } else {
            "spec.securityContext.runAsGroup".to_owned()
        };
        return Err(refuse(at, "a group needs a user beside it: set runAsUser"));
    }
    if user == Some(0) && security.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        let at = if security.run_as_user.is_some() {
            field("runAsUser")
        } else {
            "spec.securityContext.runAsUser".to_owned()
        };
        return Err(refuse(at, "0 is root, and runAsNonRoot is set"));
    }
    of_profiles(&field, security.seccomp_profile.as_ref(), security.app_armor_profile.as_ref())
}

fn of_profiles(field: &dyn Fn(&str) -> String, seccomp: Option<&Profile>, apparmor: Option<&Profile>) -> Result<()> {
    if seccomp.is_some_and(|profile| profile.r#type == "Localhost") {
        let why = "profiles are files of a node, and this node has none: RuntimeDefault and Unconfined are known";
        return Err(refuse(field("seccompProfile.localhostProfile"), why));
    }
    if apparmor.is_some_and(|profile| profile.r#type == "Localhost" && profile.localhost_profile.is_empty()) {
        return Err(refuse(
            field("appArmorProfile.localhostProfile"),
            "it must name a profile of the engine's machine",
        ));
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
    if !mount.sub_path_expr.is_empty() {
        return Err(refuse(field("subPathExpr"), "only subPath is known, without variables"));
    }
    if mount.sub_path.starts_with('/') || mount.sub_path.split('/').any(|part| part == "..") {
        return Err(refuse(field("subPath"), format!("{:?} must be relative and must not lead out", mount.sub_path)));
    }
    if mount.mount_propagation.as_deref().is_some_and(|propagation| !propagation.is_empty() && propagation != "None") {
        return Err(refuse(field("mountPropagation"), "mounts stay where they are made: None is what there is"));
    }
    if mount.recursive_read_only.as_deref() == Some("Enabled") {
        return Err(refuse(field("recursiveReadOnly"), "the engine does not tell whether it can: IfPossible is known"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_provider::Code;

    fn refused(spec: &str) -> Option<String> {
        check(&parse(spec)).err().map(|error| {
            assert_eq!(error.code, Code::Unimplemented, "{error}");
            error.field.unwrap()
        })
    }

    fn container(fields: &str) -> String {
        format!(r#"{{"volumes":[{{"name":"v","emptyDir":{{}}}}],"containers":[{{"name":"c","image":"i",{fields}}}]}}"#)
    }

    #[test]
    fn a_pod_is_refused_by_field() {
        for (spec, field) in [
            (r#"{"runtimeClassName":"gvisor"}"#, "spec.runtimeClassName"),
            (r#"{"hostUsers":false}"#, "spec.hostUsers"),
            (r#"{"resourceClaims":[{"name":"gpu"}]}"#, "spec.resourceClaims"),
            (r#"{"resources":{"limits":{"cpu":"1"}}}"#, "spec.resources"),
            (r#"{"os":{"name":"windows"}}"#, "spec.os.name"),
            (r#"{"securityContext":{"windowsOptions":{}}}"#, "spec.securityContext.windowsOptions"),
            (
                r#"{"securityContext":{"supplementalGroupsPolicy":"Strict"}}"#,
                "spec.securityContext.supplementalGroupsPolicy",
            ),
            (
                r#"{"securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"a.json"}}}"#,
                "spec.securityContext.seccompProfile.localhostProfile",
            ),
            (
                r#"{"volumes":[{"name":"a","emptyDir":{}},{"name":"b","hostPath":{"path":"/"}}]}"#,
                "spec.volumes[1].hostPath",
            ),
            (
                r#"{"volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"x"}}]}"#,
                "spec.volumes[0].persistentVolumeClaim",
            ),
            (r#"{"volumes":[{"name":"a","emptyDir":{"medium":"HugePages"}}]}"#, "spec.volumes[0].emptyDir.medium"),
            (
                r#"{"securityContext":{"sysctls":[{"name":"vm.swappiness","value":"1"}]}}"#,
                "spec.securityContext.sysctls[0].name",
            ),
            (r#"{"securityContext":{"runAsGroup":1},"containers":[{"name":"c"}]}"#, "spec.securityContext.runAsGroup"),
            (
                r#"{"securityContext":{"runAsUser":0,"runAsNonRoot":true},"containers":[{"name":"c"}]}"#,
                "spec.securityContext.runAsUser",
            ),
        ] {
            assert_eq!(refused(spec).as_deref(), Some(field), "{spec}");
        }
    }

    #[test]
    fn a_container_is_refused_by_field() {
        for (fields, field) in [
            (r#""volumeDevices":[{"name":"v"}]"#, "volumeDevices"),
            (r#""targetContainerName":"c""#, "targetContainerName"),
            (r#""securityContext":{"windowsOptions":{}}"#, "securityContext.windowsOptions"),
            (r#""securityContext":{"procMount":"Unmasked"}"#, "securityContext.procMount"),
            (r#""securityContext":{"runAsGroup":1}"#, "securityContext.runAsGroup"),
            (r#""securityContext":{"runAsUser":0,"runAsNonRoot":true}"#, "securityContext.runAsUser"),
            (
                r#""securityContext":{"appArmorProfile":{"type":"Localhost"}}"#,
                "securityContext.appArmorProfile.localhostProfile",
            ),
            (r#""volumeMounts":[{"name":"x","mountPath":"/x"}]"#, "volumeMounts[0].name"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/a:ro"}]"#, "volumeMounts[0].mountPath"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/x","subPathExpr":"$(A)"}]"#, "volumeMounts[0].subPathExpr"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/x","subPath":"a/../../b"}]"#, "volumeMounts[0].subPath"),
            (r#""volumeMounts":[{"name":"v","mountPath":"/x","subPath":"/a"}]"#, "volumeMounts[0].subPath"),
            (
                r#""volumeMounts":[{"name":"v","mountPath":"/x","mountPropagation":"Bidirectional"}]"#,
                "volumeMounts[0].mountPropagation",
            ),
            (
                r#""volumeMounts":[{"name":"v","mountPath":"/x","recursiveReadOnly":"Enabled"}]"#,
                "volumeMounts[0].recursiveReadOnly",
            ),
            (r#""resources":{"limits":{"nvidia.com/gpu":"1"}}"#, "resources.limits[nvidia.com/gpu]"),
        ] {
            assert_eq!(refused(&container(fields)), Some(format!("spec.containers[0].{field}")), "{fields}");
        }
    }

    #[test]
    fn an_ephemeral_container_that_cannot_be_does_not_end_its_pod() {
        let spec = parse(
            r#"{"securityContext":{"runAsUser":0},"containers":[{"name":"c"}],"ephemeralContainers":[{"name":"debug",
            "securityContext":{"runAsNonRoot":true}}]}"#,
        );
        check(&spec).unwrap();
        let debug = spec.all().find(|placed| placed.list == List::Ephemeral).unwrap();
        let field = check_container(&spec, debug).unwrap_err().field;
        assert_eq!(field.as_deref(), Some("spec.securityContext.runAsUser"));
    }

    #[test]
    fn what_can_be_honoured_is_not_refused() {
        let spec = r#"{"hostUsers":true,"os":{"name":"linux"},"hostNetwork":true,"shareProcessNamespace":true,
            "securityContext":{"fsGroup":1,"runAsUser":1,"runAsGroup":2,"supplementalGroups":[3],"supplementalGroupsPolicy":"Merge",
            "seccompProfile":{"type":"RuntimeDefault"},"sysctls":[{"name":"kernel.shm_rmid_forced","value":"1"}]},
            "volumes":[{"name":"a","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}},{"name":"b","secret":{"secretName":"s"}},
            {"name":"c","emptyDir":{"sizeLimit":"1Gi"}}],
            "containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"ephemeral-storage":"1Gi"}},
            "securityContext":{"privileged":true,"appArmorProfile":{"type":"Localhost","localhostProfile":"mine"}},
            "volumeMounts":[{"name":"a","mountPath":"/a","subPath":"x/y..z","mountPropagation":"None","recursiveReadOnly":"IfPossible"}]}],
            "ephemeralContainers":[{"name":"debug","image":"i","targetContainerName":"c"}]}"#;
        assert_eq!(refused(spec), None);
    }
}
