//! The API server's audit log: who asked it for what, one event for each
//! finished request.
//!
//! Contract with the control plane: level Metadata, JSON lines, appended in
//! batches at most a second old, in the order in which requests finished. So an
//! event is in the file once a *later* one is: [`AuditLog::wait_flushed`] makes
//! a request that can be recognised and waits for it.
//!
//! A watch finishes when it is closed, so an open one is not listed here.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::Deserialize;

use crate::control_plane::ControlPlane;

/// A batch is written after 1 s; the rest is room for a busy machine.
const FLUSH_LIMIT: Duration = Duration::from_secs(20);

/// How often the file is looked at while waiting.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// How every event begins: after a kill of the API server the next one appends
/// to a line that may have been cut.
const EVENT_START: &str = r#"{"kind":"Event","#;

/// A finished request. Empty strings: the request has no such part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// When it arrived.
    pub received: Timestamp,
    /// When it was answered.
    pub finished: Timestamp,
    /// Who asked, such as `system:node:NAME`.
    pub user: String,
    /// The program, such as `vk-host/0.1.0`.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// Plural, such as `pods`.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// Empty for lists and for creations that leave the name to the server.
    pub name: String,
    /// HTTP status.
    pub code: u16,
}

/// Which events to take; `None` takes all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// The whole name.
    pub user: Option<&'a str>,
    /// Beginning of the user agent, such as `vk-host/`.
    pub user_agent: Option<&'a str>,
    /// Such as `patch`.
    pub verb: Option<&'a str>,
    /// Such as `pods`.
    pub resource: Option<&'a str>,
    /// `Some("")` wants requests for the object itself.
    pub subresource: Option<&'a str>,
    /// The object's namespace.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: Option<&'a str>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
}

/// The file, which need not exist yet.
#[derive(Debug, Clone)]
pub struct AuditLog {
    file: PathBuf,
}

