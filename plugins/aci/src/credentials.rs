//! Who signs in where: from the environment, the file of an AKS node and a file of credentials.
//!
//! ```text
//! AZURE_* ▸ AKS_CREDENTIAL_LOCATION (azure.json) ▸ AZURE_AUTH_LOCATION (credentials.json)
//!    └───────────── field by field, the first that has it ─────────────┘ ▸ Account
//! ```
//!
//! How one signs in follows from what there is: a secret, else a federated token, else a managed identity. Where two of
//! them are there, the higher source decides if it has the one that comes first; else nobody can know which was meant,
//! and that is a mistake.
//!
//! What the sources say wrongly is [`Code::Unauthenticated`](vk_provider::Code::Unauthenticated): an operator can mend
//! it, and no pod ends for it.

mod aks_file;
mod auth_file;
mod choice;
mod document;
mod environment;
mod mistakes;
#[cfg(test)]
mod tests;

use vk_provider::plugin::Want;
use vk_provider::{Error, config};

use crate::endpoint;
use crate::{Cloud, Redacted};
use mistakes::Mistakes;

/// Where Azure's machines get tokens for their identities.
const METADATA: &str = "http://169.254.169.254";

/// Whose groups are made, and how one signs in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Where.
    pub cloud: Cloud,
    /// Whose directory; empty: not said, as a managed identity knows its own.
    pub tenant: String,
    /// Who pays.
    pub subscription: String,
    /// How one signs in.
    pub credential: Credential,
    /// Where a managed identity's tokens come from.
    pub metadata: String,
    /// What the file of an AKS node says besides.
    pub resource_group: Option<String>,
    /// The region, such as `westeurope`. From the same file, as is the next.
    pub location: Option<String>,
    /// The cluster's network.
    pub vnet: Option<Vnet>,
}

/// A virtual network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vnet {
    /// Its name.
    pub name: String,
    /// none: the account's.
    pub resource_group: Option<String>,
}

/// How one signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// As an application, with its secret.
    Secret {
        /// The application's.
        client_id: String,
        /// Its password.
        secret: Redacted,
    },
    /// As an application that trusts somebody else's token: workload identity.
    Federated {
        /// The application's, or the identity's.
        client_id: String,
        /// Where that token is; it changes.
        token_file: String,
    },
    /// As the machine that the host runs on.
    Managed {
        /// Which of its identities; none: its own.
        client_id: Option<String>,
    },
}

/// What a source says, and how it calls it. Without `Debug`, as it may be a secret.
#[derive(Clone, PartialEq, Eq)]
struct Said {
    value: String,
    rank: Rank,
    /// `AZURE_CLIENT_ID`, or `clientId` of a file.
    field: String,
    /// none: a variable.
    file: Option<String>,
}

impl Said {
    /// For a sentence.
    fn place(&self) -> String {
        match &self.file {
            Some(file) => format!("{} in {file}", self.field),
            None => self.field.clone(),
        }
    }
}

/// Sources, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Environment,
    AksFile,
    AuthFile,
}

/// What one source says, or all of them together.
#[derive(Default)]
struct Fields {
    cloud: Option<Said>,
    authority: Option<Said>,
    resource_manager: Option<Said>,
    metadata: Option<Said>,
    tenant: Option<Said>,
    subscription: Option<Said>,
    client_id: Option<Said>,
    secret: Option<Said>,
    token_file: Option<Said>,
    /// The client id of a managed identity.
    identity: Option<Said>,
    /// It signs in as the machine does, whatever its identity.
    managed: Option<Said>,
    resource_group: Option<Said>,
    location: Option<Said>,
    vnet: Option<Said>,
    vnet_resource_group: Option<Said>,
}

impl Fields {
    /// Field by field, what this has before what the other has.
    fn over(self, lower: Self) -> Self {
        Self {
            cloud: self.cloud.or(lower.cloud),
            authority: self.authority.or(lower.authority),
            resource_manager: self.resource_manager.or(lower.resource_manager),
            metadata: self.metadata.or(lower.metadata),
            tenant: self.tenant.or(lower.tenant),
            subscription: self.subscription.or(lower.subscription),
            client_id: self.client_id.or(lower.client_id),
            secret: self.secret.or(lower.secret),
            token_file: self.token_file.or(lower.token_file),
            identity: self.identity.or(lower.identity),
            managed: self.managed.or(lower.managed),
            resource_group: self.resource_group.or(lower.resource_group),
            location: self.location.or(lower.location),
            vnet: self.vnet.or(lower.vnet),
            vnet_resource_group: self.vnet_resource_group.or(lower.vnet_resource_group),
        }
    }

