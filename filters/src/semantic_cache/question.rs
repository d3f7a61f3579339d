//! What is asked: its exact name, the scope in which others may stand for it, and its last text.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entry::{Id, Scope};
use crate::ask::{Ask, Route};
use crate::canonical;

/// A body larger than this is only looked for as it is.
const LARGEST_BODY: usize = 256 * 1024;

/// The exact question: two that have the same are the same but for the form of the answer.
pub fn id(ask: &Ask) -> Id {
    Id(digest("outrigger 2026-11-21 question", ask, &ask.body))
}

/// The scope of questions that nothing else may stand for: each is its own.
pub fn alone(id: &Id) -> Scope {
    Scope(id.0)
}

fn digest(purpose: &str, ask: &Ask, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&ask.circumstances());
    hasher.update(&canonical::digest_of_question(body));
    *hasher.finalize().as_bytes()
}

/// A question that may be answered as another in its scope was.
#[derive(Debug, PartialEq)]
pub struct Text {
    pub scope: Scope,
    pub text: String,
}

/// Finds the last text of the user, and the scope: everything else, by equality. None where anything but that
/// text could carry the question: tools, images, several answers, what a backend remembers.
pub fn text(ask: &Ask) -> Option<Text> {
    if ask.body.len() > LARGEST_BODY {
        return None;
    }
    let found = find(ask.route, &ask.body)?;
    let mut rest = Vec::with_capacity(ask.body.len());
    rest.extend_from_slice(ask.body.get(..found.range.start)?);
    rest.extend_from_slice(b"null");
    rest.extend_from_slice(ask.body.get(found.range.end..)?);
    let scope = Scope(digest("outrigger 2026-11-21 scope", ask, &rest));
    Some(Text { scope, text: found.text.into_owned() })
}

struct Found<'body> {
    text: Cow<'body, str>,
    /// Where it stands in the body, with its quotes.
    range: Range<usize>,
}

/// What stands in a body for us: the rest counts by equality alone.
#[derive(Deserialize)]
struct Body<'body> {
    #[serde(borrow, default)]
    messages: Option<Vec<&'body RawValue>>,
    #[serde(borrow, default)]
    input: Option<&'body RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'body RawValue>,
    #[serde(borrow, default)]
    functions: Option<&'body RawValue>,
    #[serde(borrow, default)]
    modalities: Option<Vec<Cow<'body, str>>>,
    #[serde(borrow, default)]
    audio: Option<&'body RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<&'body RawValue>,
    #[serde(borrow, default)]
    top_logprobs: Option<&'body RawValue>,
    #[serde(borrow, default)]
    web_search_options: Option<&'body RawValue>,
}

#[derive(Deserialize)]
struct Message<'body> {
    #[serde(borrow)]
    role: Cow<'body, str>,
    #[serde(borrow)]
    content: &'body RawValue,
}

#[derive(Deserialize)]
struct Part<'body> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'body, str>,
    #[serde(borrow, default)]
    text: Option<&'body RawValue>,
}

fn find(route: Route, body: &[u8]) -> Option<Found<'_>> {
    let read: Body<'_> = serde_json::from_slice(body).ok()?;
    let empty = |value: &RawValue| matches!(value.get(), "[]" | "{}" | "false" | "0");
    let asks_for_more =
        [read.tools, read.functions, read.audio, read.logprobs, read.top_logprobs, read.web_search_options];
    if asks_for_more.into_iter().flatten().any(|value| !empty(value)) {
        return None;
    }
    if read.modalities.is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
        return None;
    }
    let content = match route {
        Route::ChatCompletions | Route::Messages => of_user(read.messages?.last()?)?,
        Route::Responses => {
            let input = read.input?;
            if input.get().starts_with('"') {
                input
            } else {
                of_user(serde_json::from_str::<Vec<&RawValue>>(input.get()).ok()?.last()?)?
            }
        }
        // A prompt to be continued is no question, and vectors are made of the very text.
        Route::Completions | Route::Embeddings => return None,
    };
    let text = if content.get().starts_with('"') { content } else { last_text(content)? };
    let start = (text.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let range = start..start.checked_add(text.get().len())?;
    Some(Found { text: serde_json::from_str(text.get()).ok()?, range })
}

