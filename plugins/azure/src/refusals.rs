//! What Azure Container Instances cannot do: refused by field, before anything is made. What is not refused here is
//! honoured by `translate`, which refuses values of what it reads, or is the host's, or is harmless (README.md).

mod container;
mod pod;
mod security;
mod windows;

use vk_provider::{Error, Result};

use crate::config::Os;
use crate::manifest::Spec;

/// A field that cannot be served as it is written.
pub(crate) fn refuse(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::unimplemented("FieldNotSupported", why).field(field)
}

/// More than Azure gives to one group.
pub(crate) fn too_much(field: impl Into<String>, why: impl Into<String>) -> Error {
    Error::out_of_range("TooMuchForAGroup", why).field(field)
}

/// An annotation that asks for what cannot be had.
pub(crate) fn refuse_annotation(name: &str, why: impl Into<String>) -> Error {
    refuse(at_annotation(name), why)
}

/// An annotation with a value, or a name, that is not understood.
pub(crate) fn annotation(name: &str, why: impl Into<String>) -> Error {
    Error::invalid_argument("AnnotationNotUnderstood", why).field(at_annotation(name))
}

fn at_annotation(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}

/// All of a pod.
///
/// # Errors
/// The first field that cannot be honoured.
pub(crate) fn check(spec: &Spec, os: Os) -> Result<()> {
    pod::check(spec, os)?;
    security::check_pod(&spec.security_context)?;
    for placed in spec.all() {
        container::check(spec, placed)?;
        security::check_container(placed, &spec.security_context)?;
    }
    if os == Os::Windows { windows::check(spec) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use vk_provider::Code;

    /// The field for which a pod is refused.
    pub(super) fn refused(spec: &str, os: Os) -> Option<String> {
        check(&parse(spec), os).err().map(|error| {
            assert!(matches!(error.code, Code::Unimplemented | Code::OutOfRange), "{error}");
            error.field.unwrap()
        })
    }

    #[test]
    fn what_can_be_honoured_or_is_harmless_is_not_refused() {
        let spec = r#"{"hostUsers":true,"resources":{"limits":{}},"os":{"name":"linux"},"hostname":"web-0","subdomain":"web","priorityClassName":"high",
            "terminationGracePeriodSeconds":30,"activeDeadlineSeconds":60,"serviceAccountName":"default","nodeSelector":{"a":"b"},
            "tolerations":[{"operator":"Exists"}],"readinessGates":[{"conditionType":"x"}],"enableServiceLinks":false,"overhead":{"cpu":"1m"},
            "securityContext":{"runAsUser":1,"runAsGroup":2,"runAsNonRoot":true,"supplementalGroupsPolicy":"Merge","fsGroupChangePolicy":
            "Always","seccompProfile":{"type":"RuntimeDefault"},"appArmorProfile":{"type":"RuntimeDefault"},"seLinuxOptions":{},
            "windowsOptions":null},
            "volumes":[{"name":"data","emptyDir":{}}],"initContainers":[{"name":"i","image":"a","resources":{}}],
            "containers":[{"name":"c","image":"i","imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log",
            "terminationMessagePolicy":"FallbackToLogsOnError","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":53,
            "protocol":"UDP"}],"volumeMounts":[{"name":"data","mountPath":"/a","mountPropagation":"None","recursiveReadOnly":"IfPossible"}],
            "securityContext":{"seLinuxOptions":null,"windowsOptions":{},"allowPrivilegeEscalation":false,"privileged":false,"readOnlyRootFilesystem":false,"procMount":"Default",
            "capabilities":{"drop":["ALL"]}}}]}"#;
        assert_eq!(refused(spec, Os::Linux), None);
    }
}
