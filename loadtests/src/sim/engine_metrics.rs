//! `GET /metrics`: how full the server is, in vLLM's words.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::body::ReplyBody;
use super::problem::json_response;
use super::simulator::Simulator;
use super::slots::Occupied;

pub fn answer(simulator: &Simulator) -> Response<ReplyBody> {
    let model = simulator.models.first().map_or("sim", String::as_str);
    let text = write(simulator.slots.occupied(), model);
    let mut response = json_response(StatusCode::OK, ReplyBody::plain(text.into()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn write(occupied: Occupied, model: &str) -> String {
    let Occupied { count, running, waiting } = occupied;
    // The cache of a server without a bound is never full.
    let usage = if count == 0 { 0.0 } else { running as f64 / count as f64 };
    let model = model.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    let gauge = |name: &str, help: &str, value: f64| {
        format!(
            "# HELP vllm:{name} {help}\n# TYPE vllm:{name} gauge\n\
             vllm:{name}{{engine=\"0\",model_name=\"{model}\"}} {value:?}\n"
        )
    };
    [
        gauge("num_requests_running", "Generations that hold a slot.", running as f64),
        gauge("num_requests_waiting", "Generations that wait for a slot.", waiting as f64),
        gauge("kv_cache_usage_perc", "The share of the slots that is held; 1 is all.", usage),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_vllms_own() {
        let text = write(Occupied { count: 4, running: 3, waiting: 2 }, "a/\"b\"");
        for line in [
            r#"vllm:num_requests_running{engine="0",model_name="a/\"b\""} 3.0"#,
            r#"vllm:num_requests_waiting{engine="0",model_name="a/\"b\""} 2.0"#,
            r#"vllm:kv_cache_usage_perc{engine="0",model_name="a/\"b\""} 0.75"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
