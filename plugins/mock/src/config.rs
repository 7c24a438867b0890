//! The mock's configuration: what the node offers, and faults of the whole backend.
//!
//! TOML, or what Virtual Kubelet's mock takes: JSON with one entry a node.
//!
//! ```toml
//! cpu = "20"
//! memory = "100Gi"
//! pods = "20"
//! providerID = "mock://rack-7"
//! wants = ["http https://example.com:443"]
//! wants-of-file = "/etc/mock/wants"
//! budgets = [{ origin = "https://example.com:443", requests = 5, window = "1s" }]
//! resolvesLate = true
//! [others]
//! "nvidia.com/gpu" = "4"
//! [faults]
//! ping = "unavailable"
//! ```

use std::fmt;
use std::str::FromStr;

use vk_provider::config::{self, Form, Format};
use vk_provider::plugin::Budget;
use vk_provider::quantity::{NotAQuantity, Quantity};
use vk_provider::{Error, Result};

use crate::fault::Fault;
use crate::wants::{self, Wanted};

/// Virtual Kubelet's own defaults.
const CPU: &str = "20";
const MEMORY: &str = "100Gi";
const PODS: &str = "20";

/// What the operator set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) cpu: Capacity,
    pub(crate) memory: Capacity,
    pub(crate) pods: Capacity,
    pub(crate) others: Vec<(String, Capacity)>,
    pub(crate) provider_id: Option<String>,
    pub(crate) wants: Vec<Wanted>,
    /// A file that is wanted, and whose lines are wanted once it is granted.
    pub(crate) wants_of_file: Option<String>,
    pub(crate) budgets: Vec<Budget>,
    /// Pods with values that need their IP are taken.
    pub(crate) resolves_late: bool,
    pub(crate) faults: Faults,
}

/// Faults of calls that are about no single pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Faults {
    pub(crate) ping: Option<Fault>,
    pub(crate) get_pods: Option<Fault>,
    pub(crate) changes: Option<Fault>,
}

/// A quantity that a node can have, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capacity(pub(crate) String);

impl FromStr for Capacity {
    type Err = NotACapacity;

    fn from_str(text: &str) -> Result<Self, NotACapacity> {
        let quantity: Quantity = text.parse().map_err(NotACapacity::Quantity)?;
        if quantity.is_negative() { Err(NotACapacity::Negative(text.to_owned())) } else { Ok(Self(text.to_owned())) }
    }
}

/// Why a text is no capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotACapacity {
    Quantity(NotAQuantity),
    Negative(String),
}

impl fmt::Display for NotACapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantity(why) => why.fmt(f),
            Self::Negative(text) => write!(f, "{text:?} is below zero; a node has 0 or more"),
        }
    }
}

/// A fault that needs no pod.
struct NodeFault(Fault);

impl FromStr for NodeFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault: Fault = text.parse()?;
        if fault.times.is_some() || fault.kind.acts_first() {
            return Err(format!("{text:?}: `times` and the kinds that act first need a pod"));
        }
        Ok(Self(fault))
    }
}

impl Config {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(crate) fn read() -> Result<Self, Vec<Error>> {
        let text = config::text().map_err(|error| vec![error])?.unwrap_or_default();
        Self::parse(&text, &config::node().name)
    }

    /// As [`Config::read`], for calls that can tell one error only: the file changed after `configure`.
    pub(crate) fn now() -> Result<Self> {
        Self::read().map_err(config::first)
    }

    fn parse(text: &str, node: &str) -> Result<Self, Vec<Error>> {
        let mut form = Form::parse(text)?;
        if form.format() == Format::Toml {
            let config = Self::from_form(&mut form);
            form.finish()?;
            return Ok(config);
        }
        let mut config = None;
        let names: Vec<String> = form.keys().map(str::to_owned).collect();
        for name in names {
            form.table_named(&name, |table| {
                if name == node {
                    config = Some(Self::from_form(table));
                } else {
                    // Other nodes share the file; theirs is not ours to judge.
                    table.ignore_rest();
                }
            });
        }
        form.finish()?;
        Ok(config.unwrap_or_else(|| Self::from_form(&mut Form::empty())))
    }

    fn from_form(form: &mut Form) -> Self {
        let mut capacity = |key, default: &str| form.parsed(key).unwrap_or_else(|| Capacity(default.to_owned()));
        let (cpu, memory, pods) = (capacity("cpu", CPU), capacity("memory", MEMORY), capacity("pods", PODS));
        let provider_id = form.text("providerID");
        let wants = form.list("wants").unwrap_or_default();
        let wants_of_file = form.text("wants-of-file");
        let budgets = form.tables("budgets", wants::budget).unwrap_or_default();
        let resolves_late = form.parsed("resolvesLate").unwrap_or_default();
        let others = form.table("others", others).unwrap_or_default();
        let faults = form.table("faults", Faults::from_form).unwrap_or_default();
        // One with a mistake is told, and the configuration with it.
        let budgets = budgets.into_iter().flatten().collect();
        Self { cpu, memory, pods, others, provider_id, wants, wants_of_file, budgets, resolves_late, faults }
    }
}

