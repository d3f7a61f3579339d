//! More requests than files may be open: several share an HTTP/2 connection, by prior knowledge.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Outcome;
use crate::wire::connection::Answer;

/// Far above any answer here: no client waits for leave to receive.
const WINDOW: u32 = 16 * 1024 * 1024;

pub async fn ask(address: SocketAddr, count: usize, each: usize, body: &[u8]) -> anyhow::Result<Vec<Outcome>> {
    let mut drivers = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..count.div_ceil(each) {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
        drivers.spawn(connection);
        senders.push(sender);
    }
    let (mut clients, gate) = (JoinSet::new(), Arc::new(Barrier::new(count)));
    let body = Bytes::copy_from_slice(body);
    for place in 0..count {
        let sender = senders[place / each].clone();
        clients.spawn(client(sender, format!("http://{address}/v1/chat/completions"), body.clone(), Arc::clone(&gate)));
    }
    let mut outcomes = Vec::with_capacity(count);
    while let Some(outcome) = clients.join_next().await {
        outcomes.push(outcome?);
    }
    Ok(outcomes)
}

async fn client(sender: SendRequest<Bytes>, url: String, body: Bytes, gate: Arc<Barrier>) -> Outcome {
    gate.wait().await;
    let start = Instant::now();
    let answer = exchange(sender, &url, body).await.map_err(|error| error.to_string())?;
    Ok((answer, start.elapsed()))
}

async fn exchange(sender: SendRequest<Bytes>, url: &str, body: Bytes) -> anyhow::Result<Answer> {
    let request = Request::post(url).header("content-type", "application/json");
    let request = request.header("content-length", body.len()).body(())?;
    let (response, mut sending) = sender.ready().await?.send_request(request, false)?;
    sending.send_data(body, true)?;
    let (head, mut receiving) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = receiving.data().await {
        let data = data?;
        receiving.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(Answer { status: head.status.as_u16(), body })
}
