//! Names of the engine's objects. A container's says all that makes it unique, so that a second create of the same
//! attempt finds the name taken: that is what makes creates idempotent.
//!
//! ```text
//! k8s_NAME_POD_NAMESPACE_UID_ATTEMPT     a container, as the kubelet's Docker shim named them; the sandbox's NAME is POD
//! k8s_pod_UID                            the pod's own volume
//! k8s_vol_UID_VOLUME                     a volume of the pod
//! k8s_sub_UID_VOLUME_DIGEST              what of it a writable subPath shows
//! ```

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use vk_provider::PodRef;

/// The sandbox among a pod's containers, which have names of lower-case letters.
const SANDBOX: &str = "POD";
/// Letters of a digest: 80 bits tell a pod's paths apart.
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

    pub(crate) fn sub_volume(&self, volume: &str, path: &str) -> String {
        format!("{}_sub_{}_{volume}_{}", self.prefix, self.id.uid, digest(path.as_bytes()))
    }
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
    fn paths_of_a_volume_have_names_of_their_own() {
        let id = id();
        let names = Names::new("k8s", &id);
        let name = names.sub_volume("data", "a/b");
        assert!(name.starts_with("k8s_sub_1f_data_") && name.len() == "k8s_sub_1f_data_".len() + DIGEST, "{name}");
        assert_ne!(name, names.sub_volume("data", "a"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)), "{name}");
        let long = PodRef { uid: "u".repeat(36), ..id.clone() };
        let longest = Names::new(&"p".repeat(63), &long).sub_volume(&"v".repeat(63), "x");
        assert!(longest.len() <= 255, "an engine takes no longer name of a volume");
    }
}
