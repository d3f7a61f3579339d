//! `/v1/chat/completions`: `chat.completion` and `chat.completion.chunk`.

use crate::sim::json_text::{JsonText, quoted};
use crate::sim::script::Script;
use crate::sim::tools::ToolCall;

pub fn whole(script: &Script, out: &mut JsonText) {
    head(script, "chat.completion", out);
    out.raw(r#","choices":[{"index":0,"message":{"role":"assistant","content":"#);
    let sha256 = match &script.tool {
        None => {
            out.raw("\"");
            let sha256 = script.write_content(out);
            out.raw(r#"","refusal":null}"#);
            sha256
        }
        Some(tool) => {
            let (before, after) = escaped_ends(tool);
            out.raw(r#"null,"refusal":null,"tool_calls":[{"id":"#);
            call_id(script, out);
            out.raw(r#","type":"function","function":{"name":"#).string(&tool.function);
            out.raw(r#","arguments":""#).raw(&before);
            let sha256 = script.write_content(out);
            out.raw(&after).raw(r#""}}]}"#);
            sha256
        }
    };
    out.raw(r#","logprobs":null,"finish_reason":""#).raw(script.finish.reason()).raw(r#""}],"usage":"#);
    script.write_usage(out);
    script.write_sim(&sha256, out);
    out.raw("}");
}

pub fn opening(script: &Script, out: &mut JsonText) {
    match &script.tool {
        None => chunk(script, out, |out| {
            out.raw(r#"{"role":"assistant","content":"","refusal":null}"#);
        }),
        Some(tool) => {
            chunk(script, out, |out| {
                out.raw(r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"#);
                call_id(script, out);
                out.raw(r#","type":"function","function":{"name":"#).string(&tool.function);
                out.raw(r#","arguments":""}}]}"#);
            });
            arguments(script, &escaped_ends(tool).0, out);
        }
    }
}

pub fn token(script: &Script, index: u64, out: &mut JsonText) {
    chunk(script, out, |out| {
        let (before, after) = match script.tool {
            None => (r#"{"content":""#, r#""}"#),
            Some(_) => (r#"{"tool_calls":[{"index":0,"function":{"arguments":""#, r#""}}]}"#),
        };
        out.raw(before);
        script.write_token_text(index, out);
        out.raw(after);
    });
}

pub fn closing(script: &Script, out: &mut JsonText) {
    if let Some(tool) = &script.tool {
        arguments(script, &escaped_ends(tool).1, out);
    }
    event_head(script, out);
    out.raw(r#","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":""#);
    out.raw(script.finish.reason()).raw(r#""}]"#).raw(null_usage(script));
    script.write_sim(&script.content_sha256(), out);
    out.raw("}\n\n");
    if script.include_usage {
        event_head(script, out);
        out.raw(r#","choices":[],"usage":"#);
        script.write_usage(out);
        out.raw("}\n\n");
    }
}

/// One more piece of the tool call's arguments.
fn arguments(script: &Script, escaped: &str, out: &mut JsonText) {
    chunk(script, out, |out| {
        out.raw(r#"{"tool_calls":[{"index":0,"function":{"arguments":""#).raw(escaped).raw(r#""}}]}"#);
    });
}

fn chunk(script: &Script, out: &mut JsonText, delta: impl FnOnce(&mut JsonText)) {
    event_head(script, out);
    out.raw(r#","choices":[{"index":0,"delta":"#);
    delta(out);
    out.raw(r#","logprobs":null,"finish_reason":null}]"#).raw(null_usage(script)).raw("}\n\n");
}

fn event_head(script: &Script, out: &mut JsonText) {
    out.raw("data: ");
    head(script, "chat.completion.chunk", out);
}

fn head(script: &Script, object: &str, out: &mut JsonText) {
    out.raw(r#"{"id":"chatcmpl-"#).number(script.number).raw(r#"","object":""#).raw(object);
    out.raw(r#"","created":"#).number(script.created).raw(r#","model":"#).raw(&script.model);
}

fn call_id(script: &Script, out: &mut JsonText) {
    out.raw(r#""call_"#).number(script.number).raw("\"");
}

/// With usage asked for, OpenAI says in every chunk that it is not there yet.
fn null_usage(script: &Script) -> &'static str {
    if script.include_usage { r#","usage":null"# } else { "" }
}

/// The ends of the arguments, escaped for a place inside a JSON string.
fn escaped_ends(tool: &ToolCall) -> (String, String) {
    let (before, after) = tool.around_tokens();
    (unquoted(&quoted(&before)), unquoted(&quoted(after)))
}

fn unquoted(literal: &str) -> String {
    literal[1..literal.len() - 1].to_owned()
}
