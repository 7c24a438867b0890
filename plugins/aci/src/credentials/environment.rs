//! Variables of the host's environment, and the files that they name.

use vk_provider::config;

use super::document::Document;
use super::mistakes::Mistakes;
use super::{Fields, Rank, Said, is_absolute};

/// The file of an AKS node.
pub(super) const AKS_FILE: &str = "AKS_CREDENTIAL_LOCATION";
/// The file of credentials.
pub(super) const AUTH_FILE: &str = "AZURE_AUTH_LOCATION";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// Variables, each with a sentence for the operator.
pub(super) const WANTED: [(&str, &str); 11] = [
    (AUTH_FILE, "names the file of credentials (credentials.json)"),
    (AKS_FILE, "names the file of an AKS node (azure.json)"),
    ("AZURE_SUBSCRIPTION_ID", "says who pays"),
    ("AZURE_TENANT_ID", "says in whose directory one signs in"),
    ("AZURE_CLIENT_ID", "says as which application, or managed identity, one signs in"),
    ("AZURE_CLIENT_SECRET", "signs in to Azure"),
    (TOKEN_FILE, "names the token of a workload identity"),
    ("VIRTUALNODE_USER_IDENTITY_CLIENTID", "says as which managed identity one signs in"),
    ("AZURE_AUTHORITY_HOST", "says where one signs in"),
    ("AZURE_ENVIRONMENT", "says which of Azure's clouds is meant"),
    ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "says where a managed identity's tokens come from"),
];

/// Files, by the variable that names them.
pub(super) const FILES: [(&str, &str); 3] = [
    (AUTH_FILE, "the credentials that AZURE_AUTH_LOCATION names"),
    (AKS_FILE, "the credentials of the AKS node that AKS_CREDENTIAL_LOCATION names"),
    (TOKEN_FILE, "the workload identity's token that AZURE_FEDERATED_TOKEN_FILE names; read anew each time"),
];

/// Whether any of them is there.
pub(super) fn is_any_set() -> bool {
    WANTED.iter().any(|(name, _)| variable(name).is_some())
}

/// A variable. What comes from a file or a Secret often ends with a newline that nobody meant.
fn variable(name: &str) -> Option<Said> {
    let value = config::variable(name)?.trim().to_owned();
    (!value.is_empty()).then(|| Said { value, rank: Rank::Environment, field: name.to_owned(), file: None })
}

/// What the variables say.
pub(super) fn read(mistakes: &mut Mistakes) -> Fields {
    Fields {
        cloud: variable("AZURE_ENVIRONMENT"),
        authority: variable("AZURE_AUTHORITY_HOST"),
        metadata: variable("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        tenant: variable("AZURE_TENANT_ID"),
        subscription: variable("AZURE_SUBSCRIPTION_ID"),
        client_id: variable("AZURE_CLIENT_ID"),
        secret: variable("AZURE_CLIENT_SECRET"),
        token_file: path(TOKEN_FILE, mistakes),
        identity: variable("VIRTUALNODE_USER_IDENTITY_CLIENTID"),
        ..Fields::default()
    }
}

/// The path that a variable is.
fn path(name: &str, mistakes: &mut Mistakes) -> Option<Said> {
    let said = variable(name)?;
    if is_absolute(&said.value) {
        return Some(said);
    }
    mistakes.of(&said, format_args!("{:?} must be an absolute path, as the host reads the file", said.value));
    None
}

/// The file that a variable names; none: there is none, or what is wrong with it is noted.
pub(super) fn file(variable: &str, mistakes: &mut Mistakes) -> Option<Document> {
    let path = path(variable, mistakes)?.value;
    let rank = if variable == AKS_FILE { Rank::AksFile } else { Rank::AuthFile };
    match config::file(&path) {
        Ok(content) => Document::parse(path, rank, &content, variable, mistakes),
        Err(error) => {
            mistakes.unread(variable, &path, error);
            None
        }
    }
}
