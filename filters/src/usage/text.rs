//! The texts of an answer, told from the JSON around them without a parse of the whole.
//!
//! Where only OpenAI's encodings are known, a short event of a stream counts as the one token that it is, and longer
//! texts are estimated. Where the model's own tokenizer is known the texts are kept, up to a bound, and are
//! tokenised when somebody asks: most backends say what an answer took, and then nobody does.

mod kept;

use std::sync::Arc;

use memchr::{memchr, memchr2};

use crate::Route;
use crate::tokens::Tokenizers;
pub use kept::Depth;
use kept::{Ending, Kept};

/// Pieces of a stream up to this length are one token: that is what backends send.
const ONE_TOKEN_BYTES: usize = 16;
/// No more of one text is tokenised; the rest is taken to be like it.
const SAMPLE_BYTES: usize = 4096;
/// Longer than any key that we look for.
const KEY_BYTES: usize = 24;

#[derive(Clone)]
pub struct Texts {
    route: Route,
    tokenizers: Arc<Tokenizers>,
    model: Option<Box<str>>,
    state: State,
    /// The string read last, as far as it may be a key.
    key: Vec<u8>,
    /// The beginning of the text that is being read.
    text: Vec<u8>,
    text_bytes: usize,
    /// The byte before was a backslash that escapes the next.
    escaped: bool,
    /// The name by which this answer calls its reasoning: some backends send it twice, by two names.
    reasoning: Option<&'static [u8]>,
    streamed: bool,
    tokens: u64,
    /// Texts of a body that is no stream: tokenised only if somebody asks.
    sample: Vec<u8>,
    sampled_from: u64,
    /// What there is to tokenise with the model's own vocabulary, where that is known.
    kept: Option<Kept>,
}

/// Where in the JSON we are.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Between,
    /// In a string that may be a key.
    Word,
    AfterWord,
    AfterColon,
    /// In a text of the answer.
    Text,
    /// In the word that says why the answer ended.
    Ending,
    /// In a string that nobody asks for.
    Skipped,
}

impl Texts {
    pub fn new(route: Route, tokenizers: Arc<Tokenizers>, model: Option<&str>) -> Self {
        let kept = tokenizers.own(model).map(Kept::new);
        Texts {
            route,
            tokenizers,
            model: model.map(Box::from),
            state: State::Between,
            key: Vec::new(),
            text: Vec::new(),
            text_bytes: 0,
            escaped: false,
            reasoning: None,
            streamed: false,
            tokens: 0,
            sample: Vec::new(),
            sampled_from: 0,
            kept,
        }
    }

    /// An answer that ended at this many tokens, which the client had set, has them all: some of the last may be
    /// half a character that the backend kept to itself.
    pub fn limit(&mut self, most: Option<u64>) {
        if let Some(kept) = &mut self.kept {
            kept.limit = most;
        }
    }

    /// A whole event of a stream.
    pub fn event(&mut self, event: &[u8]) {
        self.streamed = true;
        self.piece(event);
        self.state = State::Between;
        self.escaped = false;
    }

