//! The metrics as text: Prometheus's own form, and OpenMetrics with exemplars for who asks for it.
//!
//! The form is <https://prometheus.io/docs/specs/om/open_metrics_spec/>: counters are named without `_total` where they
//! are described and with it where they are counted, and the end is said.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use prometheus::TextEncoder;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::exemplars::{Exemplar, Exemplars};
use crate::gpu::FOREIGN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Prometheus,
    OpenMetrics,
}

impl Form {
    /// What somebody with this `accept` header understands.
    pub fn accepted(header: &str) -> Self {
        if header.contains("application/openmetrics-text") { Form::OpenMetrics } else { Form::Prometheus }
    }
}

/// The content type and the text.
pub fn text(families: &[MetricFamily], exemplars: &Exemplars, form: Form) -> (&'static str, String) {
    match form {
        Form::OpenMetrics => {
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", open_metrics(families, exemplars))
        }
        Form::Prometheus => {
            let mut text = String::new();
            if let Err(problem) = TextEncoder::new().encode_utf8(families, &mut text) {
                tracing::error!(%problem, "the metrics could not be written");
            }
            (prometheus::TEXT_FORMAT, text)
        }
    }
}

/// Takes away what the exporter puts after the name of a counter, where the name is not ours but DCGM's.
pub fn as_others_name_it(family: &mut MetricFamily) {
    if let Some(name) = family.name().strip_suffix("_total").filter(|name| name.starts_with(FOREIGN)) {
        let name = name.to_owned();
        family.set_name(name);
    }
}

fn open_metrics(families: &[MetricFamily], exemplars: &Exemplars) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for family in families {
        let name = family.name();
        // Of a counter the form wants another name than DCGM's: told so, it is nothing that the form knows.
        let foreign = name.starts_with(FOREIGN);
        let counter = family.get_field_type() == MetricType::COUNTER && !foreign;
        let described = if counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let kind = match family.get_field_type() {
            MetricType::COUNTER if foreign => "unknown",
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "unknown",
        };
        let _ = writeln!(out, "# TYPE {described} {kind}");
        if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| described.ends_with(&format!("_{unit}"))) {
            let _ = writeln!(out, "# UNIT {described} {unit}");
        }
        let _ = writeln!(out, "# HELP {described} {}", escaped(family.help()));
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::HISTOGRAM => histogram(&mut out, name, metric, exemplars),
                MetricType::COUNTER if foreign => {
                    sample(&mut out, name, metric, number(metric.get_counter().get_value()));
                }
                MetricType::COUNTER => {
                    sample(&mut out, &format!("{described}_total"), metric, number(metric.get_counter().get_value()));
                }
                MetricType::GAUGE => sample(&mut out, name, metric, number(metric.get_gauge().get_value())),
                // None of ours are.
                MetricType::SUMMARY | MetricType::UNTYPED => {}
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

fn histogram(out: &mut String, name: &str, metric: &Metric, exemplars: &Exemplars) {
    let histogram = metric.get_histogram();
    let label = |wanted: &str| {
        let found = metric.get_label().iter().find(|label| label.name() == wanted);
        found.map_or("", |label| label.value())
    };
    let mut above = f64::NEG_INFINITY;
    let bounds = histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let has_last = histogram.get_bucket().last().is_some_and(|bucket| bucket.upper_bound().is_infinite());
    let last = (!has_last).then_some((f64::INFINITY, histogram.get_sample_count()));
    for (bound, count) in bounds.chain(last) {
        let _ = write!(out, "{name}_bucket");
        labels(out, metric, Some(&number(bound)));
        let _ = write!(out, " {count}");
        if let Some(example) = exemplars.find(name, label, above, bound) {
            write_example(out, &example);
        }
        out.push('\n');
        above = bound;
    }
    sample(out, &format!("{name}_count"), metric, histogram.get_sample_count());
    sample(out, &format!("{name}_sum"), metric, number(histogram.get_sample_sum()));
}

fn write_example(out: &mut String, example: &Exemplar) {
    let at = example.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let Exemplar { trace, span, value, .. } = example;
    let _ = write!(out, " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {value} {at:.3}");
}

fn sample(out: &mut String, name: &str, metric: &Metric, value: impl std::fmt::Display) {
    out.push_str(name);
    labels(out, metric, None);
    let _ = writeln!(out, " {value}");
}

fn labels(out: &mut String, metric: &Metric, bound: Option<&str>) {
    let mut separator = '{';
    let named = metric.get_label().iter().map(|label| (label.name(), label.value()));
    for (name, value) in named.chain(bound.map(|bound| ("le", bound))) {
        let _ = write!(out, "{separator}{name}=\"{}\"", escaped(value).replace('"', "\\\""));
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// As the form writes numbers; a bound of a bucket that is whole is written as one with a point.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests;
