//! A small server that speaks the simulator's marks, and breaks every stream in one way.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    Drop,
    Repeat,
    Reorder,
    /// The connection ends in the middle.
    Cut,
    /// A token of another generation comes.
    Cross,
    /// A token reads otherwise than when its hash was made.
    Change,
    /// Nothing is planted, and nothing tells that the text is numbered.
    Unmarked,
}

pub struct FaultyServer {
    pub url: String,
    _serving: JoinSet<()>,
}

impl FaultyServer {
    /// Streams of so many tokens, until it is dropped.
    pub async fn start(plant: Plant, tokens: u64) -> FaultyServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, plant, tokens));
        FaultyServer { url, _serving: serving }
    }
}

async fn serve(listener: TcpListener, plant: Plant, tokens: u64) {
    let (mut connections, generations) = (JoinSet::new(), Arc::new(AtomicU64::new(1)));
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let generations = Arc::clone(&generations);
        connections.spawn(async move {
            // It ends with the client, or with the cut.
            let _ = speak(stream, plant, tokens, &generations).await;
        });
    }
}

async fn speak(stream: TcpStream, plant: Plant, tokens: u64, generations: &AtomicU64) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while read_request(&mut stream).await? {
        let generation = generations.fetch_add(1, Ordering::Relaxed);
        let mut events = events(generation, tokens, plant != Plant::Unmarked);
        // Another token for each stream: the middle, the beginning, and the end.
        let token = usize::try_from(generation % tokens).unwrap().max(1);
        spoil(&mut events, token, plant, generation);
        let mark = if plant == Plant::Unmarked { String::new() } else { format!("x-sim-generation: {generation}\r\n") };
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{mark}transfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        // Pieces that end in the middle of events, as a network's do.
        for piece in events.concat().as_bytes().chunks(700) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            stream.write_all(piece).await?;
            stream.write_all(b"\r\n").await?;
        }
        if plant == Plant::Cut {
            return stream.shutdown().await;
        }
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

/// False where the client has left.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(true)
}

/// The role, the tokens, the finish chunk, and the end.
fn events(generation: u64, tokens: u64, marked: bool) -> Vec<String> {
    let (mut hash, mut events) = (Sha256::new(), vec![delta("")]);
    for index in 0..tokens {
        let text = format!("{generation}.{index} ");
        hash.update(&text);
        events.push(delta(&text));
    }
    let mut finish = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#.to_owned();
    if marked {
        let sha256 = hex::encode(hash.finalize());
        write!(finish, r#","sim":{{"generation":{generation},"tokens":{tokens},"sha256":"{sha256}"}}"#).unwrap();
    }
    events.push(finish + "}\n\n");
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn delta(content: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// Breaks the stream at this token, of which there is one before and one after at least.
fn spoil(events: &mut Vec<String>, token: usize, plant: Plant, generation: u64) {
    match plant {
        Plant::Nothing | Plant::Unmarked => {}
        Plant::Drop => drop(events.remove(token)),
        Plant::Repeat => events.insert(token, events[token].clone()),
        Plant::Reorder => events.swap(token, token + 1),
        Plant::Cut => events.truncate(token),
        Plant::Cross => events[token] = delta(&format!("{}.{} ", generation + 1_000_000, token - 1)),
        Plant::Change => events[token] = delta(&format!("{generation}.0{} ", token - 1)),
    }
}
