//! `/v1/messages`: Anthropic's message, and its named events.

use crate::sim::json_text::JsonText;
use crate::sim::script::{Finish, Script};

pub fn whole(script: &Script, out: &mut JsonText) {
    head(script, out);
    out.raw(r#","content":[{"type":"text","text":""#);
    let sha256 = script.write_content(out);
    out.raw(r#""}],"stop_reason":""#).raw(stop_reason(script));
    out.raw(r#"","stop_sequence":null,"usage":{"input_tokens":"#).number(script.prompt_tokens);
    out.raw(r#","output_tokens":"#).number(script.tokens).raw("}");
    script.write_sim(&sha256, out);
    out.raw("}");
}

pub fn opening(script: &Script, out: &mut JsonText) {
    out.raw("event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
    head(script, out);
    out.raw(r#","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":"#);
    out.number(script.prompt_tokens).raw(",\"output_tokens\":1}}}\n\n");
    out.raw("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,");
    out.raw("\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    out.raw("event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

pub fn token(script: &Script, index: u64, out: &mut JsonText) {
    out.raw("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,");
    out.raw(r#""delta":{"type":"text_delta","text":""#);
    script.write_token_text(index, out);
    out.raw("\"}}\n\n");
}

pub fn closing(script: &Script, out: &mut JsonText) {
    out.raw("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    out.raw("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"");
    out.raw(stop_reason(script)).raw(r#"","stop_sequence":null},"usage":{"output_tokens":"#);
    out.number(script.tokens).raw("}");
    script.write_sim(&script.content_sha256(), out);
    out.raw("}\n\n");
}

pub fn terminator(out: &mut JsonText) {
    out.raw("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

fn head(script: &Script, out: &mut JsonText) {
    out.raw(r#"{"id":"msg_"#).number(script.number).raw(r#"","type":"message","role":"assistant","model":"#);
    out.raw(&script.model);
}

fn stop_reason(script: &Script) -> &'static str {
    match script.finish {
        Finish::Length => "max_tokens",
        Finish::Stop | Finish::ToolCalls => "end_turn",
    }
}
