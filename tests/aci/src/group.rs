//! A container group: what was asked for, without its secrets, and how it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::spec::Spec;
use crate::view::{Event, View};
use crate::world::lock;

/// Which group. Names of subscriptions, resource groups and groups have no case.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
    pub(crate) name: String,
}

impl Key {
    fn lower(&self) -> [String; 3] {
        [&self.subscription, &self.resource_group, &self.name].map(|part| part.to_lowercase())
    }

    /// The group's path in Azure.
    pub(crate) fn path(&self) -> String {
        let Self { subscription, resource_group, name } = self;
        format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.ContainerInstance/containerGroups/{name}"
        )
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.lower() == other.lower()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.lower().cmp(&other.lower())
    }
}

/// A group, from its making to its removal.
pub(crate) struct Group {
    pub(crate) key: Key,
    pub(crate) region: String,
    pub(crate) made: Instant,
    state: Mutex<State>,
}

/// What changes of it.
pub(crate) struct State {
    /// The request's body without secrets, and without what only answers have.
    pub(crate) echo: Value,
    pub(crate) spec: Arc<Spec>,
    pub(crate) provisioning: &'static str,
    /// Of the instance view.
    pub(crate) phase: &'static str,
    pub(crate) events: Vec<Event>,
    /// Of all containers, init containers too.
    pub(crate) views: BTreeMap<String, View>,
    pub(crate) logs: BTreeMap<String, Log>,
    pub(crate) ip: Option<String>,
    pub(crate) runner: Option<Runner>,
    pub(crate) gone: Option<Instant>,
}

/// Where a container's log is.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// With the engine, under the id of the last attempt.
    Engine(String),
    /// Here: the container is no more.
    Kept(String),
}

/// What runs a group, until it is told to end.
pub(crate) struct Runner {
    pub(crate) end: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Group {
    pub(crate) fn new(key: Key, region: String, echo: Value, spec: Arc<Spec>) -> Self {
        let views = spec.all().map(|container| (container.name.clone(), View::default())).collect();
        let state = State {
            echo,
            spec,
            provisioning: "Pending",
            phase: "Pending",
            events: Vec::new(),
            views,
            logs: BTreeMap::new(),
            ip: None,
            runner: None,
            gone: None,
        };
        Self { key, region, made: Instant::now(), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// It was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.state().gone.is_some()
    }

    /// Whether lists have it: they are late.
    pub(crate) fn is_listed(&self, lag: Duration) -> bool {
        self.made.elapsed() >= lag && self.state().gone.is_none_or(|gone| gone.elapsed() < lag)
    }

    /// Something is under way with it.
    pub(crate) fn is_transitioning(&self) -> bool {
        matches!(self.state().provisioning, "Pending" | "Creating" | "Updating" | "Deleting")
    }

    /// As the API shows it; `whole`: with its instance views, which lists lack.
    pub(crate) fn shown(&self, whole: bool) -> Value {
        let state = self.state();
        let mut shown = state.echo.clone();
        if let Some(object) = shown.as_object_mut() {
            object.insert("id".to_owned(), json!(self.key.path()));
            object.insert("name".to_owned(), json!(self.key.name));
            object.insert("type".to_owned(), json!("Microsoft.ContainerInstance/containerGroups"));
        }
        let Some(properties) = shown.get_mut("properties").and_then(Value::as_object_mut) else { return shown };
        properties.insert("provisioningState".to_owned(), json!(state.provisioning));
        state.show_address(&self.region, properties);
        if whole {
            state.show_views(properties);
        }
        shown
    }
}

impl State {
    /// Adds to the group's events.
    pub(crate) fn event(&mut self, name: &str, kind: &str, message: &str) {
        Event::add(&mut self.events, name, kind, message);
    }

    /// The view of one of its containers.
    pub(crate) fn view(&mut self, container: &str) -> &mut View {
        self.views.entry(container.to_owned()).or_default()
    }

    fn show_address(&self, region: &str, properties: &mut Map<String, Value>) {
        let is_private = properties.get("subnetIds").and_then(Value::as_array).is_some_and(|ids| !ids.is_empty());
        if is_private && !properties.contains_key("ipAddress") {
            properties.insert("ipAddress".to_owned(), json!({"type": "Private", "ports": []}));
        }
        let Some(address) = properties.get_mut("ipAddress").and_then(Value::as_object_mut) else { return };
        if let Some(ip) = &self.ip {
            address.insert("ip".to_owned(), json!(ip));
        }
        if let Some(label) = address.get("dnsNameLabel").and_then(Value::as_str).map(str::to_owned) {
            address.insert("fqdn".to_owned(), json!(format!("{label}.{region}.azurecontainer.io")));
        }
    }

    fn show_views(&self, properties: &mut Map<String, Value>) {
        // A group for which a place is looked for has none.
        if self.provisioning == "Pending" {
            return;
        }
        for list in ["containers", "initContainers"] {
            let containers = properties.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let Some(of) = container.get_mut("properties").and_then(Value::as_object_mut) else { continue };
                if let Some(view) = self.views.get(&name) {
                    of.insert("instanceView".to_owned(), view.shown());
                }
            }
        }
        let events: Vec<Value> = self.events.iter().map(Event::shown).collect();
        properties.insert("instanceView".to_owned(), json!({"events": events, "state": self.phase}));
    }
}