fn others(table: &mut Form) -> Vec<(String, Capacity)> {
    let names: Vec<String> = table.keys().map(str::to_owned).collect();
    for name in names {
        let line = table.line_of(&name);
        if ["cpu", "memory", "pods"].contains(&name.as_str()) {
            table.mistake(&name, line, format_args!("it has a key of its own outside of [others]: {name}"));
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) || name.is_empty() {
            table.mistake(&name, line, "this is no name of a resource; write it like \"nvidia.com/gpu\"");
        }
    }
    table.rest()
}

impl Faults {
    fn from_form(table: &mut Form) -> Self {
        let mut fault = |key| table.parsed(key).map(|NodeFault(fault)| fault);
        Self { ping: fault("ping"), get_pods: fault("get-pods"), changes: fault("changes") }
    }
}

/// The faults as they are now. Called often, so that a text without the word is not read.
pub(crate) fn faults() -> Result<Faults> {
    match config::text()? {
        Some(text) if text.contains("faults") => {
            Ok(Config::parse(&text, &config::node().name).map_err(config::first)?.faults)
        }
        _ => Ok(Faults::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(text: &str) -> Vec<String> {
        let config = Config::parse(text, "vk").unwrap();
        let others = config.others.into_iter().map(|(name, amount)| format!("{name}={}", amount.0));
        [config.cpu.0, config.memory.0, config.pods.0].into_iter().chain(config.provider_id).chain(others).collect()
    }

    #[test]
    fn toml_json_and_nothing_are_understood() {
        assert_eq!(offers(""), ["20", "100Gi", "20"]);
        assert_eq!(
            offers("cpu = \"4\"\npods = 7\nproviderID = \"mock://x\"\n[others]\n\"nvidia.com/gpu\" = \"2\""),
            ["4", "100Gi", "7", "mock://x", "nvidia.com/gpu=2"]
        );
        let json = r#"{"other": {"whatever": 1}, "vk": {"cpu": "2", "memory": "32Gi", "pods": "128",
            "others": {"nvidia.com/gpu": "1"}, "providerID": "mock://y"}}"#;
        assert_eq!(offers(json), ["2", "32Gi", "128", "mock://y", "nvidia.com/gpu=1"]);
        assert_eq!(offers(r#"{"other": {"cpu": "2"}}"#), ["20", "100Gi", "20"]);
        assert_eq!(offers("cpu = 1.5\nmemory = 1e9"), ["1.5", "1000000000", "20"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "cpu = \"4 cores\"\nmemory = true\npods = \"-1\"\nmemmory = \"1Gi\"\n[others]\ncpu = \"1\"\n\"a b\" = \"1\"\n\
                    gpu = []\n[faults]\nping = \"gone\"\nget-pods = \"lost\"\nchanges = \"trap times=2\"\npong = \"hang\"\n";
        let mistakes = Config::parse(text, "vk").unwrap_err();
        let told: Vec<(String, String)> = mistakes
            .into_iter()
            .map(|error| (error.field.unwrap(), error.message.split(';').next().unwrap().to_owned()))
            .collect();
        let told: Vec<(&str, &str)> = told.iter().map(|(field, message)| (field.as_str(), message.as_str())).collect();
        for expected in [
            ("cpu", "line 1: \"4 cores\" is not a quantity: \" cores\" is no unit"),
            ("memory", "line 2: \"true\" is not a quantity: it has no number"),
            ("pods", "line 3: \"-1\" is below zero"),
            ("memmory", "line 4: unknown key"),
            ("others.cpu", "line 6: it has a key of its own outside of [others]: cpu"),
            ("others.a b", "line 7: this is no name of a resource"),
            ("others.gpu", "line 8: it must be a single value, not a list"),
            ("faults.get-pods", "line 11: \"lost\": `times` and the kinds that act first need a pod"),
            ("faults.changes", "line 12: \"trap times=2\": `times` and the kinds that act first need a pod"),
            ("faults.pong", "line 13: unknown key"),
        ] {
            assert!(told.contains(&expected), "{expected:?} not in {told:#?}");
        }
        assert!(told.iter().any(|(field, _)| *field == "faults.ping"));
        assert_eq!(told.len(), 11);
    }

    #[test]
    fn a_flat_json_file_is_told_what_is_missing() {
        let mistakes = Config::parse("{\n\"cpu\": \"4\"}", "vk").unwrap_err();
        assert_eq!(mistakes[0].message, "line 2: it must be a table, not the string \"4\"");
    }

    #[test]
    fn faults_are_read_anew() {
        vk_provider::testing::reset();
        assert_eq!(faults().unwrap(), Faults::default());
        vk_provider::testing::configure("[faults]\nping = \"unavailable\"");
        assert_eq!(faults().unwrap().ping, Some("unavailable".parse().unwrap()));
    }
}
