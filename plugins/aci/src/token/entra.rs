//! Microsoft Entra: a token for an application, for its secret or for the token of somebody that it trusts.

use serde::Deserialize;
use vk_provider::config;
use vk_provider::http::{Request, Response, encode};

use super::issued::Issued;
use super::refused::{SignIn, Why};
use super::tries::{self, Patience};
use crate::secrets::Secrets;
use crate::{Account, Redacted};

/// So much of an answer is taken.
const MOST: usize = 256 << 10;
/// So much of it is told; the host cuts messages after 1 KiB.
const SAID: usize = 500;
/// What a federated token is (RFC 7523).
const JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Codes that people run into, and what mends them.
const HINTS: [(&str, &str); 9] = [
    ("AADSTS7000215", "the secret is wrong: it must be the secret's value, not its id"),
    ("AADSTS7000222", "the secret has expired: make a new one"),
    ("AADSTS700016", "the tenant knows no such application: are tenant and client id of the same directory?"),
    ("AADSTS90002", "there is no such tenant: is it of this cloud?"),
    ("AADSTS900023", "the tenant is neither an id nor a domain"),
    ("AADSTS70021", "no federated credential fits: its issuer, subject and audience must be those of the token"),
    ("AADSTS700213", "no federated credential fits: its subject must be system:serviceaccount:NAMESPACE:NAME"),
    ("AADSTS700211", "no federated credential fits: its issuer must be the cluster's"),
    ("AADSTS700024", "the federated token has expired: is its file renewed?"),
];

/// Codes of what is allowed to nobody yet, beside the credentials themselves.
const DENIED: [&str; 4] = ["AADSTS50105", "AADSTS65001", "AADSTS53003", "AADSTS530035"];

/// For an application's secret.
pub(super) fn with_secret(
    account: &Account,
    client_id: &str,
    secret: &Redacted,
    patience: Patience,
) -> Result<Issued, SignIn> {
    ask(account, client_id, &[("client_secret", secret.expose())], secret.expose(), patience)
}

/// For a token that the application trusts. Its file is read anew each time, as the kubelet renews it.
pub(super) fn with_token(account: &Account, client_id: &str, file: &str, patience: Patience) -> Result<Issued, SignIn> {
    let content = config::file(file).map_err(|error| {
        SignIn::new(Why::of(error.code), &error.reason, format!("the federated token: {}", error.message))
    })?;
    let unreadable = |why: &str| SignIn::new(Why::Refused, "FederatedTokenUnreadable", format!("{file}: {why}"));
    let token = std::str::from_utf8(&content).map_err(|_| unreadable("the federated token is no text"))?.trim();
    if token.is_empty() {
        return Err(unreadable("the federated token is empty"));
    }
    ask(account, client_id, &[("client_assertion_type", JWT), ("client_assertion", token)], token, patience)
}

fn ask(
    account: &Account,
    client_id: &str,
    proof: &[(&str, &str)],
    secret: &str,
    patience: Patience,
) -> Result<Issued, SignIn> {
    let url = format!("{}/{}/oauth2/v2.0/token", account.cloud.authority, encode(&account.tenant));
    let scope = format!("{}/.default", account.cloud.audience.trim_end_matches('/'));
    let common = [("grant_type", "client_credentials"), ("client_id", client_id), ("scope", &scope)];
    let form: Vec<String> =
        common.iter().chain(proof).map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let request = Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form.join("&"));
    let passes = |status| matches!(status, 408 | 429 | 500 | 502..=504);
    let response = tries::send(&request, patience, passes).map_err(|failure| SignIn::lost(failure, ""))?;
    if !response.is_success() {
        return Err(refusal(&request, response, secret));
    }
    let body = response.body.bytes(MOST).map_err(|failure| SignIn::lost(failure, ""))?;
    Issued::parse(&body)
        .map_err(|why| SignIn::new(Why::Unreadable, "TokenUnreadable", format!("the answer to {request:?}: {why}")))
}

/// RFC 6749, 5.2.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

fn refusal(request: &Request, response: Response, secret: &str) -> SignIn {
    let (status, retry_after) = (response.status, response.headers.retry_after());
    let body = response.body.bytes(MOST).unwrap_or_default();
    let Refusal { error, error_description } = serde_json::from_slice(&body).unwrap_or_default();
    // Trace and correlation ids, which support wants, stand in lines of their own.
    let said = error_description.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if said.is_empty() { "no reason is given".to_owned() } else { said };
    let said = Secrets::of([secret]).scrubbed(&said);
    let said = said.get(..said.floor_char_boundary(SAID)).unwrap_or(&said);
    let code = said.split([':', ' ']).next().filter(|word| word.starts_with("AADSTS")).unwrap_or_default();
    let hint = HINTS.iter().find(|(of, _)| *of == code).map(|(_, hint)| format!("; {hint}")).unwrap_or_default();
    let (why, reason) = match status {
        _ if DENIED.contains(&code) => (Why::Denied, "AzureSignInDenied"),
        _ if error == "temporarily_unavailable" => (Why::Unavailable, "AzureSignInUnavailable"),
        429 => (Why::Busy, "AzureSignInThrottled"),
        408 | 500..=599 => (Why::Unavailable, "AzureSignInUnavailable"),
        // A proxy in between, or an authority that is none.
        _ if error.is_empty() => (Why::Unreadable, "AzureSignInUnreadable"),
        _ => (Why::Refused, "AzureSignInRefused"),
    };
    let name = if error.is_empty() { String::new() } else { format!("{error}: ") };
    SignIn::new(why, reason, format!("{request:?}: {name}{said} ({status}){hint}")).after(retry_after)
}
