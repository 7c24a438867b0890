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

use std::time::Duration;

use crate::call::Why;
use crate::config::NodeInfo;
use crate::container_logs::{Entry, Sink};
use crate::pod::{DesiredPod, Network, PodRef, ResolvedContainer};
use crate::sys::native::{self, Host, with};
use crate::time::Time;

/// A new host with an empty store. First line of a test that may share its thread.
pub fn reset() {
    with(|host| *host = Host::default());
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

/// Lets time pass.
pub fn advance(time: Duration) {
    native::advance_to(native::now() + time);
}

/// Runs something after a time, while a call waits.
pub fn after(time: Duration, action: impl FnOnce() + 'static) {
    native::schedule(native::now() + time, Box::new(action));
}

/// Cancels every call from a time on; [`go_on`] takes it back.
pub fn cancel_after(time: Duration, why: Why) {
    with(|host| host.cancel = Some((host.now + time, why)));
}

/// Takes [`cancel_after`] back.
pub fn go_on() {
    with(|host| host.cancel = None);
}

/// How long calls have from now on.
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

/// What the clock says.
pub fn now() -> Time {
    native::now()
}

/// A sink for a call, and its reader, who takes so many entries and then goes.
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
}

/// A pod as the host hands it over, from a manifest alone: nothing resolved but what stands there literally.
///
/// # Panics
/// If the manifest is no JSON.
#[expect(clippy::expect_used, reason = "a test's own manifest")]
pub fn desired(manifest: &str) -> DesiredPod {
    let value: serde_json::Value = serde_json::from_str(manifest).expect("the manifest is JSON");
    let text = |pointer: &str| value.pointer(pointer).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    let id =
        PodRef { namespace: text("/metadata/namespace"), name: text("/metadata/name"), uid: text("/metadata/uid") };
    let containers = ["/spec/initContainers", "/spec/containers"]
        .iter()
        .filter_map(|list| value.pointer(list)?.as_array())
        .flatten()
        .map(|container| ResolvedContainer {
            name: container.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned(),
            command: strings(container.get("command")),
            args: strings(container.get("args")),
            env: Vec::new(),
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

fn strings(list: Option<&serde_json::Value>) -> Vec<String> {
    let list = list.and_then(|list| list.as_array());
    list.into_iter().flatten().filter_map(|text| text.as_str()).map(str::to_owned).collect()
}
