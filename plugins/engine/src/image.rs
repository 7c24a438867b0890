//! Images: is one there, get it, make one.

mod auth;
mod reference;

use serde::Deserialize;
use vk_provider::http::Lines;
use vk_provider::{Code, Effect, Error};

use crate::client::{Engine, of};
use crate::failure::{Failure, Refusal, Result, absent};

pub use auth::Login;
pub use reference::{NoReference, Reference};

/// The longest line of a pull's progress.
const LONGEST: usize = 1 << 20;

/// `GET /images/REF/json`, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Image {
    /// The digest of its configuration.
    pub id: String,
    /// `REPOSITORY@sha256:…`, one for each repository and manifest that it came from; none: it was made here.
    pub repo_digests: Option<Vec<String>>,
    /// What containers of it are made with.
    pub config: Option<ImageConfig>,
}

/// What containers of an image are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    /// `USER` or `USER:GROUP`, names or numbers; empty: root.
    pub user: String,
}

impl Image {
    /// A name for exactly this image: the digest that the repository has for it, the one that a pull just told if it is
    /// among them; else its own id.
    pub fn exact_name(&self, pulled: &Reference, digest: Option<&str>) -> String {
        let all = self.repo_digests.as_deref().unwrap_or_default();
        let mut fitting = all.iter().filter_map(|name| {
            let reference = Reference::parse(name).ok().filter(|reference| reference.is_of(pulled))?;
            Some((name, reference))
        });
        let first = fitting.clone().next();
        let told = fitting.find(|(_, reference)| digest.is_some() && reference.digest.as_deref() == digest);
        told.or(first).map_or_else(|| self.id.clone(), |(name, _)| name.clone())
    }

    /// The user that its containers run as; none: root.
    pub fn user(&self) -> Option<&str> {
        let user = self.config.as_ref()?.user.split(':').next()?;
        Some(user).filter(|user| !user.is_empty())
    }
}

/// One line of a pull's or an import's progress.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Progress {
    status: String,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: String,
}

impl Engine {
    /// An image that is there, by name, digest or id; none: it is not.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn image(&self, name: &str) -> Result<Option<Image>> {
        absent(self.read(&self.get(&of("images", name, "/json"))))
    }

    /// Gets an image, and waits until it is there. Returns the digest, if the engine tells it. [`pull_error`] says what
    /// a failure means.
    ///
    /// # Errors
    /// The registry or the engine said no, or there was no answer.
    pub fn pull_image(&self, image: &Reference, login: Option<Login<'_>>) -> Result<Option<String>> {
        // Always with a tag: without one Docker gets all of them.
        let mut request = self.post("/images/create").query("fromImage", image.name()).query("tag", image.version());
        if let Some(login) = login {
            let header = login.header().map_err(|error| broken(&error))?;
            request = request.header("x-registry-auth", header);
        }
        let response = self.send(&request)?;
        let effect = response.effect();
        progress(response.body.lines(LONGEST), effect)
    }

    /// Makes an image of one layer from an archive. Podman takes no tag but `latest`.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn import_image(&self, repository: &str, archive: Vec<u8>) -> Result<()> {
        let request =
            self.post("/images/create").query("fromSrc", "-").query("repo", repository).query("tag", "latest");
        let response = self.send(&request.header("content-type", "application/x-tar").body(archive))?;
        let effect = response.effect();
        progress(response.body.lines(LONGEST), effect).map(drop)
    }
}

fn broken(error: &serde_json::Error) -> Failure {
    Failure::Broken { request: "POST images/create", why: error.to_string() }
}

/// Reads to the end: an error may stand in any line of a 200.
fn progress(mut lines: Lines, effect: Effect) -> Result<Option<String>> {
    let mut digest = None;
    while let Some(line) = lines.read()? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let progress: Progress = serde_json::from_slice(&line).map_err(|error| broken(&error))?;
        let detail = progress.error_detail.map(|detail| detail.message).filter(|message| !message.is_empty());
        if let Some(message) = progress.error.or(detail) {
            let request = "POST images/create".to_owned();
            return Err(Refusal { request, status: 200, message, effect, retry_after: None }.into());
        }
        digest = progress.status.strip_prefix("Digest: ").map(str::to_owned).or(digest);
    }
    Ok(digest)
}

