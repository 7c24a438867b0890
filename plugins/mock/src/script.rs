//! The annotations of a pod: how it plays. README.md describes each.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vk_provider::{Error, Result};

use crate::cluster::Event;
use crate::fault::Fault;
use crate::fetch::{self, Command};
use crate::manifest::{Annotations, Container, PREFIX, Spec};

/// The kubelet's first back-off, in milliseconds.
const RESTART_BACKOFF: u64 = 10_000;
/// More lines than this would not be a script but a load test, and their times, a nanosecond apart, would reach the next millisecond.
const MOST_LINES: u32 = 1_000_000;

/// All annotations, read. Times are milliseconds.
#[derive(Debug, PartialEq)]
pub(crate) struct Script {
    pub(crate) start_after: u64,
    pub(crate) run_for: Scoped<u64>,
    pub(crate) exit_code: Scoped<i32>,
    pub(crate) restart_backoff: u64,
    pub(crate) stop_after: Option<u64>,
    pub(crate) vanish_after: Option<u64>,
    pub(crate) log_lines: Scoped<u32>,
    pub(crate) log_every: Scoped<u64>,
    pub(crate) log_env: bool,
    pub(crate) log_volumes: bool,
    pub(crate) log_credentials: bool,
    pub(crate) reveal_secrets: bool,
    pub(crate) ip: Option<String>,
    pub(crate) fetch: Vec<Command>,
    pub(crate) fetch_required: bool,
    pub(crate) event: Option<Event>,
    pub(crate) faults: Faults,
}

/// Faults by operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Faults {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) create: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) update: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delete: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) get: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume: Option<Fault>,
}

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A value for the ordinary containers, and for single containers of any kind: `run-for`, `run-for.web`.
#[derive(Debug, PartialEq)]
pub(crate) struct Scoped<T> {
    all: Option<T>,
    single: Vec<(String, T)>,
}

impl<T> Default for Scoped<T> {
    fn default() -> Self {
        Self { all: None, single: Vec::new() }
    }
}

impl<T: Copy> Scoped<T> {
    fn set(&mut self, container: Option<&str>, value: T) {
        match container {
            Some(name) => self.single.push((name.to_owned(), value)),
            None => self.all = Some(value),
        }
    }

    /// Of a container by its name alone: what counts for init containers.
    pub(crate) fn of(&self, container: &str) -> Option<T> {
        self.single.iter().find(|(name, _)| name == container).map(|(_, value)| *value)
    }

    /// Of an ordinary container.
    pub(crate) fn of_ordinary(&self, container: &str) -> Option<T> {
        self.of(container).or(self.all)
    }
}

const NAMES: &str = "start-after, run-for, exit-code, restart-backoff, stop-after, vanish-after, log-lines, log-every, log-env, \
                     log-volumes, log-credentials, reveal-secrets, ip, fetch, fetch-required, event, create-fault, update-fault, \
                     delete-fault, get-fault, logs-fault, volume-fault";

impl Script {
    /// Reads a pod's annotations.
    ///
    /// # Errors
    /// `invalid-argument` with the annotation, its value and what would be right.
    pub(crate) fn parse(annotations: &Annotations, spec: &Spec<'_>) -> Result<Self> {
        let mut script = Self {
            start_after: 0,
            run_for: Scoped::default(),
            exit_code: Scoped::default(),
            restart_backoff: RESTART_BACKOFF,
            stop_after: None,
            vanish_after: None,
            log_lines: Scoped::default(),
            log_every: Scoped::default(),
            log_env: false,
            log_volumes: false,
            log_credentials: false,
            reveal_secrets: false,
            ip: None,
            fetch: Vec::new(),
            fetch_required: false,
            event: None,
            faults: Faults::default(),
        };
        for (name, value) in &annotations.0 {
            script.set(name, value, spec).map_err(|why| refusal(name, &why))?;
        }
        script.check_exit_codes(spec)?;
        Ok(script)
    }