fn of_user(message: &RawValue) -> Option<&RawValue> {
    let message: Message<'_> = serde_json::from_str(message.get()).ok()?;
    (message.role == "user").then_some(message.content)
}

/// The last of several parts, if all are texts.
fn last_text(content: &RawValue) -> Option<&RawValue> {
    let parts: Vec<Part<'_>> = serde_json::from_str(content.get()).ok()?;
    let texts = parts.iter().all(|part| matches!(&*part.kind, "text" | "input_text"));
    let last = parts.last()?.text?;
    (texts && last.get().starts_with('"')).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Sharing;
    use crate::testing::{ask, ask_by};

    fn chat(messages: &str, more: &str) -> Ask {
        ask(&format!(r#"{{"model":"m","messages":[{messages}]{more}}}"#))
    }

    #[test]
    fn the_form_of_the_answer_is_no_part_of_the_question() {
        let one = ask(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0}"#);
        let other = ask(
            r#"{"stream":true,"temperature":0,"messages":[{"content":"hi","role":"user"}],"stream_options":{"include_usage":true},"model":"m"}"#,
        );
        assert_eq!(id(&one), id(&other));
        assert_eq!(text(&one), text(&other));
        for different in [
            r#"{"model":"m2","messages":[{"role":"user","content":"hi"}],"temperature":0}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi "}],"temperature":0}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.1}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"x":{"stream":true}}"#,
        ] {
            assert_ne!(id(&one), id(&ask(different)), "{different}");
        }
    }

    #[test]
    fn a_tenant_has_scopes_of_its_own() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let [one, other] = ["a", "b"].map(|tenant| ask_by(tenant, Sharing::Allowed, body));
        assert_ne!(id(&one), id(&other));
        assert_ne!(text(&one).unwrap().scope, text(&other).unwrap().scope);
    }

    #[test]
    fn the_scope_is_everything_but_the_last_text() {
        let scope = |messages: &str, more: &str| text(&chat(messages, more)).map(|text| text.scope);
        let plain = scope(r#"{"role":"user","content":"hi"}"#, "");
        assert!(plain.is_some());
        assert_eq!(plain, scope(r#"{"role":"user","content":"quite another \u00e9 text"}"#, ""));
        for (messages, more) in [
            (r#"{"role":"system","content":"be kind"},{"role":"user","content":"hi"}"#, ""),
            (r#"{"role":"user","content":"hi","name":"bob"}"#, ""),
            (r#"{"role":"user","content":"hi"}"#, r#","max_tokens":5"#),
            (r#"{"role":"user","content":[{"type":"text","text":"hi"}]}"#, ""),
            (r#"{"role":"user","content":"A"},{"role":"assistant","content":"B"},{"role":"user","content":"hi"}"#, ""),
        ] {
            let other = scope(messages, more);
            assert!(other.is_some() && other != plain, "{messages} {more}");
        }
    }

    #[test]
    fn what_a_text_alone_does_not_say_is_never_matched_by_it() {
        let user = r#"{"role":"user","content":"hi"}"#;
        for (messages, more) in [
            (user, r#","tools":[{"type":"function"}]"#),
            (user, r#","logprobs":true"#),
            (user, r#","modalities":["text","audio"]"#),
            (r#"{"role":"assistant","content":"hi"}"#, ""),
            (
                r#"{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"x"}}]}"#,
                "",
            ),
            (r#"{"role":"user","content":null}"#, ""),
        ] {
            assert_eq!(text(&chat(messages, more)), None, "{messages} {more}");
        }
        assert!(text(&chat(user, r#","tools":[],"logprobs":false"#)).is_some());
    }
}
