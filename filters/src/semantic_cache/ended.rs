//! Whether an answer is one: complete, ended as its API says that answers end, and free of errors.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::ask::Route;

/// How an answer ended that may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// It calls tools: only the very same question may have it.
    pub calls_tools: bool,
    /// Its bound cut it off: it is what was asked for only if the question set that bound.
    pub cut_off: bool,
}

const PROPERLY: Ended = Ended { calls_tools: false, cut_off: false };

/// What the APIs and the servers that speak them call an end.
fn by_word(word: &str) -> Option<Ended> {
    match word {
        "stop" | "eos" | "eos_token" | "stop_sequence" | "end_turn" | "completed" => Some(PROPERLY),
        "length" | "max_tokens" => Some(Ended { cut_off: true, ..PROPERLY }),
        "tool_calls" | "function_call" | "tool_use" => Some(Ended { calls_tools: true, ..PROPERLY }),
        _ => None,
    }
}

/// Of a body that is whole.
pub fn whole(route: Route, body: &[u8]) -> Option<Ended> {
    match route {
        Route::ChatCompletions | Route::Completions => {
            let answer: Choices<'_> = serde_json::from_slice(body).ok()?;
            let [choice] = &answer.choices[..] else { return None };
            let mut ended = by_word(choice.finish_reason.as_deref()?)?;
            let called = choice.message.as_ref().is_some_and(|message| {
                message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty()) || message.function_call.is_some()
            });
            ended.calls_tools |= called;
            answer.error.is_none().then_some(ended)
        }
        Route::Messages => {
            let answer: Message<'_> = serde_json::from_slice(body).ok()?;
            by_word(answer.stop_reason.as_deref()?).filter(|_| answer.kind == "message")
        }
        Route::Responses => response(&serde_json::from_slice(body).ok()?),
        Route::Embeddings => {
            let answer: Vectors = serde_json::from_slice(body).ok()?;
            (answer.error.is_none() && !answer.data.is_empty()).then_some(PROPERLY)
        }
    }
}

fn response(answer: &Response<'_>) -> Option<Ended> {
    let calls_tools = answer.output.iter().any(|item| !matches!(&*item.kind, "message" | "reasoning"));
    let ended = by_word(&answer.status)?;
    answer.error.is_none().then_some(Ended { calls_tools, ..ended })
}

#[derive(Deserialize)]
struct Choices<'body> {
    #[serde(borrow)]
    choices: Vec<Choice<'body>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'body> {
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'body, str>>,
    #[serde(default)]
    message: Option<ChatMessage>,
}

#[derive(Deserialize)]
struct ChatMessage {
    #[serde(default)]
    tool_calls: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    function_call: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Message<'body> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'body, str>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'body, str>>,
}

#[derive(Deserialize)]
struct Response<'body> {
    #[serde(borrow)]
    status: Cow<'body, str>,
    #[serde(borrow, default)]
    output: Vec<Item<'body>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Item<'body> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'body, str>,
}

#[derive(Deserialize)]
struct Vectors {
    data: Vec<IgnoredAny>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

/// Of a stream, event by event. Its last event, as the API has one, must have gone by too; that is not looked at here.
pub fn stream<'e>(route: Route, events: impl Iterator<Item = &'e [u8]>) -> Option<Ended> {
    let mut ended = None;
    let mut calls_tools = false;
    for event in events {
        if !is_sound(event) {
            return None;
        }
        if route == Route::Responses {
            if event_name(event) == Some(b"response.completed") || says_completed(event) {
                ended = response(&serde_json::from_slice::<Completed<'_>>(super::convert::data(event)?).ok()?.response);
            }
            continue;
        }
        if event_name(event) == Some(b"error") || has_something(event, b"\"error\"") {
            return None;
        }
        calls_tools |= has_something(event, b"\"tool_calls\"") || has_something(event, b"\"function_call\"");
        let word = [&b"\"finish_reason\""[..], b"\"stop_reason\""].iter().find_map(|key| text_of(event, key));
        if let Some(word) = word {
            ended = Some(by_word(word)?);
        }
    }
    ended.map(|ended| Ended { calls_tools: ended.calls_tools || calls_tools, ..ended })
}

/// Whether an event has the form of one: lines that an event stream may have, and data that is an object or `[DONE]`.
fn is_sound(event: &[u8]) -> bool {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).all(|line| match line.strip_prefix(b"data:") {
        Some(data) => {
            let data = data.trim_ascii();
            data == b"[DONE]" || (data.starts_with(b"{") && data.ends_with(b"}"))
        }
        None => line.is_empty() || [&b":"[..], b"event:", b"id:", b"retry:"].iter().any(|name| line.starts_with(name)),
    })
}

#[derive(Deserialize)]
struct Completed<'body> {
    #[serde(borrow)]
    response: Response<'body>,
}

