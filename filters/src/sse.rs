//! Bytes to server-sent events: split once, forwarded unchanged.
//!
//! The pieces that come out, one behind the other, are the bytes that went in. The framing is that
//! of the WHATWG HTML standard, section 9.2: lines end in LF, CR or CRLF, an empty line ends an event.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr, memchr2};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::reply::{Event, Kind};

/// An event longer than this is passed on in pieces: the buffer's cap.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Cuts a stream of bytes, in whatever chunks they come, into events.
#[derive(Default)]
pub struct Splitter {
    pending: BytesMut,
    finished: bool,
    failed: bool,
    /// The answers that have said why they end.
    concluded: BTreeSet<u64>,
}

impl Splitter {
    /// Takes the next chunk and puts the events that it completes behind `events`.
    pub fn push(&mut self, mut chunk: Bytes, events: &mut Vec<Event>) {
        if !self.pending.is_empty() {
            let scanned = self.pending.len().saturating_sub(2);
            self.pending.extend_from_slice(&chunk);
            let Some(end) = event_end(&self.pending, scanned) else {
                return self.flush_overlong(events);
            };
            let mut whole = std::mem::take(&mut self.pending).freeze();
            chunk = whole.split_off(end);
            self.emit(whole, events);
        }
        while let Some(end) = event_end(&chunk, 0) {
            let event = chunk.split_to(end);
            self.emit(event, events);
        }
        self.pending.extend_from_slice(&chunk);
        self.flush_overlong(events);
    }

    /// What is left when the stream has ended: an event without its empty line, if anything.
    pub fn finish(&mut self) -> Option<Event> {
        let rest = std::mem::take(&mut self.pending).freeze();
        if rest.is_empty() {
            return None;
        }
        let kind = kind(&rest);
        self.note(&rest, kind);
        Some(Event { bytes: rest, kind })
    }

    /// Whether the event that ends a stream by its API's own rule has gone by.
    pub fn has_finished(&self) -> bool {
        self.finished
    }

    /// Whether what is to be said has been said, be it without that last event: each of so many answers gave a reason to
    /// finish, or an error was told.
    pub fn has_concluded(&self, choices: u64) -> bool {
        self.finished || self.failed || self.concluded.len() as u64 >= choices.min(MOST_CHOICES)
    }

    fn note(&mut self, event: &[u8], kind: Kind) {
        self.finished |= kind == Kind::Last;
        self.failed |= is_error(event);
        if gives_a_reason(event) {
            concluded_by(event, &mut self.concluded);
        }
    }

    fn emit(&mut self, bytes: Bytes, events: &mut Vec<Event>) {
        let kind = kind(&bytes);
        self.note(&bytes, kind);
        events.push(Event { bytes, kind });
    }

    fn flush_overlong(&mut self, events: &mut Vec<Event>) {
        if self.pending.len() > MAX_EVENT_BYTES {
            let bytes = std::mem::take(&mut self.pending).freeze();
            // The last event of the Responses API repeats the whole answer, and may well be this large.
            self.note(&bytes, kind(&bytes));
            events.push(Event { bytes, kind: Kind::Bytes });
        }
    }
}

/// Where the first event ends, its empty line included; looks for the empty line from `from` on.
///
/// A CR that is the last byte counts as a line's end: the LF that may follow it begins the next event.
fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr2(b'\n', b'\r', bytes.get(at..)?) {
        let next = after_line_end(bytes, at + found)?;
        match bytes.get(next) {
            Some(b'\n' | b'\r') => return after_line_end(bytes, next),
            _ => at = next,
        }
    }
    None
}

fn after_line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes.get(at)?, bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some(at + 2),
        _ => Some(at + 1),
    }
}

/// What an event is, by its first line that says so.
pub fn kind(event: &[u8]) -> Kind {
    let mut kind = Kind::Comment;
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(data) = field(line, b"data:") {
            if data == b"[DONE]" {
                return Kind::Last;
            }
            // Nothing after the first data line of a token matters here.
            return type_of(data).and_then(named).unwrap_or(Kind::Data);
        }
        if let Some(name) = field(line, b"event:") {
            match named(name) {
                Some(known) => return known,
                None => kind = Kind::Data,
            }
        }
    }
    kind
}