impl AuditLog {
    /// The log at `file`.
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// All finished requests in the file. A last line that is not complete yet
    /// is left out.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds something else.
    pub fn read(&self) -> Result<Vec<AuditEvent>> {
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("read {}", self.file.display()))?,
        };
        parse(&text)
    }

    /// The requests that `filter` takes.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn select(&self, filter: Filter<'_>) -> Result<Vec<AuditEvent>> {
        let mut events = self.read()?;
        events.retain(|event| filter.takes(event));
        Ok(events)
    }

    /// Where the file ends now: a place for [`select_behind`](Self::select_behind).
    pub fn end(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    /// As [`select`](Self::select), but only of what was written behind a place. A log of many runs is not read
    /// again for each.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn select_behind(&self, place: u64, filter: Filter<'_>) -> Result<Vec<AuditEvent>> {
        let text = self.tail(place)?;
        // A line that was half written then is an event of before.
        let cut = if text.starts_with(EVENT_START) { 0 } else { text.find('\n').unwrap_or_default() };
        let mut events = parse(text.get(cut..).unwrap_or_default())?;
        events.retain(|event| filter.takes(event));
        Ok(events)
    }

    /// Waits until every request that finished before this call is in the file.
    ///
    /// # Errors
    ///
    /// The API server does not answer, or its log does not move.
    pub fn wait_flushed(&self, control_plane: &ControlPlane) -> Result<()> {
        static MARKERS: AtomicU32 = AtomicU32::new(0);
        let number = MARKERS.fetch_add(1, Ordering::Relaxed);
        let marker = format!("audit-marker-{}-{number}", process::id());
        let from = self.end();
        // It does not exist: the answer 404 is as good an event as any.
        let path = format!("/api/v1/namespaces/default/configmaps/{marker}");
        let asked = control_plane.kubectl(&["get", "--raw", &path]).output().context("run kubectl")?;
        let told = String::from_utf8_lossy(&asked.stderr);
        ensure!(told.contains("NotFound"), "the API server does not answer: {}", told.trim());

        let began = Instant::now();
        while !self.tail(from)?.contains(&marker) {
            ensure!(
                began.elapsed() < FLUSH_LIMIT,
                "no event of {marker} in {} after {FLUSH_LIMIT:?}",
                self.file.display()
            );
            thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    fn tail(&self, from: u64) -> Result<String> {
        let mut text = Vec::new();
        let mut file = File::open(&self.file).with_context(|| format!("open {}", self.file.display()))?;
        file.seek(SeekFrom::Start(from)).context("seek in the audit log")?;
        file.read_to_end(&mut text).context("read the audit log")?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Filter<'_> {
    /// Whether every given part matches.
    pub fn takes(&self, event: &AuditEvent) -> bool {
        let Self { user, user_agent, verb, resource, subresource, namespace, name, since } = *self;
        let equal = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        equal(user, &event.user)
            && user_agent.is_none_or(|start| event.user_agent.starts_with(start))
            && equal(verb, &event.verb)
            && equal(resource, &event.resource)
            && equal(subresource, &event.subresource)
            && equal(namespace, &event.namespace)
            && equal(name, &event.name)
            && since.is_none_or(|since| event.received >= since)
    }
}

fn parse(text: &str) -> Result<Vec<AuditEvent>> {
    let complete = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let events = complete.lines().filter(|line| !line.is_empty()).map(parse_line);
    events.filter_map(Result::transpose).collect()
}

/// `None` for the stages before the end of a request.
fn parse_line(line: &str) -> Result<Option<AuditEvent>> {
    let start = line.rfind(EVENT_START).unwrap_or_default();
    let whole = line.get(start..).unwrap_or(line);
    let raw: Raw = serde_json::from_str(whole).with_context(|| format!("read the audit event {line:?}"))?;
    Ok((raw.stage == "ResponseComplete").then(|| raw.into()))
}

/// The event as `audit.k8s.io/v1` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    stage: String,
    verb: String,
    user: RawUser,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: RawObject,
    #[serde(default)]
    response_status: RawStatus,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawObject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct RawStatus {
    #[serde(default)]
    code: u16,
}

impl From<Raw> for AuditEvent {
    fn from(raw: Raw) -> Self {
        let RawObject { resource, subresource, namespace, name } = raw.object_ref;
        Self {
            received: raw.request_received_timestamp,
            finished: raw.stage_timestamp,
            user: raw.user.username,
            user_agent: raw.user_agent,
            verb: raw.verb,
            resource,
            subresource,
            namespace,
            name,
            code: raw.response_status.code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/n/pods/p/status","verb":"patch","user":{"username":"system:node:x","groups":["system:nodes"]},"sourceIPs":["127.0.0.1"],"userAgent":"vk-host/0.1","objectRef":{"resource":"pods","namespace":"n","name":"p","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z","stageTimestamp":"2026-01-02T03:04:05.000106Z"}"#;

    #[test]
    fn reads_a_finished_request() {
        let events = parse(&format!("{COMPLETE}\n")).unwrap();
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((event.user.as_str(), event.code), ("system:node:x", 200));
        assert_eq!(event.finished.duration_since(event.received).as_micros(), 100);
        let status = Filter { user_agent: Some("vk-host/"), subresource: Some("status"), ..Filter::default() };
        assert!(status.takes(event));
        assert!(!Filter { subresource: Some(""), ..status }.takes(event));
        assert!(!Filter { since: Some(event.finished), ..status }.takes(event));
    }

    #[test]
    fn leaves_out_other_stages_and_a_half_written_line() {
        let started = COMPLETE.replace("ResponseComplete", "ResponseStarted");
        let half = COMPLETE.get(..200).unwrap();
        assert_eq!(parse(&format!("{started}\n{COMPLETE}\n{half}")).unwrap().len(), 1);
        assert_eq!(parse(half).unwrap(), []);
    }

    #[test]
    fn reads_on_after_a_line_that_a_kill_cut() {
        let half = COMPLETE.get(..200).unwrap();
        assert_eq!(parse(&format!("{half}{COMPLETE}\n")).unwrap().len(), 1);
    }
}
