//! `/v1/completions`: `text_completion`, in one piece and in chunks of the same name.

use crate::sim::json_text::JsonText;
use crate::sim::script::Script;

pub fn whole(script: &Script, out: &mut JsonText) {
    head(script, out);
    out.raw(r#","choices":[{"text":""#);
    let sha256 = script.write_content(out);
    out.raw(r#"","index":0,"logprobs":null,"finish_reason":""#).raw(script.finish.reason());
    out.raw(r#""}],"usage":"#);
    script.write_usage(out);
    script.write_sim(&sha256, out);
    out.raw("}");
}

pub fn token(script: &Script, index: u64, out: &mut JsonText) {
    event_head(script, out);
    out.raw(r#","choices":[{"text":""#);
    script.write_token_text(index, out);
    out.raw(r#"","index":0,"logprobs":null,"finish_reason":null}]"#).raw(null_usage(script)).raw("}\n\n");
}

pub fn closing(script: &Script, out: &mut JsonText) {
    event_head(script, out);
    out.raw(r#","choices":[{"text":"","index":0,"logprobs":null,"finish_reason":""#);
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

fn event_head(script: &Script, out: &mut JsonText) {
    out.raw("data: ");
    head(script, out);
}

fn head(script: &Script, out: &mut JsonText) {
    out.raw(r#"{"id":"cmpl-"#).number(script.number).raw(r#"","object":"text_completion","created":"#);
    out.number(script.created).raw(r#","model":"#).raw(&script.model);
}

fn null_usage(script: &Script) -> &'static str {
    if script.include_usage { r#","usage":null"# } else { "" }
}
