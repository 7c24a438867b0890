//! Digests of what a workload is made from: adoption and "does it need an update" are one comparison of strings (R12).
//!
//! `1-` names the list of fields below; a host with a longer list says `2-` and still knows how to make a `1-`. Resolved
//! values are not part of it: a ConfigMap that changed would otherwise look like a pod that changed.

use data_encoding::Encoding;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Fields of a pod's spec that a backend makes a workload from. Not: ephemeralContainers, tolerations,
/// activeDeadlineSeconds and all else that Kubernetes itself acts on.
const POD_FIELDS: [&str; 12] = [
    "containers",
    "initContainers",
    "volumes",
    "securityContext",
    "dnsPolicy",
    "dnsConfig",
    "hostAliases",
    "hostname",
    "subdomain",
    "hostNetwork",
    "hostPID",
    "hostIPC",
];

/// The revision of a pod with this spec, which is JSON text.
pub fn of_pod(spec: &str) -> serde_json::Result<String> {
    let spec: Value = serde_json::from_str(spec)?;
    let mut digest = Sha256::new();
    for field in POD_FIELDS {
        if let Some(value) = spec.get(field) {
            digest.update(field.as_bytes());
            digest.update([0]);
            // Keys of a `Value` are sorted, so the text does not depend on the order in which they came.
            digest.update(value.to_string().as_bytes());
            digest.update([0]);
        }
    }
    Ok(label(&digest.finalize()))
}

/// The revision of one container of a spec.
pub fn of_container(container: &Value) -> String {
    label(&Sha256::digest(container.to_string().as_bytes()))
}

/// Lower-case base32 fits a label's value: 2 + 52 characters of 63.
pub(super) fn label(digest: &[u8]) -> String {
    format!("1-{}", BASE32.encode(digest))
}

static BASE32: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
    let mut specification = data_encoding::Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
});

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn only_what_a_workload_is_made_from_counts() {
        let spec = r#"{"containers": [{"name": "a", "image": "b"}]}"#;
        let tolerant = r#"{"containers": [{"image":"b", "name":"a"}], "tolerations": [{}], "nodeName": "n"}"#;
        let changed = r#"{"containers": [{"name": "a", "image": "c"}]}"#;
        assert_eq!(of_pod(spec).unwrap(), of_pod(tolerant).unwrap());
        assert_ne!(of_pod(spec).unwrap(), of_pod(changed).unwrap());
    }

    #[test]
    fn a_revision_is_a_label_value() {
        let revision = of_pod("{}").unwrap();
        assert!(revision.len() <= 63 && revision.starts_with("1-"), "{revision}");
        assert!(revision.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{revision}");
    }
}
