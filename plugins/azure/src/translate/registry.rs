//! How a group signs in to the registries of its images: with the pod's secrets, else, to Azure's own registries, as an
//! identity.

use vk_aci::Redacted;
use vk_aci::group::ImageRegistryCredential;
use vk_provider::cluster::Credential;
use vk_provider::{Error, Result, cluster};

use super::Scene;
use crate::resource::Identity;

/// Docker Hub, to Kubernetes and to Azure.
const HUB: &str = "docker.io";
const HUB_TO_AZURE: &str = "index.docker.io";
/// Azure's own registries, in each of its clouds.
const REGISTRIES: [&str; 3] = [".azurecr.io", ".azurecr.us", ".azurecr.cn"];
/// Who signs in to one of them with a token.
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// How a group signs in.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) credentials: Vec<ImageRegistryCredential>,
    /// That it has to have for it.
    pub(super) identity: Option<Identity>,
}

/// # Errors
/// The host cannot tell now.
pub(super) fn of(scene: Scene<'_>) -> Result<Registry> {
    let identity = scene.wishes.pull_identity.as_ref().or(scene.config.defaults.pull_identity.as_ref());
    let mut registry = Registry::default();
    for placed in scene.spec.all() {
        let image = &placed.container.image;
        // Nothing was made before.
        let fitting = cluster::registry_credentials(&scene.pod.id, image).map_err(Error::effect_none)?;
        match (fitting.into_iter().next(), identity) {
            // The best of an image. Of two images of one registry the first one's counts: Azure knows one for each.
            (Some(best), _) => registry.add(by_password(best)),
            (None, Some(identity)) if is_azures(host(image)) => {
                registry.add(by_identity(host(image), identity));
                registry.identity = Some(identity.clone());
            }
            (None, _) => {}
        }
    }
    Ok(registry)
}

impl Registry {
    fn add(&mut self, credential: ImageRegistryCredential) {
        if !self.credentials.iter().any(|other| other.server == credential.server) {
            self.credentials.push(credential);
        }
    }
}

fn by_password(credential: Credential) -> ImageRegistryCredential {
    let Credential { server, username, password } = credential;
    ImageRegistryCredential {
        server: if server == HUB { HUB_TO_AZURE.to_owned() } else { server },
        username: Some(if username.is_empty() { TOKEN_USER.to_owned() } else { username }),
        password: Some(Redacted::from(password)),
        ..ImageRegistryCredential::default()
    }
}

fn by_identity(server: &str, identity: &Identity) -> ImageRegistryCredential {
    ImageRegistryCredential {
        server: server.to_owned(),
        identity: Some(identity.as_str().to_owned()),
        ..ImageRegistryCredential::default()
    }
}

/// Of an image's reference, if it names one.
fn host(image: &str) -> &str {
    image.split_once('/').map_or("", |(host, _)| host)
}

fn is_azures(host: &str) -> bool {
    REGISTRIES.iter().any(|end| host.len() > end.len() && host.to_ascii_lowercase().ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azures_own_registries_are_known_by_their_names() {
        for (image, expected) in [
            ("mine.azurecr.io/web:1", true),
            ("Mine.AzureCR.io/web:1", true),
            ("mine.azurecr.us/team/web", true),
            ("azurecr.io/web", false),
            (".azurecr.io/web", false),
            ("mine.azurecr.io.evil.example/web", false),
            ("nginx:1", false),
            ("mcr.microsoft.com/azurecr.io", false),
        ] {
            assert_eq!(is_azures(host(image)), expected, "{image}");
        }
    }
}