/// What the APIs call the events that matter here.
fn named(name: &[u8]) -> Option<Kind> {
    match name {
        b"message_stop" | b"response.completed" | b"response.failed" | b"response.incomplete" | b"error" => {
            Some(Kind::Last)
        }
        b"message_start" | b"response.created" | b"response.in_progress" | b"response.queued" => Some(Kind::Prelude),
        b"ping" => Some(Kind::Comment),
        _ => None,
    }
}

/// The `type` of an event's data, where it stands first: some servers send no `event:` line.
fn type_of(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"type\"")?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    value.get(..memchr(b'"', value)?)
}

/// More answers in one stream are not told apart.
const MOST_CHOICES: u64 = 128;

/// Notes which of several answers have said why they end.
fn concluded_by(event: &[u8], concluded: &mut BTreeSet<u64>) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Chunk {
        choices: Vec<Choice>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Choice {
        index: u64,
        finish_reason: Option<serde::de::IgnoredAny>,
    }
    let data = event.split(|byte| matches!(byte, b'\n' | b'\r')).find_map(|line| field(line, b"data:"));
    let chunk: Chunk = data.and_then(|data| serde_json::from_slice(data).ok()).unwrap_or_default();
    let ended = chunk.choices.iter().filter(|choice| choice.finish_reason.is_some()).map(|choice| choice.index);
    concluded.extend(ended.filter(|index| *index < MOST_CHOICES));
    if concluded.is_empty() {
        // Anthropic's, which has one answer.
        concluded.insert(0);
    }
}

/// Whether a chunk says why its text ends: `finish_reason`, or Anthropic's `stop_reason`, which is null until then.
fn gives_a_reason(event: &[u8]) -> bool {
    [&FINISH, &STOP].into_iter().any(|name| {
        let behind = name.find_iter(event).map(|at| &event[at + name.needle().len()..]);
        behind.into_iter().any(|rest| {
            let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
            value.is_some_and(|value| value.starts_with(b"\""))
        })
    })
}

static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static STOP: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"stop_reason\""));

/// Whether an event says what a stream used and nothing else: the chunk that `include_usage` asks for.
pub fn is_usage(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<serde::de::IgnoredAny>,
        usage: Map<String, Value>,
    }
    if USAGE.find(event).is_none() {
        return false;
    }
    let data = event.split(|byte| matches!(byte, b'\n' | b'\r')).find_map(|line| field(line, b"data:"));
    let chunk = data.and_then(|data| serde_json::from_slice::<Chunk>(data).ok());
    chunk.is_some_and(|chunk| chunk.choices.is_empty() && !chunk.usage.is_empty())
}

/// Whether an event is an error and nothing else, in OpenAI's shape or Anthropic's.
pub fn is_error(event: &[u8]) -> bool {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        let data = field(line, b"data:").and_then(|data| data.strip_prefix(b"{")).map(<[u8]>::trim_ascii_start);
        data.is_some_and(|data| data.starts_with(b"\"error\""))
            || matches!(field(line, b"event:"), Some(b"error" | b"response.failed"))
    })
}