fn says_completed(event: &[u8]) -> bool {
    text_of(event, b"\"type\"") == Some("response.completed")
}

fn event_name(event: &[u8]) -> Option<&[u8]> {
    let name = event.strip_prefix(b"event:")?;
    Some(name[..memchr::memchr2(b'\n', b'\r', name)?].trim_ascii())
}

/// What stands behind the first such key. A text cannot hold it: its quotes would be escaped there.
fn behind<'e>(event: &'e [u8], key: &[u8]) -> Option<&'e [u8]> {
    memmem::find_iter(event, key).find_map(|at| {
        let rest = event[at + key.len()..].trim_ascii_start();
        rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start)
    })
}

fn has_something(event: &[u8], key: &[u8]) -> bool {
    behind(event, key).is_some_and(|value| !value.starts_with(b"null") && !value.starts_with(b"[]"))
}

fn text_of<'e>(event: &'e [u8], key: &[u8]) -> Option<&'e str> {
    let text = behind(event, key)?.strip_prefix(b"\"")?;
    std::str::from_utf8(&text[..memchr::memchr(b'"', text)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Option<Ended> = Some(Ended { cut_off: true, ..PROPERLY });
    const TOOLS: Option<Ended> = Some(Ended { calls_tools: true, ..PROPERLY });

    #[test]
    fn whole_answers_end_in_the_words_of_their_apis() {
        use Route::{ChatCompletions, Completions, Embeddings, Messages, Responses};
        for (route, body, expected) in [
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop","message":{"content":"x"}}]}"#, Some(PROPERLY)),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"length","message":{}}],"error":null}"#, CUT),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop","message":{"tool_calls":[{}]}}]}"#, TOOLS),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop","message":{"tool_calls":[]}}]}"#, Some(PROPERLY)),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"content_filter","message":{}}]}"#, None),
            (ChatCompletions, r#"{"choices":[{"finish_reason":null,"message":{}}]}"#, None),
            (ChatCompletions, r#"{"choices":[],"error":{"message":"no"}}"#, None),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"stop"}]}"#, None),
            (ChatCompletions, r#"{"choices":[{"finish_reason":"stop","mess"#, None),
            (Completions, r#"{"choices":[{"finish_reason":"stop","text":"x"}]}"#, Some(PROPERLY)),
            (Messages, r#"{"type":"message","stop_reason":"end_turn","content":[]}"#, Some(PROPERLY)),
            (Messages, r#"{"type":"message","stop_reason":"tool_use"}"#, TOOLS),
            (Messages, r#"{"type":"error","error":{}}"#, None),
            (Responses, r#"{"status":"completed","output":[{"type":"message"}],"error":null}"#, Some(PROPERLY)),
            (Responses, r#"{"status":"completed","output":[{"type":"function_call"}]}"#, TOOLS),
            (Responses, r#"{"status":"incomplete","output":[]}"#, None),
            (Embeddings, r#"{"data":[{"embedding":[1]}]}"#, Some(PROPERLY)),
            (Embeddings, r#"{"data":[]}"#, None),
        ] {
            assert_eq!(whole(route, body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn streams_end_in_the_words_of_their_apis() {
        let of = |route, events: &[&str]| stream(route, events.iter().map(|event| event.as_bytes()));
        let chat = |events: &[&str]| of(Route::ChatCompletions, events);
        let text = "data: {\"choices\":[{\"delta\":{\"content\":\"error\"},\"finish_reason\":null}]}\n\n";
        let stop = "data: {\"choices\":[{\"delta\":{},\"finish_reason\": \"stop\"}]}\n\n";
        assert_eq!(chat(&[text, stop]), Some(PROPERLY));
        assert_eq!(chat(&[text]), None, "no word of its end");
        assert_eq!(chat(&[text, "?? no field\n\n", stop]), None, "no event stream");
        assert_eq!(chat(&["data: {\"choices\":[{\n\n", stop]), None, "half an object");
        assert_eq!(chat(&[": ping\n\n", text, stop]), Some(PROPERLY), "a comment does no harm");
        assert_eq!(chat(&[text, "data: {\"error\":{\"message\":\"x\"}}\n\n", stop]), None, "an error in its midst");
        assert_eq!(chat(&["data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}\n\n", stop]), TOOLS);
        let said = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"finish_reason\\\":\\\"stop\\\"\"}}]}\n\n";
        assert_eq!(chat(&[said]), None, "what a model says of its end is no end");
        let end = "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"max_tokens\"}}\n\n";
        assert_eq!(of(Route::Messages, &[end]), CUT);
        assert_eq!(of(Route::Messages, &["event: error\ndata: {}\n\n", end]), None);
        let done = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n";
        assert_eq!(of(Route::Responses, &[done]), Some(PROPERLY));
    }
}
