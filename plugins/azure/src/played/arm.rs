//! A resource manager in memory, which counts what it is asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value, json};
use vk_provider::http::ErrorCode;
use vk_provider::testing::{self, Answer, Received};

const ORIGIN: &str = "https://management.azure.com";

/// A container group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// As it was put, with its provisioning state.
    pub(super) body: Value,
    /// Without it the group does not say how it runs.
    pub(super) view: Option<Value>,
    /// Of containers by name, init containers among them.
    pub(super) views: BTreeMap<String, Value>,
}

/// All that it has.
#[derive(Default)]
pub(super) struct State {
    pub(super) groups: BTreeMap<String, Group>,
    /// `METHOD path` from the resource group's groups on; operations begin with `op`.
    pub(super) asked: Vec<String>,
    /// Bodies of PUTs.
    pub(super) put: Vec<Value>,
    /// How operations are, by number: what they answer.
    pub(super) operations: Vec<Value>,
    /// Seconds of Retry-After of an operation that goes on.
    pub(super) retry_after: Option<u64>,
    /// What lists do not show.
    pub(super) hidden: BTreeSet<String>,
    /// Lists are refused.
    pub(super) no_lists: bool,
    /// Groups in one page of a list; 0: all.
    pub(super) page: usize,
    /// By container.
    pub(super) logs: BTreeMap<String, String>,
    /// Answers instead, once: the start of what is asked, and the answer.
    pub(super) instead: Vec<(String, Answer)>,
    /// Acts, and then the answer is lost, once: the start of what is asked.
    pub(super) lost: Vec<String>,
    /// A removal is done when it is answered.
    pub(super) quick: bool,
}

/// A handle to it.
#[derive(Clone, Default)]
pub(super) struct Arm(pub(super) Rc<RefCell<State>>);

impl Arm {
    pub(super) fn serving() -> Self {
        let arm = Self::default();
        arm.serve();
        arm
    }

