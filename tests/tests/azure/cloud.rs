//! The cloud behind a node: a fake of the test's own, or Azure itself where `just test-azure` asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use vk_fake_aci::{Config, Fake};
use vk_tests::engine::tagged;

use crate::real::{self, Azure};

/// The resource group of all tests with a fake.
const RESOURCE_GROUP: &str = "pods";

/// The cloud behind a node.
pub(crate) enum Cloud {
    /// In the hands of a test.
    Fake(Fake),
    /// Other people's too.
    Azure(Azure),
}

/// What a host reaches its cloud with.
#[derive(Default)]
pub(crate) struct Access {
    pub(crate) flags: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

/// How a host signs in to a fake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// With the application's secret.
    Secret,
    /// As the machine.
    Machine,
    /// With the cluster's token for a service account: workload identity.
    Cluster,
}

/// Where the cluster's token is, of a fake whose files are in `folder`.
pub(crate) fn federated_token(folder: &Path) -> PathBuf {
    folder.join("federated-token")
}

/// Where groups are made, as lines of the provider's configuration.
pub(crate) fn place() -> Result<String> {
    let (region, group) = if real::is_meant() {
        (real::variable("ACI_REGION")?, real::variable("ACI_RESOURCE_GROUP")?)
    } else {
        ("westeurope".to_owned(), RESOURCE_GROUP.to_owned())
    };
    Ok(format!("Region = {region:?}\nResourceGroup = {group:?}\n"))
}

/// An image with a shell that the cloud has, or can pull.
pub(crate) fn image() -> String {
    if real::is_meant() { real::image() } else { tagged(1) }
}

impl Cloud {
    /// Azure itself, if it is meant, else this fake.
    pub(crate) fn start(fake: Config) -> Result<Self> {
        Ok(if real::is_meant() { Self::Azure(Azure::of_variables()?) } else { Self::Fake(Fake::start(fake)?) })
    }

    /// What a host reaches it with. Files are in `folder`.
    pub(crate) fn access(&self, folder: &Path, sign_in: SignIn) -> Result<Access> {
        let Self::Fake(fake) = self else { return real::access() };
        let credentials = folder.join("credentials.json").display().to_string();
        let mut document = fake.auth_file();
        let mut variables = vec![("AZURE_AUTH_LOCATION", credentials.clone())];
        let (mut origins, mut files) = (vec![fake.url()], vec![credentials.clone()]);
        if let Some(fields) = document.as_object_mut().filter(|_| sign_in != SignIn::Secret) {
            fields.retain(|name, _| !["clientId", "clientSecret"].contains(&name.as_str()));
        }
        match sign_in {
            SignIn::Secret => {}
            SignIn::Machine => {
                variables.push(("AZURE_POD_IDENTITY_AUTHORITY_HOST", fake.plain_url()));
                origins.push(fake.plain_url());
            }
            SignIn::Cluster => {
                let file = federated_token(folder).display().to_string();
                fs::write(&file, fake.assertion(Duration::from_secs(3600)).context("it trusts no cluster")?)?;
                variables.push(("AZURE_CLIENT_ID", fake.account().client_id.clone()));
                variables.push(("AZURE_FEDERATED_TOKEN_FILE", file.clone()));
                files.push(file);
            }
        }
        fs::write(&credentials, document.to_string())?;
        let (authority, config) = (fake.authority().display().to_string(), folder.join("host.toml"));
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let text = format!(
            "[grants]\nhttp = {origins:?}\nenvironment = {names:?}\nfile = {files:?}\naddresses = [\"127.0.0.0/8\", \"::1/128\"]\n[tls]\ncertificate-authorities = [{authority:?}]\n"
        );
        fs::write(&config, text)?;
        Ok(Access {
            flags: vec!["--config".to_owned(), config.display().to_string()],
            variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        })
    }

    /// The groups of a node, as Azure shows each.
    pub(crate) async fn groups(&self, node: &str) -> Result<Vec<Value>> {
        match self {
            Self::Fake(fake) => Ok(fake.groups().into_iter().map(|(group, _)| group).collect()),
            Self::Azure(azure) => azure.groups_of(node).await,
        }
    }
}
