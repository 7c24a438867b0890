//! A host in memory for a provider's tests, in every build but the component itself.
//!
//! Each test's thread has its own. Time stands still until a call waits, and then jumps to what is due next. A call that would wait
//! for ever fails its test.
//!
//! ```
//! use std::time::Duration;
//! use vk_provider::{clock, testing};
//!
//! testing::reset();
//! testing::configure("cpu = \"4\"");
//! let before = clock::now();
//! clock::sleep(Duration::from_secs(3600)).unwrap();
//! assert_eq!(clock::now().since(before), Duration::from_secs(3600));
//! ```

mod backend;
mod cluster;
mod stream;

use std::time::Duration;

pub use backend::{Answer, Received, answer_early, new_call, pause_uploads, serve};
pub use cluster::{Event, credentials, events, resolved, volume};
pub use stream::{Feed, Taken, input, output, resizes};

use crate::call::Why;
use crate::config::NodeInfo;
use crate::container_logs::{Entry, Sink};
use crate::pod::{DesiredPod, EnvVar, Network, PodRef, ResolvedContainer};
use crate::sys::native::{self, Host, with};
use crate::time::Time;

/// A new host with an empty store, without a backend. First line of a test that may share its thread.
pub fn reset() {
    with(|host| *host = Host::default());
    new_call();
}

/// What `--provider-config` holds from now on.
pub fn configure(text: &str) {
    with(|host| host.text = Some(text.to_owned()));
}

/// Changes the node that the plugin serves.
pub fn node(change: impl FnOnce(&mut NodeInfo)) {
    with(|host| change(&mut host.node));
}

/// Grants a file.
pub fn file(name: &str, content: &[u8]) {
    with(|host| host.files.insert(name.to_owned(), content.to_vec()));
}

/// Grants a variable.
pub fn variable(name: &str, value: &str) {
    with(|host| host.variables.insert(name.to_owned(), value.to_owned()));
}

/// Lets time pass.
pub fn advance(time: Duration) {
    native::advance_to(native::ahead(time));
}

/// Sets the wall clock back. Nothing is due later for it.
pub fn set_back(time: Duration) {
    with(|host| host.behind += time);
}

/// Runs something after a time, while a call waits.
pub fn after(time: Duration, action: impl FnOnce() + 'static) {
    native::schedule(native::ahead(time), Box::new(action));
}

/// Cancels every call from a time on; [`go_on`] takes it back.
pub fn cancel_after(time: Duration, why: Why) {
    with(|host| host.cancel = Some((host.now + time, why)));
}

/// Takes [`cancel_after`] and [`deadline`] back.
pub fn go_on() {
    with(|host| (host.cancel, host.deadline) = (None, None));
}

/// How long calls have from now on; then they are cancelled. [`go_on`] takes it back.
pub fn deadline(time: Duration) {
    with(|host| host.deadline = Some(host.now + time));
}

/// Makes every use of the store fail, or work again.
pub fn store_down(down: bool) {
    with(|host| host.store_down = down);
}

/// Forgets the store's history: revisions before now are outworn.
pub fn forget_history() {
    let now = native::revision().unwrap_or_default();
    with(|host| host.outworn = now);
}

/// Writes and removals that the store has done.
pub fn writes() -> u64 {
    with(|host| host.writes)
}

/// What the wall clock says.
pub fn now() -> Time {
    native::now()
}

/// A sink for a call, and its reader, who takes so many entries and then goes. There is always room in it, unless he is told to
/// [`pause`](LogReader::pause).
pub fn pipe(takes: usize) -> (Sink, LogReader) {
    let sink = native::Sink::default();
    sink.0.borrow_mut().takes = takes;
    (Sink::new(sink.clone()), LogReader(sink))
}

/// The other end of a log sink.
pub struct LogReader(native::Sink);

impl LogReader {
    /// What was written so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.0.borrow().entries.clone()
    }

    /// From now on he takes his time over each write, and there is no room meanwhile.
    pub fn pause(&self, time: Duration) {
        self.0.0.borrow_mut().pause = time;
    }
}