fn field<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits `stream` fed in the given chunks; gives the pieces and their kinds.
    fn split(chunks: &[&[u8]]) -> (Vec<(String, Kind)>, bool) {
        let (mut splitter, mut events) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(Bytes::copy_from_slice(chunk), &mut events);
        }
        events.extend(splitter.finish());
        let pieces =
            events.into_iter().map(|event| (String::from_utf8_lossy(&event.bytes).into_owned(), event.kind)).collect();
        (pieces, splitter.has_finished())
    }

    #[test]
    fn events_end_at_an_empty_line_of_any_kind() {
        let stream = b"data: a\n\ndata: b\r\n\r\ndata: c\r\revent: x\ndata: d\n\n: hi\n\ndata: [DONE]\n\n";
        let expected = [
            ("data: a\n\n", Kind::Data),
            ("data: b\r\n\r\n", Kind::Data),
            ("data: c\r\r", Kind::Data),
            ("event: x\ndata: d\n\n", Kind::Data),
            (": hi\n\n", Kind::Comment),
            ("data: [DONE]\n\n", Kind::Last),
        ];
        let (pieces, finished) = split(&[stream]);
        assert_eq!(pieces, expected.map(|(text, kind)| (text.to_owned(), kind)));
        assert!(finished);
    }

    #[test]
    fn the_apis_without_done_end_in_their_own_last_event() {
        for last in ["message_stop", "response.completed", "response.failed", "response.incomplete", "error"] {
            assert!(split(&[format!("event: {last}\ndata: {{}}\n\n").as_bytes()]).1, "{last}");
        }
        assert!(!split(&[b"event: content_block_stop\ndata: {}\n\n"]).1);
        assert_eq!(split(&[b"event: ping\ndata: {}\n\n"]).0[0].1, Kind::Comment, "a ping is no token");
    }

    #[test]
    fn an_event_without_its_empty_line_is_given_at_the_end() {
        assert_eq!(split(&[b"data: a\n\nda", b"ta: b"]).0[1], ("data: b".to_owned(), Kind::Data));
    }

    #[test]
    fn an_endless_line_is_passed_on_in_pieces() {
        let line = vec![b'x'; MAX_EVENT_BYTES / 2 + 1];
        let (mut splitter, mut events) = (Splitter::default(), Vec::new());
        for _ in 0..4 {
            splitter.push(Bytes::copy_from_slice(&line), &mut events);
        }
        assert_eq!(events.len(), 2, "the buffer holds no more than its cap and one chunk");
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_bytes_and_do_not_depend_on_the_chunks(
            stream in "(data: [a-c]{0,3}|:|event: x|\n|\r|\n\n|\r\n|\r\n\r\n){0,30}",
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            // A CR at a chunk's end is the one place where the cut may move one LF to the next event.
            let stream = if cuts.is_empty() { stream } else { stream.replace('\r', "\n") };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut chunks, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([stream.len()]) {
                chunks.push(&stream.as_bytes()[from..cut]);
                from = cut;
            }
            let (pieces, _) = split(&chunks);
            prop_assert_eq!(pieces.iter().map(|(text, _)| text.as_str()).collect::<String>(), stream.as_str());
            prop_assert_eq!(pieces, split(&[stream.as_bytes()]).0);
        }

        #[test]
        fn no_bytes_are_lost_whatever_they_are(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10)) {
            let (mut splitter, mut events) = (Splitter::default(), Vec::new());
            chunks.iter().for_each(|chunk| splitter.push(Bytes::copy_from_slice(chunk), &mut events));
            events.extend(splitter.finish());
            let out: Vec<u8> = events.iter().flat_map(|event| event.bytes.to_vec()).collect();
            prop_assert_eq!(out, chunks.concat());
        }
    }

    #[test]
    fn what_matters_is_known_by_the_events_name_or_by_its_datas_type() {
        for (event, expected) in [
            ("event: message_start\ndata: {}\n\n", Kind::Prelude),
            ("data: {\"type\": \"response.created\"}\n\n", Kind::Prelude),
            ("data: {\"type\":\"response.completed\",\"response\":{}}\n\n", Kind::Last),
            ("data: {\"type\":\"response.output_text.delta\"}\n\n", Kind::Data),
            ("data: {\"choices\":[]}\n\n", Kind::Data),
        ] {
            assert_eq!(kind(event.as_bytes()), expected, "{event}");
        }
    }

    /// Whether a stream of this many answers has said all, after these events.
    fn concludes(choices: u64, events: &[&str]) -> bool {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        events.iter().for_each(|event| splitter.push(Bytes::from(format!("{event}\n\n")), &mut out));
        splitter.has_concluded(choices)
    }

    #[test]
    fn a_stream_has_said_all_when_each_answer_in_it_gave_its_reason() {
        let (open, first, second) = (
            r#"data: {"choices":[{"index":0,"delta":{"content":"\"finish_reason\":\"x\""},"finish_reason":null}]}"#,
            r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"data: {"choices":[{"index":1,"delta":{},"finish_reason" : "length"}]}"#,
        );
        assert!(!concludes(1, &[open]) && concludes(1, &[open, first]));
        assert!(!concludes(2, &[open, first, first]), "the second answer was cut off");
        assert!(concludes(2, &[first, second]) && concludes(2, &[first, "data: [DONE]"]));
        assert!(concludes(1, &[r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#]));
        assert!(concludes(1, &[r#"data: {"error":{"message":"boom"}}"#]), "an error is an end, and not a cut");
        let large = format!("event: response.completed\ndata: {{\"text\":\"{}\"}}", "x".repeat(3 << 20));
        assert!(concludes(1, &[&large]), "however large the last event is");
    }
}
