//! What a fake is told: whose it is, what it runs groups on, and how it behaves. The last may be changed while it runs.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a fake is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// For its certificate authority, and for what groups mount of storage accounts and repositories.
    pub folder: PathBuf,
    /// What containers run on.
    pub runs_on: RunsOn,
    /// The port of its TLS; 0: any.
    pub port: u16,
    /// The port of its metadata service and of its control; 0: any.
    pub plain_port: u16,
    /// Whose it is.
    pub account: Account,
    /// How it behaves to begin with.
    pub behaviour: Behaviour,
}

impl Config {
    /// The fake that most tests want.
    pub fn new(folder: impl Into<PathBuf>, runs_on: RunsOn) -> Self {
        let (account, behaviour) = (Account::default(), Behaviour::default());
        Self { folder: folder.into(), runs_on, port: 0, plain_port: 0, account, behaviour }
    }
}

/// What containers run on.
#[derive(Clone, Debug)]
pub enum RunsOn {
    /// A real engine.
    Docker {
        /// Its unix socket.
        socket: PathBuf,
        /// An image that has `sleep`, for what holds a group's network.
        pause: String,
    },
    /// Nothing: containers are played, for tests with more of them than a machine runs. `["sleep", "N"]` ends after so
    /// many seconds, `["exit", "N"]` at once with that code, everything else when it is stopped.
    Nothing,
}

/// Whose it is: a tenant with one application, and what its subscription has.
#[derive(Clone, Debug)]
pub struct Account {
    /// The directory.
    pub tenant: String,
    /// The subscription.
    pub subscription: String,
    /// Its resource groups.
    pub resource_groups: Vec<String>,
    /// Regions that have Container Instances.
    pub regions: Vec<String>,
    /// The application that may do everything with container groups.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The federated credential of the application; none: it has none.
    pub federated: Option<Federated>,
    /// Client ids of the machine's managed identities; the first is the one that it has if nobody chooses.
    pub identities: Vec<String>,
    /// Shares that groups may mount.
    pub shares: Vec<Share>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            tenant: "7e57a000-0000-4000-8000-000000000001".to_owned(),
            subscription: "5ab50000-0000-4000-8000-000000000002".to_owned(),
            resource_groups: vec!["pods".to_owned()],
            regions: vec!["westeurope".to_owned(), "eastus".to_owned()],
            client_id: "c11e0000-0000-4000-8000-000000000003".to_owned(),
            client_secret: "fake~secret/with+signs=&.".to_owned(),
            federated: Some(Federated {
                issuer: "https://cluster.test".to_owned(),
                subject: "system:serviceaccount:kube-system:vk-host".to_owned(),
            }),
            identities: vec!["1de00000-0000-4000-8000-000000000004".to_owned()],
            shares: vec![Share {
                account: "shares".to_owned(),
                key: "ZmFrZS1rZXk=".to_owned(),
                name: "files".to_owned(),
            }],
        }
    }
}

/// Whose tokens an application takes for its own.
#[derive(Clone, Debug)]
pub struct Federated {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
}

/// A share of a storage account.
#[derive(Clone, Debug)]
pub struct Share {
    /// The storage account.
    pub account: String,
    /// Its key.
    pub key: String,
    /// The share.
    pub name: String,
}

/// How a fake behaves. Durations are milliseconds in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Behaviour {
    /// From `Pending` to `Creating`, and once more until containers are made.
    #[serde(with = "millis")]
    pub provisioning: Duration,
    /// How long a removal takes at least.
    #[serde(with = "millis")]
    pub removal: Duration,
    /// How long lists do not know what has just been made, or removed.
    #[serde(with = "millis")]
    pub list_lag: Duration,
    /// After so long of a group whose containers do not start its provisioning has failed.
    #[serde(with = "millis")]
    pub give_up: Duration,
    /// How long containers may take to end when they are asked to.
    #[serde(with = "millis")]
    pub grace: Duration,
    /// The first pause before a container is started again; it doubles.
    #[serde(with = "millis")]
    pub back_off: Duration,
    /// The longest of these.
    #[serde(with = "millis")]
    pub longest_back_off: Duration,
    /// `Retry-After` of operations, in seconds; none: they have none.
    pub retry_after: Option<u32>,
    /// How a token lives.
    #[serde(with = "millis")]
    pub token_life: Duration,
    /// Which headers tell of operations.
    pub headers: Headers,
    /// Groups on a page of a list.
    pub page: usize,
    /// How often a container is started again although its group is never restarted: after another code than 0 the platform may do so.
    pub restarts_of_never: u32,
    /// Whether the resource manager's rates are kept.
    pub arm_limits: bool,
    /// Whether the rates of Container Instances are kept.
    pub aci_limits: bool,
    /// How many times the usual rates the subscription has.
    pub factor: f64,
    /// Rates of Container Instances that are others: so many creates in so long, and as many deletes.
    pub acts: Option<Vec<Rate>>,
    /// Groups in a region.
    pub groups: u32,
    /// Cores in a region.
    pub cores: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            provisioning: Duration::from_millis(100),
            removal: Duration::from_millis(100),
            list_lag: Duration::ZERO,
            give_up: Duration::from_secs(30 * 60),
            grace: Duration::from_secs(1),
            back_off: Duration::from_secs(10),
            longest_back_off: Duration::from_secs(300),
            retry_after: Some(1),
            token_life: Duration::from_secs(3599),
            headers: Headers::Both,
            page: 100,
            restarts_of_never: 0,
            arm_limits: true,
            aci_limits: true,
            factor: 1.0,
            acts: None,
            groups: 100,
            cores: 100.0,
        }
    }
}

/// So many in any time of so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rate {
    /// So many.
    pub most: f64,
    /// In so long.
    #[serde(with = "millis")]
    pub window: Duration,
}

/// The published rates of Container Instances.
const ACTS: [Rate; 2] =
    [Rate { most: 100.0, window: Duration::from_secs(300) }, Rate { most: 300.0, window: Duration::from_secs(3600) }];

impl Behaviour {
    /// The rates of creates, and of deletes.
    pub(crate) fn rates(&self) -> Vec<Rate> {
        let published = || ACTS.map(|rate| Rate { most: rate.most * self.factor, ..rate }).to_vec();
        self.acts.clone().unwrap_or_else(published)
    }
}

/// Which headers tell of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Headers {
    /// `Azure-AsyncOperation` and `Location`.
    Both,
    /// The first alone.
    AsyncOperation,
    /// The second alone.
    Location,
    /// Neither: the group itself tells.
    None,
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
