//! Kernel parameters of a pod: those of namespaces that its sandbox has for itself. All others are the machine's.
//! (kubernetes/pkg/kubelet/sysctl)

use std::collections::BTreeMap;

use vk_provider::{Error, Result};

use crate::manifest::Spec;

/// # Errors
/// One that is not the pod's own to set.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    for (index, sysctl) in spec.security_context.sysctls.iter().enumerate() {
        let why = match namespace(&name(&sysctl.name)) {
            None => {
                "it is the machine's: a pod has those of kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.*"
            }
            Some(Namespace::Network) if spec.host_network => "hostNetwork is set: the network is the machine's",
            Some(Namespace::Ipc) if spec.host_ipc => "hostIPC is set: what processes share is the machine's",
            Some(_) => continue,
        };
        // The kubelet's reason.
        let error = Error::unimplemented("SysctlForbidden", format!("sysctl {:?} cannot be set: {why}", sysctl.name));
        return Err(error.field(format!("spec.securityContext.sysctls[{index}].name")));
    }
    Ok(())
}

/// As an engine takes them.
pub(crate) fn of(spec: &Spec) -> BTreeMap<String, String> {
    spec.security_context.sysctls.iter().map(|sysctl| (name(&sysctl.name), sysctl.value.clone())).collect()
}

/// With dots between its parts. If slashes are, a dot is part of a name, such as an interface's, and then a slash.
fn name(name: &str) -> String {
    if name.find(['.', '/']).is_none_or(|first| name.as_bytes().get(first) == Some(&b'.')) {
        return name.to_owned();
    }
    let swapped = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swapped).collect()
}

/// Whose a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Ipc,
    Network,
}

fn namespace(name: &str) -> Option<Namespace> {
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    if name == "kernel.sem" || ipc.iter().any(|prefix| name.starts_with(prefix)) {
        Some(Namespace::Ipc)
    } else {
        name.starts_with("net.").then_some(Namespace::Network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn spec(host: &str, name: &str) -> Spec {
        parse(&format!(
            r#"{{{host}"securityContext":{{"sysctls":[{{"name":"kernel.sem","value":"1"}},{{"name":"{name}","value":"1"}}]}}}}"#
        ))
    }

    #[test]
    fn what_is_the_machines_is_forbidden() {
        for name in
            ["vm.max_map_count", "kernel.pid_max", "kernel/pid_max", "kernel.semaphore", "fs.file-max", "network"]
        {
            let error = check(&spec("", name)).unwrap_err();
            assert_eq!(error.reason, "SysctlForbidden", "{name}");
            assert_eq!(error.field.as_deref(), Some("spec.securityContext.sysctls[1].name"), "{name}");
        }
        for (host, name, index) in [
            (r#""hostNetwork":true,"#, "net.ipv4.tcp_syncookies", 1),
            (r#""hostNetwork":true,"#, "net/ipv4/tcp_syncookies", 1),
            (r#""hostIPC":true,"#, "net.ipv4.tcp_syncookies", 0),
        ] {
            let field = check(&spec(host, name)).unwrap_err().field;
            assert_eq!(field, Some(format!("spec.securityContext.sysctls[{index}].name")), "{host} {name}");
        }
    }

    #[test]
    fn the_pods_own_are_taken_in_both_spellings() {
        for (written, name) in [
            ("kernel/shm_rmid_forced", "kernel.shm_rmid_forced"),
            ("kernel.msgmax", "kernel.msgmax"),
            ("fs.mqueue.msg_max", "fs.mqueue.msg_max"),
            ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
            ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ] {
            let spec = spec("", written);
            check(&spec).unwrap();
            assert_eq!(of(&spec).into_keys().collect::<Vec<_>>(), {
                let mut names = vec!["kernel.sem", name];
                names.sort_unstable();
                names
            });
        }
    }
}
