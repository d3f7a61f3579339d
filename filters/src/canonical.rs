//! One pass over a request's body: it is JSON, it means one thing, and equal meaning has an equal form.
//!
//! A body in which one object has the same key twice is refused: parsers differ on which of the two
//! counts, and limits, prices and keys must use the value that the backend sees.
//!
//! No tree is built. The reader writes a canonical form as it goes, which is binary, free of white space,
//! has the members of each object in the order of their keys, and each string in one spelling. Long
//! strings, which prompts are, enter that form as their hash, so that they are copied nowhere: a fast
//! one at first, BLAKE3 where the form must be strong.

mod reader;
mod scanner;
mod string;
mod writer;

use std::ops::Range;

use serde::Deserialize;
use twox_hash::XxHash3_128;

use crate::Reason;
use crate::usage::Service;
use reader::{Reader, Wrong};
use scanner::Malformed;
use writer::Shorten;

pub type Digest = [u8; 32];

/// What the rooms need to know of a body. A field of the wrong type counts as absent: the backend
/// is the one to complain of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    pub model: Option<Box<str>>,
    pub stream: bool,
    pub temperature: Option<f64>,
    pub seeded: bool,
    /// The most tokens that one answer may have, by whichever name its API has for that. If several stand
    /// there the largest counts: backends differ on which of them they read.
    pub max_tokens: Option<u64>,
    /// Answers that are made to this one question: `n`, or `best_of` where that is more.
    pub choices: Option<u64>,
    /// Whether the answer depends on, or changes, what the backend remembers of an earlier one.
    pub stateful: bool,
    /// Whom the client says it asks for.
    pub user: Option<Box<str>>,
    /// The class of service that is asked for, where one is.
    pub service: Option<Service>,
    /// Where the value of `stream_options` stands in the body.
    pub stream_options: Option<Range<usize>>,
    /// Whether a stream is to say at its end what it used.
    pub include_usage: bool,
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
    form(body, |text, out| out.extend_from_slice(&XxHash3_128::oneshot(text).to_le_bytes()))
}

/// The digest of a body's form with strong hashes: nobody can make two bodies that have the same.
pub fn digest(body: &[u8]) -> Digest {
    match form(body, |text, out| out.extend_from_slice(blake3::hash(text).as_bytes())) {
        Ok((_, form)) => *blake3::hash(form.bytes()).as_bytes(),
        // What has no form stands for itself.
        Err(_) => *blake3::hash(body).as_bytes(),
    }
}

/// The digest of what a body asks, however the answer is to be sent: `stream` and `stream_options` do not count.
pub fn digest_of_question(body: &[u8]) -> Digest {
    let shorten: Shorten = |text, out| out.extend_from_slice(blake3::hash(text).as_bytes());
    match Reader::new(body, shorten).without(&HOW_IT_IS_SENT).read() {
        Ok(written) if !written.imprecise => *blake3::hash(&written.form).as_bytes(),
        // What has no form stands for itself.
        _ => *blake3::hash(body).as_bytes(),
    }
}

/// Members of the outermost object that do not change what is answered.
const HOW_IT_IS_SENT: [&[u8]; 2] = [b"stream", b"stream_options"];

fn form(body: &[u8], shorten: Shorten) -> Result<(Question, Form), Reason> {
    let written = Reader::new(body, shorten).read().map_err(|wrong| match wrong {
        Wrong::Malformed(Malformed { at }) => bad_json(body, at),
        Wrong::DuplicateKey(key) => Reason::DuplicateKey(key),
        Wrong::NotAnObject => Reason::NotAnObject,
    })?;
    let mut question = written.question;
    question.include_usage = question.stream_options.clone().is_some_and(|place| includes_usage(&body[place]));
    let mut out = written.form;
    if written.imprecise {
        out.clear();
        shorten(body, &mut out);
    }
    Ok((question, Form(out)))
}

fn includes_usage(stream_options: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Options {
        include_usage: Option<bool>,
    }
    let read = serde_json::from_slice::<Option<Options>>(stream_options);
    read.ok().flatten().and_then(|options| options.include_usage).unwrap_or(false)
}

/// Line and column count from 1, and columns are bytes, as serde_json counts them.
fn bad_json(body: &[u8], at: usize) -> Reason {
    let before = &body[..at.min(body.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    Reason::BadJson { line: 1 + memchr::memchr_iter(b'\n', before).count(), column: 1 + before.len() - line_start }
}

#[cfg(test)]
mod tests;
