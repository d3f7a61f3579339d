//! One walk over a question's body, counting what the model will read.
//!
//! A message costs 3 tokens beside its texts, its name 1 more, and the answer is primed with 3: OpenAI's
//! cookbook, "How to count tokens with tiktoken". Images cost what OpenAI's vision guide says of an image
//! of 1024 by 1024, or of any at low detail; other files, of which nothing can be known, cost the same.
//! Tools are counted as the JSON that they are.
//!
//! Where the model's chat template is known, the messages and tools are what it makes of them, and only the media
//! are counted by the walk. A prompt of plain text has the tokens around it that the tokenizer puts there.
//!
//! What a key means is said by its name alone, in whichever API: none gives one name two meanings.

use std::borrow::Cow;

use serde::de::{Deserialize, DeserializeSeed};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::encoding::Encoding;
use super::file::Model;
use super::template::messages;
use crate::{Ask, Route};

const PER_MESSAGE: u64 = 3;
const PER_NAME: u64 = 1;
/// A role is one word.
const PER_ROLE: u64 = 1;
const PRIMING: u64 = 3;
const MEDIA: u64 = 765;
const MEDIA_LOW_DETAIL: u64 = 85;

/// The tokens of a question. The body is known to be JSON; where it is not what its API asks for, the
/// backend is the one to complain.
pub fn count(ask: &Ask, encoding: &Encoding) -> u64 {
    match encoding.model().and_then(|model| rendered(ask, model, encoding.most_bytes())) {
        Some(tokens) => tokens.saturating_add(walk(ask, encoding, Counted::Media).total()),
        None => {
            let primed = matches!(ask.route, Route::ChatCompletions | Route::Responses | Route::Messages);
            let tally = walk(ask, encoding, Counted::All);
            tally.total().saturating_add(if primed { PRIMING } else { 0 })
        }
    }
}

/// The tokens of what the model's template makes of a question.
fn rendered(ask: &Ask, model: &Model, most_bytes: usize) -> Option<u64> {
    let template = model.template.as_ref()?;
    let prompt = messages::prompt(ask, template.contents, model.last)?;
    let rendered = template.render(prompt.names, most_bytes).map_err(|error| template.tell_of(&error)).ok()?;
    let (mut text, mut left_out) = (rendered.text, rendered.left_out);
    if let Some(continues) = prompt.continues {
        let end = floor(&continues, most_bytes.saturating_sub(text.len()));
        text.push_str(&continues[..end]);
        left_out += continues.len() - end;
    }
    let tokens = model.count(&text);
    Some(tokens.saturating_add(model.before(&text)).saturating_add(alike(left_out, tokens, text.len())))
}

fn walk<'walk>(ask: &Ask, encoding: &'walk Encoding, counted: Counted) -> Tally<'walk> {
    let mut tally = Tally { encoding, counted, tokens: 0, text_bytes: 0, text_tokens: 0, left_out: 0 };
    let mut body = serde_json::Deserializer::from_slice(&ask.body);
    let root = Walk { place: Place::Root(ask.route), tally: &mut tally };
    // An error ends the walk, and what was counted until there counts.
    let _ = root.deserialize(&mut body);
    tally
}

/// The tokens of bytes that were left out: they are taken to be like those that were counted, and at least
/// a token in four bytes.
fn alike(left_out: usize, tokens: u64, bytes: usize) -> u64 {
    let alike = left_out as f64 * tokens as f64 / bytes.max(1) as f64;
    (alike as u64).max(left_out as u64 / 4)
}

/// The end of the last character that ends by there.
fn floor(text: &str, most: usize) -> usize {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// What of a question is counted by the walk.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    All,
    /// Images and files alone: the rest is what a template made of it.
    Media,
}

struct Tally<'walk> {
    encoding: &'walk Encoding,
    counted: Counted,
    /// What is not text.
    tokens: u64,
    text_bytes: usize,
    text_tokens: u64,
    /// Bytes of text beyond what is counted of one question.
    left_out: usize,
}

