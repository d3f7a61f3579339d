//! Requests of a given size, each of them unique, at the cost of writing one number.
//!
//! A request is built once, head and all; asked for the next one, it is the same bytes with another
//! number in the last user message. The numbers are counted over the whole process, and a random word
//! beside them keeps two processes apart.

pub mod composer;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use text::prose;

/// The next request's number.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// As many bytes of text go into one message before the next begins.
const MESSAGE: usize = 4096;
const DIGITS: usize = 20;

/// What every request of a kind has in common.
#[derive(Clone, Debug)]
pub struct Shape {
    pub form: Form,
    /// Bytes of the body, about.
    pub size: usize,
    pub stream: bool,
    /// Whether a stream is asked to tell at its end how many tokens it had.
    pub usage: bool,
    pub model: String,
    /// The request's `max_tokens`. Without it, 16; but none beside the simulator's controls, because its own count of
    /// tokens only holds where the request sets no limit.
    pub output_tokens: Option<u32>,
    /// The simulator's controls.
    pub sim: Value,
}

/// What is asked for; each has a route of its own, but for the malformed body, which is a chat's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Chat,
    Completions,
    Embeddings,
    /// A chat without its last bracket.
    Malformed,
}

impl Form {
    pub fn path(self) -> &'static str {
        match self {
            Form::Chat | Form::Malformed => "/v1/chat/completions",
            Form::Completions => "/v1/completions",
            Form::Embeddings => "/v1/embeddings",
        }
    }
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            form: Form::Chat,
            size: 1024,
            stream: false,
            usage: false,
            model: "sim".to_owned(),
            output_tokens: None,
            sim: Value::Null,
        }
    }
}

#[derive(Clone)]
pub struct Prompt {
    request: Vec<u8>,
    body: usize,
    number: usize,
}

impl Prompt {
    /// For a server that needs no credentials and does not care for its name.
    pub fn new(shape: &Shape) -> Prompt {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: load\r\nuser-agent: outrigger-bars\r\n\
                    accept: */*\r\ncontent-type: application/json\r\ncontent-length: ";
        Prompt::under(head, shape)
    }

    /// Under a head that lacks only the digits of its content-length and its end.
    pub fn under(head: &str, shape: &Shape) -> Prompt {
        let placeholder = "#".repeat(DIGITS);
        let nonce = fastrand::u32(..);
        let opening = format!("Request {placeholder}-{nonce:08x}: ");
        let text = shape.size.saturating_sub(envelope(shape, &opening, 0).len());
        let body = envelope(shape, &opening, text);
        let head = format!("{head}{}\r\n\r\n", body.len());
        let number = head.len() + body.find(&placeholder).unwrap_or(0);
        Prompt { body: head.len(), number, request: [head.into_bytes(), body.into_bytes()].concat() }
    }

    /// A request that nobody has sent yet.
    pub fn fresh(&mut self) -> &[u8] {
        write_number(next_number(), &mut self.request[self.number..self.number + DIGITS]);
        &self.request
    }

    /// One of so many requests, in turn over all who ask for one.
    pub fn one_of(&mut self, distinct: u64) -> &[u8] {
        let number = next_number() % distinct.max(1);
        write_number(number, &mut self.request[self.number..self.number + DIGITS]);
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

fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Writes a request's number, padded with zeros.
fn write_number(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn envelope(shape: &Shape, opening: &str, text: usize) -> String {
    let mut words = fastrand::Rng::with_seed(shape.size as u64);
    match shape.form {
        Form::Chat | Form::Malformed => body(shape, "messages", messages(&mut words, opening, text)),
        Form::Completions => body(shape, "prompt", json!(format!("{opening}{}", prose(&mut words, text)))),
        Form::Embeddings => body(shape, "input", json!(format!("{opening}{}", prose(&mut words, text)))),
    }
}

/// A conversation, the question last.
fn messages(words: &mut fastrand::Rng, opening: &str, text: usize) -> Value {
    let mut messages = vec![json!({"role": "system", "content": "You are a helpful assistant.\nAnswer \"briefly\"."})];
    let mut left = text;
    while left > MESSAGE {
        let role = if messages.len() % 2 == 1 { "user" } else { "assistant" };
        let message = json!({"role": role, "content": prose(words, MESSAGE)});
        // The comma between two messages counts too.
        left = left.saturating_sub(message.to_string().len() + 1);
        messages.push(message);
    }
    messages.push(json!({"role": "user", "content": format!("{opening}{}", prose(words, left))}));
    messages.into()
}

/// The whole body around what it asks.
fn body(shape: &Shape, name: &str, question: Value) -> String {
    let mut body = json!({"model": shape.model, name: question});
    if shape.form != Form::Embeddings {
        body["stream"] = json!(shape.stream);
        body["temperature"] = json!(0.7);
        let limit = shape.output_tokens.or(shape.sim.is_null().then_some(16));
        if let Some(limit) = limit {
            body["max_tokens"] = json!(limit);
        }
        if shape.stream && shape.usage {
            body["stream_options"] = json!({"include_usage": true});
        }
    }
    if !shape.sim.is_null() {
        body["sim"] = shape.sim.clone();
    }
    let mut text = body.to_string();
    if shape.form == Form::Malformed {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests;
