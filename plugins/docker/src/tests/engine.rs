//! An engine in memory that answers as Docker 20.10 does, or as Podman 4.3 where that differs, and counts what it is
//! asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use vk_provider::http::ErrorCode;
use vk_provider::testing::{self, Answer, Feed, Received};

/// Go's "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container of the engine's.
#[derive(Clone, Debug)]
pub(super) struct FakeContainer {
    pub(super) id: String,
    pub(super) name: String,
    /// As it was asked for.
    pub(super) spec: Value,
    pub(super) status: String,
    pub(super) exit_code: i64,
    pub(super) error: String,
    pub(super) started: String,
    pub(super) finished: String,
    created: u64,
}

/// All that the engine has.
#[derive(Default)]
pub(super) struct State {
    pub(super) podman: bool,
    /// `METHOD path?name=value` without version and encoding, but for pings.
    pub(super) asked: Vec<String>,
    pub(super) containers: Vec<FakeContainer>,
    pub(super) volumes: BTreeMap<String, Value>,
    pub(super) images: BTreeMap<String, Value>,
    /// What was unpacked: container, path, archive.
    pub(super) archives: Vec<(String, String, Vec<u8>)>,
    /// What links lead to, by path.
    pub(super) links: BTreeMap<String, String>,
    /// Answers instead of the engine, once: the start of what is asked, and the answer.
    pub(super) instead: Vec<(String, Answer)>,
    /// Acts, and then the answer is lost, once: the start of what is asked.
    pub(super) lost: Vec<String>,
    /// Events that are remembered, one line each.
    pub(super) remembered: Vec<String>,
    /// Who sends events instead, those that are remembered among them.
    pub(super) events: Option<Feed>,
    /// How commands end, and what they write: by their first word.
    pub(super) commands: BTreeMap<String, (i64, Vec<u8>)>,
    execs: Vec<Value>,
    pub(super) disk_usage: Value,
    next: u32,
}

/// A handle to it.
#[derive(Clone, Default)]
pub(super) struct Engine(pub(super) Rc<RefCell<State>>);

impl Engine {
    /// A new host and a new engine behind it.
    pub(super) fn docker() -> Self {
        testing::reset();
        let engine = Self::default();
        let served = engine.clone();
        testing::serve(move |received| served.serve(&received));
        engine
    }

    pub(super) fn podman() -> Self {
        let engine = Self::docker();
        engine.0.borrow_mut().podman = true;
        engine
    }

    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().asked)
    }

    /// Those whose name begins so.
    pub(super) fn containers(&self, name: &str) -> Vec<FakeContainer> {
        self.0.borrow().containers.iter().filter(|container| container.name.starts_with(name)).cloned().collect()
    }

    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut FakeContainer)) {
        let mut state = self.0.borrow_mut();
        change(state.containers.iter_mut().find(|container| container.name.starts_with(name)).unwrap());
    }

    pub(super) fn end(&self, name: &str, code: i64) {
        self.change(name, |container| {
            container.status = "exited".to_owned();
            container.exit_code = code;
            container.finished = now();
        });
    }

    /// Commands that were run, and their words.
    pub(super) fn commanded(&self) -> Vec<String> {
        let words = |exec: &Value| {
            let words: Vec<String> = serde_json::from_value(exec["spec"]["Cmd"].clone()).unwrap();
            words.join(" ")
        };
        self.0.borrow().execs.iter().map(words).collect()
    }

    pub(super) fn instead(&self, asked: &str, answer: Answer) {
        self.0.borrow_mut().instead.push((asked.to_owned(), answer));
    }

    fn serve(&self, received: &Received) -> Answer {
        if received.path() == "/_ping" {
            let answer = Answer::status(200).header("Api-Version", "1.41");
            return if self.0.borrow().podman { answer.header("Libpod-Api-Version", "4.3.1") } else { answer };
        }
        let path = decoded(received.path()).strip_prefix("/v1.41").unwrap().to_owned();
        let asked = format!("{} {path}", received.method);
        let mut state = self.0.borrow_mut();
        state.asked.push(asked.clone());
        if let Some(at) = state.instead.iter().position(|(start, _)| asked.starts_with(start)) {
            return state.instead.remove(at).1;
        }
        let answer = state.answer(&asked, received);
        match state.lost.iter().position(|start| asked.starts_with(start)) {
            Some(at) => {
                state.lost.remove(at);
                Answer::fails(ErrorCode::ConnectionTerminated)
            }
            None => answer,
        }
    }
}

