//! Names of the engine's objects. A container's says all that makes it unique, so that a second create of the same
//! attempt finds the name taken: that is what makes creates idempotent.
//!
//! ```text
//! k8s_NAME_POD_NAMESPACE_UID_ATTEMPT     a container, as the kubelet's Docker shim named them; the sandbox's NAME is POD
//! k8s_pod_UID                            the pod's own volume
//! k8s_vol_UID_VOLUME                     a volume of the pod
//! ```

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use vk_provider::PodRef;

/// The sandbox among a pod's containers, which have names of lower-case letters.
pub(crate) const SANDBOX: &str = "POD";
/// Letters of a digest: 80 bits tell a volume's paths apart.
const DIGEST: usize = 16;

/// Names that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    prefix: &'a str,
    id: &'a PodRef,
}

impl<'a> Names<'a> {
    pub(crate) const fn new(prefix: &'a str, id: &'a PodRef) -> Self {
        Self { prefix, id }
    }

    pub(crate) fn container(&self, name: &str, attempt: u32) -> String {
        let (Self { prefix, .. }, PodRef { namespace, name: pod, uid }) = (self, self.id);
        format!("{prefix}_{name}_{pod}_{namespace}_{uid}_{attempt}")
    }

    pub(crate) fn sandbox(&self, attempt: u32) -> String {
        self.container(SANDBOX, attempt)
    }

    /// The pod's own volume.
    pub(crate) fn own_volume(&self) -> String {
        format!("{}_pod_{}", self.prefix, self.id.uid)
    }

    pub(crate) fn volume(&self, volume: &str) -> String {
        format!("{}_vol_{}_{volume}", self.prefix, self.id.uid)
    }
}

/// What the name of a container of this pod begins with.
pub(crate) fn prefix<'a>(name: &'a str, id: &PodRef, container: &str, attempt: u32) -> Option<&'a str> {
    name.strip_suffix(&Names::new("", id).container(container, attempt))
}

/// A few letters that stand for some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = BASE32_NOPAD.encode(&Sha256::digest(bytes)).to_ascii_lowercase();
    text.truncate(DIGEST);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PodRef {
        PodRef { namespace: "default".to_owned(), name: "web-0".to_owned(), uid: "1f".to_owned() }
    }

    #[test]
    fn names_say_whose_an_object_is() {
        let id = id();
        let names = Names::new("k8s", &id);
        assert_eq!(names.container("nginx", 3), "k8s_nginx_web-0_default_1f_3");
        assert_eq!(names.sandbox(0), "k8s_POD_web-0_default_1f_0");
        assert_eq!((names.own_volume().as_str(), names.volume("data").as_str()), ("k8s_pod_1f", "k8s_vol_1f_data"));
    }

    #[test]
    fn names_are_no_longer_than_an_engine_takes() {
        let long = PodRef { uid: "u".repeat(36), ..id() };
        assert!(Names::new(&"p".repeat(63), &long).volume(&"v".repeat(63)).len() <= 255);
    }

    #[test]
    fn what_a_name_begins_with_is_found_again() {
        let id = id();
        let name = Names::new("a_b", &id).container("nginx", 3);
        assert_eq!(prefix(&name, &id, "nginx", 3), Some("a_b"));
        assert_eq!(prefix(&name, &id, "nginx", 4), None);
        assert_eq!(prefix(&Names::new("k8s", &id).sandbox(0), &id, SANDBOX, 0), Some("k8s"));
    }

    #[test]
    fn a_digest_is_a_few_letters_of_its_own() {
        assert_eq!(digest(b"a/b").len(), DIGEST);
        assert_ne!(digest(b"a/b"), digest(b"a"));
    }
}
