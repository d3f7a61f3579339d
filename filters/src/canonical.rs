//! One pass over a request's body: it is JSON, it means one thing, and equal meaning has an equal form.
//!
//! A body in which one object has the same key twice is refused: parsers differ on which of the two
//! counts, and limits, prices and keys must use the value that the backend sees.
//!
//! No tree is built. sonic-rs parses, because it looks at strings, which prompts are, a vector at a
//! time; the visitor writes a canonical form beside it, which is binary, free of white space, and has
//! the members of each object in the order of their keys. Long strings enter that form as their
//! hash, so that they are copied nowhere: a fast one at first, BLAKE3 where the form must be strong.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::xxh3_128;

use crate::Reason;

pub type Digest = [u8; 32];

/// What the rooms need to know of a body. A field of the wrong type counts as absent: the backend
/// is the one to complain of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    pub model: Option<Box<str>>,
    pub stream: bool,
    pub temperature: Option<f64>,
    pub seeded: bool,
}

/// The canonical form of a body.
#[derive(Debug)]
pub struct Form(Vec<u8>);

impl Form {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a body whole, and its form with fast hashes: equal for equal meaning, and unequal otherwise
/// but for chance. Errors say where it is wrong and never quote it.
pub fn read(body: &[u8]) -> Result<(Question, Form), Reason> {
    form(body, |text, out| out.extend_from_slice(&xxh3_128(text).to_le_bytes()))
}

/// The digest of a body's form with strong hashes: nobody can make two bodies that have the same.
pub fn digest(body: &[u8]) -> Digest {
    match form(body, |text, out| out.extend_from_slice(blake3::hash(text).as_bytes())) {
        Ok((_, form)) => *blake3::hash(form.bytes()).as_bytes(),
        // What has no form stands for itself.
        Err(_) => *blake3::hash(body).as_bytes(),
    }
}

/// Writes the hash of a long text.
type Shorten = fn(&[u8], &mut Vec<u8>);

fn form(body: &[u8], shorten: Shorten) -> Result<(Question, Form), Reason> {
    let mut writer = Writer::new(body.len(), shorten);
    let mut parser = sonic_rs::Deserializer::from_slice(body);
    let read = (Value { writer: &mut writer, depth: 0 }).deserialize(&mut parser).and_then(|kind| {
        parser.end()?;
        Ok(kind)
    });
    let Writer { mut out, question, duplicate, imprecise, .. } = writer;
    match (read, duplicate) {
        (Ok(Scalar::Object), _) => {
            if imprecise {
                out.clear();
                shorten(body, &mut out);
            }
            Ok((question, Form(out)))
        }
        (Ok(_), _) => Err(Reason::NotAnObject),
        (Err(_), Some(key)) => Err(Reason::DuplicateKey(key)),
        (Err(error), None) => Err(Reason::BadJson { line: error.line(), column: error.column() }),
    }
}

/// Strings from this length on enter the canonical form as their hash.
const LONG: usize = 1024;

/// Objects and lists within each other at most.
const DEEPEST: u8 = 127;

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

struct Writer {
    out: Vec<u8>,
    shorten: Shorten,
    /// The members of the objects that are open now, innermost last.
    members: Vec<Member>,
    spare: Vec<u8>,
    question: Question,
    duplicate: Option<String>,
    /// A number did not fit: two different numbers may look alike, so the bytes themselves must count.
    imprecise: bool,
}

struct Member {
    key: Range<usize>,
    end: usize,
}

impl Writer {
    fn new(body_bytes: usize, shorten: Shorten) -> Self {
        Writer {
            out: Vec::with_capacity(body_bytes.min(4096) + 256),
            shorten,
            members: Vec::new(),
            spare: Vec::new(),
            question: Question::default(),
            duplicate: None,
            imprecise: false,
        }
    }

    fn text(&mut self, text: &str) {
        if text.len() < LONG {
            self.out.push(tag::TEXT);
            self.out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            self.out.extend_from_slice(text.as_bytes());
        } else {
            self.out.push(tag::LONG_TEXT);
            self.out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            (self.shorten)(text.as_bytes(), &mut self.out);
        }
    }

    fn fixed(&mut self, tag: u8, bytes: [u8; 8]) {
        self.out.push(tag);
        self.out.extend_from_slice(&bytes);
    }

