//! Names of images, taken apart as Docker does (distribution/reference): `nginx` is `docker.io/library/nginx:latest`.

use std::fmt;

/// Docker's own registry, where a name without a registry is.
const HUB: &str = "docker.io";
/// What a name without a tag means.
const LATEST: &str = "latest";
/// The longest tag.
const TAG: usize = 128;
/// The longest name with registry, without tag.
const NAME: usize = 255;

/// A name that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry, with port if it has one.
    pub registry: String,
    /// The path in it, `library/nginx`.
    pub repository: String,
    /// none: not said.
    pub tag: Option<String>,
    /// `sha256:…`; none: not said. Counts more than the tag.
    pub digest: Option<String>,
}

/// Why a text is no name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of an image: {why}")]
pub struct NoReference {
    text: String,
    why: &'static str,
}

impl Reference {
    /// Takes a name apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NoReference> {
        let wrong = |why| NoReference { text: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(wrong("what follows @ is no digest; it would be like sha256: and 64 digits")),
            None => (text, None),
        };
        // A colon before the last slash is a registry's port.
        let colon = rest.rfind(':').filter(|colon| rest.rfind('/').is_none_or(|slash| slash < *colon));
        let (name, tag) = match colon.and_then(|colon| rest.split_at_checked(colon)) {
            Some((name, tag)) => (name, Some(tag.trim_start_matches(':').to_owned())),
            None => (rest, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("its tag must be letters, digits, _ . and -, at most 128 of them"));
        }
        let (registry, repository) = split_registry(name);
        if name.len() > NAME {
            return Err(wrong("it has more than 255 characters"));
        }
        if registry.is_empty() || !repository.split('/').all(is_component) {
            return Err(wrong("its parts must be lower-case letters and digits, with . _ or - between them"));
        }
        Ok(Self { registry, repository, tag, digest })
    }

    /// Registry and repository, which is what a pull is asked for.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What of the repository is meant: the digest, else the tag, else `latest`.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or(LATEST)
    }

    /// The same repository, whatever tag or digest.
    pub fn is_of(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest.is_some() { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.version())
    }
}

/// The first part is a registry if it cannot be anything else.
fn split_registry(name: &str) -> (String, String) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || has_upper_case(first) => {
            let registry = if first == "index.docker.io" { HUB } else { first };
            let repository = if registry == HUB && !rest.contains('/') { library(rest) } else { rest.to_owned() };
            (registry.to_owned(), repository)
        }
        Some(_) => (HUB.to_owned(), name.to_owned()),
        None => (HUB.to_owned(), library(name)),
    }
}

fn library(name: &str) -> String {
    format!("library/{name}")
}

fn has_upper_case(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|first| is_word(*first)) && bytes.last().is_some_and(|last| is_word(*last));
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    ends && separators.all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| is_word(byte) || byte == b'.' || byte == b'-';
    text.len() <= TAG && text.bytes().next().is_some_and(is_word) && text.bytes().all(rest)
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        let known = algorithm.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-_".contains(&byte);
        known
            && algorithm.bytes().all(allowed)
            && digits.len() >= 32
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn names_mean_what_docker_takes_them_for() {
        for (text, meant) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("grafana/grafana", "docker.io/grafana/grafana:latest"),
            ("docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("index.docker.io/a/b", "docker.io/a/b:latest"),
            ("localhost/vk", "localhost/vk:latest"),
            ("10.0.0.7:5000/app", "10.0.0.7:5000/app:latest"),
            ("registry.example:5000/a/b_c--d:v1.0-rc_1", "registry.example:5000/a/b_c--d:v1.0-rc_1"),
            ("Registry/app", "Registry/app:latest"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), meant, "{text}");
        }
        let pinned = Reference::parse(&format!("quay.io/a/b:1@{DIGEST}")).unwrap();
        assert_eq!((pinned.name().as_str(), pinned.version()), ("quay.io/a/b", DIGEST));
        assert_eq!(pinned.to_string(), format!("quay.io/a/b@{DIGEST}"));
    }

    #[test]
    fn what_is_no_name_is_told() {
        for text in [
            "",
            "Nginx",
            "nginx:",
            "nginx:-x",
            "a//b",
            "a/",
            "nginx@sha256:12",
            "a..b",
            "-a",
            "a b",
            "docker.io/",
            ":1",
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no name of an image: ")), "{error}");
        }
    }

    #[test]
    fn a_repository_is_the_same_whatever_its_tag() {
        let parse = |text: &str| Reference::parse(text).unwrap();
        assert!(parse("nginx:1").is_of(&parse(&format!("docker.io/library/nginx@{DIGEST}"))));
        assert!(!parse("nginx").is_of(&parse("quay.io/library/nginx")));
    }
}
