//! One stream from its request to its end.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::integrity::{StreamCheck, Verdict};
use crate::wire::connection::Connection;

pub struct Stream {
    /// From the sending of the request to the first content.
    pub first_token: Option<Duration>,
    pub tokens: u64,
    check: StreamCheck,
    /// What came after the first content, to be checked later.
    rest: Vec<u8>,
    error: Option<String>,
}

impl Stream {
    pub fn checked(mut self) -> Stream {
        self.check.feed(&std::mem::take(&mut self.rest));
        self.tokens = self.check.tokens();
        self
    }

    /// What is wrong with it, where it should have had so many tokens.
    pub fn fault(self, promised: u64) -> Option<String> {
        match (self.check.verdict(), self.error) {
            (Verdict::Whole { tokens, .. }, None) if tokens == promised => None,
            (verdict, error) => Some(format!("{verdict:?}, {}", error.unwrap_or_default())),
        }
    }
}

pub async fn read(mut connection: Connection, request: Vec<u8>, due: Instant) -> Stream {
    let (check, rest) = (StreamCheck::new(), Vec::new());
    let mut stream = Stream { first_token: None, tokens: 0, check, rest, error: None };
    sleep_until(due).await;
    if let Err(error) = follow(&mut connection, &request, &mut stream).await {
        stream.error = Some(error.to_string());
    }
    stream
}

async fn follow(connection: &mut Connection, request: &[u8], stream: &mut Stream) -> io::Result<()> {
    let start = Instant::now();
    connection.send(request).await?;
    let mut head = connection.head().await?;
    if head.status != 200 {
        return Err(io::Error::other(format!("status {}", head.status)));
    }
    loop {
        let ended = connection.piece(&mut head.body, &mut stream.rest).await?;
        if stream.first_token.is_none() {
            stream.check.feed(&stream.rest);
            stream.rest.clear();
            stream.first_token = (stream.check.tokens() > 0).then(|| start.elapsed());
        }
        if ended {
            return Ok(());
        }
    }
}
