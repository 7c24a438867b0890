//! `X-Registry-Auth`: base64url *with* padding, of JSON. Without padding, or in the other alphabet, Docker pulls
//! anonymously and says nothing.

use data_encoding::BASE64URL;
use serde::Serialize;

/// What one registry takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The registry's host, with port if it has one.
    pub server: &'a str,
    /// Empty: `password` is an identity token.
    pub username: &'a str,
    /// Never in a log.
    pub password: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Header<'a> {
    Password { username: &'a str, password: &'a str, serveraddress: &'a str },
    Token { identitytoken: &'a str, serveraddress: &'a str },
}

impl Login<'_> {
    /// The header's value.
    ///
    /// # Errors
    /// Never, as long as strings can be written as JSON.
    pub fn header(&self) -> serde_json::Result<String> {
        let Self { server, username, password } = *self;
        let header = if username.is_empty() {
            Header::Token { identitytoken: password, serveraddress: server }
        } else {
            Header::Password { username, password, serveraddress: server }
        };
        Ok(BASE64URL.encode(&serde_json::to_vec(&header)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_base64url_with_padding() {
        let login = Login { server: "r.example", username: "ü>", password: "p?>~~" };
        let header = login.header().unwrap();
        assert_eq!(header, "eyJ1c2VybmFtZSI6IsO8PiIsInBhc3N3b3JkIjoicD8-fn4iLCJzZXJ2ZXJhZGRyZXNzIjoici5leGFtcGxlIn0=");
        assert!(header.contains('-') && header.ends_with('='), "the case is one that tells the alphabets apart");
    }

    #[test]
    fn a_token_needs_no_user() {
        let header = Login { server: "r", username: "", password: "t" }.header().unwrap();
        assert_eq!(BASE64URL.decode(header.as_bytes()).unwrap(), br#"{"identitytoken":"t","serveraddress":"r"}"#);
    }
}
