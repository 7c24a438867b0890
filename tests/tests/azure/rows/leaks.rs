//! Where secrets are that are to be nowhere.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::Value;
use vk_fake_aci::Fake;

/// All that a fake has given to sign in with, each with a name.
pub(crate) fn issued(fake: &Fake) -> Vec<(String, String)> {
    fake.issued().into_iter().enumerate().map(|(number, token)| (format!("token {number} for Azure"), token)).collect()
}

fn base64(bytes: &[u8]) -> Result<String> {
    let text = serde_json::to_value(ByteString(bytes.to_vec()))?;
    Ok(text.as_str().context("no text")?.to_owned())
}

/// A text as it stands within JSON.
fn within_json(text: &str) -> String {
    Value::from(text).to_string().trim_matches('"').to_owned()
}

/// Forms in which somebody may write a text: as it is, in JSON, in JSON within JSON, in a URL, in base64.
pub(crate) fn forms(text: &str) -> Result<Vec<String>> {
    let query = reqwest::Url::parse_with_params("http://host", [("q", text)])?;
    let query = query.query().and_then(|query| query.strip_prefix("q=")).context("no query")?.to_owned();
    let json = within_json(text);
    let base64 = base64(text.as_bytes())?;
    let url_safe = base64.replace('+', "-").replace('/', "_");
    Ok(vec![text.to_owned(), within_json(&json), json, query.replace('+', "%20"), query, base64, url_safe])
}

/// Base64 of a text that has others before it: without its first and last letters, which belong to these too.
fn in_the_middle(text: &str) -> Result<Vec<String>> {
    let shifted = (0..3).map(|shift| {
        let whole = base64(&[vec![0; shift], text.as_bytes().to_vec()].concat())?;
        let (first, last) = (shift + usize::from(shift > 0), (shift + text.len()) * 8 / 6);
        Ok(whole.get(first..last).context("too short")?.to_owned())
    });
    shifted.collect()
}

/// Where a text has a secret, in any form.
pub(crate) fn found(place: &str, text: &str, secrets: &[(String, String)]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, secret) in secrets {
        for form in forms(secret)?.into_iter().chain(in_the_middle(secret)?) {
            if text.contains(&form) {
                found.push(format!("{name} is in {place}, as {form}"));
            }
        }
    }
    Ok(found)
}

#[test]
fn a_secret_is_found_in_each_form() -> Result<()> {
    let secret = "s3cret: \"quoted\" \\ & é+/=%".to_owned();
    let secrets = [("it".to_owned(), secret.clone())];
    for form in forms(&secret)? {
        ensure!(!found("a text", &format!("before {form} after"), &secrets)?.is_empty(), "{form}");
    }
    for before in ["", "a", "ab", "abc"] {
        let whole = base64(format!("{before}{secret}:after").as_bytes())?;
        ensure!(!found("a text", &whole, &secrets)?.is_empty(), "{whole}");
    }
    ensure!(found("a text", "s3cret: quoted", &secrets)?.is_empty());
    Ok(())
}
