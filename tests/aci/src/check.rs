//! What the service refuses of a group besides what its schema says: names, sums, and what does not go together.
//!
//! The rules are documented (quotas and limits, troubleshooting, the naming rules of resources); most of the codes are assumed.

use std::collections::BTreeSet;

use data_encoding::BASE64;

use crate::answer::{Answer, bad};
use crate::spec::{Amounts, Container, Probe, Spec, Volume};

/// Containers of a group, init containers among them.
const MOST_CONTAINERS: usize = 60;
const MOST_VOLUMES: usize = 20;
const MOST_PORTS: usize = 5;
const MOST_CORES: f64 = 31.0;
const MOST_MEMORY: f64 = 240.0;
const MOST_CONFIDENTIAL_MEMORY: f64 = 180.0;
/// Sums of decimal fractions are not exact.
const ABOUT: f64 = 1e-6;

/// Refuses what the service would refuse.
pub(crate) fn group(name: &str, spec: &Spec) -> Result<(), Answer> {
    played(spec)?;
    if !is_label(name, 1, 63) || name.contains("--") {
        return Err(bad(
            "InvalidContainerGroupName",
            format!(
                "The container group name '{name}' is invalid. It must be 1 to 63 lowercase letters, digits and hyphens, with no hyphen at an end and none doubled."
            ),
        ));
    }
    if spec.containers.is_empty() {
        return Err(bad("InvalidContainers", "A container group must have a container."));
    }
    let count = spec.all().count();
    if count > MOST_CONTAINERS {
        return Err(bad(
            "TooManyContainers",
            format!("A container group has {MOST_CONTAINERS} containers at most, not {count}."),
        ));
    }
    let mut names = BTreeSet::new();
    for container in spec.all() {
        let name = &container.name;
        if !is_label(name, 1, 63) {
            return Err(bad("InvalidContainerName", format!("The container name '{name}' is invalid.")));
        }
        if !names.insert(name) {
            return Err(bad("DuplicateContainerName", format!("The container name '{name}' is there twice.")));
        }
        of_container(container, spec)?;
    }
    volumes(spec)?;
    resources(spec)?;
    network(spec)?;
    identities(spec)?;
    together(spec)?;
    zones(spec)
}

/// What a version has and nobody plays here. It is refused, as it would not be done.
fn played(spec: &Spec) -> Result<(), Answer> {
    let table = [
        ("secretReferences", !spec.secret_references.is_empty()),
        ("containerGroupProfile", spec.container_group_profile.is_some()),
        ("standbyPoolProfile", spec.standby_pool_profile.is_some()),
        ("identityAcls", spec.identity_acls.is_some()),
        ("configMap", spec.all().any(|container| container.properties.config_map.is_some())),
    ];
    match table.into_iter().find(|(_, is)| *is) {
        Some((what, _)) => Err(Answer::refusal(501, "NotImplemented", format!("This fake has no {what}."))),
        None => Ok(()),
    }
}

/// Lower case letters, digits, hyphens; none of these at an end.
fn is_label(name: &str, least: usize, most: usize) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (least..=most).contains(&name.len()) && letters && !name.starts_with('-') && !name.ends_with('-')
}

fn of_container(container: &Container, spec: &Spec) -> Result<(), Answer> {
    let (name, of) = (&container.name, &container.properties);
    if of.image.is_empty() {
        return Err(bad("InvalidImage", format!("Container '{name}' has no image.")));
    }
    let mut variables = BTreeSet::new();
    for variable in &of.environment_variables {
        let text = &variable.name;
        let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !(1..=63).contains(&text.len()) || !letters || text.starts_with('_') || text.ends_with('_') {
            return Err(bad(
                "InvalidEnvironmentVariableName",
                format!("The environment variable name '{text}' in container '{name}' is invalid."),
            ));
        }
        if !variables.insert(text.to_ascii_lowercase()) {
            return Err(bad(
                "DuplicateEnvironmentVariable",
                format!("The environment variable '{text}' in container '{name}' is there twice."),
            ));
        }
        let values = [&variable.value, &variable.secure_value];
        if values.into_iter().flatten().count() != 1 {
            return Err(bad(
                "InvalidEnvironmentVariable",
                format!(
                    "The environment variable '{text}' in container '{name}' must have one of value and secureValue."
                ),
            ));
        }
    }
    for mount in &of.volume_mounts {
        if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
            return Err(bad(
                "VolumeMountNotFound",
                format!("The volume '{}' that container '{name}' mounts is not found.", mount.name),
            ));
        }
        if !mount.mount_path.starts_with('/') || mount.mount_path.contains(':') {
            return Err(bad(
                "InvalidVolumeMountPath",
                format!("The mount path '{}' in container '{name}' is invalid.", mount.mount_path),
            ));
        }
    }
    for port in &of.ports {
        if !(1..=65535).contains(&port.port) {
            return Err(bad("InvalidPort", format!("The port {} in container '{name}' is invalid.", port.port)));
        }
    }
    if of.security_context.as_ref().is_some_and(|context| context.privileged) {
        return Err(bad("PrivilegedContainerNotAllowed", format!("Container '{name}' must not be privileged.")));
    }
    let probes = [("liveness", &of.liveness_probe), ("readiness", &of.readiness_probe)];
    probes.into_iter().filter_map(|(kind, probe)| Some((kind, probe.as_ref()?))).try_for_each(|(kind, probe)| {
        let Probe { exec, http_get, .. } = probe;
        if exec.is_some() == http_get.is_some() || exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
            let message = format!("The {kind} probe of container '{name}' must have one of exec and httpGet.");
            return Err(bad("InvalidProbe", message));
        }
        Ok(())
    })
}