    /// Something is asked for before the workload is made.
    pub(crate) const fn asks(&self) -> bool {
        !self.fetch.is_empty() || self.log_volumes || self.log_credentials
    }

    fn set(&mut self, name: &str, value: &str, spec: &Spec<'_>) -> Result<(), String> {
        let (name, container) = name.split_once('.').map_or((name, None), |(name, container)| (name, Some(container)));
        let any = |container: &Container<'_>, name: &str| container.name == name;
        match (name, container) {
            ("run-for" | "exit-code" | "log-lines" | "log-every", Some(container)) => {
                if !spec.init().iter().chain(&spec.containers).any(|there| any(there, container)) {
                    return Err(format!("the pod has no container {container:?}"));
                }
            }
            (_, Some(_)) => return Err(format!("{name} is not for a single container; known are {NAMES}")),
            (_, None) => {}
        }
        match name {
            "start-after" => self.start_after = duration(value)?,
            "run-for" => self.run_for.set(container, duration(value)?),
            "exit-code" => self.exit_code.set(container, exit_code(value)?),
            "restart-backoff" => self.restart_backoff = between(duration(value)?, value, 1, 300_000, "1ms", "300s")?,
            "stop-after" => self.stop_after = Some(duration(value)?),
            "vanish-after" => self.vanish_after = Some(duration(value)?),
            "log-lines" => self.log_lines.set(container, lines(value)?),
            "log-every" => self.log_every.set(container, between(duration(value)?, value, 1, u64::MAX, "1ms", "ever")?),
            "log-env" => self.log_env = boolean(value)?,
            "log-volumes" => self.log_volumes = boolean(value)?,
            "log-credentials" => self.log_credentials = boolean(value)?,
            "reveal-secrets" => self.reveal_secrets = boolean(value)?,
            "ip" => self.ip = Some(ip(value)?),
            "fetch" => self.fetch = fetch::commands(value)?,
            "fetch-required" => self.fetch_required = boolean(value)?,
            "event" => self.event = Some(value.parse()?),
            "create-fault" => self.faults.create = Some(value.parse()?),
            "update-fault" => self.faults.update = Some(value.parse()?),
            "delete-fault" => self.faults.delete = Some(value.parse()?),
            "get-fault" => self.faults.get = Some(value.parse()?),
            "logs-fault" => self.faults.logs = Some(value.parse()?),
            "volume-fault" => self.faults.volume = Some(value.parse()?),
            _ => return Err(format!("there is no such annotation; known are {NAMES}")),
        }
        Ok(())
    }

    /// An exit code without an end is a mistake that would go unseen.
    fn check_exit_codes(&self, spec: &Spec<'_>) -> Result<()> {
        let why = "it has no effect without run-for, such as `run-for: 5s`";
        let endless = |container: &Container<'_>| self.run_for.of_ordinary(&container.name).is_none();
        // An ordinary init container has an end in any case.
        let sidecars = spec.init().iter().filter(|it| it.is_sidecar_as_init() && self.run_for.of(&it.name).is_none());
        let mut never_end = spec.containers.iter().filter(|it| endless(it)).chain(sidecars);
        if let Some(container) = never_end.find(|it| self.exit_code.of(&it.name).is_some()) {
            return Err(refusal(&format!("exit-code.{}", container.name), why));
        }
        if self.exit_code.all.is_some() && spec.containers.iter().all(endless) {
            return Err(refusal("exit-code", why));
        }
        Ok(())
    }
}

fn refusal(name: &str, why: &str) -> Error {
    Error::invalid_argument("InvalidAnnotation", format!("annotation {PREFIX}{name}: {why}"))
        .field(format!("metadata.annotations[{PREFIX}{name}]"))
}

/// A duration as Go writes it, `1m30s`, in milliseconds.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    parse_duration(text).ok_or_else(|| format!("{text:?} is no duration; write it like 500ms, 5s or 1m30s"))
}

fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = after;
    }
    // A hundred years: sums with the present then fit.
    (!text.is_empty() && total <= 3_155_760_000_000).then_some(total)
}

