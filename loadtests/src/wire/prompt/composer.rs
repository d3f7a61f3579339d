//! Requests that differ in length, as those of a trace do: put together from text that was made once.
//!
//! Blocks of a prompt that have the same name have the same bytes, wherever they come, so that a server that keeps
//! prefixes finds them; what is a request's own, its number first, follows them.

use std::sync::LazyLock;

use serde_json::json;

use super::text::prose;
use super::{DIGITS, Form, Shape, body, next_number, write_number};

/// A token is about four bytes of English.
pub const BYTES_A_TOKEN: usize = 4;
/// As traces count them.
const TOKENS_A_BLOCK: usize = 512;
/// Prompts longer than this repeat themselves.
const LONGEST: usize = 1 << 20;
const TEXT: &str = "@@text@@";
const LIMIT: u32 = u32::MAX;

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let text = prose(&mut fastrand::Rng::with_seed(0), LONGEST).replace('"', "\\\"").replace('\n', "\\n");
    let words = std::iter::once(0).chain(text.match_indices(' ').map(|(place, _)| place + 1)).collect();
    Pool { text, words }
});

struct Pool {
    /// Escaped as JSON needs it.
    text: String,
    /// Where words begin.
    words: Vec<usize>,
}

/// What sets a request apart from the others of its kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'a> {
    pub input_tokens: u32,
    pub output_tokens: Option<u32>,
    pub blocks: &'a [u64],
    /// Whether it must differ from every other; otherwise those of the same lengths are equal.
    pub unique: bool,
}

pub struct Composer {
    head: String,
    /// The body's JSON around its limit and its text.
    limited: [String; 3],
    unlimited: [String; 3],
    nonce: String,
    draw: fastrand::Rng,
    text: Vec<u8>,
}

impl Composer {
    /// Under a head that lacks only the digits of its content-length and its end. Lengths are told by each question,
    /// and the shape's own size is not used.
    pub fn under(head: &str, shape: &Shape, seed: u64) -> Composer {
        // It is made before the first request is due.
        LazyLock::force(&POOL);
        Composer {
            head: head.to_owned(),
            limited: parts(&Shape { output_tokens: Some(LIMIT), ..shape.clone() }),
            unlimited: parts(&Shape { output_tokens: None, ..shape.clone() }),
            nonce: format!("-{:08x}: ", fastrand::u32(..)),
            draw: fastrand::Rng::with_seed(seed),
            text: Vec::new(),
        }
    }