fn volumes(spec: &Spec) -> Result<(), Answer> {
    if spec.volumes.len() > MOST_VOLUMES {
        return Err(bad("TooManyVolumes", format!("A container group has {MOST_VOLUMES} volumes at most.")));
    }
    let mut names = BTreeSet::new();
    for volume in &spec.volumes {
        let Volume { name, empty_dir, secret, azure_file, git_repo } = volume;
        if !is_label(name, 5, 63) || name.contains("--") {
            return Err(bad("InvalidVolumeName", format!("The volume name '{name}' is invalid.")));
        }
        if !names.insert(name) {
            return Err(bad("DuplicateVolumeName", format!("The volume name '{name}' is there twice.")));
        }
        let kinds = [empty_dir.is_some(), secret.is_some(), azure_file.is_some(), git_repo.is_some()];
        if kinds.into_iter().filter(|is| *is).count() != 1 {
            return Err(bad("InvalidVolume", format!("The volume '{name}' must be of one kind.")));
        }
        let mut files = secret.iter().flatten();
        if let Some((file, _)) = files.find(|(_, content)| BASE64.decode(content.as_bytes()).is_err()) {
            return Err(bad("InvalidSecretVolume", format!("The file '{file}' of volume '{name}' is not base64.")));
        }
        if git_repo.as_ref().and_then(|repo| repo.directory.as_deref()).is_some_and(|folder| folder.contains("..")) {
            return Err(bad("InvalidGitRepoVolume", format!("The directory of volume '{name}' is invalid.")));
        }
    }
    Ok(())
}

fn resources(spec: &Spec) -> Result<(), Answer> {
    let (cores, memory) = (spec.cores(), spec.memory());
    for container in &spec.containers {
        let Some(resources) = &container.properties.resources else { continue };
        let Amounts { cpu, memory: own, gpu } = &resources.requests;
        let name = &container.name;
        if cpu.is_none_or(|cpu| cpu <= 0.0) || own.is_none_or(|own| own <= 0.0) {
            return Err(bad(
                "InvalidResourceRequest",
                format!("The resource requests of container '{name}' are invalid."),
            ));
        }
        if gpu.is_some() || resources.limits.as_ref().is_some_and(|limits| limits.gpu.is_some()) {
            return Err(bad(
                "GpuNotSupported",
                format!("The GPU of container '{name}' is not available: graphics processors were retired."),
            ));
        }
        let Some(limits) = &resources.limits else { continue };
        for (limit, request, all) in [(limits.cpu, *cpu, cores), (limits.memory, *own, memory)] {
            let is_wrong = |limit: f64| limit + ABOUT < request.unwrap_or(0.0) || limit > all + ABOUT;
            if limit.is_some_and(is_wrong) {
                return Err(bad(
                    "InvalidResourceLimit",
                    format!(
                        "The resource limits of container '{name}' must be between its requests and the container group's."
                    ),
                ));
            }
        }
    }
    if cores + ABOUT < 1.0 || memory + ABOUT < 1.0 {
        return Err(bad("ResourceRequestsTooLow", "A container group must request 1 CPU and 1 GB of memory at least."));
    }
    let is_spot = spec.priority.as_deref() == Some("Spot");
    let (most_cores, most_memory) = match spec.sku.as_deref() {
        _ if is_spot => (4.0, 16.0),
        Some("Confidential") if !spec.subnet_ids.is_empty() => (32.0, MOST_CONFIDENTIAL_MEMORY),
        Some("Confidential") => (MOST_CORES, MOST_CONFIDENTIAL_MEMORY),
        _ => (MOST_CORES, MOST_MEMORY),
    };
    if cores > most_cores + ABOUT || memory > most_memory + ABOUT {
        return Err(bad(
            "ResourceRequestsTooHigh",
            format!("A container group requests {most_cores} CPU and {most_memory} GB of memory at most."),
        ));
    }
    Ok(())
}

