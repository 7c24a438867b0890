//! What is rolled out, and by which provider: all in which a demo with real containers tells another story than one without.

/// A Deployment `web` of three pods, and who provides them.
#[derive(Debug)]
pub struct Workload {
    /// The provider's name.
    pub provider: &'static str,
    /// The manifest, in `tests/demo`.
    pub manifest: &'static str,
    /// The image of the manifest, and the one that it is updated to.
    pub images: [&'static str; 2],
}

/// Pods that the mock plays.
pub const PLAYED: Workload = Workload { provider: "mock", manifest: "web.yaml", images: ["nginx:1.28", "nginx:1.29"] };

/// Pods that are containers of an engine.
pub const CONTAINED: Workload = Workload {
    provider: "docker",
    manifest: "docker.yaml",
    images: ["localhost/vk-demo-web:1", "localhost/vk-demo-web:2"],
};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::demo::image::{REPOSITORY, VERSIONS};

    #[test]
    fn a_manifest_begins_with_the_first_image() {
        for workload in [PLAYED, CONTAINED] {
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(workload.manifest);
            let text = fs::read_to_string(manifest).unwrap();
            assert!(text.contains(&format!("image: {}\n", workload.images[0])), "{text}");
        }
    }

    #[test]
    fn images_at_an_engine_are_those_that_are_made() {
        assert_eq!(CONTAINED.images.map(str::to_owned), VERSIONS.map(|version| format!("{REPOSITORY}:{version}")));
    }
}
