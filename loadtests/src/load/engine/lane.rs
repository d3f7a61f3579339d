//! One request after the other over a kept-alive connection: what is sent, what comes, and what became of it.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::answer;
use super::checker::Check;
use super::requests::Expectation;
use super::stream::Stream;
use crate::load::record::outcome::{Failure, Outcome};
use crate::wire::body::Body;
use crate::wire::connection::{Connection, Head};
use crate::wire::endpoint::Endpoint;

/// As much of a stream is kept for its integrity check in one piece; a longer one is checked on the way.
const KEPT: usize = 256 * 1024;

/// Buffers and a connection that one request leaves to the next.
#[derive(Default)]
pub struct Lane {
    pub request: Vec<u8>,
    pub gaps: Vec<u64>,
    connection: Option<Connection>,
    body: Vec<u8>,
}

/// What every request of a run has in common.
pub struct Course {
    pub endpoint: Endpoint,
    pub timeout: Duration,
    /// Where nobody else can tell: whether chat streams carry the simulator's marks.
    pub simulated: bool,
}

/// A request on its way.
struct Flight<'a> {
    course: &'a Course,
    expectation: Expectation,
    outcome: Outcome,
    stream: Stream,
    check: Option<Box<Check>>,
    /// A stream was asked for, and the head says that it comes.
    streams: bool,
    simulated: bool,
}

impl Lane {
    /// Sends what stands in the buffer and reads the answer; together with the integrity check that is still to be
    /// made, where the stream carries the simulator's marks.
    pub async fn exchange(
        &mut self,
        course: &Course,
        expectation: Expectation,
        intended: Instant,
    ) -> (Outcome, Option<Box<Check>>) {
        let outcome = Outcome::new(intended, Instant::now(), expectation.stream);
        let simulated = course.simulated;
        let (stream, check, streams) = (Stream::default(), None, false);
        let mut flight = Flight { course, expectation, outcome, stream, check, streams, simulated };
        self.gaps.clear();
        self.body.clear();
        let failure = match timeout(course.timeout, self.fly(&mut flight)).await {
            Ok(result) => result.err(),
            Err(_) => Some(Failure::Timeout),
        };
        let Flight { mut outcome, stream, mut check, streams, simulated, .. } = flight;
        outcome.ended = Instant::now();
        (outcome.failure, outcome.first) = (failure, stream.first);
        let marked = streams && (simulated || stream.simulated);
        // What was given up has no end to judge.
        if marked && expectation.checkable && failure != Some(Failure::Timeout) {
            check.get_or_insert_default().rest = std::mem::take(&mut self.body);
            return (outcome, check);
        }
        (outcome, None)
    }

    async fn fly(&mut self, flight: &mut Flight<'_>) -> Result<(), Failure> {
        let (mut connection, mut head) = self.begin(flight.course).await?;
        flight.simulated |= head.simulated;
        flight.streams = flight.expectation.stream && (200..300).contains(&head.status);
        loop {
            let before = self.body.len();
            let piece = connection.piece(&mut head.body, &mut self.body).await;
            flight.outcome.body_bytes += (self.body.len() - before) as u64;
            if flight.streams {
                self.read(flight);
            }
            if piece.map_err(|error| kind(&error, Failure::Truncated))? {
                break;
            }
        }
        if head.keeps && head.body != Body::UntilClose {
            self.connection = Some(connection);
        }
        self.judge(&head, flight)
    }

    /// Sends the request and waits for the head. A kept connection that the server has closed meanwhile is opened
    /// anew once: any client would.
    async fn begin(&mut self, course: &Course) -> Result<(Connection, Head), Failure> {
        if let Some(mut connection) = self.connection.take() {
            match start(&mut connection, &self.request).await {
                Ok(head) => return Ok((connection, head)),
                Err(error) if connection.is_silent() && is_closed(&error) => {}
                Err(error) => return Err(kind(&error, Failure::Reset)),
            }
        }
        let mut connection = course.endpoint.connect().await.map_err(|_| Failure::Connect)?;
        let head = start(&mut connection, &self.request).await.map_err(|error| kind(&error, Failure::Reset))?;
        Ok((connection, head))
    }

    fn read(&mut self, flight: &mut Flight<'_>) {
        flight.stream.read(&self.body, Instant::now(), &mut self.gaps);
        if self.body.len() > KEPT {
            let read = flight.stream.release();
            if flight.expectation.checkable {
                flight.check.get_or_insert_default().begun.feed(&self.body[..read]);
            }
            self.body.drain(..read);
        }
    }

    fn judge(&self, head: &Head, flight: &mut Flight<'_>) -> Result<(), Failure> {
        if head.status != flight.expectation.status {
            return Err(Failure::Status(head.status));
        }
        if flight.streams {
            flight.outcome.input_tokens = flight.stream.input_tokens();
            flight.outcome.output_tokens = flight.stream.output_tokens();
            return flight.stream.failure().map_or(Ok(()), Err);
        }
        let usage = answer::judge(head, &self.body)?;
        flight.outcome.input_tokens = usage.prompt_tokens.unwrap_or(0);
        flight.outcome.output_tokens = usage.completion_tokens.unwrap_or(0);
        Ok(())
    }
}

async fn start(connection: &mut Connection, request: &[u8]) -> io::Result<Head> {
    connection.send(request).await?;
    connection.head().await
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// An end where there should be none is told by where it came; anything else that breaks is a reset, but for what is
/// no HTTP.
fn kind(error: &io::Error, ended: Failure) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ended,
        io::ErrorKind::InvalidData => Failure::Malformed,
        _ => Failure::Reset,
    }
}
