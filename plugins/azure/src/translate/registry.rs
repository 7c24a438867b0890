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
        registry.pull(image, fitting.into_iter().next(), identity);
    }
    Ok(registry)
}

impl Registry {
    /// Takes the best credential for an image, or the identity. Of two images of one registry the first one's counts: Azure knows one
    /// for each.
    fn pull(&mut self, image: &str, best: Option<Credential>, identity: Option<&Identity>) {
        match (best, identity) {
            (Some(best), _) => self.add(by_password(best), None),
            (None, Some(identity)) if is_azures(host(image)) => {
                self.add(by_identity(host(image), identity), Some(identity));
            }
            (None, _) => {}
        }
    }

    /// A group has no identity that it does not sign in with: any program in it could sign in with that too.
    fn add(&mut self, credential: ImageRegistryCredential, identity: Option<&Identity>) {
        if self.credentials.iter().all(|other| other.server != credential.server) {
            self.credentials.push(credential);
            self.identity = self.identity.take().or(identity.cloned());
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
    fn an_identity_that_nothing_is_pulled_with_is_not_given() {
        let identity: Identity =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/pull"
                .parse()
                .unwrap();
        let secret = |server: &str| Credential {
            server: server.to_owned(),
            username: "me".to_owned(),
            password: "s3cret".to_owned(),
        };
        let pulled = |images: [(&str, Option<Credential>); 2]| {
            let mut registry = Registry::default();
            images.into_iter().for_each(|(image, best)| registry.pull(image, best, Some(&identity)));
            let by_identity = registry.credentials.iter().filter(|credential| credential.identity.is_some()).count();
            (registry.credentials.len(), by_identity, registry.identity.is_some())
        };
        let (team, other) = ("mine.azurecr.io/team/a", "mine.azurecr.io/other/b");
        assert_eq!(pulled([(team, Some(secret("mine.azurecr.io"))), (other, None)]), (1, 0, false));
        assert_eq!(pulled([(other, None), (team, Some(secret("mine.azurecr.io")))]), (1, 1, true));
        assert_eq!(pulled([(other, None), (team, None)]), (1, 1, true));
        assert_eq!(pulled([(other, None), ("r.example/a", Some(secret("r.example")))]), (2, 1, true));
    }

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
