//! A kept-alive HTTP/1.1 connection, as plain as can be: the load must cost less than what it measures.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::net::{TcpSocket, TcpStream};

use super::body::{Body, broken};
use super::transport::Transport;

const MOST_HEADERS: usize = 64;
const LONGEST_HEAD: usize = 64 * 1024;

pub struct Connection {
    stream: Transport,
    /// What came and belongs to nobody yet.
    input: BytesMut,
}

pub struct Head {
    pub status: u16,
    pub body: Body,
    /// Whether the connection serves another request after this one.
    pub keeps: bool,
    pub retry_after: RetryAfter,
    /// Whether it tells the number of one of the simulator's generations.
    pub simulated: bool,
}

/// When a refused client may come again, as far as the form of it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Absent,
    /// A number of seconds or an HTTP date.
    Given,
    Malformed,
}

impl RetryAfter {
    fn read(value: &[u8]) -> RetryAfter {
        let text = value.trim_ascii();
        let seconds = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let date = || std::str::from_utf8(text).is_ok_and(|text| jiff::fmt::rfc2822::parse(text).is_ok());
        if seconds || date() { RetryAfter::Given } else { RetryAfter::Malformed }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(Transport::Plain(stream)))
    }

    pub fn over(stream: Transport) -> Connection {
        Connection { stream, input: BytesMut::with_capacity(16 * 1024) }
    }

    /// With a receive buffer of about this many bytes, so that the sender soon feels a slow reader.
    pub async fn open_narrow(address: SocketAddr, bytes: u32) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        let stream = socket.connect(address).await?;
        Ok(Connection { stream: Transport::Plain(stream), input: BytesMut::new() })
    }

    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// Bytes as they come, framing and all; 0 at the end.
    pub async fn raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// Whether nothing has come since the last answer.
    pub fn is_silent(&self) -> bool {
        self.input.is_empty()
    }

    pub async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some((used, head)) = parse(&self.input)? {
                drop(self.input.split_to(used));
                // An interim answer has no body, and the real one follows.
                if (100..200).contains(&head.status) {
                    continue;
                }
                return Ok(head);
            }
            if self.input.len() > LONGEST_HEAD {
                return Err(broken("the head does not end"));
            }
            if self.receive().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Adds the next bytes of the body to `output`; true once it is complete.
    pub async fn piece(&mut self, body: &mut Body, output: &mut Vec<u8>) -> io::Result<bool> {
        let before = output.len();
        loop {
            if body.read(&mut self.input, output)? {
                return Ok(true);
            }
            if output.len() > before {
                return Ok(false);
            }
            if self.receive().await? == 0 {
                return if body.may_end() { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// One request and its whole answer, into a buffer that is used again; gives the status, and whether
    /// the connection lives on.
    pub async fn exchange(&mut self, request: &[u8], output: &mut Vec<u8>) -> io::Result<(u16, bool)> {
        self.send(request).await?;
        let mut head = self.head().await?;
        output.clear();
        while !self.piece(&mut head.body, output).await? {}
        Ok((head.status, head.keeps && head.body != Body::UntilClose))
    }

    async fn receive(&mut self) -> io::Result<usize> {
        self.input.reserve(16 * 1024);
        self.stream.read_buf(&mut self.input).await
    }
}

fn parse(input: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(input).map_err(|_| broken("no HTTP response"))?;
    let httparse::Status::Complete(used) = parsed else { return Ok(None) };
    let (mut body, mut keeps) = (Body::UntilClose, true);
    let (mut retry_after, mut simulated) = (RetryAfter::Absent, false);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") && body == Body::UntilClose {
            let length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
            body = Body::Length(length.ok_or_else(|| broken("no content-length"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunks;
        } else if header.name.eq_ignore_ascii_case("connection") {
            keeps = !header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after = RetryAfter::read(header.value);
        } else if header.name.eq_ignore_ascii_case("x-sim-generation") {
            simulated = true;
        }
    }
    if matches!(response.code, Some(204 | 304)) {
        body = Body::Length(0);
    }
    Ok(Some((used, Head { status: response.code.unwrap_or(0), body, keeps, retry_after, simulated })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_where_its_body_ends() {
        let head = |text: &str| parse(text.as_bytes()).unwrap().map(|(_, head)| (head.status, head.body, head.keeps));
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(head(sized), Some((200, Body::Length(12), true)));
        let chunked = "HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        assert_eq!(head(chunked), Some((503, Body::Chunks, false)));
        assert_eq!(head("HTTP/1.0 200 OK\r\n\r\n"), Some((200, Body::UntilClose, true)));
        assert_eq!(head("HTTP/1.1 200 OK\r\ncontent-le"), None, "half a head is none");
    }

    #[test]
    fn a_time_to_come_again_is_seconds_or_a_date() {
        for given in ["0", "120", " 7 ", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(RetryAfter::read(given.as_bytes()), RetryAfter::Given, "{given}");
        }
        for malformed in ["", "-1", "1.5", "soon", "2026-01-01"] {
            assert_eq!(RetryAfter::read(malformed.as_bytes()), RetryAfter::Malformed, "{malformed}");
        }
    }
}
