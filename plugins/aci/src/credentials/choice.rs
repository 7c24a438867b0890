//! One account of what all sources say.

use vk_provider::Error;

use super::mistakes::Mistakes;
use super::{Account, Credential, Fields, METADATA, Rank, Said, Vnet};
use crate::{Redacted, endpoint};

/// Where a value may stand that nobody gave.
const SUBSCRIPTION: (&str, &str) = ("AZURE_SUBSCRIPTION_ID", "subscriptionId");
const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "tenantId");

/// # Errors
/// Every mistake, those that were found before among them.
pub(super) fn account(fields: Fields, mut mistakes: Mistakes) -> Result<Account, Vec<Error>> {
    let account = chosen(fields, &mut mistakes);
    mistakes.finish()?;
    // Who finds no account has noted why.
    account
        .ok_or_else(|| vec![Error::internal("NoAccount", "neither an account nor a mistake was found").effect_none()])
}

/// none: what is wrong is noted.
fn chosen(mut fields: Fields, mistakes: &mut Mistakes) -> Option<Account> {
    let cloud = fields.cloud(mistakes);
    let metadata = mistakes.parsed(fields.metadata.as_ref(), |text| endpoint::parse(text, &["http", "https"]));
    let subscription =
        required(fields.subscription.take(), SUBSCRIPTION, mistakes).and_then(|said| plain(said, mistakes));
    let tenant = fields.tenant.take();
    let credential = credential(&fields, mistakes);
    let tenant = match &credential {
        // It knows its own.
        Some(Credential::Managed { .. }) | None => {
            tenant.map_or_else(|| Some(String::new()), |said| plain(said, mistakes))
        }
        Some(_) => required(tenant, TENANT, mistakes).and_then(|said| plain(said, mistakes)),
    };
    let text = |said: Option<Said>| said.map(|said| said.value);
    let (vnet, vnet_resource_group) = (text(fields.vnet), text(fields.vnet_resource_group));
    Some(Account {
        cloud,
        tenant: tenant?,
        subscription: subscription?,
        credential: credential?,
        metadata: metadata.unwrap_or_else(|| METADATA.to_owned()),
        resource_group: text(fields.resource_group),
        location: text(fields.location),
        vnet: vnet.map(|name| Vnet { name, resource_group: vnet_resource_group }),
    })
}

/// How one signs in: with a secret, else with a federated token, else as the machine.
fn credential(fields: &Fields, mistakes: &mut Mistakes) -> Option<Credential> {
    let Fields { client_id, secret, token_file, .. } = fields;
    // Where it is said. Without a secret and a token there is no other way either.
    let managed = higher(fields.identity.as_ref(), fields.managed.as_ref());
    for (first, second) in [(secret, token_file.as_ref()), (secret, managed), (token_file, managed)] {
        let (Some(first), Some(second)) = (first, second) else { continue };
        // A secret beside a token in the environment is a decision: the token is in every pod with a workload identity.
        let is_decision = first.rank == second.rank && managed != Some(second);
        if first.rank >= second.rank && !is_decision {
            let message = format_args!(
                "{} and {} are two ways to sign in, and nobody can know which is meant; unset one",
                first.place(),
                second.place()
            );
            mistakes.of(first, message);
            return None;
        }
    }
    match (secret, token_file) {
        (Some(secret), _) => {
            let client_id = beside(client_id.as_ref(), secret, mistakes)?;
            Some(Credential::Secret { client_id, secret: Redacted::from(&secret.value) })
        }
        (None, Some(token_file)) => {
            let client_id = beside(client_id.as_ref(), token_file, mistakes)?;
            Some(Credential::Federated { client_id, token_file: token_file.value.clone() })
        }
        (None, None) => managed_identity(fields, mistakes),
    }
}

/// The client id that a secret or a token is of.
fn beside(client_id: Option<&Said>, of: &Said, mistakes: &mut Mistakes) -> Option<String> {
    if client_id.is_none() {
        let name = of
            .file
            .as_ref()
            .map_or("AZURE_CLIENT_ID", |_| if of.rank == Rank::AksFile { "aadClientId" } else { "clientId" });
        mistakes.of(of, format_args!("no application is named beside it; add {name}"));
    }
    client_id.map(|said| said.value.clone())
}

fn managed_identity(fields: &Fields, mistakes: &mut Mistakes) -> Option<Credential> {
    let Fields { client_id, identity, managed, .. } = fields;
    match client_id {
        // An application in a file whose secret was forgotten is none of the machine's identities.
        Some(said)
            if said.rank != Rank::Environment
                && higher(identity.as_ref(), managed.as_ref()).is_none_or(|way| way.rank >= said.rank) =>
        {
            let secret = if said.rank == Rank::AksFile { "aadClientSecret" } else { "clientSecret" };
            let message = format_args!("it says an application and no {secret}; a certificate cannot be used");
            mistakes.missing_beside(said, message);
            return None;
        }
        Some(said) if identity.as_ref().is_some_and(|other| other.rank == said.rank && other.value != said.value) => {
            let other = identity.as_ref().map(Said::place).unwrap_or_default();
            let message = format_args!("{} and {other} name two managed identities; unset one", said.place());
            mistakes.of(said, message);
            return None;
        }
        _ => {}
    }
    let from_environment = client_id.as_ref().filter(|said| said.rank == Rank::Environment);
    let identity = higher(from_environment, identity.as_ref());
    let client_id = match identity {
        Some(said) if said.value.contains('/') => {
            mistakes.of(said, format_args!("{:?} must be the identity's client id, not its path", said.value));
            return None;
        }
        said => said.map(|said| said.value.clone()),
    };
    Some(Credential::Managed { client_id })
}

/// The one of the higher source, the first if they are of the same.
fn higher<'a>(one: Option<&'a Said>, other: Option<&'a Said>) -> Option<&'a Said> {
    one.into_iter().chain(other).min_by_key(|said| said.rank)
}

fn required(said: Option<Said>, (variable, key): (&str, &str), mistakes: &mut Mistakes) -> Option<Said> {
    if said.is_none() {
        let message = format_args!(
            "it is not set, or not granted (--grant environment={variable}), and no file that AZURE_AUTH_LOCATION or \
             AKS_CREDENTIAL_LOCATION names has {key}"
        );
        mistakes.missing(variable, message);
    }
    said
}

/// A word of an id, which stands in URLs.
fn plain(said: Said, mistakes: &mut Mistakes) -> Option<String> {
    let fits = said.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !fits {
        mistakes.of(&said, format_args!("{:?} must be an id such as 00000000-0000-0000-0000-000000000000", said.value));
    }
    fits.then_some(said.value)
}