fn network(spec: &Spec) -> Result<(), Answer> {
    let Some(address) = &spec.ip_address else { return Ok(()) };
    if address.ports.is_empty() || address.ports.len() > MOST_PORTS {
        return Err(bad(
            "InvalidIPAddressPorts",
            format!("The IP address of a container group has 1 to {MOST_PORTS} ports."),
        ));
    }
    let mut seen = BTreeSet::new();
    for port in &address.ports {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        if !(1..=65535).contains(&port.port) || !seen.insert((port.port, protocol)) {
            return Err(bad(
                "InvalidPort",
                format!("The port {} of the IP address is invalid or there twice.", port.port),
            ));
        }
    }
    if let Some(label) = &address.dns_name_label
        && !is_label(&label.to_lowercase(), 5, 63)
    {
        return Err(bad("InvalidDnsNameLabel", format!("The DNS name label '{label}' is invalid.")));
    }
    if !spec.subnet_ids.is_empty() && (address.r#type == "Public" || address.dns_name_label.is_some()) {
        return Err(bad("IPAddressNotSupported", "A container group in a virtual network has no public IP address."));
    }
    Ok(())
}

/// Images are pulled as identities that the group has: no other one's token is given to it.
fn identities(spec: &Spec) -> Result<(), Answer> {
    let mut pulling = spec.image_registry_credentials.iter().filter_map(|registry| registry.identity.as_ref());
    match pulling.find(|id| !spec.identity.has(id)) {
        Some(id) => Err(bad(
            "InvalidImageRegistryIdentity",
            format!(
                "The identity '{id}' of an image registry is not among the user-assigned ones of the container group."
            ),
        )),
        None => Ok(()),
    }
}

/// Where a group may be.
fn zones(spec: &Spec) -> Result<(), Answer> {
    let table = [
        (spec.zones.len() > 1, "is in one zone at most"),
        (!spec.zones.is_empty() && !spec.subnet_ids.is_empty(), "in a virtual network is in no zone"),
        (!spec.zones.is_empty() && spec.priority.as_deref() == Some("Spot"), "of priority Spot is in no zone"),
    ];
    match table.into_iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, why)) => Err(bad("ZonesNotSupported", format!("A container group {why}."))),
        None => Ok(()),
    }
}

