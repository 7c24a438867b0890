//! Azure itself: `just test-azure` runs the tests that it can pass, by the credentials that variables give, and
//! leaves nothing there.
//!
//! ```text
//! just test-azure ─▶ run() ─▶ the same program, its ignored tests: control plane, hosts ─▶ Azure
//!                      └── once they have ended, whatever way: groups with this run's tag are removed
//! ```
//!
//! It is asked here by plain requests, so that what is left is not looked for by what has left it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::process;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use reqwest::{Certificate, Client, Method};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;
use vk_tests::cluster::{OTHER_PATIENCE, within};

use crate::cloud::Access;

/// Set: tests are run against Azure itself, and this is their run, which all their hosts have for their cluster's id.
const RUN: &str = "VK_TEST_AZURE_RUN";
/// Set: the tests are to be run so.
const CHOICE: &str = "VK_TEST_AZURE";
/// Another image with a shell, for those who cannot pull Microsoft's.
const IMAGE: &str = "VK_TEST_AZURE_IMAGE";
/// Further flags of hosts, for those whose Azure is not the public one: grants, above all.
const FLAGS: &str = "VK_TEST_AZURE_FLAGS";
/// Words of which one must be in a test's name.
const ONLY: &str = "VK_TEST_ONLY";
/// Tests that need nothing of a fake, by words in their names.
const ABLE: [&str; 8] = [
    "pods::",
    "rows::containers::",
    "rows::environment::",
    "rows::logs::",
    "rows::network::",
    "rows::probes::",
    "rows::resources::",
    "rows::volumes::",
];
/// Tests at once: a subscription may have ten cores at first, and no test takes more than five.
const AT_ONCE: &str = "2";

/// A small image of Microsoft's own that has a shell.
const HELLO: &str = "mcr.microsoft.com/azuredocs/aci-helloworld";
const VERSION: &str = "api-version=2023-05-01";
/// How often it is asked, and how long what it was asked for may take.
const EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(600);

/// The tests are to be run against Azure.
pub(crate) fn is_chosen() -> bool {
    env::var_os(CHOICE).is_some() && !is_meant()
}

/// This is such a run.
pub(crate) fn is_meant() -> bool {
    env::var_os(RUN).is_some()
}

/// A variable that has to be there.
pub(crate) fn variable(name: &str) -> Result<String> {
    env::var(name).ok().filter(|value| !value.is_empty()).with_context(|| format!("{name} is not set"))
}

pub(crate) fn image() -> String {
    variable(IMAGE).unwrap_or_else(|_| HELLO.to_owned())
}

/// What a host reaches it with: the variables that this program was given, and no more.
pub(crate) fn access() -> Result<Access> {
    let mut access = Access::default();
    access.flags.extend([
        "--cluster-id".to_owned(),
        variable(RUN)?,
        "--grant".to_owned(),
        "environment=AZURE_*".to_owned(),
    ]);
    if let Ok(file) = variable("AZURE_AUTH_LOCATION") {
        access.flags.extend(["--grant".to_owned(), format!("file={file}")]);
    }
    access.flags.extend(variable(FLAGS).unwrap_or_default().split_whitespace().map(str::to_owned));
    // Who is asked, which authorities are the system's, and which way is out.
    let is_meant = |name: &str| {
        let upper = name.to_uppercase();
        name.starts_with("AZURE_") || name == "SSL_CERT_FILE" || upper.ends_with("_PROXY")
    };
    access.variables = env::vars().filter(|(name, _)| is_meant(name)).collect();
    Ok(access)
}

/// Runs the tests, and removes what they have left.
pub(crate) fn run() -> Result<()> {
    let azure = Azure::of_variables()?;
    let run = format!("vk-test-{}-{}", process::id(), Timestamp::now().as_millisecond());
    let only = variable(ONLY).unwrap_or_else(|_| ABLE.join(" "));
    let mut tests = tokio::process::Command::new(env::current_exe()?);
    tests
        .args(["--ignored", "--test-threads", AT_ONCE])
        .args(only.split_whitespace())
        .env(RUN, &run)
        .env(OTHER_PATIENCE, PATIENCE.as_secs().to_string())
        .kill_on_drop(true);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut running = tests.spawn()?;
        let (mut asked, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let status = tokio::select! {
            status = running.wait() => Some(status?),
            _ = tokio::signal::ctrl_c() => None,
            _ = asked.recv() => None,
            _ = hung_up.recv() => None,
        };
        running.kill().await.ok();
        let left = azure.sweep(&run).await.with_context(|| {
            format!(
                "groups may be left that cost something: those of this resource group whose tag ClusterID is {run:?}"
            )
        })?;
        ensure!(
            status.is_some_and(|status| status.success()),
            "see above; groups that were left, and are removed: {left}"
        );
        ensure!(left == 0, "the tests passed, but not all groups were gone, and are removed: {left}");
        Ok(())
    })
}

