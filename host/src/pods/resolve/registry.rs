//! What registries take, out of a pod's imagePullSecrets, matched with an image as the kubelet does. Pure: no I/O.
//!
//! An entry is named by a registry, perhaps with a glob in each part of its name, and perhaps by the beginning of a path. The
//! longer name goes first. (kubernetes/pkg/credentialprovider/keyring.go)

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64_NOPAD};
use serde::Deserialize;

use super::objects::Data;
use crate::provider::Credential;

/// Docker Hub, and its other names.
const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// What a Secret's keys may be called, with the types that go with them.
const CONFIG_JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const CONFIG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// Why a Secret gives no credentials. Never a part of its content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoCredentials {
    #[error("it is of type {0:?}, neither kubernetes.io/dockerconfigjson nor kubernetes.io/dockercfg")]
    Type(String),
    #[error("it has no key {0}")]
    Key(&'static str),
    #[error("its key {0} is no JSON of that kind")]
    Content(&'static str),
}

/// By the names of registries.
type Entries = BTreeMap<String, Option<Entry>>;

/// `config.json` of Docker's command line.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: Option<Entries>,
}

/// What is kept for one registry; null, as templates write it, is what is not there.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    /// base64 of `username:password`; counts for more than the two.
    auth: Option<String>,
    /// Stands for a password, and counts for more than one.
    identitytoken: Option<String>,
}

/// Credentials by registry, of several Secrets.
#[derive(Default)]
pub(super) struct Keyring(Vec<(Pattern, Login)>);

/// No `Debug`: it is a secret.
#[derive(Clone)]
struct Login {
    username: String,
    password: String,
}

impl Keyring {
    /// Adds what a Secret holds.
    pub(super) fn add(&mut self, secret: &Data) -> Result<(), NoCredentials> {
        let (_, key) = [CONFIG_JSON, CONFIG]
            .into_iter()
            .find(|(kind, _)| secret.kind == *kind)
            .ok_or_else(|| NoCredentials::Type(secret.kind.clone()))?;
        let text = secret.values.get(key).ok_or(NoCredentials::Key(key))?;
        let entries: Result<Entries, _> = if key == CONFIG_JSON.1 {
            serde_json::from_slice(text).map(|config: Config| config.auths.unwrap_or_default())
        } else {
            serde_json::from_slice(text)
        };
        // The error of serde may quote what it found.
        for (name, entry) in entries.map_err(|_| NoCredentials::Content(key))? {
            let login = entry.unwrap_or_default().login().ok_or(NoCredentials::Content(key))?;
            // An entry without one is left where a machine keeps its logins elsewhere.
            if !login.password.is_empty() {
                self.0.extend(Pattern::parse(&name).map(|pattern| (pattern, login)));
            }
        }
        // Stable: of one name the first Secret's goes first.
        self.0.sort_by(|(one, _), (other, _)| other.name.cmp(&one.name));
        Ok(())
    }

    /// What fits an image, best first.
    pub(super) fn lookup(&self, image: &str) -> Vec<Credential> {
        let Some(image) = Repository::parse(image) else { return Vec::new() };
        let fitting = self.0.iter().filter(|(pattern, _)| pattern.matches(&image));
        fitting
            .map(|(_, Login { username, password })| Credential {
                server: image.host.clone(),
                username: username.clone(),
                password: password.clone(),
            })
            .collect()
    }
}

impl Entry {
    /// none: `auth` cannot be read.
    fn login(self) -> Option<Login> {
        let Self { username, password, auth, identitytoken } = self;
        let [username, password, auth, identitytoken] =
            [username, password, auth, identitytoken].map(Option::unwrap_or_default);
        if !identitytoken.is_empty() {
            return Some(Login { username: String::new(), password: identitytoken });
        }
        if auth.is_empty() {
            return Some(Login { username, password });
        }
        let packed: String = auth.split_whitespace().collect();
        let encoding = if packed.ends_with('=') { BASE64 } else { BASE64_NOPAD };
        let decoded = String::from_utf8(encoding.decode(packed.as_bytes()).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some(Login { username: username.to_string(), password: password.to_string() })
    }
}

/// The name of an entry: `registry.example:5000/team`, `*.azurecr.io`, `https://index.docker.io/v1/`.
struct Pattern {
    /// Host and path, by which entries are ordered.
    name: String,
    host: String,
    path: String,
}

impl Pattern {
    /// none: it names no registry.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (host, path) = split(rest);
        // What Docker's command line appends means the registry itself.
        let path = ["/v1/", "/v2/"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
        let path = path.trim_start_matches('/');
        let host = canonical(host);
        let name = if path.is_empty() { host.clone() } else { format!("{host}/{path}") };
        (!host.is_empty()).then(|| Self { name, host, path: path.to_string() })
    }