    pub(super) fn serve(&self) {
        let arm = self.clone();
        testing::serve(move |received| arm.answer(&received));
    }

    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().asked)
    }

    /// How many of those begin so.
    pub(super) fn count(&self, start: &str) -> usize {
        self.0.borrow().asked.iter().filter(|asked| asked.starts_with(start)).count()
    }

    /// The name of the group of the pod with this uid.
    pub(super) fn name(&self, uid: &str) -> String {
        let state = self.0.borrow();
        let found = state.groups.iter().find(|(_, group)| group.body["tags"]["UID"] == uid);
        found.map(|(name, _)| name.clone()).unwrap()
    }

    pub(super) fn change(&self, uid: &str, change: impl FnOnce(&mut Group)) {
        let name = self.name(uid);
        change(self.0.borrow_mut().groups.get_mut(&name).unwrap());
    }

    /// From now on it is made and in this state, and its container `web` like this.
    pub(super) fn run(&self, uid: &str, state: &str, web: &Value) {
        self.provision(uid, "Succeeded");
        self.change(uid, |group| {
            group.view = Some(json!({"state": state, "events": []}));
            group.views.insert("web".to_owned(), web.clone());
        });
    }

    pub(super) fn provision(&self, uid: &str, state: &str) {
        self.change(uid, |group| group.body["properties"]["provisioningState"] = state.into());
    }

    /// It came to nothing, for a mount, before any container began.
    pub(super) fn fail(&self, uid: &str) {
        self.provision(uid, "Failed");
        self.change(uid, |group| {
            group.view =
                Some(json!({"state": "Pending", "events": [{"name": "FailedMount", "type": "Normal", "count": 1,
                "lastTimestamp": "2026-11-24T10:00:00Z", "message": "Output: mount error(2): Permission denied"}]}));
        });
    }

    /// It is not there any more.
    pub(super) fn gone(&self, uid: &str) {
        let name = self.name(uid);
        self.0.borrow_mut().groups.remove(&name);
    }

    pub(super) fn instead(&self, asked: &str, answer: Answer) {
        self.0.borrow_mut().instead.push((asked.to_owned(), answer));
    }

    pub(super) fn lose(&self, asked: &str) {
        self.0.borrow_mut().lost.push(asked.to_owned());
    }

    fn answer(&self, received: &Received) -> Answer {
        if received.url.starts_with("https://login.microsoftonline.com/") {
            return Answer::status(200).body(r#"{"access_token":"token","expires_in":86400}"#);
        }
        let path = received.path();
        let short = match path.split_once("/containerGroups") {
            Some((_, rest)) => rest,
            None => path.strip_prefix("/subscriptions/s/").unwrap(),
        };
        let asked = format!("{} {short}", received.method).trim_end().to_owned();
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

/// A refusal as the resource manager writes it.
pub(super) fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::status(status).body(json!({"error": {"code": code, "message": message}}).to_string())
}

fn absent(name: &str) -> Answer {
    refused(
        404,
        "ResourceNotFound",
        &format!("The Resource 'Microsoft.ContainerInstance/containerGroups/{name}' was not found."),
    )
}

fn ok(body: &Value) -> Answer {
    Answer::status(200).body(body.to_string())
}

impl Group {
    fn shown(&self, name: &str, with_view: bool) -> Value {
        let mut body = self.body.clone();
        body["name"] = name.into();
        body["id"] = format!(
            "/subscriptions/s/resourceGroups/pods/providers/Microsoft.ContainerInstance/containerGroups/{name}"
        )
        .into();
        if !with_view {
            return body;
        }
        if let Some(view) = &self.view {
            body["properties"]["instanceView"] = view.clone();
        }
        for list in ["containers", "initContainers"] {
            for container in body["properties"][list].as_array_mut().into_iter().flatten() {
                if let Some(view) = self.views.get(container["name"].as_str().unwrap()) {
                    container["properties"]["instanceView"] = view.clone();
                }
            }
        }
        body
    }
}

impl State {
    fn answer(&mut self, asked: &str, received: &Received) -> Answer {
        let parts: Vec<&str> = asked.split([' ', '/']).filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["GET"] if self.no_lists => refused(403, "AuthorizationFailed", "no"),
            ["GET"] => self.list(received),
            ["GET", "op", number] => {
                let answer = ok(&self.operations[number.parse::<usize>().unwrap()]);
                self.retry_after.map_or(answer, |seconds| {
                    Answer::status(200)
                        .header("retry-after", &seconds.to_string())
                        .body(self.operations[number.parse::<usize>().unwrap()].to_string())
                })
            }
            ["PUT", name] => {
                let mut body: Value = serde_json::from_slice(&received.body).unwrap();
                self.put.push(body.clone());
                body["properties"]["provisioningState"] = "Creating".into();
                let group = Group { body, view: None, views: BTreeMap::new() };
                let shown = group.shown(name, false);
                self.groups.insert((*name).to_owned(), group);
                self.begin(Answer::status(201)).body(shown.to_string())
            }
            [_, name, ..] if !self.groups.contains_key(*name) => absent(name),
            ["GET", name] => ok(&self.groups[*name].shown(name, true)),
            ["DELETE", name] if self.quick => {
                self.groups.remove(*name);
                Answer::status(200).body("{}")
            }
            ["DELETE", name] => {
                let group = self.groups.get_mut(*name).unwrap();
                group.body["properties"]["provisioningState"] = "Deleting".into();
                self.begin(Answer::status(202))
            }
            ["POST", name, "stop"] => {
                let group = self.groups.get_mut(*name).unwrap();
                group.view = Some(json!({"state": "Stopped", "events": []}));
                group.views.clear();
                Answer::status(204)
            }
            ["GET", _, "containers", container, "logs"] => match self.logs.get(*container) {
                Some(log) => {
                    let tail = received.parameter("tail").map_or(usize::MAX, |tail| tail.parse().unwrap());
                    let lines: Vec<&str> = log.split_inclusive('\n').collect();
                    let last: String = lines[lines.len().saturating_sub(tail)..].concat();
                    self.asked
                        .last_mut()
                        .unwrap()
                        .push_str(&format!("?{}", received.parameter("tail").unwrap_or_default()));
                    ok(&json!({ "content": last }))
                }
                None => refused(404, "ContainerLogNotAvailable", "It is not available yet."),
            },
            other => panic!("Azure was asked for {other:?}"),
        }
    }

    /// An answer whose work goes on.
    pub(super) fn begin(&mut self, answer: Answer) -> Answer {
        self.operations.push(json!({"status": "InProgress"}));
        let number = self.operations.len() - 1;
        answer.header("azure-asyncoperation", &format!("{ORIGIN}/subscriptions/s/op/{number}?api-version=2023-05-01"))
    }

    fn list(&self, received: &Received) -> Answer {
        let shown: Vec<Value> = self
            .groups
            .iter()
            .filter(|(name, _)| !self.hidden.contains(*name))
            .map(|(name, group)| group.shown(name, false))
            .collect();
        let from: usize = received.parameter("skip").map_or(0, |skip| skip.parse().unwrap());
        let size = if self.page == 0 { usize::MAX } else { self.page };
        let page: Vec<&Value> = shown.iter().skip(from).take(size).collect();
        let url = received.url.split('?').next().unwrap();
        let more = shown.len() > from.saturating_add(size);
        let next = more.then(|| format!("{url}?api-version=2023-05-01&skip={}", from + size));
        ok(&json!({"value": page, "nextLink": next}))
    }
}