fn between(value: u64, text: &str, least: u64, most: u64, least_text: &str, most_text: &str) -> Result<u64, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{text:?} is not from {least_text} to {most_text}"))
    }
}

fn exit_code(text: &str) -> Result<i32, String> {
    let code = text.parse().ok().filter(|code| (0..=255).contains(code));
    code.ok_or_else(|| format!("{text:?} is no exit code; write a number from 0 to 255"))
}

fn lines(text: &str) -> Result<u32, String> {
    let lines = text.parse().ok().filter(|lines| *lines <= MOST_LINES);
    lines.ok_or_else(|| format!("{text:?} is no number of lines from 0 to {MOST_LINES}"))
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither \"true\" nor \"false\""))
}

fn ip(text: &str) -> Result<String, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is no IP address; write it like 10.1.2.3"))?;
    Ok(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(annotations: &[(&str, &str)]) -> Result<Script> {
        let spec = r#"{"initContainers":[{"name":"setup"},{"name":"proxy","restartPolicy":"Always"}],
            "containers":[{"name":"web"},{"name":"db"}]}"#;
        let list = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Script::parse(&Annotations(list), &serde_json::from_str(spec).unwrap())
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("2h", 7_200_000)] {
            assert_eq!(duration(text), Ok(millis), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-5s", "1.5s", "5x", "99999999999999999999s", "9999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_for_one_container_overrides_the_one_for_all() {
        let script =
            parse(&[("run-for", "5s"), ("run-for.db", "1m"), ("run-for.setup", "1s"), ("exit-code.db", "3")]).unwrap();
        assert_eq!(script.run_for.of_ordinary("web"), Some(5_000));
        assert_eq!(script.run_for.of_ordinary("db"), Some(60_000));
        assert_eq!(script.run_for.of("setup"), Some(1_000));
        assert_eq!((script.exit_code.of_ordinary("web"), script.exit_code.of_ordinary("db")), (None, Some(3)));
        assert!(parse(&[("exit-code.setup", "3")]).is_ok(), "an init container ends by itself");
        assert!(parse(&[("exit-code.proxy", "3"), ("run-for.proxy", "1s")]).is_ok());
    }

    #[test]
    fn a_bad_annotation_is_named_with_its_value_and_what_is_right() {
        for (name, value, says) in [
            ("run-for", "soon", "\"soon\" is no duration; write it like 500ms, 5s or 1m30s"),
            ("runs-for", "5s", "there is no such annotation; known are start-after, run-for"),
            ("run-for.app", "5s", "the pod has no container \"app\""),
            ("ip.web", "10.0.0.1", "ip is not for a single container"),
            ("exit-code", "256", "\"256\" is no exit code; write a number from 0 to 255"),
            ("exit-code", "3", "no effect without run-for"),
            ("exit-code.web", "3", "no effect without run-for"),
            ("exit-code.proxy", "3", "no effect without run-for"),
            ("restart-backoff", "0s", "\"0s\" is not from 1ms to 300s"),
            ("log-lines", "many", "\"many\" is no number of lines"),
            ("log-every", "0s", "\"0s\" is not from 1ms"),
            ("log-env", "yes", "\"yes\" is neither \"true\" nor \"false\""),
            ("ip", "10.1.2", "\"10.1.2\" is no IP address"),
            ("fetch", "GET http://a/\nDROP x", "\"DROP x\" is no command; known are GET URL"),
            ("log-volumes", "all", "\"all\" is neither \"true\" nor \"false\""),
            ("event", "RackDegraded", "\"RackDegraded\" is no event; write it like"),
            ("create-fault", "explode", "\"explode\" is no kind of fault"),
        ] {
            let error = parse(&[(name, value)]).unwrap_err();
            assert_eq!(error.code, vk_provider::Code::InvalidArgument);
            assert_eq!(error.field, Some(format!("metadata.annotations[mock.virtual-kubelet.io/{name}]")));
            assert!(error.message.contains(says), "{name}: {value}: {}", error.message);
        }
    }
}
