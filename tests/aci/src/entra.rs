//! Where applications sign in: `/{tenant}/oauth2/v2.0/token`, and what libraries ask before.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::asked::Asked;
use crate::config::Federated;
use crate::world::{World, lock};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// For whom a cluster makes tokens that an application takes for its own.
const EXCHANGE: &str = "api://AzureADTokenExchange";
const SCOPE: &str = "/.default";

/// What libraries read before they sign in.
pub(crate) fn metadata(asked: &Asked, tenant: &str) -> Answer {
    let base = &asked.base;
    Answer::json(
        200,
        json!({
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
            "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
            "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
            "issuer": format!("{base}/{tenant}/v2.0"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "tenant_region_scope": "EU",
        }),
    )
}

/// A token for an application.
pub(crate) fn token(world: &World, asked: &Asked, tenant: &str) -> Outcome {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let account = &world.account;
    if tenant != account.tenant {
        let message = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
        );
        return Err(refused(400, "invalid_request", 90002, &message));
    }
    match field("grant_type") {
        "client_credentials" => {}
        "" => {
            let message = "The request body must contain the following parameter: 'grant_type'.";
            return Err(refused(400, "invalid_request", 900144, message));
        }
        _ => return Err(refused(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")),
    }
    let client = field("client_id");
    if client != account.client_id {
        let message = format!("Application with identifier '{client}' was not found in the directory 'Fake'.");
        return Err(refused(400, "unauthorized_client", 700016, &message));
    }
    let Some(audience) = field("scope").split(' ').find_map(|scope| scope.strip_suffix(SCOPE)) else {
        let message =
            format!("The provided request must include a 'scope' input parameter. '{}' is not valid.", field("scope"));
        return Err(refused(400, "invalid_scope", 70011, &message));
    };
    match field("client_secret") {
        "" => federated(account.federated.as_ref(), field("client_assertion_type"), field("client_assertion"))?,
        secret if secret == account.client_secret => {}
        _ => {
            let message = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'."
            );
            return Err(refused(401, "invalid_client", 7_000_215, &message));
        }
    }
    let life = world.behaviour().token_life;
    let token = lock(&world.tokens).issue(client, tenant, audience, life);
    let seconds = life.as_secs();
    Ok(Answer::json(
        200,
        json!({"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}),
    ))
}

/// Whether somebody else's token is good for this application. Its signature is not looked at.
fn federated(credential: Option<&Federated>, kind: &str, assertion: &str) -> Result<(), Answer> {
    if assertion.is_empty() {
        let message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(refused(401, "invalid_client", 7_000_216, message));
    }
    let invalid = |code, message: &str| refused(401, "invalid_client", code, message);
    if kind != ASSERTION {
        return Err(invalid(7_000_216, "The client_assertion_type is not the one of a JWT."));
    }
    let malformed = || invalid(50027, "JWT token is invalid or malformed.");
    let parts: Vec<&str> = assertion.split('.').collect();
    let [head, payload, _] = parts.as_slice() else { return Err(malformed()) };
    let read =
        |part: &&str| -> Option<Value> { serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok() };
    let (Some(_), Some(claims)) = (read(head), read(payload)) else { return Err(malformed()) };
    let claim = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_for = |audience: &Value| match audience {
        Value::String(one) => one == EXCHANGE,
        Value::Array(several) => several.iter().any(|one| one == EXCHANGE),
        _ => false,
    };
    let Some(credential) = credential else {
        return Err(invalid(70021, "No matching federated identity record found for presented assertion."));
    };
    if claim("iss") != credential.issuer {
        let message =
            format!("No matching federated identity record found for presented assertion issuer '{}'.", claim("iss"));
        return Err(invalid(700_211, &message));
    }
    if claim("sub") != credential.subject {
        let message =
            format!("No matching federated identity record found for presented assertion subject '{}'.", claim("sub"));
        return Err(invalid(700_213, &message));
    }
    if !claims.get("aud").is_some_and(is_for) {
        return Err(invalid(700_212, "No matching federated identity record found for presented assertion audience."));
    }
    let end = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
    if end <= jiff::Timestamp::now().as_second() {
        return Err(invalid(700_024, "Client assertion is not within its valid time range."));
    }
    Ok(())
}

/// A refusal as those say it who give tokens (RFC 6749, 5.2).
pub(crate) fn said(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(status, json!({"error": error, "error_description": description}))
}

/// A token of the cluster whose tokens the application takes for its own.
pub(crate) fn assertion(credential: &Federated, life: Duration) -> String {
    let end = jiff::Timestamp::now().as_second().saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let claims = json!({
        "iss": credential.issuer, "sub": credential.subject, "aud": [EXCHANGE], "exp": end, "jti": Uuid::new_v4().to_string(),
    });
    format!("{}.{}.{}", part(&json!({"typ": "JWT", "alg": "none"})), part(&claims), part(&json!("unsigned")))
}

fn refused(status: u16, error: &str, code: u32, message: &str) -> Answer {
    let (trace, correlation) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let now = jiff::Timestamp::now();
    Answer::json(
        status,
        json!({
            "error": error,
            "error_description": format!("AADSTS{code}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"),
            "error_codes": [code], "timestamp": now.to_string(), "trace_id": trace, "correlation_id": correlation,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_s_token_is_taken_until_it_ends() {
        let of =
            |issuer: &str| Federated { issuer: issuer.to_owned(), subject: "system:serviceaccount:a:b".to_owned() };
        let (ours, theirs) = (of("https://cluster.test"), of("https://other.test"));
        let token = assertion(&ours, Duration::from_secs(60));
        assert_ne!(token, assertion(&ours, Duration::from_secs(60)), "each is another");
        assert!(federated(Some(&ours), ASSERTION, &token).is_ok());
        let code = |refused: Result<(), Answer>| refused.unwrap_err().body.unwrap()["error_codes"][0].clone();
        assert_eq!(code(federated(Some(&theirs), ASSERTION, &token)), 700_211);
        assert_eq!(code(federated(Some(&ours), ASSERTION, &assertion(&ours, Duration::ZERO))), 700_024);
    }
}
