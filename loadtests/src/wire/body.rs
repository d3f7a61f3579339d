//! Where an HTTP/1.1 body ends, and its bytes without the framing.

use std::io;

use bytes::{Buf, BytesMut};

/// A longer line of framing is none.
const LONGEST_LINE: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    /// Waiting for a chunk's size.
    Chunks,
    /// Within a chunk, with so many bytes to come.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Ended,
}

impl Body {
    /// Moves what has come to `output`, without the framing; true once the body is complete.
    pub fn read(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            match self {
                Body::Ended | Body::Length(0) => return Ok(true),
                Body::UntilClose => {
                    output.extend_from_slice(&input.split());
                    return Ok(false);
                }
                Body::Length(left) => {
                    if take(left, input, output) > 0 {
                        return Ok(false);
                    }
                }
                Body::Chunk(left) => {
                    if take(left, input, output) > 0 {
                        return Ok(false);
                    }
                    *self = Body::ChunkEnd;
                }
                Body::Chunks => {
                    let Some((used, size)) = chunk_size(input)? else { return Ok(false) };
                    input.advance(used);
                    *self = if size == 0 { Body::Trailers } else { Body::Chunk(size) };
                }
                Body::ChunkEnd | Body::Trailers => {
                    let Some(line) = line(input)? else { return Ok(false) };
                    match (&self, line) {
                        (Body::ChunkEnd, 2) => *self = Body::Chunks,
                        (Body::ChunkEnd, _) => return Err(broken("a chunk is longer than its size")),
                        (_, 2) => *self = Body::Ended,
                        _ => {}
                    }
                    input.advance(line);
                }
            }
        }
    }

    /// Whether the connection may end here.
    pub fn may_end(&self) -> bool {
        matches!(self, Body::UntilClose | Body::Ended | Body::Length(0))
    }
}

fn take(left: &mut u64, input: &mut BytesMut, output: &mut Vec<u8>) -> u64 {
    let length = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    output.extend_from_slice(&input[..length]);
    input.advance(length);
    *left -= length as u64;
    *left
}

fn chunk_size(input: &BytesMut) -> io::Result<Option<(usize, u64)>> {
    match httparse::parse_chunk_size(input) {
        Ok(httparse::Status::Complete(found)) => Ok(Some(found)),
        Ok(httparse::Status::Partial) if input.len() < LONGEST_LINE => Ok(None),
        _ => Err(broken("no chunk size")),
    }
}

/// The length of the next line, its end included.
fn line(input: &BytesMut) -> io::Result<Option<usize>> {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(end + 1)),
        None if input.len() < LONGEST_LINE => Ok(None),
        None => Err(broken("a line without an end")),
    }
}

pub fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_parts(mut body: Body, text: &[u8], part: usize) -> io::Result<(bool, Vec<u8>, usize)> {
        let (mut input, mut output, mut ended) = (BytesMut::new(), Vec::new(), false);
        for part in text.chunks(part) {
            input.extend_from_slice(part);
            ended = body.read(&mut input, &mut output)?;
        }
        Ok((ended, output, input.len()))
    }

    #[test]
    fn chunks_are_put_together_however_they_come() {
        let text = b"4\r\nabcd\r\n1;x=y\r\ne\r\n0\r\nx-trailer: 1\r\n\r\n";
        for part in 1..=text.len() {
            let read = read_in_parts(Body::Chunks, text, part).unwrap();
            assert_eq!(read, (true, b"abcde".to_vec(), 0), "in parts of {part}");
        }
    }

    #[test]
    fn a_body_is_complete_only_at_its_end() {
        let read = |body, text: &[u8]| read_in_parts(body, text, 64).unwrap();
        assert_eq!(read(Body::Chunks, b"4\r\nabcd\r\n0\r\n"), (false, b"abcd".to_vec(), 0), "the last line is missing");
        assert_eq!(read(Body::Length(3), b"ab"), (false, b"ab".to_vec(), 0));
        assert_eq!(read(Body::Length(2), b"abHTTP"), (true, b"ab".to_vec(), 4), "what follows stays");
        assert_eq!(read(Body::UntilClose, b"ab"), (false, b"ab".to_vec(), 0));
    }

    #[test]
    fn wrong_chunks_are_refused() {
        for wrong in [&b"2\r\nabc\r\n"[..], b"x\r\n"] {
            assert!(read_in_parts(Body::Chunks, wrong, 64).is_err(), "{wrong:?}");
        }
    }
}
