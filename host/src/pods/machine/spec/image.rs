//! Names of images: whether one is well-formed, and what its tag says of the pull policy.
//! (grammar: github.com/distribution/reference, which the kubelet reads names with)

use crate::provider::containers::PullPolicy;

/// Longest name without tag and digest.
const LONGEST_NAME: usize = 255;
/// Longest tag.
const LONGEST_TAG: usize = 128;
/// Fewest digits of a digest.
const SHORTEST_DIGEST: usize = 32;

/// The parts of a name.
struct Parts<'a> {
    /// With the registry, if it is named.
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn parts(image: &str) -> Parts<'_> {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    // A colon before the last slash is that of a registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    Parts { name, tag, digest }
}

/// Whether any registry could have an image of this name.
pub(in crate::pods::machine) fn is_well_formed(image: &str) -> bool {
    let Parts { name, tag, digest } = parts(image);
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if names_registry(first) => (Some(first), path),
        _ => (None, name),
    };
    // 64 hexadecimal digits are an id of an image, not its name.
    let is_id = registry.is_none() && name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.len() <= LONGEST_NAME
        && !is_id
        && registry.is_none_or(is_registry)
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

/// Whether the part before the first slash is a registry rather than a part of the path.
fn names_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let label = |label: &str| {
        let proper = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        proper && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_is_proper = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    host_is_proper && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(component: &str) -> bool {
    let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    component.starts_with(proper)
        && component.ends_with(proper)
        && component
            .split(proper)
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (mut bytes, length) = (tag.bytes(), tag.len());
    bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-')
        && length <= LONGEST_TAG
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, digits)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-_".contains(&byte))
            && digits.len() >= SHORTEST_DIGEST
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The policy of a container that names none: `Always` for `:latest`, which is what no tag means, else `IfNotPresent`. The API
/// server writes it into the spec; this is for what came another way.
pub(super) fn default_policy(image: &str) -> PullPolicy {
    match parts(image) {
        Parts { tag: None | Some("latest"), digest: None, .. } => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_well_formed_or_not_as_the_kubelet_sees_it() {
        let digested = format!("ghcr.io/a/b:1@{DIGEST}");
        let well = [
            "busybox",
            "busybox:1.36",
            "library/busybox:latest",
            "localhost/x",
            "localhost:5000/x",
            "127.0.0.1:5000/test/box:2",
            "[::1]:5000/x",
            "registry.k8s.io/e2e-test-images/agnhost:2.53",
            "REGISTRY.example/x",
            "a/b__c/d-e--f/g.h_i",
            &digested,
        ];
        for image in well {
            assert!(is_well_formed(image), "{image}");
        }
        let id = DIGEST.trim_start_matches("sha256:");
        let long = "a".repeat(256);
        let ill = [
            "",
            "Busybox",
            "a/Busybox",
            "a//b",
            "a/",
            "-a",
            "a___b",
            "a..b/c d",
            "busybox:",
            "busybox:a b",
            "busybox:-a",
            "busybox@sha256:12",
            "host:port/x",
            "ho_st.example/x",
            "http://busybox",
            id,
            &long,
        ];
        for image in ill {
            assert!(!is_well_formed(image), "{image}");
        }
    }

    #[test]
    fn only_a_tag_that_may_move_is_always_pulled() {
        let digested = format!("a@{DIGEST}");
        let table = [
            ("a", PullPolicy::Always),
            ("a:latest", PullPolicy::Always),
            ("localhost:5000/a", PullPolicy::Always),
            ("a:1", PullPolicy::IfNotPresent),
            (&digested, PullPolicy::IfNotPresent),
        ];
        for (image, policy) in table {
            assert_eq!(default_policy(image), policy, "{image}");
        }
    }
}
