//! Tokens: given by two issuers, and asked for by the resource manager. Their form is a JWT's; who they are of stands here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::Answer;

/// For what the resource manager takes tokens.
pub(crate) const AUDIENCES: [&str; 2] = ["https://management.azure.com", "https://management.core.windows.net"];

/// All tokens that were given.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: HashMap<String, Token>,
    given: u32,
    /// The cluster's, which others are given for.
    assertions: Vec<String>,
}

#[derive(Clone, Debug)]
struct Token {
    principal: String,
    audience: String,
    tenant: String,
    end: Instant,
    /// Its principal may do nothing.
    powerless: bool,
}

impl Tokens {
    /// A new one.
    pub(crate) fn issue(&mut self, principal: &str, tenant: &str, audience: &str, life: Duration) -> String {
        let now = jiff::Timestamp::now().as_second();
        let end = now.saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
        let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let head = part(json!({"typ": "JWT", "alg": "none"}));
        let claims = json!({
            "aud": audience, "appid": principal, "tid": tenant, "iat": now, "nbf": now, "exp": end, "uti": Uuid::new_v4().to_string(),
        });
        let text = format!("{head}.{}.{}", part(claims), BASE64URL_NOPAD.encode(Uuid::new_v4().as_bytes()));
        let token = Token {
            principal: principal.to_owned(),
            audience: audience.trim_end_matches('/').to_owned(),
            tenant: tenant.to_owned(),
            end: Instant::now() + life,
            powerless: false,
        };
        self.known.insert(text.clone(), token);
        self.given += 1;
        text
    }

    /// The cluster has made one.
    pub(crate) fn note(&mut self, assertion: String) {
        self.assertions.push(assertion);
    }

    /// All that were given, and the cluster's.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.known.keys().chain(&self.assertions).cloned().collect()
    }

    /// How many were given.
    pub(crate) fn given(&self) -> u32 {
        self.given
    }

    /// All end now.
    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        self.known.values_mut().for_each(|token| token.end = now);
    }

    /// All that were given lose their rights, or get them back.
    pub(crate) fn set_powerless(&mut self, powerless: bool) {
        self.known.values_mut().for_each(|token| token.powerless = powerless);
    }

    /// Whose request it is, by its header `Authorization`. `authority`: where the client could sign in.
    pub(crate) fn principal(
        &self,
        header: Option<&str>,
        authority: &str,
        tenant: &str,
        what: &str,
    ) -> Result<String, Answer> {
        let refused = |code: &str, message: &str| {
            let challenge = format!(
                "Bearer authorization_uri=\"{authority}/{tenant}\", error=\"invalid_token\", error_description=\"{message}\""
            );
            Answer::refusal(401, code, message).header("www-authenticate", challenge)
        };
        let Some(header) = header else {
            return Err(refused(
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            ));
        };
        let bearer = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some(token) = bearer.and_then(|(_, token)| self.known.get(token.trim())) else {
            return Err(refused("InvalidAuthenticationToken", "The access token is invalid."));
        };
        if token.end <= Instant::now() {
            return Err(refused("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than now."));
        }
        // A cloud of one's own takes tokens for its resource manager, whatever that is called.
        if !AUDIENCES.contains(&token.audience.as_str()) && token.audience != authority {
            let message = format!(
                "The access token has been obtained for wrong audience or resource '{}'. It should exactly match with one of the allowed audiences '{}'.",
                token.audience,
                AUDIENCES.join("','")
            );
            return Err(refused("InvalidAuthenticationToken", &message));
        }
        if token.tenant != tenant {
            return Err(refused(
                "InvalidAuthenticationTokenTenant",
                "The access token is from the wrong issuer. It must match the tenant associated with this subscription.",
            ));
        }
        if token.powerless {
            let client = &token.principal;
            return Err(Answer::refusal(
                403,
                "AuthorizationFailed",
                format!(
                    "The client '{client}' with object id '{client}' does not have authorization to perform action '{what}' or the scope is invalid. If access was recently granted, please refresh your credentials."
                ),
            ));
        }
        Ok(token.principal.clone())
    }
}