fn now() -> String {
    let nanos = testing::now().as_nanos();
    format!("{}.{:09}Z", testing::now().to_string().trim_end_matches('Z'), nanos % 1_000_000_000)
}

fn decoded(path: &str) -> String {
    path.replace("%2F", "/").replace("%3A", ":").replace("%40", "@")
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::status(status).body(json!({ "message": message }).to_string())
}

fn ok(body: &Value) -> Answer {
    Answer::status(200).body(body.to_string())
}

impl State {
    fn answer(&mut self, asked: &str, received: &Received) -> Answer {
        let parts: Vec<&str> = asked.split([' ', '/']).filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["GET", "_ping"] => Answer::status(200).body("OK"),
            ["GET", "info"] => {
                ok(&json!({"NCPU": 2, "MemTotal": 8_000_000, "Architecture": "x86_64", "OSType": "linux",
                "OperatingSystem": "Debian", "KernelVersion": "6.1", "ServerVersion": "20.10.24", "SystemTime": now()}))
            }
            ["GET", "system", "df"] => ok(&self.disk_usage),
            ["GET", "events"] => self.events(received),
            ["POST", "volumes", "create"] => self.create_volume(received),
            ["GET", "volumes"] => {
                let volumes: Vec<&Value> =
                    self.volumes.values().filter(|volume| fits(received, &volume["Labels"])).collect();
                ok(&json!({ "Volumes": volumes }))
            }
            ["GET", "volumes", name] => self.volumes.get(*name).map_or_else(|| refused(404, "no such volume"), ok),
            ["DELETE", "volumes", name] => {
                if self.volumes.remove(*name).is_some() {
                    Answer::status(204)
                } else {
                    refused(404, "no such volume")
                }
            }
            ["POST", "images", "create"] => self.create_image(received),
            ["GET", "images", name @ .., "json"] => {
                self.images.get(&name.join("/")).map_or_else(|| refused(404, "No such image"), ok)
            }
            ["POST", "containers", "create"] => self.create_container(received),
            ["GET", "containers", "json"] => {
                let fitting = self.containers.iter().filter(|container| fits(received, &container.spec["Labels"]));
                ok(&fitting.map(FakeContainer::summary).collect())
            }
            [method, "containers", name, rest @ ..] => self.of_container(method, name, rest, received),
            ["POST", "exec", id, "start"] => self.start_exec(id, received),
            ["GET", "exec", id, "json"] => {
                self.execs.get(id.parse::<usize>().unwrap()).map_or_else(|| refused(404, "no such exec"), ok)
            }
            ["POST", "exec", _, "resize"] => {
                let size = |name| received.parameter(name).unwrap();
                let last = self.asked.last_mut().unwrap();
                last.push_str(&format!("?{}x{}", size("w"), size("h")));
                Answer::status(200)
            }
            other => panic!("the engine was asked for {other:?}"),
        }
    }

    fn events(&self, received: &Received) -> Answer {
        let since: f64 = received.parameter("since").unwrap().parse().unwrap();
        // From the end to the first that is older, as Docker looks for them.
        let recent = self.remembered.iter().rev().take_while(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["timeNano"].as_u64().unwrap() as f64 / 1e9 >= since - 1e-6
        });
        let recent: Vec<&String> = recent.collect();
        let all: String = recent.into_iter().rev().map(|line| format!("{line}\n")).collect();
        match (&self.events, received.parameter("until")) {
            (_, Some(_)) => Answer::status(200).body(all),
            (Some(feed), None) => Answer::status(200).fed_by(feed),
            (None, None) => Answer::status(200).body(all).stays_open(),
        }
    }

    fn create_volume(&mut self, received: &Received) -> Answer {
        let spec: Value = serde_json::from_slice(&received.body).unwrap();
        let name = spec["Name"].as_str().unwrap().to_owned();
        self.asked.last_mut().unwrap().push_str(&format!("?{name}"));
        let volume = self.volumes.entry(name.clone()).or_insert_with(|| {
            let options = spec.get("DriverOpts").cloned().unwrap_or(Value::Null);
            json!({"Name": name, "Mountpoint": format!("/var/{name}/_data"), "Labels": spec["Labels"], "Options": options})
        });
        Answer::status(201).body(volume.to_string())
    }

    fn create_image(&mut self, received: &Received) -> Answer {
        let name = match received.parameter("fromImage") {
            Some(image) => {
                let login = received.header("x-registry-auth").map_or("anonymous", |_| "with a login");
                self.asked.last_mut().unwrap().push_str(&format!("?{image} {login}"));
                format!("{image}:{}", received.parameter("tag").unwrap())
            }
            None => format!("{}:latest", received.parameter("repo").unwrap()),
        };
        self.images.insert(name.clone(), json!({"Id": "sha256:1d", "RepoDigests": []}));
        Answer::status(200).body(json!({"status": format!("got {name}")}).to_string())
    }

    fn create_container(&mut self, received: &Received) -> Answer {
        let spec: Value = serde_json::from_slice(&received.body).unwrap();
        let name = received.parameter("name").unwrap();
        self.asked.last_mut().unwrap().push_str(&format!("?{name}"));
        if !self.images.contains_key(spec["Image"].as_str().unwrap()) {
            return refused(404, &format!("No such image: {}", spec["Image"]));
        }
        if self.containers.iter().any(|container| container.name == name) {
            return refused(
                409,
                &format!("Conflict. The container name \"/{name}\" is already in use by container \"x\"."),
            );
        }
        self.next += 1;
        let id = format!("id{}", self.next);
        let created = testing::now().as_millis() / 1000;
        let (status, never) = ("created".to_owned(), NEVER.to_owned());
        let container = FakeContainer {
            id: id.clone(),
            name,
            spec,
            status,
            exit_code: 0,
            error: String::new(),
            started: never.clone(),
            finished: never,
            created,
        };
        self.containers.push(container);
        Answer::status(201).body(json!({"Id": id, "Warnings": []}).to_string())
    }

    fn of_container(&mut self, method: &str, name: &str, rest: &[&str], received: &Received) -> Answer {
        let podman = self.podman;
        let Some(at) = self.containers.iter().position(|container| container.id == name || container.name == name)
        else {
            return refused(404, &format!("No such container: {name}"));
        };
        let joined = format!("container:{}", self.containers[at].id);
        let is_joined =
            self.containers.iter().any(|container| container.spec["HostConfig"]["NetworkMode"] == joined.as_str());
        let id = self.containers[at].id.clone();
        let container = &mut self.containers[at];
        let running = container.status == "running";
        match (method, rest) {
            ("GET", ["json"]) => ok(&container.details()),
            ("POST", ["start"]) => {
                (container.status, container.started) = ("running".to_owned(), now());
                Answer::status(if running { 304 } else { 204 })
            }
            ("POST", ["kill"]) if !running => refused(409, &format!("Container {name} is not running")),
            ("POST", ["kill"]) => {
                let signal = received.parameter("signal").unwrap();
                self.asked.last_mut().unwrap().push_str(&format!("?{signal}"));
                if signal == "SIGKILL" {
                    (container.status, container.exit_code, container.finished) = ("exited".to_owned(), 137, now());
                }
                Answer::status(204)
            }
            ("DELETE", []) if running && received.parameter("force").as_deref() != Some("1") => {
                if podman {
                    refused(500, "cannot remove container as it is running")
                } else {
                    refused(409, "You cannot remove a running container")
                }
            }
            ("DELETE", []) if podman && is_joined => {
                refused(500, "container has dependent containers which must be removed before it")
            }
            ("DELETE", []) => {
                self.containers.remove(at);
                Answer::status(204)
            }
            ("PUT", ["archive"]) => {
                self.archives.push((id, received.parameter("path").unwrap(), received.body.clone()));
                Answer::status(200)
            }
            ("GET" | "HEAD", ["archive"]) => self.file(&id, &received.parameter("path").unwrap(), method),
            ("POST", ["exec"]) if !running => refused(409, &format!("Container {name} is not running")),
            ("POST", ["exec"]) => {
                let spec: Value = serde_json::from_slice(&received.body).unwrap();
                let (code, output) = self.commands.get(spec["Cmd"][0].as_str().unwrap()).cloned().unwrap_or_default();
                self.execs.push(json!({"Running": false, "ExitCode": code, "output": output, "spec": spec}));
                Answer::status(201).body(json!({"Id": (self.execs.len() - 1).to_string()}).to_string())
            }
            ("GET", ["stats"]) => {
                ok(&json!({"read": now(), "cpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000}},
                "memory_stats": {"usage": 3000, "stats": {"inactive_file": 1000, "anon": 500}},
                "networks": if container.name.contains("_POD_") { json!({"eth0": {"rx_bytes": 7, "tx_bytes": 9}}) } else { Value::Null }}))
            }
            other => panic!("the engine was asked for {other:?} of a container"),
        }
    }

    /// A file that was unpacked last, or what a path is.
    fn file(&self, id: &str, path: &str, method: &str) -> Answer {
        let stat = |mode: u32, target: &str| {
            let stat = json!({"name": "x", "mode": mode, "linkTarget": target}).to_string();
            Answer::status(200).header("X-Docker-Container-Path-Stat", &data_encoding::BASE64.encode(stat.as_bytes()))
        };
        if let Some(target) = self.links.get(path) {
            return stat((1 << 27) | 0o777, target);
        }
        let mut archives = self.archives.iter().rev().filter(|(of, ..)| of == id);
        let found = archives.find_map(|(_, at, archive)| {
            let entries = super::files(archive);
            entries.into_iter().find(|(name, _)| format!("{at}/{name}") == path)
        });
        match found {
            None => refused(404, "Could not find the file"),
            Some(_) if method == "HEAD" => stat(0o644, ""),
            Some((name, content)) => {
                let mut pack = vk_engine::archive::Pack::new(testing::now());
                pack.file(&name, 0o644, vk_engine::archive::Owner::default(), &content).unwrap();
                Answer::status(200).body(pack.finish().unwrap())
            }
        }
    }

    fn start_exec(&self, id: &str, received: &Received) -> Answer {
        let exec = &self.execs[id.parse::<usize>().unwrap()];
        let output: Vec<u8> = serde_json::from_value(exec["output"].clone()).unwrap();
        Answer::status(if received.protocol.is_some() { 101 } else { 200 }).body(output)
    }
}

