//! The bodies of replies, and of requests read whole.
//!
//! A reply that a generation makes carries that generation's guard, so that the ledger hears of its
//! end from whoever drops it: hyper drops a body when its client leaves.

mod pieces;
mod token_stream;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::ending::Cut;
use super::ledger::Generation;
use super::problem::Problem;

pub use pieces::Pieces;
pub use token_stream::{Plan, TokenStream};

/// The largest request that is read.
const MOST_BYTES: usize = 64 * 1024 * 1024;

pub enum ReplyBody {
    /// Belongs to no generation.
    Plain(Option<Bytes>),
    /// A generation's answer in one piece.
    Whole(Option<Bytes>, Generation),
    Pieces(Box<Pieces>),
    Stream(Box<TokenStream>),
}

impl ReplyBody {
    pub fn plain(bytes: Bytes) -> ReplyBody {
        ReplyBody::Plain(Some(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = match self.get_mut() {
            ReplyBody::Plain(bytes) => Poll::Ready(bytes.take().map(Ok)),
            ReplyBody::Whole(bytes, generation) => {
                generation.finish();
                Poll::Ready(bytes.take().map(Ok))
            }
            ReplyBody::Pieces(pieces) => pieces.poll_next(context),
            ReplyBody::Stream(stream) => stream.poll_next(context),
        };
        frame.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Plain(bytes) | ReplyBody::Whole(bytes, _) => bytes.is_none(),
            ReplyBody::Pieces(pieces) => pieces.is_over(),
            ReplyBody::Stream(stream) => stream.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Plain(bytes) | ReplyBody::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Pieces(_) | ReplyBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads a request's body; one that came in a single piece is not copied.
pub async fn read_whole(mut body: Incoming) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > MOST_BYTES as u64 {
        return Err(Problem::too_large(MOST_BYTES));
    }
    let Some(first) = next_data(&mut body).await? else { return Ok(Bytes::new()) };
    let Some(second) = next_data(&mut body).await? else { return Ok(first) };
    let expected = first.len() + second.len() + usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(expected);
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(data) = next_data(&mut body).await? {
        if whole.len() + data.len() > MOST_BYTES {
            return Err(Problem::too_large(MOST_BYTES));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    loop {
        match std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            // The client left in the middle of its request: nobody reads this answer.
            Some(Err(_)) => return Err(Problem::bad_request("The request body broke off.")),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
        }
    }
}
