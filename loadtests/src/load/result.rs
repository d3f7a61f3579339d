//! What a run found: written as JSON, compared, charted, and merged with others.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first field of every file; it changes when a reader of the old form would be wrong.
pub const FORMAT: &str = "outrigger-load/1";

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub format: String,
    /// The scenario's name.
    pub name: String,
    /// Which of several targets, in an A/B or a matrix.
    pub label: Option<String>,
    /// The URL, without any credential.
    pub target: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Version of the load tester.
    pub tool: String,
    pub machine: Machine,
    /// The scenario as it was read, with every default; without credentials.
    pub scenario: serde_json::Value,
    pub planned_seconds: f64,
    /// From the end of the warm-up to the last answer.
    pub measured_seconds: f64,
    /// Why the run ended before its plan did; none where it is complete.
    pub cut_short: Option<String>,
    /// Why the figures are not to be believed, such as a schedule that was not kept; empty where they are.
    pub invalid: Vec<String>,
    pub counts: Counts,
    pub rates: Rates,
    pub latencies: BTreeMap<Metric, Distribution>,
    /// Failed requests by kind: `status_429`, `connect`, `timeout`, `reset`, `truncated`, `malformed`, …
    pub errors: BTreeMap<String, u64>,
    pub integrity: Integrity,
    /// None where no process was named or it cannot be read.
    pub process: Option<Process>,
    /// The timeline, in order, without gaps.
    pub slices: Vec<Slice>,
    /// Faults, stages and other marks on the clock of the load.
    pub marks: Vec<Mark>,
    pub levels: Vec<LevelVerdict>,
}

/// What a request's time is measured between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// From the intended send time to the sending: the load tester's own lateness.
    ScheduleLag,
    /// From the intended send time to the last byte.
    EndToEnd,
    /// From the sending to the last byte.
    Service,
    /// From the intended send time to the first content of a stream.
    Ttft,
    /// From the sending to the first content of a stream.
    ServiceTtft,
    /// From one chunk with content to the next.
    InterToken,
    /// Mean time an output token after the first: (end - first content) / (tokens - 1).
    Tpot,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What baselines are kept by: processor, number of cores, memory in GiB, operating system; as in
    /// `amd-epyc-7763-2c-24g-linux`.
    pub class: String,
    pub cpu: String,
    pub cores: u32,
    pub memory_mib: u64,
    pub kernel: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub sent: u64,
    /// Answered as expected.
    pub answered: u64,
    pub failed: u64,
    /// Answered as expected and within every service level on latency.
    pub good: u64,
    /// Answered streams, of those.
    pub streams: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub body_bytes_received: u64,
    pub stream_bytes_received: u64,
    pub most_in_flight: u64,
}

/// A second, over the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    pub requests: f64,
    pub goodput: f64,
    pub output_tokens: f64,
    pub stream_bytes: f64,
}

/// In milliseconds; the histogram in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub stdev: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// HdrHistogram's V2 encoding, compressed, in base64: files can be merged without loss.
    pub histogram: String,
}

/// Of streams that carry the simulator's marks; `checked` is 0 against any other server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Integrity {
    pub checked: u64,
    pub whole: u64,
    pub lost: u64,
    pub repeated: u64,
    pub reordered: u64,
    pub truncated: u64,
    pub crossed: u64,
    pub hash_mismatch: u64,
    pub error_event: u64,
    pub malformed: u64,
}

/// The target's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    pub cpu_seconds: f64,
    pub cpu_microseconds_per_request: f64,
    pub resident_mib_first: f64,
    pub resident_mib_last: f64,
    pub resident_mib_peak: f64,
    /// Least squares over the timeline.
    pub resident_mib_per_hour: f64,
    pub files_first: u64,
    pub files_last: u64,
    pub files_per_hour: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Since the end of the warm-up; requests belong to the slice of their intended send time.
    pub at_seconds: f64,
    pub seconds: f64,
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub output_tokens: u64,
    /// At the end of the slice.
    pub in_flight: u64,
    pub end_to_end: Option<Distribution>,
    pub ttft: Option<Distribution>,
    pub resident_mib: Option<f64>,
    pub open_files: Option<u64>,
    /// Of one core.
    pub cpu_share: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub at_seconds: f64,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelVerdict {
    /// As in the scenario: `p95_ttft_ms <= 500`.
    pub level: String,
    /// None where nothing could be measured: the level is then missed.
    pub value: Option<f64>,
    pub met: bool,
}

impl Run {
    /// Complete, believable, answered, whole, and within every service level.
    pub fn passed(&self) -> bool {
        self.cut_short.is_none()
            && self.invalid.is_empty()
            && self.counts.answered > 0
            && self.integrity.checked == self.integrity.whole
            && self.levels.iter().all(|level| level.met)
    }
}