impl Tally<'_> {
    fn media(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn add(&mut self, tokens: u64) {
        if self.counted == Counted::All {
            self.tokens = self.tokens.saturating_add(tokens);
        }
    }

    fn text(&mut self, text: &str) {
        if self.counted == Counted::Media {
            return;
        }
        let end = floor(text, self.encoding.most_bytes().saturating_sub(self.text_bytes));
        self.text_tokens += self.encoding.count(&text[..end]);
        self.text_bytes += end;
        self.left_out += text.len() - end;
    }

    /// One whole prompt that is a text, or an input to embed.
    fn input(&mut self, text: &str) {
        self.add(self.encoding.model().map_or(0, Model::around));
        self.text(text);
    }

    fn total(&self) -> u64 {
        let rest = alike(self.left_out, self.text_tokens, self.text_bytes);
        self.tokens.saturating_add(self.text_tokens).saturating_add(rest)
    }
}

/// Where in the body a value stands, which says how it counts.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root(Route),
    /// A message or a list of them.
    Messages,
    /// Texts, parts, calls of tools, and lists of them.
    Content,
    /// Texts, lists of texts, and tokens as numbers.
    Input,
    /// Counted as it is written.
    Json,
    Media,
    Detail,
    Nothing,
}

impl Place {
    /// Where the value of this key stands.
    fn under(self, key: &str) -> Place {
        match (self, key) {
            (Place::Root(Route::ChatCompletions | Route::Messages), "messages") => Place::Messages,
            (Place::Root(Route::Responses), "input") => Place::Messages,
            (Place::Root(Route::Completions), "prompt" | "suffix") => Place::Input,
            (Place::Root(Route::Embeddings), "input") => Place::Input,
            (Place::Root(_), "system" | "instructions") => Place::Content,
            (Place::Root(_), "tools" | "functions") => Place::Json,
            (Place::Messages | Place::Content, key) => Place::within_message(key),
            (Place::Media, "detail") => Place::Detail,
            _ => Place::Nothing,
        }
    }

    fn within_message(key: &str) -> Place {
        match key {
            "role" | "name" | "content" | "text" | "refusal" | "thinking" | "summary" => Place::Content,
            "tool_calls" | "function_call" | "function" | "custom" | "arguments" | "output" => Place::Content,
            "input" => Place::Json,
            "image_url" | "source" | "input_audio" | "audio_url" | "video_url" => Place::Media,
            "file" | "file_id" | "file_data" | "file_url" => Place::Media,
            "detail" => Place::Detail,
            _ => Place::Nothing,
        }
    }
}

/// What an object has to say of its surroundings.
#[derive(Clone, Copy, Default)]
struct Found {
    low_detail: bool,
}

struct Walk<'walk, 'tally> {
    place: Place,
    tally: &'walk mut Tally<'tally>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        match self.place {
            Place::Nothing => IgnoredAny::deserialize(deserializer).map(|_| Found::default()),
            Place::Json => {
                let json = <&RawValue>::deserialize(deserializer)?;
                self.tally.text(json.get());
                Ok(Found::default())
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = Found;

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        match self.place {
            // A text in place of messages is one message of the user.
            Place::Messages => {
                self.tally.add(PER_MESSAGE + PER_ROLE);
                self.tally.text(text);
            }
            Place::Content => self.tally.text(text),
            Place::Input => self.tally.input(text),
            _ => {}
        }
        Ok(Found { low_detail: self.place == Place::Detail && text == "low" })
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        self.tally.add(u64::from(self.place == Place::Input));
        Ok(Found::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        while items.next_element_seed(Walk { place: self.place, tally: self.tally })?.is_some() {}
        Ok(Found::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found, A::Error> {
        let (mut media, mut found) = (false, Found::default());
        while let Some(Key(key)) = members.next_key()? {
            let place = self.place.under(&key);
            media |= place == Place::Media;
            let within = members.next_value_seed(Walk { place, tally: self.tally })?;
            found.low_detail |= within.low_detail;
            self.tally.add(if self.place == Place::Messages && key == "name" { PER_NAME } else { 0 });
        }
        if self.place == Place::Messages {
            self.tally.add(PER_MESSAGE);
        }
        match (media, found.low_detail) {
            (true, true) => self.tally.media(MEDIA_LOW_DETAIL),
            (true, false) => self.tally.media(MEDIA),
            (false, _) => {}
        }
        Ok(found)
    }
}

/// A key, copied only where it holds escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'body>(#[serde(borrow)] Cow<'body, str>);
