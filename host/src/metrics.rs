//! What the host counts of itself: one registry that the owners of what is counted are read into, and that `/metrics` reads.
//!
//! Names follow Prometheus' conventions: units in the name, counters end in `_total`, and where the kubelet has the same
//! figure it has its name. Labels are bounded and the host's own words, never a pod, a container or a message; the library writes
//! them as they are.

pub mod containers;
pub mod pods;
pub mod provider;
pub mod requests;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry};

/// All metrics while they are gathered; [`Registrar::finish`] makes what is served of them.
#[derive(Default)]
pub struct Registrar(Registry);

/// All metrics, ready to be read.
#[derive(Clone)]
pub struct Metrics(Arc<Registry>);

/// Values by one label's value.
pub type Labelled = Vec<(String, f64)>;

impl Registrar {
    /// Something that its owner counts. A counter's name is given without `_total`.
    pub fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    /// A gauge that is read when it is asked for; none: it is left out.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.read(name, help, None, MetricType::Gauge, move || {
            read().into_iter().map(|value| (String::new(), value)).collect()
        });
    }

    /// Gauges that are read when they are asked for, one for each value of the label.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Labelled + Send + Sync + 'static,
    ) {
        self.read(name, help, Some(label), MetricType::Gauge, read);
    }

    /// A counter that is read when it is asked for. The name is given without `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.read(name, help, None, MetricType::Counter, move || vec![(String::new(), read())]);
    }

    /// Counters that are read when they are asked for, one for each value of the label. The name is given without `_total`.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Labelled + Send + Sync + 'static,
    ) {
        self.read(name, help, Some(label), MetricType::Counter, read);
    }

    /// What this program is: a gauge of 1 whose labels tell it.
    pub fn build_info(&mut self, provider: &str) {
        let labels = [("version", env!("CARGO_PKG_VERSION").to_string()), ("provider", provider.to_string())];
        let family =
            prometheus_client::metrics::family::Family::<_, prometheus_client::metrics::gauge::Gauge>::default();
        family.get_or_create(&labels.to_vec()).set(1);
        self.0.register("vk_build_info", "What this host is, by its labels; always 1", family);
    }

    fn read(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: Option<&'static str>,
        kind: MetricType,
        read: impl Fn() -> Labelled + Send + Sync + 'static,
    ) {
        self.0.register_collector(Box::new(Reading { name, help, label, kind, read }));
    }

    /// Ends the gathering.
    pub fn finish(self) -> Metrics {
        Metrics(Arc::new(self.0))
    }
}

impl Metrics {
    /// All of them as OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// A value that exists only while it is read.
struct Reading<F> {
    name: &'static str,
    help: &'static str,
    label: Option<&'static str>,
    kind: MetricType,
    read: F,
}

impl<F> fmt::Debug for Reading<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F> Reading<F> {
    fn write(&self, value: f64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.kind {
            MetricType::Counter => ConstCounter::new(value).encode(encoder),
            _ => ConstGauge::new(value).encode(encoder),
        }
    }
}

impl<F: Fn() -> Labelled + Send + Sync + 'static> Collector for Reading<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (text, value) in (self.read)() {
            match self.label {
                Some(label) => self.write(value, family.encode_family(&[(label, text.as_str())])?)?,
                None => return self.write(value, family),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_read_at_each_scrape() {
        let mut registrar = Registrar::default();
        registrar.gauge("vk_a_seconds", "A", || Some(1.5));
        registrar.gauge("vk_absent", "Absent", || None);
        registrar.counters("vk_b", "B", "reason", || vec![("x".into(), 2.0), ("y".into(), 0.0)]);
        registrar.build_info("mock");
        let text = registrar.finish().text().unwrap();
        for line in ["vk_a_seconds 1.5", r#"vk_b_total{reason="x"} 2.0"#, r#"vk_b_total{reason="y"} 0.0"#, "# EOF"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains(r#"provider="mock"} 1"#), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("vk_absent")), "{text}");
    }
}
