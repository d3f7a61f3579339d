//! Clients that read a little of a stream, and leave.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::watch::Departures;
use crate::integrity::StreamCheck;
use crate::wire::connection::Connection;

/// Tokens after which a client leaves, at most.
const MOST_TOKENS: u64 = 5;

#[derive(Clone, Copy)]
pub struct Plan {
    pub address: SocketAddr,
    /// Clients with the same request.
    pub shared: usize,
    pub ttft: Duration,
}

struct Left {
    at: Instant,
    generation: Option<u64>,
}

/// Books when the last of the group left, and gives the errors that came before.
pub async fn group(plan: Plan, request: Arc<[u8]>, departures: &Departures) -> Vec<String> {
    let mut clients = JoinSet::new();
    for _ in 0..plan.shared {
        clients.spawn(one(plan, Arc::clone(&request)));
    }
    let (mut generations, mut last, mut errors) = (BTreeSet::new(), None, Vec::new());
    while let Some(left) = clients.join_next().await {
        match left {
            Ok(Ok(left)) => {
                generations.extend(left.generation);
                last = last.max(Some(left.at));
            }
            Ok(Err(error)) => errors.push(error.to_string()),
            Err(error) => errors.push(error.to_string()),
        }
    }
    // Where a target gives each client a generation of its own, the group has no last one.
    if let (1, Some(generation), Some(last)) = (generations.len(), generations.first(), last) {
        departures.book(*generation, last);
    }
    errors
}

async fn one(plan: Plan, request: Arc<[u8]>) -> io::Result<Left> {
    let mut connection = Connection::open(plan.address).await?;
    connection.send(&request).await?;
    let tokens = fastrand::u64(..=MOST_TOKENS);
    let mut check = StreamCheck::new();
    if tokens == 0 {
        sleep(plan.ttft.mul_f64(fastrand::f64())).await;
    } else {
        read(&mut connection, tokens, &mut check).await?;
    }
    let left = Left { at: Instant::now(), generation: check.generation() };
    drop(connection);
    Ok(left)
}

async fn read(connection: &mut Connection, tokens: u64, check: &mut StreamCheck) -> io::Result<()> {
    let mut head = connection.head().await?;
    if head.status != 200 {
        return Err(io::Error::other(format!("status {}", head.status)));
    }
    let mut piece = Vec::new();
    while check.tokens() < tokens {
        piece.clear();
        let ended = connection.piece(&mut head.body, &mut piece).await?;
        check.feed(&piece);
        if ended {
            return Err(io::Error::other(format!("the stream ended after {} tokens", check.tokens())));
        }
    }
    Ok(())
}
