//! All that handlers share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::answer::Answer;
use crate::config::{Account, Behaviour};
use crate::engine::Engine;
use crate::fault::Faults;
use crate::group::{Group, Key};
use crate::limits::Limits;
use crate::operation::Operations;
use crate::record::Record;
use crate::schema::Schemas;
use crate::token::Tokens;

/// All that handlers share.
pub(crate) struct World {
    pub(crate) account: Account,
    pub(crate) folder: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) schemas: Schemas,
    pub(crate) started: Instant,
    behaviour: Mutex<Behaviour>,
    pub(crate) tokens: Mutex<Tokens>,
    pub(crate) limits: Mutex<Limits>,
    pub(crate) faults: Mutex<Faults>,
    /// Requests that are held go on with the next of these.
    pub(crate) releases: watch::Sender<()>,
    pub(crate) record: Mutex<Record>,
    pub(crate) operations: Mutex<Operations>,
    pub(crate) groups: Mutex<BTreeMap<Key, Arc<Group>>>,
}

impl World {
    pub(crate) fn new(
        account: Account,
        behaviour: Behaviour,
        folder: PathBuf,
        engine: Engine,
        schemas: Schemas,
    ) -> Self {
        Self {
            account,
            folder,
            engine,
            schemas,
            started: Instant::now(),
            behaviour: Mutex::new(behaviour),
            tokens: Mutex::default(),
            limits: Mutex::default(),
            faults: Mutex::default(),
            releases: watch::Sender::default(),
            record: Mutex::default(),
            operations: Mutex::default(),
            groups: Mutex::default(),
        }
    }

    /// How the fake behaves at the moment.
    pub(crate) fn behaviour(&self) -> Behaviour {
        lock(&self.behaviour).clone()
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.behaviour));
    }

    /// A group that is there, which may be on its way out.
    pub(crate) fn group(&self, key: &Key) -> Result<Arc<Group>, Answer> {
        let found = lock(&self.groups).get(key).filter(|group| !group.is_gone()).cloned();
        found.ok_or_else(|| {
            let Key { resource_group, name, .. } = key;
            let message = format!(
                "The Resource 'Microsoft.ContainerInstance/containerGroups/{name}' under resource group '{resource_group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            );
            Answer::refusal(404, "ResourceNotFound", message)
        })
    }
}

/// What a mutex holds, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