/// A pod as the host hands it over, from a manifest alone: nothing resolved but what stands there literally. Variables with
/// `valueFrom` are left out.
///
/// # Panics
/// If the manifest is no JSON.
#[expect(clippy::expect_used, reason = "a test's own manifest")]
pub fn desired(manifest: &str) -> DesiredPod {
    let value: serde_json::Value = serde_json::from_str(manifest).expect("the manifest is JSON");
    let text = |pointer: &str| value.pointer(pointer).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    let id =
        PodRef { namespace: text("/metadata/namespace"), name: text("/metadata/name"), uid: text("/metadata/uid") };
    let containers = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"]
        .iter()
        .filter_map(|list| value.pointer(list)?.as_array())
        .flatten()
        .map(|container| ResolvedContainer {
            name: member(container, "name"),
            command: strings(container.get("command")),
            args: strings(container.get("args")),
            env: literals(container.get("env")),
            secret_args: false,
            revision: "1-container".to_owned(),
            late: false,
        })
        .collect();
    let network = Network {
        hostname: id.name.clone(),
        domain: String::new(),
        nameservers: Vec::new(),
        searches: Vec::new(),
        options: Vec::new(),
        hosts: Vec::new(),
    };
    DesiredPod { id, revision: "1-pod".to_owned(), manifest: manifest.to_owned(), containers, network }
}

/// Variables that are written out.
fn literals(list: Option<&serde_json::Value>) -> Vec<EnvVar> {
    let list = list.and_then(|list| list.as_array()).into_iter().flatten();
    let written = list.filter(|variable| variable.get("valueFrom").is_none());
    written
        .map(|variable| EnvVar { name: member(variable, "name"), value: member(variable, "value"), secret: false })
        .collect()
}

fn member(object: &serde_json::Value, name: &str) -> String {
    object.get(name).and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

fn strings(list: Option<&serde_json::Value>) -> Vec<String> {
    let list = list.and_then(|list| list.as_array());
    list.into_iter().flatten().filter_map(|text| text.as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::Wait;
    use crate::{Code, call, clock, config};

    #[test]
    fn a_deadline_ends_calls_as_the_host_does() {
        reset();
        deadline(Duration::from_secs(2));
        assert_eq!((call::remaining(), call::reason()), (Some(Duration::from_secs(2)), None));
        assert!(clock::sleep(Duration::from_secs(5)).is_err());
        assert_eq!((call::remaining(), call::reason()), (Some(Duration::ZERO), Some(Why::Deadline)));
        go_on();
        assert!(clock::sleep(Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn a_file_that_was_not_granted_is_refused() {
        reset();
        assert_eq!(config::file("token").unwrap_err().code, Code::PermissionDenied);
        file("token", b"t");
        assert_eq!(config::file("token").unwrap(), b"t");
    }

    #[test]
    fn a_reader_who_pauses_makes_the_writer_wait() {
        reset();
        let (sink, reader) = pipe(2);
        reader.pause(Duration::from_secs(3));
        let entry = || vec![Entry::stdout(now(), "x")];
        assert!(sink.room() > 0 && sink.write(entry()));
        assert_eq!(sink.room(), 0);
        cancel_after(Duration::from_secs(1), Why::ClientGone);
        assert!(!sink.write(entry()), "the host wants the call to end");
        go_on();
        assert!(Wait::new().on((), sink.subscribe()).first().has(()) && sink.room() > 0);
        assert!(!sink.write(entry()), "that was all he takes");
        assert_eq!((reader.entries().len(), sink.room()), (2, 1));
    }

    #[test]
    fn a_desired_pod_has_what_its_manifest_says_literally() {
        let pod = desired(
            r#"{"metadata":{"name":"web","namespace":"default","uid":"u"},"spec":{"containers":[{"name":"c","command":["x"],"env":[
            {"name":"A","value":"1"},{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"C"}]}],
            "ephemeralContainers":[{"name":"debug"}]}}"#,
        );
        let env: Vec<String> = pod.containers[0].env.iter().map(|env| format!("{}={}", env.name, env.value)).collect();
        assert_eq!(env, ["A=1", "C="]);
        assert_eq!(pod.containers[1].name, "debug");
    }
}