/// An object has all labels that are asked for.
fn fits(received: &Received, labels: &Value) -> bool {
    let Some(filters) = received.parameter("filters") else { return true };
    let filters: Value = serde_json::from_str(&filters).unwrap();
    filters["label"].as_array().unwrap().iter().all(|label| {
        let (key, value) = label.as_str().unwrap().split_once('=').unwrap();
        labels[key] == value
    })
}

impl FakeContainer {
    fn summary(&self) -> Value {
        json!({"Id": self.id, "Names": [format!("/{}", self.name)], "State": self.status, "Created": self.created, "Labels": self.spec["Labels"]})
    }

    fn details(&self) -> Value {
        let mode = self.spec["HostConfig"]["NetworkMode"].as_str().unwrap();
        let networks = if mode == "bridge" { json!({"bridge": {"IPAddress": "172.17.0.2"}}) } else { json!({}) };
        json!({
            "Id": self.id, "Created": "2026-11-24T10:00:00Z",
            "State": {"Status": self.status, "ExitCode": self.exit_code, "Error": self.error, "StartedAt": self.started, "FinishedAt": self.finished},
            "Config": {"Labels": self.spec["Labels"], "Tty": self.spec["Tty"].as_bool().unwrap_or(false),
                "StopSignal": self.spec["StopSignal"].as_str().unwrap_or_default()},
            "HostConfig": {"NetworkMode": mode}, "NetworkSettings": {"Networks": networks},
        })
    }
}
