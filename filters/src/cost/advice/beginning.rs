//! The part of a question that stands before what is new in it: tools, instructions and system messages.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::tokens::Tokenizers;
use crate::{Ask, Route};

/// What is counted of one beginning; the rest is taken to be like it.
const COUNTED_BYTES: usize = 256 * 1024;

/// The parts that backends keep together, each as it was written.
pub struct Beginning<'body> {
    parts: Vec<&'body RawValue>,
}

#[derive(Deserialize)]
struct Body<'body> {
    #[serde(borrow, default)]
    tools: Option<&'body RawValue>,
    #[serde(borrow, default)]
    functions: Option<&'body RawValue>,
    #[serde(borrow, default)]
    system: Option<&'body RawValue>,
    #[serde(borrow, default)]
    instructions: Option<&'body RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'body RawValue>,
    #[serde(borrow, default)]
    input: Option<&'body RawValue>,
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
    #[serde(borrow)]
    text: Cow<'body, str>,
}

impl<'body> Beginning<'body> {
    /// None where there is no such part, or the body is not what its API asks for.
    pub fn of(ask: &'body Ask) -> Option<Self> {
        let body: Body<'_> = serde_json::from_slice(&ask.body).ok()?;
        let messages = match ask.route {
            Route::ChatCompletions | Route::Messages => body.messages,
            Route::Responses => body.input,
            Route::Completions | Route::Embeddings => return None,
        };
        let mut parts: Vec<&RawValue> =
            [body.tools, body.functions, body.system, body.instructions].into_iter().flatten().collect();
        let messages = messages.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let messages = messages.unwrap_or_default().into_iter();
        let messages = messages.map_while(|message| serde_json::from_str::<Message<'_>>(message.get()).ok());
        parts.extend(messages.take_while(|message| is_system(&message.role)).map(|message| message.content));
        (!parts.is_empty()).then_some(Beginning { parts })
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.get().len()).sum()
    }

    /// Equal for equal beginnings of one owner alone.
    pub fn digest(&self, owner: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("outrigger 2026-11-22 beginning");
        let parts = self.parts.iter().map(|part| part.get().as_bytes());
        for part in owner.iter().copied().chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    pub fn tokens(&self, model: &str, tokenizers: &Tokenizers) -> u64 {
        let mut text = String::new();
        self.parts.iter().for_each(|part| read_out(part, &mut text));
        let mut end = text.len().min(COUNTED_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let counted = tokenizers.text(Some(model), &text[..end]);
        (counted as f64 * text.len() as f64 / end.max(1) as f64) as u64
    }
}

fn is_system(role: &str) -> bool {
    matches!(role, "system" | "developer")
}

/// A text without its escapes, texts of several parts, and anything else as the JSON that it is.
fn read_out(part: &RawValue, text: &mut String) {
    if let Ok(whole) = serde_json::from_str::<Cow<'_, str>>(part.get()) {
        text.push_str(&whole);
    } else if let Ok(parts) = serde_json::from_str::<Vec<Part<'_>>>(part.get()) {
        parts.iter().for_each(|part| text.push_str(&part.text));
    } else {
        text.push_str(part.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ask;

    fn digest(body: &str) -> Option<[u8; 32]> {
        Beginning::of(&ask(body)).map(|beginning| beginning.digest(&[b"owner"]))
    }

    #[test]
    fn the_same_system_prompt_has_the_same_digest_whatever_follows() {
        let system = r#"{"role":"system","content":"be kind"}"#;
        let of = |messages: &str, more: &str| digest(&format!(r#"{{"messages":[{messages}]{more}}}"#));
        let one = of(&format!(r#"{system},{{"role":"user","content":"hi"}}"#), "");
        assert!(one.is_some());
        assert_eq!(one, of(&format!(r#"{system},{{"role":"user","content":"ho"}},{system}"#), r#","n":1"#));
        assert_ne!(one, of(system, r#","tools":[{"type":"function"}]"#), "tools stand before it");
        assert_ne!(one, of(r#"{"role":"system","content":"be cruel"}"#, ""));
        assert_eq!(of(r#"{"role":"user","content":"hi"}"#, ""), None);
    }

    #[test]
    fn an_owner_shares_its_beginnings_with_nobody() {
        let asked = ask(r#"{"system":"be kind"}"#);
        let beginning = Beginning::of(&asked).unwrap();
        assert_ne!(beginning.digest(&[b"a", b"bc"]), beginning.digest(&[b"ab", b"c"]));
    }

    #[test]
    fn texts_are_counted_and_not_their_escapes() {
        let tokenizers = Tokenizers::new(&[]).unwrap();
        let tokens = |content: &str| {
            let asked = ask(&format!(r#"{{"messages":[{{"role":"system","content":{content}}}]}}"#));
            Beginning::of(&asked).unwrap().tokens("gpt-4o", &tokenizers)
        };
        let plain = tokens(r#""Be kind to all who ask""#);
        assert_eq!(plain, tokenizers.text(Some("gpt-4o"), "Be kind to all who ask"));
        assert_eq!(tokens(r#""\u0042e kind to all who ask""#), plain);
        assert_eq!(tokens(r#"[{"type":"text","text":"Be kind"},{"type":"text","text":" to all who ask"}]"#), plain);
    }

    #[test]
    fn a_body_of_another_shape_has_no_beginning() {
        for body in [r#"{"messages":7}"#, r#"{"messages":[7]}"#, r#"{"messages":[{"role":"system"}]}"#, "{}"] {
            assert_eq!(digest(body), None, "{body}");
        }
    }
}
