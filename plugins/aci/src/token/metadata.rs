//! The metadata service of Azure's machines: a token for one of their managed identities.

use std::time::Duration;

use serde::Deserialize;
use vk_provider::http::{Request, Response};

use super::issued::Issued;
use super::refused::{SignIn, Why};
use super::tries::{self, Patience};
use crate::Account;

/// So much of an answer is taken.
const MOST: usize = 256 << 10;
/// So much of it is told.
const SAID: usize = 500;
/// On the same machine it takes milliseconds; where there is none the address leads nowhere.
const CONNECT: Duration = Duration::from_secs(2);

/// What else it may mean that nobody answers.
const HINT: &str = "; is this a machine of Azure, with a managed identity? Elsewhere sign in with AZURE_CLIENT_ID and \
                    AZURE_CLIENT_SECRET, or with AZURE_FEDERATED_TOKEN_FILE";

/// For one of the machine's identities; none: its own.
pub(super) fn ask(account: &Account, client_id: Option<&str>, patience: Patience) -> Result<Issued, SignIn> {
    let mut request = Request::get(format!("{}/metadata/identity/oauth2/token", account.metadata))
        .header("metadata", "true")
        .query("api-version", "2018-02-01")
        .query("resource", &account.cloud.audience)
        .connect_within(CONNECT);
    if let Some(client_id) = client_id {
        request = request.query("client_id", client_id);
    }
    // 404: it does not know of the identity yet; 410: it is being updated.
    let passes = |status| matches!(status, 404 | 410 | 429 | 500..=599);
    let response = tries::send(&request, patience, passes).map_err(|failure| SignIn::lost(failure, HINT))?;
    if !response.is_success() {
        return Err(refusal(&request, response, client_id));
    }
    let body = response.body.bytes(MOST).map_err(|failure| SignIn::lost(failure, ""))?;
    Issued::parse(&body)
        .map_err(|why| SignIn::new(Why::Unreadable, "TokenUnreadable", format!("the answer to {request:?}: {why}")))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

fn refusal(request: &Request, response: Response, client_id: Option<&str>) -> SignIn {
    let (status, retry_after) = (response.status, response.headers.retry_after());
    let body = response.body.bytes(MOST).unwrap_or_default();
    let Refusal { error, error_description } = serde_json::from_slice(&body).unwrap_or_default();
    let said = [error, error_description].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    let said = said.get(..said.floor_char_boundary(SAID)).unwrap_or(&said);
    let said = if said.is_empty() { "no reason is given" } else { said };
    let identity = client_id.map_or_else(|| "an identity of its own".to_owned(), |id| format!("the identity {id}"));
    let hint = format!("; has this machine {identity}?");
    let (why, reason, hint) = match status {
        429 => (Why::Busy, "ManagedIdentityThrottled", ""),
        410 | 500..=599 => (Why::Unavailable, "ManagedIdentityUnavailable", ""),
        _ => (Why::Refused, "ManagedIdentityRefused", hint.as_str()),
    };
    SignIn::new(why, reason, format!("{request:?}: {said} ({status}){hint}")).after(retry_after)
}
