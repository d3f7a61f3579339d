//! `/v1/responses`: the response object, and its numbered events.

use crate::sim::json_text::JsonText;
use crate::sim::script::{Finish, Script};

/// The events before the first token: created, in progress, item added, part added.
const OPENING_EVENTS: u64 = 4;

/// What stands between the commonly set members of a response and its usage.
const SETTINGS: &str = r#","instructions":null,"metadata":{},"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","user":null"#;

pub fn whole(script: &Script, out: &mut JsonText) {
    let sha256 = response(script, out);
    script.write_sim(&sha256, out);
    out.raw("}");
}

pub fn opening(script: &Script, out: &mut JsonText) {
    for (sequence, name) in [(0, "response.created"), (1, "response.in_progress")] {
        event(name, sequence, out);
        out.raw(r#","response":"#);
        unfinished(script, out);
        out.raw("}}\n\n");
    }
    event("response.output_item.added", 2, out);
    out.raw(r#","output_index":0,"item":"#);
    item(script, "in_progress", out);
    out.raw("]}}\n\n");
    event("response.content_part.added", 3, out);
    place(script, out);
    out.raw(",\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}}\n\n");
}

pub fn token(script: &Script, index: u64, out: &mut JsonText) {
    event("response.output_text.delta", OPENING_EVENTS + index, out);
    place(script, out);
    out.raw(r#","delta":""#);
    script.write_token_text(index, out);
    out.raw("\",\"logprobs\":[]}\n\n");
}

pub fn closing(script: &Script, out: &mut JsonText) {
    let sequence = OPENING_EVENTS + script.tokens;
    event("response.output_text.done", sequence, out);
    place(script, out);
    out.raw(r#","text":""#);
    script.write_content(out);
    out.raw("\",\"logprobs\":[]}\n\n");
    event("response.content_part.done", sequence + 1, out);
    place(script, out);
    out.raw(r#","part":"#);
    part(script, out);
    out.raw("}\n\n");
    event("response.output_item.done", sequence + 2, out);
    out.raw(r#","output_index":0,"item":"#);
    item(script, status(script), out);
    part(script, out);
    out.raw("]}}\n\n");
}

/// Its name tells whether the limit cut the answer short, as OpenAI's does.
pub fn terminator(script: &Script, out: &mut JsonText) {
    let name = match script.finish {
        Finish::Length => "response.incomplete",
        Finish::Stop | Finish::ToolCalls => "response.completed",
    };
    event(name, OPENING_EVENTS + script.tokens + 3, out);
    out.raw(r#","response":"#);
    let sha256 = response(script, out);
    out.raw("}");
    script.write_sim(&sha256, out);
    out.raw("}\n\n");
}

/// Writes the finished response but for its closing brace, and gives the hash of its content.
fn response(script: &Script, out: &mut JsonText) -> String {
    head(script, status(script), out);
    let details = match script.finish {
        Finish::Length => r#"{"reason":"max_output_tokens"}"#,
        Finish::Stop | Finish::ToolCalls => "null",
    };
    out.raw(r#","incomplete_details":"#).raw(details).raw(r#","output":["#);
    item(script, status(script), out);
    let sha256 = part(script, out);
    out.raw(r#"]}],"usage":{"input_tokens":"#).number(script.prompt_tokens);
    out.raw(r#","input_tokens_details":{"cached_tokens":0},"output_tokens":"#).number(script.tokens);
    out.raw(r#","output_tokens_details":{"reasoning_tokens":0},"total_tokens":"#);
    out.number(script.prompt_tokens + script.tokens).raw("}");
    sha256
}

/// Writes a response that has no output yet, but for its closing brace.
fn unfinished(script: &Script, out: &mut JsonText) {
    head(script, "in_progress", out);
    out.raw(r#","incomplete_details":null,"output":[],"usage":null"#);
}

fn head(script: &Script, status: &str, out: &mut JsonText) {
    out.raw(r#"{"id":"resp_"#).number(script.number).raw(r#"","object":"response","created_at":"#);
    out.number(script.created).raw(r#","status":""#).raw(status).raw(r#"","error":null,"model":"#);
    out.raw(&script.model).raw(SETTINGS);
}

/// Writes the message up to the inside of its content list.
fn item(script: &Script, status: &str, out: &mut JsonText) {
    out.raw(r#"{"id":"msg_"#).number(script.number).raw(r#"","type":"message","status":""#).raw(status);
    out.raw(r#"","role":"assistant","content":["#);
}

fn part(script: &Script, out: &mut JsonText) -> String {
    out.raw(r#"{"type":"output_text","text":""#);
    let sha256 = script.write_content(out);
    out.raw(r#"","annotations":[],"logprobs":[]}"#);
    sha256
}

/// Which part of the response an event is about.
fn place(script: &Script, out: &mut JsonText) {
    out.raw(r#","item_id":"msg_"#).number(script.number).raw(r#"","output_index":0,"content_index":0"#);
}

fn event(name: &str, sequence: u64, out: &mut JsonText) {
    out.raw("event: ").raw(name).raw("\ndata: {\"type\":\"").raw(name);
    out.raw(r#"","sequence_number":"#).number(sequence);
}

fn status(script: &Script) -> &'static str {
    match script.finish {
        Finish::Length => "incomplete",
        Finish::Stop | Finish::ToolCalls => "completed",
    }
}
