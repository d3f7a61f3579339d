//! What a generation request comes to: refused, answered with the error it asks for, or on the books.

use bytes::Bytes;
use http::header::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Job, Refusal};
use crate::sim::controls::{Controls, Form};
use crate::sim::embeddings::Vectors;
use crate::sim::json_text::quoted;
use crate::sim::pace::Pace;
use crate::sim::problem::Problem;
use crate::sim::question::{Question, Route};
use crate::sim::script::{Finish, MOST_TOKENS, Script, tokens_in_bytes};
use crate::sim::simulator::Simulator;
use crate::sim::tools::ToolCall;

/// The most that `reply_bytes` gives.
const MOST_REPLY_BYTES: u64 = 64 * 1024 * 1024;

impl Job {
    pub(super) fn settle(
        simulator: &Simulator,
        route: Route,
        headers: &HeaderMap,
        body: &Bytes,
        start: Instant,
    ) -> Result<Job, Refusal> {
        let mut question = Question::read(route, body)?;
        let form = if question.streams(route) { Form::Stream } else { Form::Json };
        let mut controls = simulator.controls(question.sim.take());
        if let Some(status) = controls.status {
            // Not the command line's TTFT: refusals are quick unless a test slows them.
            let delay = controls.ttft_ms.unwrap_or_default().duration();
            return Err(Refusal { problem: Problem::planted(status.0, controls.retry_after.take()), delay });
        }
        check(&controls, form, question.limit())?;
        let vectors = match route {
            Route::Embeddings => Some(Vectors::read(&question)?),
            _ => None,
        };
        let echo = controls.echo.unwrap_or(false).then(|| echo(simulator, headers, body));
        let gap = simulator.gap(&controls);
        let mut generation = simulator.ledger.start(route.path());
        let script = Script { echo, ..script(simulator, route, &question, &controls, generation.number()) };
        generation.read(script.prompt_tokens);
        Ok(Job {
            generation,
            script,
            vectors,
            form,
            fault: controls.fault.unwrap_or_default(),
            at: controls.at.unwrap_or(1),
            late_head: controls.late_head.unwrap_or(false),
            pace: Pace::new(start, simulator.ttft(&controls), gap).in_turn(simulator.slots.queue()),
            gap,
        })
    }
}

/// Refuses what can be said but not be done.
fn check(controls: &Controls, form: Form, limit: Option<u64>) -> Result<(), Problem> {
    if controls.slots.is_some() {
        return Err(Problem::bad_request("sim.slots can be set by /sim/config only."));
    }
    let fault = controls.fault.unwrap_or_default();
    if fault.impossible_form() == Some(form) {
        let form = if form == Form::Json { "JSON" } else { "stream" };
        return Err(Problem::bad_request(format!("The sim fault {fault:?} does not exist in the {form} form.")));
    }
    if controls.tokens == Some(0) || controls.tokens.or(limit).is_some_and(|tokens| tokens > MOST_TOKENS) {
        return Err(Problem::bad_request(format!("The number of tokens must be between 1 and {MOST_TOKENS}.")));
    }
    if controls.reply_bytes.is_some_and(|bytes| bytes > MOST_REPLY_BYTES) {
        return Err(Problem::bad_request(format!("sim.reply_bytes must be at most {MOST_REPLY_BYTES}.")));
    }
    Ok(())
}

fn script(simulator: &Simulator, route: Route, question: &Question<'_>, controls: &Controls, number: u64) -> Script {
    let limit = question.limit().unwrap_or(u64::MAX);
    let tool = if route == Route::ChatCompletions { ToolCall::wanted(question) } else { None };
    let (tokens, cut_short) = match (controls.reply_bytes, controls.tokens) {
        (Some(bytes), _) => (tokens_in_bytes(number, bytes), false),
        (None, Some(tokens)) => (tokens.min(limit), tokens >= limit),
        (None, None) => question.limit().map_or((simulator.tokens(), false), |limit| (limit, true)),
    };
    Script {
        number,
        route,
        model: quoted(&question.model),
        created: simulator.clock.unix_seconds(),
        tokens: if route == Route::Embeddings { 0 } else { tokens },
        finish: match (&tool, cut_short) {
            (Some(_), _) => Finish::ToolCalls,
            (None, true) => Finish::Length,
            (None, false) => Finish::Stop,
        },
        prompt_tokens: simulator.prompt_tokens(route, question),
        include_usage: question.include_usage() && !controls.hide_usage.unwrap_or(false),
        tool,
        echo: None,
    }
}

/// The members of `sim` that tell how the request arrived.
fn echo(simulator: &Simulator, headers: &HeaderMap, body: &Bytes) -> String {
    let sha256 = hex::encode(Sha256::digest(body));
    simulator.ledger.body_hashed(sha256.clone());
    let mut object = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        object.insert(name.as_str().to_owned(), Value::from(values.join(", ")));
    }
    let length = body.len();
    format!(r#","body_sha256":"{sha256}","body_bytes":{length},"headers":{}"#, Value::Object(object))
}