    fn matches(&self, image: &Repository) -> bool {
        let ((mine, port), (theirs, their_port)) = (host_and_port(&self.host), host_and_port(&image.host));
        let parts = || mine.split('.').zip(theirs.split('.'));
        port == their_port
            && mine.split('.').count() == theirs.split('.').count()
            && parts().all(|(pattern, part)| glob(pattern.as_bytes(), part.as_bytes()))
            && image.path.starts_with(&self.path)
    }
}

/// Where an image is, without tag and digest.
struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// none: it is the name of no image. (github.com/distribution/reference, ParseNormalizedNamed)
    fn parse(image: &str) -> Option<Self> {
        let image = image.split_once('@').map_or(image, |(name, _)| name);
        let image = match image.rsplit_once(':') {
            // A tag has no slash; what has one follows a port.
            Some((name, tag)) if !tag.contains('/') => name,
            _ => image,
        };
        let names_host =
            |first: &str| first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase);
        let (host, path) = match image.split_once('/') {
            Some((first, rest)) if names_host(first) => (canonical(first), rest),
            _ => (HUB.to_string(), image),
        };
        let path = if host == HUB && !path.contains('/') { format!("library/{path}") } else { path.to_string() };
        (!path.is_empty() && !path.ends_with('/')).then_some(Self { host, path })
    }
}

/// `host:port/path` → (`host:port`, `/path`).
fn split(text: &str) -> (&str, &str) {
    text.find('/').and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

fn canonical(host: &str) -> String {
    if HUB_ALIASES.contains(&host) { HUB.to_string() } else { host.to_string() }
}

/// A port is digits behind the last colon, so that an IPv6 address in brackets keeps its own.
fn host_and_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

/// Go's `filepath.Match` of one part of a name: `*`, `?` and classes such as `[a-z]` and `[^0]`. What is between stars is taken
/// where it is found first, so that no pattern takes long.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let mut pieces = pattern.split(|byte| *byte == b'*').peekable();
    let Some(mut text) = pieces.next().and_then(|first| behind(first, text)) else { return false };
    if pieces.peek().is_none() {
        return text.is_empty();
    }
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        let rest = text;
        let mut found = (0..=rest.len()).filter_map(|skip| behind(piece, rest.get(skip..)?));
        match found.find(|left| !is_last || left.is_empty()) {
            Some(left) => text = left,
            None => return false,
        }
    }
    true
}