/// What does not go together.
fn together(spec: &Spec) -> Result<(), Answer> {
    let is = |field: &Option<String>, word: &str| field.as_deref() == Some(word);
    if is(&spec.os_type, "Windows") {
        if spec.containers.len() > 1 || !spec.init_containers.is_empty() {
            return Err(bad("OsTypeNotSupported", "A container group of Windows has one container."));
        }
        if !spec.volumes.is_empty() || !spec.subnet_ids.is_empty() || is(&spec.sku, "Confidential") {
            return Err(bad(
                "OsTypeNotSupported",
                "A container group of Windows has no volumes, no subnet and no confidential machine.",
            ));
        }
    }
    if is(&spec.priority, "Spot")
        && (spec.ip_address.is_some() || !spec.subnet_ids.is_empty() || is(&spec.sku, "Confidential"))
    {
        return Err(bad(
            "SpotNotSupported",
            "A container group of priority Spot has no IP address, no subnet and no confidential machine.",
        ));
    }
    let mut kinds = spec.extensions.iter().filter_map(|extension| extension.pointer("/properties/extensionType"));
    if is(&spec.sku, "Confidential") && kinds.any(|kind| kind == "kube-proxy") {
        return Err(bad("ExtensionNotSupported", "A confidential container group has no kube-proxy extension."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::merge;
    use serde_json::{Value, json};

    const PULL: &str = "/subscriptions/s/userAssignedIdentities/Pull";

    /// The code with which a group is refused that is as usual but for this.
    fn refused(more: &Value) -> Option<Value> {
        let container = json!({"name": "main", "properties": {
            "image": "i", "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.0}}}});
        let mut body = json!({"properties": {"containers": [container]}});
        merge(&mut body, more);
        let answer = group("web", &Spec::of(&body).unwrap()).err()?;
        Some(answer.body.unwrap()["error"]["code"].clone())
    }

    #[test]
    fn a_group_is_in_one_zone_at_most_and_in_none_if_it_is_in_a_subnet_or_of_priority_spot() {
        for (more, expected) in [
            (json!({"zones": null}), None),
            (json!({"zones": ["2"]}), None),
            (json!({"zones": ["1", "2"]}), Some("ZonesNotSupported")),
            (json!({"zones": [], "properties": {"subnetIds": [{"id": "s"}]}}), None),
            (json!({"zones": ["1"], "properties": {"subnetIds": [{"id": "s"}]}}), Some("ZonesNotSupported")),
            (json!({"properties": {"priority": "Spot"}}), None),
            (json!({"zones": ["1"], "properties": {"priority": "Spot"}}), Some("ZonesNotSupported")),
            (json!({"zones": ["1"], "properties": {"priority": "Regular"}}), None),
        ] {
            assert_eq!(refused(&more), expected.map(Value::from), "{more}");
        }
    }

    #[test]
    fn a_confidential_group_has_a_core_more_in_a_subnet_and_no_kube_proxy() {
        let of = |sku: &str, cores: f64, memory: f64, inside: bool| {
            let requests = json!({"cpu": cores, "memoryInGB": memory});
            let container = json!({"name": "main", "properties": {"image": "i", "resources": {"requests": requests}}});
            let subnets = if inside { json!([{"id": "s"}]) } else { json!([]) };
            json!({"properties": {"sku": sku, "containers": [container], "subnetIds": subnets}})
        };
        let with = |sku: &str, kind: &str| {
            let extension = json!({"name": "e", "properties": {"extensionType": kind, "version": "1.0"}});
            json!({"properties": {"sku": sku, "subnetIds": [{"id": "s"}], "extensions": [extension]}})
        };
        for (more, expected) in [
            (of("Confidential", 31.0, 180.0, false), None),
            (of("Confidential", 32.0, 180.0, false), Some("ResourceRequestsTooHigh")),
            (of("Confidential", 32.0, 180.0, true), None),
            (of("Confidential", 33.0, 180.0, true), Some("ResourceRequestsTooHigh")),
            (of("Confidential", 32.0, 181.0, true), Some("ResourceRequestsTooHigh")),
            (of("Standard", 32.0, 180.0, true), Some("ResourceRequestsTooHigh")),
            (with("Confidential", "kube-proxy"), Some("ExtensionNotSupported")),
            (with("Confidential", "realtime-metrics"), None),
            (with("Standard", "kube-proxy"), None),
        ] {
            assert_eq!(refused(&more), expected.map(Value::from), "{more}");
        }
    }

    #[test]
    fn images_are_pulled_as_identities_that_the_group_has() {
        let pulls = |identity: Value| {
            let registry = json!({"server": "mine.azurecr.io", "identity": PULL});
            json!({"identity": identity, "properties": {"imageRegistryCredentials": [registry]}})
        };
        let of = |id: &str| json!({"type": "UserAssigned", "userAssignedIdentities": {id: {}}});
        for (identity, expected) in [
            (of(PULL), None),
            (of(&PULL.to_lowercase()), None),
            (of("/other"), Some("InvalidImageRegistryIdentity")),
            (json!({"type": "SystemAssigned"}), Some("InvalidImageRegistryIdentity")),
            (json!(null), Some("InvalidImageRegistryIdentity")),
        ] {
            assert_eq!(refused(&pulls(identity.clone())), expected.map(Value::from), "{identity}");
        }
    }

    #[test]
    fn what_nobody_plays_is_refused() {
        for more in [
            json!({"secretReferences": [{"name": "a"}]}),
            json!({"containerGroupProfile": {"id": "p"}}),
            json!({"standbyPoolProfile": {"id": "p"}}),
            json!({"identityAcls": {"defaultAccess": "User"}}),
            json!({"containers": [{"name": "main", "properties": {"image": "i", "configMap": {}}}]}),
        ] {
            assert_eq!(refused(&json!({"properties": more.clone()})), Some(json!("NotImplemented")), "{more}");
        }
    }
}