/// What registries say, in engines' words, and what it means. The first that fits counts.
const MEANINGS: [(&str, Code, &str); 18] = [
    ("toomanyrequests", Code::ResourceExhausted, "RegistryThrottles"),
    ("no space left", Code::ResourceExhausted, "NoSpaceForImage"),
    ("no basic auth credentials", Code::Unauthenticated, "RegistryUnauthorized"),
    ("unauthorized", Code::Unauthenticated, "RegistryUnauthorized"),
    ("authentication required", Code::Unauthenticated, "RegistryUnauthorized"),
    ("incorrect username or password", Code::Unauthenticated, "RegistryUnauthorized"),
    ("invalid username/password", Code::Unauthenticated, "RegistryUnauthorized"),
    ("denied", Code::PermissionDenied, "RegistryDenies"),
    ("manifest unknown", Code::NotFound, "ImageNotFound"),
    ("name unknown", Code::NotFound, "ImageNotFound"),
    ("no matching manifest", Code::NotFound, "ImageNotFound"),
    ("not found", Code::NotFound, "ImageNotFound"),
    ("no such image", Code::NotFound, "ImageNotFound"),
    ("refused", Code::Unavailable, "RegistryUnavailable"),
    ("no such host", Code::Unavailable, "RegistryUnavailable"),
    ("timeout", Code::Unavailable, "RegistryUnavailable"),
    ("connection reset", Code::Unavailable, "RegistryUnavailable"),
    ("service unavailable", Code::Unavailable, "RegistryUnavailable"),
];

/// What a failed pull means. The engine's status says little: Docker has 500 for nearly all, Podman 200.
pub fn pull_error(failure: Failure) -> Error {
    let Failure::Refused(refusal) = failure else { return failure.into() };
    let meaning = MEANINGS.iter().find(|(words, ..)| refusal.says(words));
    let (code, reason) = match meaning {
        Some((_, code, reason)) => (*code, *reason),
        None if refusal.status == 404 => (Code::NotFound, "ImageNotFound"),
        None => (Code::Unknown, "PullFailed"),
    };
    // A pull may be repeated at once, whatever came of it.
    refusal.error(code, reason).effect_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const OTHER: &str = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

    #[test]
    fn an_image_is_named_by_the_repository_that_it_was_pulled_from() {
        let image = Image {
            id: "sha256:1d".to_owned(),
            repo_digests: Some(vec![
                format!("mirror.example/nginx@{OTHER}"),
                format!("nginx@{OTHER}"),
                format!("nginx@{MANIFEST}"),
            ]),
            config: None,
        };
        let nginx = Reference::parse("nginx:1").unwrap();
        assert_eq!(image.exact_name(&nginx, Some(MANIFEST)), format!("nginx@{MANIFEST}"));
        assert_eq!(image.exact_name(&nginx, None), format!("nginx@{OTHER}"), "Podman tells no digest");
        assert_eq!(image.exact_name(&Reference::parse("quay.io/a/b").unwrap(), None), "sha256:1d");
        assert_eq!(Image { repo_digests: None, ..image }.exact_name(&nginx, None), "sha256:1d", "it was made here");
    }

    #[test]
    fn failures_of_pulls_mean_what_the_registry_says() {
        for (status, message, code) in [
            (500, "manifest for r:5000/a:x not found: manifest unknown: manifest unknown", Code::NotFound),
            (
                500,
                "Get \"https://r:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
                Code::Unavailable,
            ),
            (500, "Get https://r:5000/v2/a/manifests/1: no basic auth credentials", Code::Unauthenticated),
            (
                500,
                "Head \"https://r:5000/v2/a/manifests/1\": unauthorized: authentication required",
                Code::Unauthenticated,
            ),
            (
                404,
                "pull access denied for a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Code::PermissionDenied,
            ),
            (
                200,
                "initializing source docker://r:5000/a:x: reading manifest x in r:5000/a: manifest unknown",
                Code::NotFound,
            ),
            (
                200,
                "initializing source docker://r:5000/a:1: unable to retrieve auth token: invalid username/password: unauthorized: authentication required",
                Code::Unauthenticated,
            ),
            (500, "toomanyrequests: You have reached your pull rate limit", Code::ResourceExhausted),
            (200, "write /var/lib/docker/tmp/x: no space left on device", Code::ResourceExhausted),
            (500, "Get \"https://r/v2/\": net/http: TLS handshake timeout", Code::Unavailable),
            (404, "whatever", Code::NotFound),
            (500, "whatever", Code::Unknown),
        ] {
            let refusal = Refusal {
                request: "POST images/create".to_owned(),
                status,
                message: message.to_owned(),
                effect: Effect::Unknown,
                retry_after: None,
            };
            let error = pull_error(refusal.into());
            assert_eq!((error.code, error.effect), (code, Effect::None), "{message}");
        }
    }

    #[test]
    fn the_user_of_an_image_is_read_without_its_group() {
        let image = |user: &str| Image { config: Some(ImageConfig { user: user.to_owned() }), ..Image::default() };
        assert_eq!(
            (image("1000:2000").user(), image("").user(), image("web").user()),
            (Some("1000"), None, Some("web"))
        );
    }
}