    /// The endpoints that were said, over those of the cloud that was said, over those of the cloud that one of the
    /// endpoints belongs to. Of a source below the one that names the cloud no endpoint counts: credentials.json always
    /// has some.
    fn cloud(&self, mistakes: &mut Mistakes) -> Cloud {
        let mut url = |said: &Option<Said>| {
            let endpoint = mistakes.parsed(said.as_ref(), |text| endpoint::parse(text, &["https"]));
            let (rank, named) = (said.as_ref()?.rank, self.cloud.as_ref());
            endpoint.filter(|_| named.is_none_or(|cloud| rank <= cloud.rank))
        };
        let (authority, resource_manager) = (url(&self.authority), url(&self.resource_manager));
        let named = mistakes.parsed(self.cloud.as_ref(), |name| Cloud::named(name).map_err(|error| error.to_string()));
        let cloud = named.or_else(|| Cloud::with(authority.as_deref(), resource_manager.as_deref()));
        let cloud = cloud.unwrap_or_default();
        match resource_manager {
            // Two spellings of the same are the same audience.
            Some(there) if !there.eq_ignore_ascii_case(&cloud.resource_manager) => {
                Cloud::of(authority.unwrap_or(cloud.authority), there)
            }
            _ => Cloud { authority: authority.unwrap_or(cloud.authority), ..cloud },
        }
    }
}

impl Account {
    /// Variables, and the files that variables name: for `configure`, in each of its rounds.
    pub fn wants() -> Vec<Want> {
        let variables = environment::WANTED.iter().map(|(name, why)| Want::environment(*name, *why));
        let files = environment::FILES.iter().filter_map(|(variable, why)| {
            let path = config::variable(variable).filter(|path| is_absolute(path))?;
            Some(Want::file(path.trim(), *why))
        });
        variables.chain(files).collect()
    }

    /// The account, for a call.
    ///
    /// # Errors
    /// Every mistake in the sources, and what none of them says.
    pub fn read() -> Result<Self, Vec<Error>> {
        let (fields, mistakes) = gathered();
        choice::account(fields, mistakes)
    }

    /// The account, for `configure`, which is asked before variables and files are there; none: they are not there yet.
    /// If nothing is set at all that looks the same, and the first call tells.
    ///
    /// # Errors
    /// Every mistake in what is there, and, once all is there, what is missing.
    pub fn configured() -> Result<Option<Self>, Vec<Error>> {
        let (fields, mistakes) = gathered();
        if mistakes.awaits_files() || !environment::is_any_set() {
            return mistakes.finish_so_far().map(|()| None);
        }
        choice::account(fields, mistakes).map(Some)
    }

    /// Where requests go.
    pub fn origins(&self) -> Vec<Want> {
        let origin = |url: &str| endpoint::origin(url).unwrap_or_else(|| url.to_owned());
        let resource_manager =
            Want::http(origin(&self.cloud.resource_manager), "the container groups that pods become");
        let tokens = match &self.credential {
            Credential::Managed { .. } => {
                Want::http(origin(&self.metadata), "tokens for this machine's managed identity")
            }
            _ => Want::http(origin(&self.cloud.authority), "signs in to Azure"),
        };
        vec![resource_manager, tokens]
    }
}

/// What all sources say together.
fn gathered() -> (Fields, Mistakes) {
    let mut mistakes = Mistakes::default();
    let variables = environment::read(&mut mistakes);
    let aks = environment::file(environment::AKS_FILE, &mut mistakes);
    let aks = aks.map(|file| aks_file::read(file, &mut mistakes)).unwrap_or_default();
    let auth = environment::file(environment::AUTH_FILE, &mut mistakes);
    let auth = auth.map(|file| auth_file::read(file, &mut mistakes)).unwrap_or_default();
    (variables.over(aks).over(auth), mistakes)
}

fn is_absolute(path: &str) -> bool {
    path.trim().starts_with('/')
}
