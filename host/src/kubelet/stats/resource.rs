//! `GET /metrics/resource`: what metrics-server reads for `kubectl top` and autoscaling, in Prometheus' text format.
//!
//! Written here rather than by the library of [`crate::metrics`]: the samples are not ours but the provider's, each with the time
//! at which it was taken, and metrics-server computes its rates from these times.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use super::{Figure, Figures, PodFigures, gather, refuse};
use crate::kubelet::Api;
use crate::provider::Usage;

/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A provider that fails is not an error of the scrape: as the kubelet does it, the page then says `resource_scrape_error 1`.
pub(in crate::kubelet) async fn serve(State(api): State<Api>) -> Response {
    if let Some(refused) = refuse(&api) {
        return refused;
    }
    let text = match gather(&api).await {
        Ok(figures) => page(Some(&figures)),
        Err(error) => {
            tracing::warn!(%error, "the provider gave no statistics for /metrics/resource");
            page(None)
        }
    };
    ([(CONTENT_TYPE, TEXT)], text).into_response()
}

/// The page in the kubelet's own names (pkg/kubelet/metrics/collectors/resource_metrics.go); none: there are no figures this time.
fn page(figures: Option<&Figures>) -> String {
    let mut page = Page(String::new());
    if let Some(Figures { node, pods }) = figures {
        page.containers(
            "container_cpu_usage_seconds_total",
            Kind::Counter,
            "Cumulative cpu time consumed by the container in core-seconds",
            pods,
            cpu_seconds,
        );
        page.containers(
            "container_memory_working_set_bytes",
            Kind::Gauge,
            "Current working set of the container in bytes",
            pods,
            working_set,
        );
        page.start_times(pods);
        page.family(
            "node_cpu_usage_seconds_total",
            Kind::Counter,
            "Cumulative cpu time consumed by the node in core-seconds",
        );
        page.figure("node_cpu_usage_seconds_total", &[], node, cpu_seconds);
        page.family("node_memory_working_set_bytes", Kind::Gauge, "Current working set of the node in bytes");
        page.figure("node_memory_working_set_bytes", &[], node, working_set);
        page.pods(
            "pod_cpu_usage_seconds_total",
            Kind::Counter,
            "Cumulative cpu time consumed by the pod in core-seconds",
            pods,
            cpu_seconds,
        );
        page.pods(
            "pod_memory_working_set_bytes",
            Kind::Gauge,
            "Current working set of the pod in bytes",
            pods,
            working_set,
        );
    }
    let failed = if figures.is_some() { 0.0 } else { 1.0 };
    // The second is the name that it had before Kubernetes 1.29.
    for name in ["resource_scrape_error", "scrape_error"] {
        page.family(name, Kind::Gauge, "1 if there was an error while getting container metrics, 0 otherwise");
        page.sample(name, &[], failed, None);
    }
    page.0
}

fn cpu_seconds(usage: &Usage) -> Option<f64> {
    usage.cpu_nanoseconds.map(|nanoseconds| std::time::Duration::from_nanos(nanoseconds).as_secs_f64())
}

fn working_set(usage: &Usage) -> Option<f64> {
    usage.memory_working_set_bytes.map(float)
}

/// Prometheus' values are floats. Exact up to 2^53, which is more bytes than a machine has.
fn float(value: u64) -> f64 {
    value as f64
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing into a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A line; the time is unix milliseconds.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64, time_ms: Option<u64>) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(self.0, r#"{before}{label}="{text}""#);
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = write!(self.0, " {value}");
        if let Some(time_ms) = time_ms {
            let _ = write!(self.0, " {time_ms}");
        }
        self.0.push('\n');
    }

    fn figure(&mut self, name: &str, labels: &[(&str, &str)], figure: &Figure, value: fn(&Usage) -> Option<f64>) {
        if let Some(value) = value(&figure.usage) {
            self.sample(name, labels, value, Some(figure.usage.time_ms));
        }
    }

    fn containers(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        pods: &[PodFigures],
        value: fn(&Usage) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        for pod in pods {
            for (container, figure) in &pod.containers {
                self.figure(name, &container_labels(pod, container), figure, value);
            }
        }
    }

    fn start_times(&mut self, pods: &[PodFigures]) {
        let name = "container_start_time_seconds";
        self.family(name, Kind::Gauge, "Start time of the container since unix epoch in seconds");
        for pod in pods {
            for (container, figure) in &pod.containers {
                if let Some(started_ms) = figure.usage.started_ms {
                    self.sample(name, &container_labels(pod, container), float(started_ms) / 1000.0, None);
                }
            }
        }
    }

    fn pods(&mut self, name: &str, kind: Kind, help: &str, pods: &[PodFigures], value: fn(&Usage) -> Option<f64>) {
        self.family(name, kind, help);
        for pod in pods {
            let labels = [("namespace", pod.id.namespace.as_str()), ("pod", pod.id.name.as_str())];
            self.figure(name, &labels, &pod.whole, value);
        }
    }
}

/// In the order of the kubelet's page.
fn container_labels<'a>(pod: &'a PodFigures, container: &'a str) -> [(&'static str, &'a str); 3] {
    [("container", container), ("namespace", &pod.id.namespace), ("pod", &pod.id.name)]
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::provider::PodRef;

    #[test]
    fn a_page_has_the_kubelet_s_lines() {
        let figure = |cpu_nanoseconds, memory| Figure {
            usage: Usage {
                time_ms: 1_700_000_000_123,
                started_ms: Some(1_600_000_000_500),
                cpu_nanoseconds,
                memory_working_set_bytes: memory,
                ..Usage::default()
            },
            nano_cores: None,
        };
        let figures = Figures {
            node: figure(Some(2_500_000_000), Some(1 << 30)),
            pods: vec![PodFigures {
                id: PodRef { namespace: "a".into(), name: "b".into(), uid: "u".into() },
                started: Timestamp::UNIX_EPOCH,
                whole: figure(None, Some(7)),
                containers: vec![("\"c\\".into(), figure(Some(1), None))],
            }],
        };
        let page = page(Some(&figures));
        for line in [
            "# TYPE node_cpu_usage_seconds_total counter",
            "node_cpu_usage_seconds_total 2.5 1700000000123",
            "node_memory_working_set_bytes 1073741824 1700000000123",
            r#"container_cpu_usage_seconds_total{container="\"c\\",namespace="a",pod="b"} 0.000000001 1700000000123"#,
            r#"container_start_time_seconds{container="\"c\\",namespace="a",pod="b"} 1600000000.5"#,
            r#"pod_memory_working_set_bytes{namespace="a",pod="b"} 7 1700000000123"#,
            "resource_scrape_error 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        // What is not told is not 0.
        assert!(
            !page.contains("container_memory_working_set_bytes{") && !page.contains("pod_cpu_usage_seconds_total{")
        );
    }

    #[test]
    fn a_scrape_that_failed_says_so_and_nothing_else() {
        let page = page(None);
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["resource_scrape_error 1", "scrape_error 1"]);
    }
}
