//! One generation request, from its body to its reply.
//!
//! Once the request is understood the generation is on the books; from there on the guard travels
//! with whatever is awaited, so that a client that leaves at any point is seen.

mod settle;

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{Pieces, Plan, ReplyBody, TokenStream, read_whole};
use super::controls::{Fault, Form};
use super::embeddings::Vectors;
use super::ending::Cut;
use super::json_text::JsonText;
use super::ledger::{Generation, Told};
use super::pace::Pace;
use super::problem::{Problem, json_response};
use super::question::Route;
use super::script::Script;
use super::simulator::Simulator;

/// Between the pieces of a slow body, where no gap is set.
const SLOW_GAP: Duration = Duration::from_millis(10);

pub async fn answer(
    simulator: &Simulator,
    route: Route,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Cut> {
    let (head, body) = request.into_parts();
    let body = match read_whole(body).await {
        Ok(body) => body,
        Err(problem) => return Ok(problem.into_response()),
    };
    let start = Instant::now();
    let job = match Job::settle(simulator, route, &head.headers, &body, start) {
        Ok(job) => job,
        Err(Refusal { problem, delay }) => {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            return Ok(problem.into_response());
        }
    };
    job.run().await
}

/// A generation on the books, and all that shapes it.
struct Job {
    generation: Generation,
    script: Script,
    /// Embeddings are made when the request is read, because it must be refused before it is booked.
    vectors: Option<Vectors>,
    form: Form,
    fault: Fault,
    at: u64,
    late_head: bool,
    pace: Pace,
    gap: Duration,
}

/// An error, the client's own or one that it asked for, and how long it takes.
struct Refusal {
    problem: Problem,
    delay: Duration,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal { problem, delay: Duration::ZERO }
    }
}

impl Job {
    async fn run(mut self) -> Result<Response<ReplyBody>, Cut> {
        match self.fault {
            Fault::StallBefore => {
                // It takes its turn, and holds it for as long as the client stays.
                self.pace.due_at(0).await;
                std::future::pending().await
            }
            Fault::CutBefore => {
                self.pace.due_at(0).await;
                self.generation.fail();
                return Err(Cut);
            }
            _ => {}
        }
        let number = self.script.number;
        let mut response = match self.form {
            Form::Stream => {
                if self.late_head {
                    self.pace.due_at(0).await;
                }
                self.stream()
            }
            Form::Json => {
                let last = match self.fault {
                    Fault::SlowBody => 0,
                    _ => self.script.tokens.saturating_sub(1),
                };
                self.pace.due_at(last).await;
                self.json()
            }
        };
        response.headers_mut().insert("x-sim-generation", HeaderValue::from(number));
        Ok(response)
    }

    fn stream(self) -> Response<ReplyBody> {
        let plan = Plan { fault: self.fault, at: self.at };
        let stream = TokenStream::new(self.script, self.generation, self.pace, plan);
        let mut response = Response::new(ReplyBody::Stream(Box::new(stream)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn json(mut self) -> Response<ReplyBody> {
        let mut out = JsonText::with_capacity(1024);
        match &self.vectors {
            Some(vectors) => vectors.write(&self.script, &mut out),
            None => self.script.write_whole(&mut out),
        }
        self.generation.sent(self.script.tokens);
        self.generation.tells(Told::AtTheEnd);
        if self.fault == Fault::None {
            return json_response(StatusCode::OK, ReplyBody::Whole(Some(out.take()), self.generation));
        }
        let gap = if self.gap.is_zero() { SLOW_GAP } else { self.gap };
        let pieces = Pieces::planted(self.fault, out.take(), self.generation, gap);
        let content_length = HeaderValue::from(pieces.content_length());
        let mut response = json_response(StatusCode::OK, ReplyBody::Pieces(Box::new(pieces)));
        response.headers_mut().insert(CONTENT_LENGTH, content_length);
        response
    }
}
