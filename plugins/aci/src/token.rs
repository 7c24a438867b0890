//! One token for all callers.
//!
//! It lives in the store, with a time to live: so it is in the host's memory and never on its disk. Whoever finds none
//! queues up, and one of them asks for it. Whoever finds it old asks for the next, alone, while all others go on with
//! the one that is there. What was refused is kept for a moment too, so that a queue is not so many refusals one after
//! the other, which in the end would be answered with 429 alone.

mod entra;
mod issued;
mod metadata;
mod refused;
#[cfg(test)]
mod tests;
mod tries;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::store::{self, Expect};
use vk_provider::time::Time;
use vk_provider::{clock, log};

use crate::failure::{Failure, Result};
use crate::{Account, Credential, Redacted};
use issued::Issued;
pub use refused::SignIn;
use tries::Patience;

/// Of one turn. Longer than a metadata service may take to come back.
const TURN: Duration = Duration::from_secs(90);
/// A token is renewed so long before its end, or at half of its life if that is shorter.
const EARLY: Duration = Duration::from_secs(300);
/// Nobody begins with a token that ends so soon: requests take their time, and clocks differ.
const LAST: Duration = Duration::from_secs(30);
/// After a renewal that failed the next one waits so long. The old token still serves.
const PAUSE: Duration = Duration::from_secs(30);
/// A refusal counts for all so long. Whoever mends a secret does not wait for it.
const REFUSED: Duration = Duration::from_secs(5);
/// A token that is younger is not what was refused: with another one it would be no different.
const YOUNG: Duration = Duration::from_secs(60);

/// What is in the store.
#[derive(Debug, Serialize, Deserialize)]
enum Kept {
    Token(Token),
    Refused(SignIn),
}

/// A token, for the header of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    value: Redacted,
    /// Unix milliseconds, as are the others.
    issued: u64,
    renew: u64,
    end: u64,
    /// Of the entry that it was read from.
    #[serde(skip)]
    revision: u64,
}

impl Token {
    fn new(issued: Issued) -> Self {
        let now = clock::now();
        let early = issued.renew.unwrap_or_else(|| issued.life.saturating_sub(EARLY.min(issued.life / 2)));
        let at = |after: Duration| (now + after).as_millis();
        Self { value: issued.token, issued: at(Duration::ZERO), renew: at(early), end: at(issued.life), revision: 0 }
    }

    /// As it stands in the header.
    pub(crate) fn expose(&self) -> &str {
        self.value.expose()
    }

    fn is_old(&self) -> bool {
        self.renew <= clock::now().as_millis()
    }

    fn is_young(&self) -> bool {
        clock::now().since(Time::from_millis(self.issued)) < YOUNG
    }

    /// Puts it where all find it.
    fn keep(mut self, key: &str) -> Result<Self> {
        let left = Time::from_millis(self.end).since(clock::now());
        let kept = Kept::Token(self.clone());
        self.revision = store::put(key, &kept, Expect::Anything, Some(left.saturating_sub(LAST.min(left / 2))))?;
        Ok(self)
    }
}

/// A token for the resource manager.
///
/// # Errors
/// It was refused, the store does not answer, or the host wants the call to end.
pub(crate) fn get(account: &Account) -> Result<Token> {
    let key = key(account);
    match kept(&key)? {
        Some(token) if token.is_old() => renewed(account, &key, token),
        Some(token) => Ok(token),
        None => first(account, &key),
    }
}

/// Another token than one that was refused; none: it is too young to be at fault.
///
/// # Errors
/// As [`get`].
pub(crate) fn another(account: &Account, refused: &Token) -> Result<Option<Token>> {
    if refused.is_young() {
        return Ok(None);
    }
    match store::remove(&key(account), Expect::Revision(refused.revision)) {
        // Somebody was quicker.
        Err(failure) if failure.is_conflict() => {}
        result => result?,
    }
    get(account).map(Some)
}

/// Waits for its turn, and asks for a token if nobody has done so meanwhile.
fn first(account: &Account, key: &str) -> Result<Token> {
    let turn = store::acquire(key, TURN);
    turn.wait()?;
    if let Some(token) = kept(key)? {
        return Ok(token);
    }
    match ask(account, Patience::Long) {
        Ok(issued) => Token::new(issued).keep(key),
        Err(refused) if refused.is_cancelled() => Err(refused.into()),
        Err(refused) => {
            let time = refused.retry_after().unwrap_or_default().max(REFUSED);
            store::put(key, &Kept::Refused(refused.clone()), Expect::Anything, Some(time))?;
            Err(refused.into())
        }
    }
}

/// A newer token, or this one if somebody else is at it, or if there is none.
fn renewed(account: &Account, key: &str, old: Token) -> Result<Token> {
    let turn = store::acquire(key, TURN);
    if !turn.held() {
        return Ok(old);
    }
    match kept(key)? {
        Some(newer) if !newer.is_old() => return Ok(newer),
        _ => {}
    }
    match ask(account, Patience::None) {
        Ok(issued) => Token::new(issued).keep(key),
        Err(refused) if refused.is_cancelled() => Ok(old),
        Err(refused) => {
            log!("no new token yet, the old one goes on: {refused}");
            let pause = refused.retry_after().unwrap_or_default().max(PAUSE);
            Token { renew: (clock::now() + pause).as_millis(), ..old }.keep(key)
        }
    }
}

fn ask(account: &Account, patience: Patience) -> Result<Issued, SignIn> {
    match &account.credential {
        Credential::Secret { client_id, secret } => entra::with_secret(account, client_id, secret, patience),
        Credential::Federated { client_id, token_file } => entra::with_token(account, client_id, token_file, patience),
        Credential::Managed { client_id } => metadata::ask(account, client_id.as_deref(), patience),
    }
}

/// What all have; none: nobody has asked yet.
fn kept(key: &str) -> Result<Option<Token>> {
    match store::get::<Kept>(key)? {
        Some(store::Versioned { value: Kept::Token(token), revision }) => Ok(Some(Token { revision, ..token })),
        Some(store::Versioned { value: Kept::Refused(refused), .. }) => Err(Failure::SignIn(refused)),
        None => Ok(None),
    }
}

/// Whoever signs in as somebody else, or elsewhere, has another token.
fn key(account: &Account) -> String {
    let (kind, client) = match &account.credential {
        Credential::Secret { client_id, .. } => ("secret", client_id.as_str()),
        Credential::Federated { client_id, .. } => ("federated", client_id.as_str()),
        Credential::Managed { client_id } => ("managed", client_id.as_deref().unwrap_or_default()),
    };
    let Account { cloud, tenant, .. } = account;
    format!("token/{kind}/{}/{tenant}/{client}/{}", cloud.authority, cloud.audience)
}
