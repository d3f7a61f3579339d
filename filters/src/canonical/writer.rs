//! The canonical form as bytes.

use std::ops::Range;

use super::Question;
use super::scanner::Number;
use crate::usage::Service;

/// Writes the hash of a long text.
pub type Shorten = fn(&[u8], &mut Vec<u8>);

/// Strings from this length on enter the canonical form as their hash.
pub const LONG: usize = 1024;

/// Longer keys are not repeated to the client.
const LONGEST_NAMED: usize = 64;

/// Bytes that the length of a key takes, before the key.
const KEY_LENGTH: usize = 8;

/// One type for one byte each, so that no two values are written alike.
mod tag {
    pub const NULL: u8 = b'n';
    pub const TRUE: u8 = b't';
    pub const FALSE: u8 = b'f';
    pub const UNSIGNED: u8 = b'u';
    pub const SIGNED: u8 = b'i';
    pub const FLOAT: u8 = b'd';
    pub const TEXT: u8 = b's';
    pub const LONG_TEXT: u8 = b'h';
    pub const ARRAY: u8 = b'[';
    pub const ARRAY_END: u8 = b']';
    pub const OBJECT: u8 = b'{';
    pub const OBJECT_END: u8 = b'}';
}

pub struct Writer {
    out: Vec<u8>,
    shorten: Shorten,
    /// The members of the objects that are open now, innermost last.
    members: Vec<Member>,
    spare: Vec<u8>,
}

struct Member {
    key: Range<usize>,
    end: usize,
}

/// Where an open object began.
pub struct Object {
    first: usize,
    start: usize,
}

/// What was written, as far as the outermost object needs to know it.
pub enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    /// Where a short text stands in the canonical form.
    Text(Range<usize>),
    LongText,
    Array,
    Object,
}

impl Writer {
    pub fn new(body_bytes: usize, shorten: Shorten) -> Self {
        let out = Vec::with_capacity(body_bytes.min(4096) + 256);
        Writer { out, shorten, members: Vec::new(), spare: Vec::new() }
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    pub fn null(&mut self) -> Scalar {
        self.out.push(tag::NULL);
        Scalar::Null
    }

    pub fn bool(&mut self, value: bool) -> Scalar {
        self.out.push(if value { tag::TRUE } else { tag::FALSE });
        Scalar::Bool(value)
    }

    pub fn number(&mut self, number: &Number) -> Scalar {
        let (tag, bytes, value) = match *number {
            Number::Unsigned(value) => (tag::UNSIGNED, value.to_le_bytes(), value as f64),
            Number::Signed(value) => (tag::SIGNED, value.to_le_bytes(), value as f64),
            Number::Float(value) => (tag::FLOAT, value.to_le_bytes(), value),
        };
        self.out.push(tag);
        self.out.extend_from_slice(&bytes);
        Scalar::Number(value)
    }

    /// A string in its usual spelling.
    pub fn text(&mut self, text: &[u8]) -> Scalar {
        let long = text.len() >= LONG;
        self.out.push(if long { tag::LONG_TEXT } else { tag::TEXT });
        self.out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        if long {
            (self.shorten)(text, &mut self.out);
            return Scalar::LongText;
        }
        let start = self.out.len();
        self.out.extend_from_slice(text);
        Scalar::Text(start..self.out.len())
    }

    pub fn open_array(&mut self) {
        self.out.push(tag::ARRAY);
    }

    pub fn close_array(&mut self) -> Scalar {
        self.out.push(tag::ARRAY_END);
        Scalar::Array
    }

    pub fn open_object(&mut self) -> Object {
        self.out.push(tag::OBJECT);
        Object { first: self.members.len(), start: self.out.len() }
    }

    /// Writes a key behind its length, and says where its text stands.
    pub fn key(&mut self, key: &[u8]) -> Range<usize> {
        self.out.extend_from_slice(&(key.len() as u64).to_le_bytes());
        let start = self.out.len();
        self.out.extend_from_slice(key);
        start..self.out.len()
    }

    /// The value of this key has been written.
    pub fn member(&mut self, key: Range<usize>) {
        self.members.push(Member { key, end: self.out.len() });
    }

    pub fn is_any_of(&self, key: &Range<usize>, names: &[&[u8]]) -> bool {
        !names.is_empty() && names.contains(&&self.out[key.clone()])
    }

    /// Unwrites the member that was written last.
    pub fn take_back(&mut self, key: Range<usize>) {
        self.out.truncate(key.start - KEY_LENGTH);
    }

    /// Puts the members of an object into the order of their keys; a key that stands there twice is the error.
    pub fn close_object(&mut self, object: &Object) -> Result<Scalar, String> {
        let Writer { out, members, spare, .. } = self;
        let here = &mut members[object.first..];
        let in_order = here.windows(2).all(|pair| out[pair[0].key.clone()] < out[pair[1].key.clone()]);
        if !in_order {
            here.sort_by(|left, right| out[left.key.clone()].cmp(&out[right.key.clone()]));
            if let Some(twice) = here.windows(2).find(|pair| out[pair[0].key.clone()] == out[pair[1].key.clone()]) {
                let key = &out[twice[0].key.clone()];
                return Err(if key.len() <= LONGEST_NAMED {
                    String::from_utf8_lossy(key).into()
                } else {
                    String::new()
                });
            }
            spare.clear();
            for member in here.iter() {
                spare.extend_from_slice(&out[member.key.start - KEY_LENGTH..member.end]);
            }
            out.truncate(object.start);
            out.extend_from_slice(spare);
        }
        members.truncate(object.first);
        out.push(tag::OBJECT_END);
        Ok(Scalar::Object)
    }

    /// Keeps what the rooms need of a member of the outermost object.
    pub fn note(&self, key: &Range<usize>, value: &Scalar, question: &mut Question) {
        match (&self.out[key.clone()], value) {
            (b"model", Scalar::Text(range)) => question.model = meaning(&self.out[range.clone()]),
            (b"stream", Scalar::Bool(stream)) => question.stream = *stream,
            (b"temperature", Scalar::Number(number)) => question.temperature = Some(*number),
            (b"seed", Scalar::Number(_)) => question.seeded = true,
            (b"background", Scalar::Bool(true)) => question.stateful = true,
            (b"previous_response_id" | b"conversation", value) if !matches!(value, Scalar::Null) => {
                question.stateful = true;
            }
            (b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens", Scalar::Number(number)) => {
                question.max_tokens = question.max_tokens.max(count(*number));
            }
            (b"n" | b"best_of", Scalar::Number(number)) => question.choices = question.choices.max(count(*number)),
            (b"service_tier", Scalar::Text(range)) => question.service = Service::named(&self.out[range.clone()]),
            (b"user", Scalar::Text(range)) => question.user = meaning(&self.out[range.clone()]),
            (b"safety_identifier", Scalar::Text(range)) if question.user.is_none() => {
                question.user = meaning(&self.out[range.clone()]);
            }
            _ => {}
        }
    }
}

/// A number of things: none for what is negative or has a fraction.
fn count(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}

/// What a string in its usual spelling says.
fn meaning(spelled: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(spelled).ok()?;
    if text.contains('\\') { serde_json::from_str(&format!("\"{text}\"")).ok() } else { Some(text.into()) }
}