/// Azure's resource manager, as an application sees it.
pub(crate) struct Azure {
    client: Client,
    /// Where one signs in, and with what.
    sign_in: String,
    form: Vec<(&'static str, String)>,
    token: OnceCell<String>,
    manager: String,
    /// The path of the resource group's container groups.
    groups: String,
}

impl Azure {
    /// By the variables that a host reads, and the file that one of them names: an application with a secret.
    pub(crate) fn of_variables() -> Result<Self> {
        let file: Value = match variable("AZURE_AUTH_LOCATION") {
            Ok(path) => {
                let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
                serde_json::from_str(text.trim_start_matches('\u{feff}')).with_context(|| format!("read {path}"))?
            }
            Err(_) => Value::Null,
        };
        let in_file = |key: &str| file[key].as_str().map(|value| value.trim_end_matches('/').to_owned());
        let said = |name: &str, key: &str| {
            variable(name).ok().or_else(|| in_file(key)).with_context(|| format!("neither {name} nor {key} is there"))
        };
        let authority = in_file("activeDirectoryEndpointUrl").unwrap_or("https://login.microsoftonline.com".to_owned());
        let manager = in_file("resourceManagerEndpointUrl").unwrap_or("https://management.azure.com".to_owned());
        let subscription = said("AZURE_SUBSCRIPTION_ID", "subscriptionId")?;
        let group = variable("ACI_RESOURCE_GROUP")?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder().timeout(Duration::from_secs(60));
        for authority in rustls_native_certs::load_native_certs().certs {
            client = client.add_root_certificate(Certificate::from_der(&authority)?);
        }
        Ok(Self {
            client: client.build()?,
            sign_in: format!("{authority}/{}/oauth2/v2.0/token", said("AZURE_TENANT_ID", "tenantId")?),
            form: vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", said("AZURE_CLIENT_ID", "clientId")?),
                ("client_secret", said("AZURE_CLIENT_SECRET", "clientSecret")?),
                ("scope", format!("{manager}/.default")),
            ],
            token: OnceCell::new(),
            groups: format!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerInstance/containerGroups"
            ),
            manager,
        })
    }

    /// The groups that a node of this run has, each whole.
    pub(crate) async fn groups_of(&self, node: &str) -> Result<Vec<Value>> {
        let mut groups = Vec::new();
        for group in self.with_tag("ClusterID", &variable(RUN)?).await? {
            if group["tags"]["NodeName"] == node {
                let path = group["id"].as_str().context("a group without an id")?;
                groups.extend(self.ask(Method::GET, &format!("{}{path}?{VERSION}", self.manager)).await?);
            }
        }
        Ok(groups)
    }

    /// Removes the groups of a run and waits until Azure has none. Returns how many there were.
    async fn sweep(&self, run: &str) -> Result<usize> {
        // What was sent last may still be made.
        tokio::time::sleep(EVERY).await;
        let left = RefCell::new(BTreeSet::new());
        // An error is asked about again: what is left costs something.
        within(PATIENCE, "no group is left", || async {
            let there = self.with_tag("ClusterID", run).await?;
            for group in &there {
                let path = group["id"].as_str().context("a group without an id")?;
                if left.borrow_mut().insert(path.to_owned()) {
                    writeln!(io::stderr(), "left: {path}")?;
                }
                self.ask(Method::DELETE, &format!("{}{path}?{VERSION}", self.manager)).await?;
            }
            Ok(there.is_empty().then_some(()))
        })
        .await?;
        Ok(left.into_inner().len())
    }

    /// All groups with this tag, without instance views.
    async fn with_tag(&self, name: &str, value: &str) -> Result<Vec<Value>> {
        // Tests look again at once, and Azure counts requests.
        tokio::time::sleep(EVERY).await;
        let mut found = Vec::new();
        let mut next = Some(format!("{}{}?{VERSION}", self.manager, self.groups));
        while let Some(url) = next {
            let page = self.ask(Method::GET, &url).await?.with_context(|| format!("{url} is not there"))?;
            let groups = page["value"].as_array().into_iter().flatten();
            found.extend(groups.filter(|group| group["tags"][name] == value).cloned());
            next = page["nextLink"].as_str().map(str::to_owned);
        }
        Ok(found)
    }

    /// Sends a request; none: what it is about is not there.
    async fn ask(&self, method: Method, url: &str) -> Result<Option<Value>> {
        let token = self.token.get_or_try_init(|| self.sign_in()).await?;
        let answer = self.client.request(method, url).bearer_auth(token).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        match status.as_u16() {
            404 => Ok(None),
            200..300 if text.is_empty() => Ok(Some(Value::Null)),
            200..300 => Ok(Some(serde_json::from_str(&text)?)),
            _ => bail!("{url}: {status} {text}"),
        }
    }

    async fn sign_in(&self) -> Result<String> {
        let answer = self.client.post(&self.sign_in).form(&self.form).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        // A refusal says why, and nothing of the secret.
        ensure!(status.is_success(), "{}: {status} {text}", self.sign_in);
        let answer: Value = serde_json::from_str(&text)?;
        Ok(answer["access_token"].as_str().context("an answer without a token")?.to_owned())
    }
}