    /// Puts the members written since `first` into the order of their keys; false if two are equal.
    fn close_object(&mut self, first: usize, start: usize) -> bool {
        let Writer { out, members, spare, .. } = self;
        let members_here = &mut members[first..];
        let in_order = members_here.windows(2).all(|pair| out[pair[0].key.clone()] < out[pair[1].key.clone()]);
        if !in_order {
            members_here.sort_by(|left, right| out[left.key.clone()].cmp(&out[right.key.clone()]));
            if members_here.windows(2).any(|pair| out[pair[0].key.clone()] == out[pair[1].key.clone()]) {
                return false;
            }
            spare.clear();
            for member in members_here.iter() {
                spare.extend_from_slice(&out[member.key.start - KEY_LENGTH..member.end]);
            }
            out.truncate(start);
            out.extend_from_slice(spare);
        }
        members.truncate(first);
        out.push(tag::OBJECT_END);
        true
    }

    /// Keeps what the rooms need of a member of the outermost object.
    fn note(&mut self, key: &Range<usize>, value: &Scalar) {
        let Writer { out, question, .. } = self;
        match (&out[key.clone()], value) {
            (b"model", Scalar::Text(range)) => {
                question.model = out.get(range.clone()).and_then(|text| std::str::from_utf8(text).ok()).map(Box::from);
            }
            (b"stream", Scalar::Bool(stream)) => question.stream = *stream,
            (b"temperature", Scalar::Number(number)) => question.temperature = Some(*number),
            (b"seed", Scalar::Number(_)) => question.seeded = true,
            _ => {}
        }
    }
}

/// What was read, as far as the outermost object needs to know it.
enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    /// Where a short text stands in the canonical form.
    Text(Range<usize>),
    LongText,
    Array,
    Object,
}

struct Value<'writer> {
    writer: &'writer mut Writer,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Scalar;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        self.writer.out.push(tag::NULL);
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        self.writer.out.push(if value { tag::TRUE } else { tag::FALSE });
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        self.writer.fixed(tag::UNSIGNED, value.to_le_bytes());
        Ok(Scalar::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        self.writer.fixed(tag::SIGNED, value.to_le_bytes());
        Ok(Scalar::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        // An integer beyond 64 bits arrives as a float: some backends read it exactly.
        self.writer.imprecise |= value.abs() >= i64::MAX as f64;
        self.writer.fixed(tag::FLOAT, value.to_le_bytes());
        Ok(Scalar::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        self.writer.text(text);
        let end = self.writer.out.len();
        Ok(if text.len() < LONG { Scalar::Text(end - text.len()..end) } else { Scalar::LongText })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        self.writer.out.push(tag::ARRAY);
        let depth = deeper(self.depth)?;
        while items.next_element_seed(Value { writer: self.writer, depth })?.is_some() {}
        self.writer.out.push(tag::ARRAY_END);
        Ok(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        self.writer.out.push(tag::OBJECT);
        let depth = deeper(self.depth)?;
        let (first, start) = (self.writer.members.len(), self.writer.out.len());
        while let Some(key) = map.next_key_seed(Key(self.writer))? {
            let value = map.next_value_seed(Value { writer: self.writer, depth })?;
            if self.depth == 0 {
                self.writer.note(&key, &value);
            }
            let end = self.writer.out.len();
            self.writer.members.push(Member { key, end });
        }
        if self.writer.close_object(first, start) {
            return Ok(Scalar::Object);
        }
        self.writer.duplicate = Some(if self.depth == 0 { self.writer.first_duplicate(first) } else { String::new() });
        Err(A::Error::custom("duplicate key"))
    }
}

fn deeper<E: serde::de::Error>(depth: u8) -> Result<u8, E> {
    if depth < DEEPEST { Ok(depth + 1) } else { Err(E::custom("too deep")) }
}

impl Writer {
    /// The name of a key of the outermost object that stands there twice; keys further in may hold a prompt.
    fn first_duplicate(&self, first: usize) -> String {
        self.members[first..]
            .windows(2)
            .map(|pair| (&self.out[pair[0].key.clone()], &self.out[pair[1].key.clone()]))
            .find(|(left, right)| left == right && left.len() <= 64)
            .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
            .unwrap_or_default()
    }
}

/// Writes an object's key behind its length, and says where its text stands.
struct Key<'writer>(&'writer mut Writer);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Range<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Range<usize>, E> {
        let out = &mut self.0.out;
        out.extend_from_slice(&(key.len() as u64).to_le_bytes());
        let start = out.len();
        out.extend_from_slice(key.as_bytes());
        Ok(start..out.len())
    }
}

#[cfg(test)]
mod tests;
