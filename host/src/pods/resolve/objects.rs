//! ConfigMaps and Secrets, one at a time by name, as the Node authorizer wants it: read when a pod needs them, kept while they
//! are followed ([`super::watches`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::{ByteString, NamespaceResourceScope};
use kube::core::Status;
use kube::{Api, Client};

use super::reads::Reads;
use super::watches::Watch;
use crate::apiserver::{innermost, timed};

/// One request for an object, or for a token.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses before a refused read is tried again; most often the first is enough.
const AUTHORIZER_LAG: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];

/// The two kinds of object that hold values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What became of one object. No `Debug`: it may hold secrets.
#[derive(PartialEq)]
pub(super) enum Lookup {
    Found(Data),
    Absent,
    Failed(String),
}

impl Lookup {
    /// It will never change.
    pub(super) fn is_immutable(&self) -> bool {
        matches!(self, Self::Found(Data { immutable: true, .. }))
    }
}

/// What an object holds.
#[derive(Default, PartialEq)]
pub(super) struct Data {
    /// `data`. Those of a ConfigMap are text; those of a Secret need not be.
    pub(super) values: BTreeMap<String, Bytes>,
    /// A ConfigMap's `binaryData`, which an environment does not have, as with the kubelet.
    pub(super) binary: BTreeMap<String, Bytes>,
    /// A Secret's `type`.
    pub(super) kind: String,
    pub(super) immutable: bool,
}

impl Data {
    /// The content of a file that is named after a key.
    pub(super) fn file(&self, key: &str) -> Option<&Bytes> {
        self.values.get(key).or_else(|| self.binary.get(key))
    }
}

impl From<ConfigMap> for Data {
    fn from(ConfigMap { data, binary_data, immutable, .. }: ConfigMap) -> Self {
        let text = data.into_iter().flatten().map(|(key, value)| (key, Bytes::from(value)));
        Self {
            values: text.collect(),
            binary: bytes(binary_data),
            kind: String::new(),
            immutable: immutable.unwrap_or(false),
        }
    }
}

impl From<Secret> for Data {
    fn from(Secret { data, immutable, type_, .. }: Secret) -> Self {
        Self {
            values: bytes(data),
            binary: BTreeMap::new(),
            kind: type_.unwrap_or_default(),
            immutable: immutable.unwrap_or(false),
        }
    }
}

fn bytes(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, Bytes> {
    data.into_iter().flatten().map(|(key, value)| (key, Bytes::from(value.0))).collect()
}

/// The objects that pods of this node name.
pub(super) struct Objects {
    client: Client,
    reads: Reads<Key, Lookup>,
    followed: Mutex<HashMap<Key, Weak<Watch>>>,
}

impl Objects {
    pub(super) fn new(client: Client) -> Self {
        Self { client, reads: Reads::default(), followed: Mutex::default() }
    }

    /// What a read finds that begins now or later.
    pub(super) async fn read(&self, key: &Key) -> Arc<Lookup> {
        self.reads.get(key.clone(), || self.fetch(key)).await
    }

    /// As [`read`](Self::read), but what is followed is as the watch has told it last, which costs no request. As with the
    /// kubelet that may be a moment old; whoever has it is told when it is not so any more.
    pub(super) async fn get(&self, key: &Key) -> Arc<Lookup> {
        let followed = self.followed().get(key).and_then(Weak::upgrade);
        match followed.and_then(|watch| watch.known()) {
            Some(found) => found,
            None => self.read(key).await,
        }
    }

    /// The watches that there are. An entry whose watch has ended is as good as none.
    pub(super) fn followed(&self) -> MutexGuard<'_, HashMap<Key, Weak<Watch>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn api<K>(&self, key: &Key) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn fetch(&self, key: &Key) -> Lookup {
        match key.kind {
            Kind::ConfigMap => {
                let api = self.api::<ConfigMap>(key);
                lookup(patient(is_lag, || api.get_opt(&key.name)).await)
            }
            Kind::Secret => {
                let api = self.api::<Secret>(key);
                lookup(patient(is_lag, || api.get_opt(&key.name)).await)
            }
        }
    }
}

fn lookup<T: Into<Data>>(read: kube::Result<Option<T>>) -> Lookup {
    match read {
        Ok(Some(object)) => Lookup::Found(object.into()),
        Ok(None) => Lookup::Absent,
        Err(kube::Error::Api(status)) => Lookup::Failed(status.message),
        Err(error) => Lookup::Failed(innermost(&error)),
    }
}

/// The Node authorizer learns from a watch of its own that a pod was bound to this node, so that what the pod names is forbidden
/// for as long as that lags behind.
pub(super) fn is_lag(status: &Status) -> bool {
    status.code == 403
}

/// A request that is refused because the API server lags behind is tried again for a moment.
pub(super) async fn patient<T, F: Future<Output = kube::Result<T>>>(
    is_lag: impl Fn(&Status) -> bool,
    request: impl Fn() -> F,
) -> kube::Result<T> {
    for pause in AUTHORIZER_LAG {
        match timed(READ_TIMEOUT, request()).await {
            Err(kube::Error::Api(status)) if is_lag(&status) => tokio::time::sleep(pause).await,
            other => return other,
        }
    }
    timed(READ_TIMEOUT, request()).await
}
