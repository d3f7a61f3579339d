//! JSON written straight into a buffer: no tree is built for a reply.

use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub struct JsonText {
    bytes: BytesMut,
}

impl JsonText {
    pub fn with_capacity(capacity: usize) -> JsonText {
        JsonText { bytes: BytesMut::with_capacity(capacity) }
    }

    /// Text that is already JSON, or a part of it.
    pub fn raw(&mut self, text: &str) -> &mut JsonText {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    pub fn number(&mut self, number: u64) -> &mut JsonText {
        let mut digits = itoa::Buffer::new();
        self.raw(digits.format(number))
    }

    /// The shortest decimal that reads back as the same value.
    pub fn float(&mut self, value: f32) -> &mut JsonText {
        self.raw(&serde_json::Value::from(value).to_string())
    }

    pub fn string(&mut self, text: &str) -> &mut JsonText {
        self.raw(&quoted(text))
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// What was written from `start` on.
    pub fn since(&self, start: usize) -> &[u8] {
        &self.bytes[start..]
    }

    /// Takes everything written so far.
    pub fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    /// Takes the first SSE event, or the rest where no whole event is left.
    pub fn take_event(&mut self) -> Bytes {
        let end = self.bytes.windows(2).position(|pair| pair == b"\n\n").map_or(self.bytes.len(), |at| at + 2);
        self.bytes.split_to(end).freeze()
    }
}

/// The JSON string literal, quotes included.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::JsonText;

    #[test]
    fn events_come_out_one_by_one() {
        let mut text = JsonText::default();
        text.raw("data: 1\n\n").raw("data: 2\n\ndata: ha");
        assert_eq!(&text.take_event()[..], b"data: 1\n\n", "the first event");
        assert_eq!(&text.take_event()[..], b"data: 2\n\n", "the second event");
        assert_eq!(&text.take_event()[..], b"data: ha", "the half event");
        assert!(text.is_empty(), "nothing is left");
    }
}
