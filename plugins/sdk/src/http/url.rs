//! Absolute URLs, as far as a request needs them taken apart (RFC 3986).

use std::fmt::{self, Write as _};

/// Where the endpoints are that the operator named, each by its name in front.
pub(crate) const ENDPOINTS: &str = ".endpoint.internal";

/// `http:` or `https:`, the authority as it was written, and path and query, which always begin with `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Url {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{:?} is no URL of a request: {why}", bare(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("write it like https://example.com/path"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err(wrong("known are http and https")),
        };
        let (authority, path) =
            rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
        // A fragment is the client's own business and is not sent.
        let path = path.split_once('#').map_or(path, |(path, _)| path);
        if authority.is_empty() {
            return Err(wrong("it has no host"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("its path has characters to be written as %XX"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, authority: authority.to_owned(), path: format!("{slash}{path}") })
    }

    /// Adds one parameter to the query.
    pub(crate) fn push_query(&mut self, name: &str, value: &str) {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let _ = write!(self.path, "{separator}{}={}", encode(name), encode(value));
    }

    /// Without what may be a secret: query and user. An endpoint is shown by the name that its operator gave it, as
    /// `engine:/path`.
    pub(crate) fn shown(&self) -> String {
        let (authority, path) = (bare(&self.authority), without_query(&self.path));
        match authority.strip_suffix(ENDPOINTS) {
            Some(name) => format!("{name}:{path}"),
            None => format!("{}://{authority}{path}", self.scheme),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, path } = self;
        write!(f, "{scheme}://{authority}{path}")
    }
}

fn without_query(text: &str) -> &str {
    text.split_once('?').map_or(text, |(path, _)| path)
}

/// What follows a user, if there is one, up to a query.
fn bare(text: &str) -> &str {
    let text = without_query(text);
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// A text as one segment of a path, or as part of a query: all but unreserved characters as `%XX` (RFC 3986, 2.3).
///
/// ```
/// assert_eq!(vk_provider::http::encode("a/b c"), "a%2Fb%20c");
/// ```
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_as_they_are_written() {
        for (text, scheme, authority, path) in [
            ("http://engine.endpoint.internal", "http", "engine.endpoint.internal", "/"),
            ("HTTPS://Example.com:8443/a/b?c=d#e", "https", "Example.com:8443", "/a/b?c=d"),
            ("http://[::1]:80?x", "http", "[::1]:80", "/?x"),
            ("http://a@b/", "http", "a@b", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.scheme, url.authority.as_str(), url.path.as_str()), (scheme, authority, path), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_its_secrets() {
        for text in ["a.example/x?s3", "ftp://a.example?s3", "http:///x?s3", "http://a/b c?s3", "http://x:s3@a/ü?s3"] {
            let why = Url::parse(text).unwrap_err();
            assert!(why.contains(" is no URL of a request: ") && !why.contains("s3"), "{text}: {why}");
        }
    }

    #[test]
    fn a_query_is_encoded_and_not_shown() {
        let mut url = Url::parse("https://user:pass@a.example/x").unwrap();
        url.push_query("filters", "{\"a b\"}");
        url.push_query("sig", "ä");
        assert_eq!(url.to_string(), "https://user:pass@a.example/x?filters=%7B%22a%20b%22%7D&sig=%C3%A4");
        assert_eq!(url.shown(), "https://a.example/x");
        assert_eq!(Url::parse("http://engine.endpoint.internal/a?b").unwrap().shown(), "engine:/a");
    }
}