/// What is left behind a piece without stars; none: the text does not begin with it.
fn behind<'a>(mut piece: &[u8], mut text: &'a [u8]) -> Option<&'a [u8]> {
    while let [token, after @ ..] = piece {
        let [byte, left @ ..] = text else { return None };
        piece = match token {
            b'?' => after,
            b'[' => {
                let end = after.iter().position(|byte| *byte == b']')?;
                let (class, after) = after.split_at_checked(end)?;
                in_class(class, *byte).then_some(after.strip_prefix(b"]").unwrap_or(after))?
            }
            literal => (literal == byte).then_some(after)?,
        };
        text = left;
    }
    Some(text)
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut found = false;
    while let [first, rest @ ..] = class {
        class = match rest {
            [b'-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&byte);
                rest
            }
            rest => {
                found |= *first == byte;
                rest
            }
        };
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn secret(kind: (&str, &str), content: &str) -> Data {
        let values = [(kind.1.to_string(), content.as_bytes().to_vec().into())].into();
        Data { values, kind: kind.0.into(), ..Data::default() }
    }

    /// A keyring of one Secret, whose entries have their own names as user names.
    fn keyring(names: &[&str]) -> Keyring {
        let entry = |name: &&str| (name.to_string(), json!({"username": name, "password": "p"}));
        let auths: Value = names.iter().map(entry).collect();
        let mut keyring = Keyring::default();
        keyring.add(&secret(CONFIG_JSON, &json!({"auths": auths}).to_string())).unwrap();
        keyring
    }

    fn users(keyring: &Keyring, image: &str) -> Vec<String> {
        keyring.lookup(image).into_iter().map(|credential| credential.username).collect()
    }

    #[test]
    fn an_entry_fits_its_registry_and_path() {
        let table = [
            ("registry.example", "registry.example/a/b:1", true),
            ("registry.example", "registry.example:5000/a", false),
            ("registry.example:5000", "registry.example:5000/a@sha256:00", true),
            ("https://registry.example", "registry.example/a", true),
            ("http://registry.example/v2/", "registry.example/a", true),
            ("registry.example/team", "registry.example/team/app", true),
            ("registry.example/team", "registry.example/other/app", false),
            ("registry.example/v1/team", "registry.example/team/app", true),
            ("*.azurecr.io", "shop.azurecr.io/a", true),
            ("*.azurecr.io", "azurecr.io/a", false),
            ("*.azurecr.io", "a.shop.azurecr.io/a", false),
            ("*.*.azurecr.io", "a.shop.azurecr.io/a", true),
            ("sho?.azurecr.io", "shop.azurecr.io/a", true),
            ("[a-s]hop.azurecr.io", "shop.azurecr.io/a", true),
            ("[^a-s]hop.azurecr.io", "shop.azurecr.io/a", false),
            ("pre*post.example", "pre-and-post.example/a", true),
            ("*.example:5000", "a.example:5000/x", true),
            ("*.example:5000", "a.example/x", false),
            ("localhost:5000", "localhost:5000/a", true),
            ("localhost", "localhost/a", true),
            (
                "*************************************************b.io",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.io/a",
                false,
            ),
            ("*", "busybox", false),
            ("", "busybox", false),
        ];
        for (name, image, fits) in table {
            assert_eq!(!users(&keyring(&[name]), image).is_empty(), fits, "{name} for {image}");
        }
    }

    #[test]
    fn all_names_of_docker_hub_are_one() {
        for name in ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"] {
            for image in ["busybox", "busybox:1", "team/app", "docker.io/busybox", "index.docker.io/library/busybox"] {
                let found = keyring(&[name]).lookup(image);
                assert_eq!(found.first().map(|found| found.server.as_str()), Some("docker.io"), "{name} for {image}");
            }
            assert!(keyring(&[name]).lookup("quay.io/team/app").is_empty());
        }
        assert_eq!(users(&keyring(&["docker.io/library"]), "busybox"), ["docker.io/library"]);
        assert!(users(&keyring(&["docker.io/team"]), "busybox").is_empty());
    }

    #[test]
    fn the_longer_name_goes_first_and_then_the_earlier_secret() {
        let names = ["quay.io", "quay.io/coreos/etcd", "quay.io/coreos"];
        assert_eq!(
            users(&keyring(&names), "quay.io/coreos/etcd:3"),
            ["quay.io/coreos/etcd", "quay.io/coreos", "quay.io"]
        );
        let mut keyring = Keyring::default();
        for user in ["first", "second"] {
            let auths = json!({"auths": {"quay.io": {"username": user, "password": "p"}}});
            keyring.add(&secret(CONFIG_JSON, &auths.to_string())).unwrap();
        }
        assert_eq!(users(&keyring, "quay.io/a"), ["first", "second"]);
    }

    #[test]
    fn every_form_of_a_login_is_understood() {
        let table = [
            (json!({"username": "u", "password": "p"}), "u", "p"),
            // `user:pass:word`, with padding and without.
            (json!({"auth": "dXNlcjpwYXNzOndvcmQ="}), "user", "pass:word"),
            (json!({"auth": "dXNlcjpwYXNzOndvcmQ"}), "user", "pass:word"),
            (json!({"auth": "dXNlcjpw\nYXNzOndvcmQ=\n", "username": "other"}), "user", "pass:word"),
            (json!({"auth": "MDAwMDo=", "identitytoken": "t", "email": "x@example"}), "", "t"),
            (json!({"username": "u", "password": "p", "auth": null, "identitytoken": null}), "u", "p"),
        ];
        for (entry, username, password) in table {
            let old = json!({"quay.io": entry});
            for (kind, content) in [(CONFIG_JSON, json!({"auths": old})), (CONFIG, old.clone())] {
                let mut keyring = Keyring::default();
                keyring.add(&secret(kind, &content.to_string())).unwrap();
                let found = keyring.lookup("quay.io/a").remove(0);
                assert_eq!((found.username.as_str(), found.password.as_str()), (username, password), "{entry}");
                assert_eq!(found.server, "quay.io");
            }
        }
    }

    #[test]
    fn an_entry_without_a_login_is_none() {
        let mut keyring = Keyring::default();
        keyring.add(&secret(CONFIG_JSON, r#"{"auths": {"quay.io": {}}, "credsStore": "desktop"}"#)).unwrap();
        assert!(keyring.lookup("quay.io/a").is_empty());
        for content in [r#"{"auths": null}"#, r#"{"auths": {"quay.io": null}}"#] {
            assert_eq!(keyring.add(&secret(CONFIG_JSON, content)), Ok(()), "{content}");
        }
    }

    #[test]
    fn a_secret_that_is_of_no_use_is_named_and_never_shown() {
        let add = |secret: Data| Keyring::default().add(&secret).err().unwrap();
        assert_eq!(add(secret(("Opaque", "x"), "{}")), NoCredentials::Type("Opaque".into()));
        assert_eq!(add(secret((CONFIG_JSON.0, "x"), "{}")), NoCredentials::Key(".dockerconfigjson"));
        for content in ["hush", r#"{"auths": "hush"}"#, r#"{"auths": {"a.b": {"auth": "hush"}}}"#] {
            let error = add(secret(CONFIG_JSON, content));
            assert_eq!(error, NoCredentials::Content(".dockerconfigjson"), "{content}");
            assert!(!error.to_string().contains("hush"));
        }
    }
}