    /// Writes the whole request over what the buffer held.
    pub fn write(&mut self, question: Question<'_>, request: &mut Vec<u8>) {
        self.write_text(question);
        let [before, between, after] = match question.output_tokens {
            Some(_) => &self.limited,
            None => &self.unlimited,
        };
        let limit = question.output_tokens.filter(|_| !between.is_empty()).map(|limit| limit.to_string());
        let limit = limit.unwrap_or_default();
        let length = before.len() + limit.len() + between.len() + self.text.len() + after.len();
        request.clear();
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(length.to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        for part in [before.as_bytes(), limit.as_bytes(), between.as_bytes(), &self.text, after.as_bytes()] {
            request.extend_from_slice(part);
        }
    }

    fn write_text(&mut self, question: Question<'_>) {
        self.text.clear();
        for block in question.blocks {
            let place = fastrand::Rng::with_seed(*block).usize(..POOL.words.len());
            let end = self.text.len() + TOKENS_A_BLOCK * BYTES_A_TOKEN;
            self.text.extend_from_slice(format!("[{block:x}] ").as_bytes());
            self.fill(place, end);
        }
        self.text.extend_from_slice(b"Request ");
        let number = self.text.len();
        self.text.resize(number + DIGITS, b'0');
        let mut word = 0;
        if question.unique {
            write_number(next_number(), &mut self.text[number..]);
            word = self.draw.usize(..POOL.words.len());
        }
        self.text.extend_from_slice(self.nonce.as_bytes());
        self.fill(word, question.input_tokens as usize * BYTES_A_TOKEN);
    }

    /// Adds whole words of the pool, from this one on, until the text has about this length.
    fn fill(&mut self, word: usize, length: usize) {
        let mut start = POOL.words[word];
        while self.text.len() < length {
            let wanted = start + length - self.text.len();
            let end = POOL.words[POOL.words.partition_point(|place| *place <= wanted) - 1];
            self.text.extend_from_slice(&POOL.text.as_bytes()[start..end]);
            // What is left is shorter than a word, unless the pool has ended.
            if end < POOL.words[POOL.words.len() - 1] {
                return;
            }
            start = 0;
        }
    }
}

/// The body's JSON before the limit, between limit and text, and after the text. The keys of a body are in the order
/// of the alphabet, so that `max_tokens` comes before what holds the text.
fn parts(shape: &Shape) -> [String; 3] {
    let body = match shape.form {
        Form::Chat | Form::Malformed => body(shape, "messages", json!([{"role": "user", "content": TEXT}])),
        Form::Completions => body(shape, "prompt", json!(TEXT)),
        Form::Embeddings => body(shape, "input", json!(TEXT)),
    };
    let (before, after) = body.split_once(TEXT).unwrap_or((&body, ""));
    let (first, second) = before.split_once(&LIMIT.to_string()).unwrap_or((before, ""));
    [first, second, after].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn composer(form: Form) -> Composer {
        let shape = Shape { form, sim: json!({"gap_ms": 1}), ..Shape::default() };
        Composer::under("POST / HTTP/1.1\r\ncontent-length: ", &shape, 1)
    }

    fn body(composer: &mut Composer, question: Question<'_>) -> Value {
        let mut request = Vec::new();
        composer.write(question, &mut request);
        let request = String::from_utf8(request).expect("text");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head");
        assert!(head.ends_with(&format!(": {}", body.len())), "the head tells the length: {head}");
        serde_json::from_str(body).expect("JSON")
    }

    #[test]
    fn a_question_has_its_lengths() {
        for form in [Form::Chat, Form::Completions, Form::Embeddings] {
            let mut composer = composer(form);
            for input_tokens in [0, 1, 20, 1000, 400_000] {
                let question = Question { input_tokens, output_tokens: Some(9), blocks: &[], unique: true };
                let body = body(&mut composer, question);
                let text = [&body["messages"][0]["content"], &body["prompt"], &body["input"]].into_iter();
                let text = text.filter_map(Value::as_str).next().expect("a text");
                // What makes a prompt unique is not left out of a short one.
                let wanted = (input_tokens as usize * BYTES_A_TOKEN).max(42);
                // Escapes count for one more byte each on the wire.
                let found = serde_json::to_string(text).expect("JSON").len() - 2;
                assert!(found <= wanted && wanted - found < 32, "{found} bytes for {wanted} in {form:?}");
                let limit = body["max_tokens"].as_u64();
                assert_eq!(limit, (form != Form::Embeddings).then_some(9), "{form:?}");
                assert_eq!(body["sim"]["gap_ms"], 1);
            }
        }
    }

    #[test]
    fn the_same_blocks_are_the_same_bytes_in_front() {
        let mut composer = composer(Form::Chat);
        let mut text = |blocks: &[u64]| {
            let question = Question { input_tokens: 1600, output_tokens: None, blocks, unique: true };
            body(&mut composer, question)["messages"][0]["content"].as_str().expect("a text").to_owned()
        };
        let (first, second, other) = (text(&[5, 6]), text(&[5, 6]), text(&[5, 7]));
        assert_ne!(first, second, "each is unique");
        let common = |one: &str, two: &str| one.bytes().zip(two.bytes()).take_while(|(one, two)| one == two).count();
        assert!(common(&first, &second) >= 4000, "two blocks: {}", common(&first, &second));
        let shared = common(&first, &other);
        assert!((1900..2060).contains(&shared), "one block: {shared}");
    }
}