    /// Some bytes of a body; the next follow directly.
    pub fn piece(&mut self, mut bytes: &[u8]) {
        if self.route == Route::Embeddings {
            return;
        }
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Between => match memchr(b'"', bytes) {
                    Some(at) => {
                        self.state = State::Word;
                        self.key.clear();
                        &bytes[at + 1..]
                    }
                    None => &[],
                },
                State::AfterWord | State::AfterColon => self.punctuation(bytes),
                State::Word | State::Text | State::Ending | State::Skipped => self.string(bytes),
            };
        }
    }

    /// One byte between two values; it decides what follows.
    fn punctuation<'rest>(&mut self, bytes: &'rest [u8]) -> &'rest [u8] {
        self.state = match (bytes[0], self.state) {
            (b' ' | b'\n' | b'\r' | b'\t', state) => state,
            (b':', State::AfterWord) => State::AfterColon,
            (b'"', State::AfterColon) if self.is_text() => State::Text,
            (b'"', State::AfterColon) if self.is_ending() => {
                self.key.clear();
                State::Ending
            }
            (b'"', State::AfterColon) => State::Skipped,
            _ => State::Between,
        };
        &bytes[1..]
    }

    /// More of a string, up to its end if it is here.
    fn string<'rest>(&mut self, bytes: &'rest [u8]) -> &'rest [u8] {
        if std::mem::take(&mut self.escaped) {
            self.keep(&bytes[..1]);
            return &bytes[1..];
        }
        let Some(end) = memchr2(b'"', b'\\', bytes) else {
            self.keep(bytes);
            return &[];
        };
        if bytes[end] == b'\\' {
            self.keep(&bytes[..=end]);
            self.escaped = true;
        } else {
            self.keep(&bytes[..end]);
            self.end_of_string();
        }
        &bytes[end + 1..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (kept, cap) = match self.state {
            State::Word | State::Ending => (&mut self.key, KEY_BYTES),
            State::Text if self.kept.is_some() => {
                self.kept.iter_mut().for_each(|kept| kept.text(bytes));
                return;
            }
            State::Text => {
                self.text_bytes += bytes.len();
                (&mut self.text, SAMPLE_BYTES)
            }
            _ => return,
        };
        let room = cap.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_of_string(&mut self) {
        self.state = match self.state {
            State::Word => State::AfterWord,
            State::Text => {
                match &mut self.kept {
                    Some(kept) => kept.end_of_text(),
                    None => self.count(),
                }
                State::Between
            }
            State::Ending => {
                if let (Some(kept), Some(ending)) = (&mut self.kept, Ending::read(&self.key)) {
                    kept.ended(ending, self.route);
                }
                State::Between
            }
            _ => State::Between,
        };
    }

    /// Counts the text that has just ended.
    fn count(&mut self) {
        let bytes = std::mem::take(&mut self.text_bytes);
        if bytes == 0 {
            return;
        }
        if !self.streamed {
            let room = SAMPLE_BYTES - self.sample.len();
            self.sample.extend_from_slice(&self.text[..self.text.len().min(room)]);
            self.sampled_from += bytes as u64;
        } else if bytes <= ONE_TOKEN_BYTES {
            self.tokens += 1;
        } else {
            self.tokens += self.estimate(&self.text, bytes as u64);
        }
        self.text.clear();
    }

    pub fn tokens(&self, depth: Depth) -> u64 {
        if let Some(kept) = &self.kept {
            let count = |text: &str| self.tokenizers.text(self.model.as_deref(), text);
            return kept.tokens(self.streamed, depth, count);
        }
        match self.sampled_from {
            0 => self.tokens,
            bytes => self.tokens + self.estimate(&self.sample, bytes),
        }
    }

    /// Whether to count it whole is more than a worker should be held for.
    pub fn is_long(&self) -> bool {
        self.kept.as_ref().is_some_and(Kept::is_long)
    }

    /// The tokens of so many bytes of which these are the first.
    fn estimate(&self, sample: &[u8], bytes: u64) -> u64 {
        let text = meaning(sample);
        let tokens = self.tokenizers.text(self.model.as_deref(), &text);
        (tokens * bytes).div_ceil(sample.len().max(1) as u64).max(1)
    }

    /// Whether the key read last has a text of the answer for its value.
    fn is_text(&mut self) -> bool {
        let key = self.key.as_slice();
        // What a call of a tool is named was written by the model, too.
        let named = key == b"name" && self.kept.is_some();
        match self.route {
            Route::ChatCompletions | Route::Messages if named => true,
            Route::ChatCompletions => match key {
                b"content" | b"arguments" | b"refusal" => true,
                b"reasoning_content" => *self.reasoning.get_or_insert(b"reasoning_content") == key,
                b"reasoning" => *self.reasoning.get_or_insert(b"reasoning") == key,
                _ => false,
            },
            Route::Completions => key == b"text",
            Route::Messages => matches!(key, b"text" | b"thinking" | b"partial_json"),
            // The events that end a part say all of it again.
            Route::Responses if self.streamed => key == b"delta",
            Route::Responses => matches!(key, b"text" | b"arguments" | b"refusal"),
            Route::Embeddings => false,
        }
    }
}

impl Texts {
    /// Whether the key read last has for its value why the answer ended.
    fn is_ending(&self) -> bool {
        let key = match self.route {
            Route::ChatCompletions | Route::Completions => b"finish_reason".as_slice(),
            Route::Messages => b"stop_reason",
            Route::Responses => b"status",
            Route::Embeddings => return false,
        };
        self.kept.is_some() && self.key == key
    }
}

/// What a string says, as it stands in JSON and perhaps cut off.
fn meaning(spelled: &[u8]) -> String {
    let text = String::from_utf8_lossy(spelled);
    if !text.contains('\\') {
        return text.into_owned();
    }
    // Cut off within an escape it is no JSON: then the escapes count as they stand.
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.into_owned())
}
