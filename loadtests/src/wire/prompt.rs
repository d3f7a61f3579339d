//! Chat requests of a given size, each of them unique, at the cost of writing one number.
//!
//! A request is built once, head and all; asked for the next one, it is the same bytes with another
//! number in the last user message. The numbers are counted over the whole process, and a random word
//! beside them keeps two processes apart.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The next request's number.
static NEXT: AtomicU64 = AtomicU64::new(1);

const WORDS: &[&str] = &[
    "the",
    "a",
    "server",
    "of",
    "and",
    "to",
    "answer",
    "question",
    "in",
    "that",
    "model",
    "which",
    "please",
    "explain",
    "how",
    "request",
    "stream",
    "with",
    "for",
    "token",
    "summarise",
    "between",
    "paragraph",
    "customer",
    "invoice",
    "is",
    "was",
    "because",
    "latency",
    "table",
    "following",
    "document",
    "naïve",
    "café",
    "first",
    "second",
    "each",
    "list",
];
/// As many bytes of text go into one message before the next begins.
const MESSAGE: usize = 4096;
const DIGITS: usize = 20;

/// What every request of a kind has in common.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Bytes of the body, about.
    pub size: usize,
    pub stream: bool,
    pub model: String,
    /// The simulator's controls.
    pub sim: Value,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { size: 1024, stream: false, model: "sim".to_owned(), sim: Value::Null }
    }
}

#[derive(Clone)]
pub struct Prompt {
    request: Vec<u8>,
    body: usize,
    number: usize,
}

impl Prompt {
    pub fn new(shape: &Shape) -> Prompt {
        let placeholder = "#".repeat(DIGITS);
        let nonce = fastrand::u32(..);
        let opening = format!("Request {placeholder}-{nonce:08x}: ");
        let text = shape.size.saturating_sub(envelope(shape, &opening, 0).len());
        let body = envelope(shape, &opening, text);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: load\r\nuser-agent: outrigger-bars\r\n\
             accept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let number = head.len() + body.find(&placeholder).unwrap_or(0);
        Prompt { body: head.len(), number, request: [head.into_bytes(), body.into_bytes()].concat() }
    }

    /// A request that nobody has sent yet.
    pub fn next(&mut self) -> &[u8] {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.request[self.number..self.number + DIGITS].copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
        &self.request
    }

    /// The latest one again.
    pub fn latest(&self) -> &[u8] {
        &self.request
    }

    /// The latest one again, body only.
    pub fn body(&self) -> &[u8] {
        &self.request[self.body..]
    }
}

fn envelope(shape: &Shape, opening: &str, text: usize) -> String {
    let mut words = fastrand::Rng::with_seed(shape.size as u64);
    let mut messages = vec![json!({"role": "system", "content": "You are a helpful assistant.\nAnswer \"briefly\"."})];
    let mut left = text;
    while left > MESSAGE {
        let role = if messages.len() % 2 == 1 { "user" } else { "assistant" };
        let message = json!({"role": role, "content": prose(&mut words, MESSAGE)});
        // The comma between two messages counts too.
        left = left.saturating_sub(message.to_string().len() + 1);
        messages.push(message);
    }
    messages.push(json!({"role": "user", "content": format!("{opening}{}", prose(&mut words, left))}));
    let mut body = json!({
        "model": shape.model, "messages": messages, "stream": shape.stream, "max_tokens": 16, "temperature": 0.7,
    });
    if let (Some(fields), false) = (body.as_object_mut(), shape.sim.is_null()) {
        // The simulator's own count of tokens only holds where the request sets no limit.
        fields.remove("max_tokens");
        fields.insert("sim".to_owned(), shape.sim.clone());
    }
    body.to_string()
}

/// Words of a seeded draw, with quotes and line ends as people write them; of this length once escaped, about.
fn prose(words: &mut fastrand::Rng, length: usize) -> String {
    let (mut text, mut escaped) = (String::with_capacity(length), 0);
    while escaped < length {
        let word = WORDS[words.usize(..WORDS.len())];
        let piece = match words.u8(..24) {
            0 => format!("\"{word}\" "),
            1 => format!("{word}.\n"),
            _ => format!("{word} "),
        };
        escaped += piece.len() + piece.matches(['"', '\n']).count();
        text.push_str(&piece);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_body_is_unique_and_json() {
        let mut prompts = [Prompt::new(&Shape::default()), Prompt::new(&Shape::default())];
        let mut seen = HashSet::new();
        for _ in 0..500 {
            for prompt in &mut prompts {
                prompt.next();
                serde_json::from_slice::<Value>(prompt.body()).expect("JSON");
                assert!(seen.insert(prompt.body().to_vec()), "a body came twice");
            }
        }
    }

    #[test]
    fn a_body_has_about_the_size_asked_for() {
        for size in [512, 1024, 32 * 1024, 256 * 1024] {
            let mut prompt = Prompt::new(&Shape { size, ..Shape::default() });
            let request = String::from_utf8(prompt.next().to_vec()).expect("text");
            let length = prompt.body().len();
            assert!(length.abs_diff(size) <= 16.max(size / 50), "{length} for {size}");
            assert!(request.contains(&format!("content-length: {length}\r\n\r\n{{")), "the head tells the length");
            assert!(request.contains("\\n") && request.contains("\\\""), "escapes are in it");
        }
    }

    #[test]
    fn controls_travel_in_the_body() {
        let mut prompt = Prompt::new(&Shape { sim: json!({"tokens": 3}), ..Shape::default() });
        prompt.next();
        let body: Value = serde_json::from_slice(prompt.body()).unwrap();
        assert_eq!(body["sim"]["tokens"], 3);
    }
}
