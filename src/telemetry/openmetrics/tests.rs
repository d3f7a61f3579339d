use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use outrigger_filters::Route;
use outrigger_filters::trace::{Record, Seen, Sink, Trace};
use prometheus::{Counter, Gauge, HistogramOpts, HistogramVec, Opts, Registry};

use super::*;

struct Takes(Exemplars);

impl Sink for Takes {
    fn take(&self, record: Record) {
        self.0.take(&record);
    }
}

fn registry() -> Registry {
    let registry = Registry::new();
    let counter = Counter::with_opts(Opts::new("a_total", "Counts \\ and\nsays.")).unwrap();
    counter.inc_by(3.0);
    let gauge = Gauge::with_opts(Opts::new("b_bytes", "Weighs.").const_label("who", "a \"b\"")).unwrap();
    gauge.set(0.5);
    let name = "gen_ai_server_request_duration_seconds";
    let labels = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"];
    let histogram = HistogramVec::new(HistogramOpts::new(name, "Takes.").buckets(vec![0.25, 1.0]), &labels).unwrap();
    for seconds in [0.1, 0.5, 7.0] {
        histogram.with_label_values(&["chat", "openai", "m"]).observe(seconds);
    }
    registry.register(Box::new(counter)).unwrap();
    registry.register(Box::new(gauge)).unwrap();
    registry.register(Box::new(histogram)).unwrap();
    registry
}

fn exemplars() -> Exemplars {
    let takes = Arc::new(Takes(Exemplars::default()));
    let trace = Trace::begin(TraceId::from(5), SpanId::INVALID, Some(TraceFlags::SAMPLED), takes.clone());
    let span = trace.span();
    trace.answered(Seen { route: Some(Route::ChatCompletions), model: Some("m".into()), ..Seen::default() });
    drop(trace);
    assert_ne!(span, SpanId::INVALID);
    Arc::into_inner(takes).unwrap().0
}

#[test]
fn open_metrics_is_written_as_its_standard_says() {
    let (kind, text) = text(&registry().gather(), &exemplars(), Form::accepted("application/openmetrics-text"));
    assert!(kind.starts_with("application/openmetrics-text"));
    let lines: Vec<_> = text.lines().collect();
    let example = lines.iter().find(|line| line.contains(" # {")).expect("an example");
    let expected = "gen_ai_server_request_duration_seconds_bucket{gen_ai_operation_name=\"chat\",\
        gen_ai_provider_name=\"openai\",gen_ai_request_model=\"m\",le=\"0.25\"} 1 # {trace_id=\"00000000000000000000000000000005\",span_id=\"";
    assert!(example.starts_with(expected), "{example}");
    let plain: Vec<_> = lines.iter().filter(|line| !line.contains(" # {")).copied().collect();
    assert_eq!(
        plain,
        [
            "# TYPE a counter",
            "# HELP a Counts \\\\ and\\nsays.",
            "a_total 3.0",
            "# TYPE b_bytes gauge",
            "# UNIT b_bytes bytes",
            "# HELP b_bytes Weighs.",
            "b_bytes{who=\"a \\\"b\\\"\"} 0.5",
            "# TYPE gen_ai_server_request_duration_seconds histogram",
            "# UNIT gen_ai_server_request_duration_seconds seconds",
            "# HELP gen_ai_server_request_duration_seconds Takes.",
            "gen_ai_server_request_duration_seconds_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"m\",le=\"1.0\"} 2",
            "gen_ai_server_request_duration_seconds_bucket{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"m\",le=\"+Inf\"} 3",
            "gen_ai_server_request_duration_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"m\"} 3",
            "gen_ai_server_request_duration_seconds_sum{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"m\"} 7.6",
            "# EOF",
        ]
    );
}

#[test]
fn who_does_not_ask_for_it_gets_prometheus_own_form() {
    let (kind, text) = text(&registry().gather(), &exemplars(), Form::accepted("text/plain"));
    assert_eq!(kind, "text/plain; version=0.0.4");
    assert!(text.contains("# TYPE a_total counter\na_total 3\n") && !text.contains("# {") && !text.contains("EOF"));
}

#[test]
fn a_counter_of_dcgms_keeps_its_name_in_both_forms() {
    let registry = Registry::new();
    for name in ["DCGM_FI_DEV_PCIE_REPLAY_COUNTER_total", "outrigger_retries_total"] {
        let counter = Counter::with_opts(Opts::new(name, "Counts.")).unwrap();
        counter.inc_by(5.0);
        registry.register(Box::new(counter)).unwrap();
    }
    let mut families = registry.gather();
    families.iter_mut().for_each(as_others_name_it);
    let lines = |form| {
        let (_, text) = text(&families, &Exemplars::default(), form);
        text.lines().filter(|line| !line.contains("HELP")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let plain = lines(Form::Prometheus);
    let expected = [
        "# TYPE DCGM_FI_DEV_PCIE_REPLAY_COUNTER counter",
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER 5",
        "# TYPE outrigger_retries_total counter",
        "outrigger_retries_total 5",
    ];
    assert_eq!(plain, expected);
    let open = lines(Form::OpenMetrics);
    let expected = [
        "# TYPE DCGM_FI_DEV_PCIE_REPLAY_COUNTER unknown",
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER 5.0",
        "# TYPE outrigger_retries counter",
        "outrigger_retries_total 5.0",
        "# EOF",
    ];
    assert_eq!(open, expected, "a counter must end in _total there: with DCGM's name it is none");
}
