//! What a metric is called, and what it is measured between.

use crate::load::result::Metric;

impl Metric {
    /// As a table's rows and a chart's lines name it.
    pub const fn title(self) -> &'static str {
        match self {
            Metric::ScheduleLag => "Schedule lag",
            Metric::EndToEnd => "End to end",
            Metric::Service => "Service",
            Metric::Ttft => "TTFT",
            Metric::ServiceTtft => "Service TTFT",
            Metric::InterToken => "Inter-token",
            Metric::Tpot => "TPOT",
        }
    }

    pub const fn meaning(self) -> &'static str {
        match self {
            Metric::ScheduleLag => "from the intended send time to the sending: the load tester's own lateness",
            Metric::EndToEnd => "from the intended send time to the last byte",
            Metric::Service => "from the sending to the last byte",
            Metric::Ttft => "from the intended send time to a stream's first content",
            Metric::ServiceTtft => "from the sending to a stream's first content",
            Metric::InterToken => "from one chunk with content to the next",
            Metric::Tpot => "mean time an output token after the first",
        }
    }

    /// As the JSON names it.
    pub const fn key(self) -> &'static str {
        match self {
            Metric::ScheduleLag => "schedule_lag",
            Metric::EndToEnd => "end_to_end",
            Metric::Service => "service",
            Metric::Ttft => "ttft",
            Metric::ServiceTtft => "service_ttft",
            Metric::InterToken => "inter_token",
            Metric::Tpot => "tpot",
        }
    }
}
