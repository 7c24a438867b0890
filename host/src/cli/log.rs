//! The log: lines for people, or JSON for machines, on stderr.
//!
//! What a line is about is in the spans around it: a pod's are opened with [`PodRef::span`](crate::provider::PodRef::span), a call's
//! where calls are made. Lines for people show them as `pod{…}:call{…}:` before the message; in JSON all their fields are fields of
//! the line, so that `jq 'select(.uid == "…")'` finds every line about a pod.

use std::fmt;
use std::io::{IsTerminal as _, stderr};

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_serde::fields::AsMap as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines: one JSON object a line
    Json,
}

/// Levels by name; `off` is none.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The value of `--log-level`, checked. A bare word is a level: the filter would take any other for a target at level trace, and
/// a mistyped level would then silence everything else.
pub(super) fn level(text: &str) -> Result<String, String> {
    let directives = if text.contains('[') { text.to_owned() } else { directives(text)? };
    match EnvFilter::builder().parse(&directives) {
        Ok(_) => Ok(directives),
        Err(error) => Err(format!("{error}; give such as info or info,vk_host::pods=debug")),
    }
}

fn directives(text: &str) -> Result<String, String> {
    let directive = |word: &str| match word.trim().to_ascii_lowercase().as_str() {
        // Names of Virtual Kubelet's log.
        "warning" => Ok("warn".to_owned()),
        "fatal" | "panic" => Ok("error".to_owned()),
        level if LEVELS.contains(&level) => Ok(level.to_owned()),
        _ if word.contains('=') => Ok(word.trim().to_owned()),
        _ => Err(format!("{word:?} is no level: give {}, or TARGET=LEVEL", LEVELS.join(", "))),
    };
    Ok(text.split(',').map(directive).collect::<Result<Vec<_>, _>>()?.join(","))
}

/// Sends log lines to stderr; `level` is a checked one.
pub(super) fn start(level: &str, format: LogFormat) {
    let filter = EnvFilter::new(level);
    match format {
        LogFormat::Text => {
            let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
            log.with_ansi(stderr().is_terminal()).finish().init();
        }
        LogFormat::Json => json(filter, stderr).init(),
    }
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    log.fmt_fields(JsonFields::new()).event_format(Flat).finish()
}

/// One JSON object a line, flat: time, level, target, then the fields of the spans from the outermost inwards, then the event's own.
/// Of fields with one name the innermost counts.
struct Flat;

impl<S> FormatEvent<S, JsonFields> for Flat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Map::new();
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            // A span without fields has no text.
            line.extend(fields.and_then(|text| serde_json::from_str::<Map<_, _>>(text).ok()).unwrap_or_default());
        }
        if let Ok(Value::Object(fields)) = serde_json::to_value(event.field_map()) {
            line.extend(fields);
        }
        // A line of the `log` crate, as libraries write it, has its target in a field.
        if let Some(target) = line.remove("log.target") {
            line.insert("target".into(), target);
        }
        line.retain(|name, _| !name.starts_with("log."));
        writeln!(writer, "{}", Value::Object(line))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::provider::PodRef;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged, without its time.
    fn logged(level: &str, log: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(json(EnvFilter::new(level), move || writer.clone()), log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let parse = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
            line
        };
        text.lines().map(parse).collect()
    }

    fn pod() -> PodRef {
        PodRef { namespace: "default".into(), name: "web".into(), uid: "u-1".into() }
    }

    #[test]
    fn a_line_has_the_fields_of_its_spans_and_the_innermost_counts() {
        let lines = logged("info", || {
            let _pod = pod().span().entered();
            let _call = tracing::error_span!("call", generation = 2u64, reason = "outer").entered();
            tracing::warn!(target: "here", reason = "inner", "said");
            tracing::debug!("not said");
        });
        let line = json!({
            "level": "WARN", "target": "here", "message": "said",
            "pod": "default/web", "uid": "u-1", "generation": 2, "reason": "inner",
        });
        assert_eq!(lines, [line]);
    }

    /// Whatever level is logged, its lines say which pod they are about.
    #[test]
    fn the_pod_is_named_at_every_level() {
        for level in LEVELS.iter().skip(1) {
            let lines = logged(level, || pod().span().in_scope(|| tracing::error!("said")));
            assert_eq!((&lines[0]["pod"], &lines[0]["uid"]), (&json!("default/web"), &json!("u-1")), "{level}");
        }
        assert_eq!(logged("off", || tracing::error!("said")), [] as [Value; 0]);
    }

    #[test]
    fn a_level_is_one_of_ours_or_of_virtual_kubelet_s() {
        let table = [
            ("info", "info"),
            ("WARNING", "warn"),
            ("panic", "error"),
            ("info,vk_host::pods=debug", "info,vk_host::pods=debug"),
            ("warning, plugin=info", "warn,plugin=info"),
        ];
        for (text, means) in table {
            assert_eq!(level(text).as_deref(), Ok(means));
        }
        for (text, says) in
            [("inof", "is no level"), ("", "is no level"), ("info,vk_host=loud", "info,vk_host::pods=debug")]
        {
            let error = level(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
