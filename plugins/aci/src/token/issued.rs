//! What was issued, as Entra and the metadata service write it.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use vk_provider::clock;
use vk_provider::time::Time;

use crate::Redacted;

/// A token, and how long it is one.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) token: Redacted,
    pub(super) life: Duration,
    /// When its issuer wants it to be renewed; none: not said.
    pub(super) renew: Option<Duration>,
}

/// The metadata service writes numbers as strings.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Redacted,
    #[serde(default, deserialize_with = "number")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    expires_on: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    refresh_in: Option<u64>,
}

impl Issued {
    /// # Errors
    /// What is wrong with it, without anything of it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        // A mistake of the data's would be told with the data.
        let answer: Answer = serde_json::from_slice(body).map_err(|error| {
            format!("line {}, column {}: it is not the JSON of a token", error.line(), error.column())
        })?;
        if answer.access_token.expose().is_empty() {
            return Err("it has no access_token".to_owned());
        }
        // What is counted from now needs no clock that is right.
        let until = |time: u64| Time::from_millis(time.saturating_mul(1000)).since(clock::now());
        let life = answer.expires_in.map(Duration::from_secs).or_else(|| answer.expires_on.map(until));
        match life {
            Some(life) if !life.is_zero() => {
                // At once would be at every call.
                let is_later = |renew: &Duration| !renew.is_zero() && *renew < life;
                let renew = answer.refresh_in.map(Duration::from_secs).filter(is_later);
                Ok(Self { token: answer.access_token, life, renew })
            }
            Some(_) => Err("its token has expired already".to_owned()),
            None => Err("it says of no time when its token expires".to_owned()),
        }
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    Ok(match Option::<Written>::deserialize(deserializer)? {
        Some(Written::Number(number)) => Some(number),
        Some(Written::Text(text)) => text.trim().parse().ok(),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::testing;

    #[test]
    fn both_issuers_are_understood() {
        testing::reset();
        let now = testing::now().as_millis() / 1000;
        for (answer, life, renew) in [
            (
                r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"t"}"#.to_owned(),
                3599,
                None,
            ),
            (r#"{"access_token":"t","expires_in":86399,"refresh_in":43199}"#.to_owned(), 86399, Some(43199)),
            (r#"{"access_token":"t","expires_in":"3599","refresh_in":"0"}"#.to_owned(), 3599, None),
            (r#"{"access_token":"t","expires_in":3599,"refresh_in":3599}"#.to_owned(), 3599, None),
            (
                format!(
                    r#"{{"access_token":"t","refresh_token":"","expires_in":"3599","expires_on":"{}","not_before":"{now}","resource":"r","token_type":"Bearer"}}"#,
                    now + 3599
                ),
                3599,
                None,
            ),
            (format!(r#"{{"access_token":"t","expires_on":"{}"}}"#, now + 60), 60, None),
        ] {
            let issued = Issued::parse(answer.as_bytes()).unwrap();
            assert_eq!((issued.token.expose().as_str(), issued.life.as_secs()), ("t", life), "{answer}");
            assert_eq!(issued.renew.map(|renew| renew.as_secs()), renew);
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_it() {
        testing::reset();
        for (answer, says) in [
            ("<html>s3cret</html>", "not the JSON of a token"),
            (r#"{"access_token":["s3cret"],"expires_in":1}"#, "not the JSON of a token"),
            (r#"{"access_token":"","expires_in":1}"#, "no access_token"),
            ("{}", "no access_token"),
            (r#"{"access_token":"s3cret"}"#, "says of no time"),
            (r#"{"access_token":"s3cret","expires_in":"soon"}"#, "says of no time"),
            (r#"{"access_token":"s3cret","expires_on":1}"#, "expired already"),
        ] {
            let why = Issued::parse(answer.as_bytes()).unwrap_err();
            assert!(why.contains(says) && !why.contains("s3cret"), "{answer}: {why}");
        }
    }
}
