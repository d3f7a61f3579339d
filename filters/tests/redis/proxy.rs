//! A way to the server that can be made to fail: it passes everything, falls silent, or breaks off within a reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    Pass = 0,
    /// Takes connections and what they say, and answers nothing.
    Silent = 1,
    /// Ends the connection after three bytes of a reply.
    Cut = 2,
}

pub struct Proxy {
    pub port: u16,
    mode: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "the test owns it")]
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let shared = mode.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, shared.clone()));
            }
        });
        Proxy { port, mode, task }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, server: u16, mode: Arc<AtomicU8>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let is = |wanted: Mode| mode.load(Ordering::SeqCst) == wanted as u8;
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        tokio::select! {
            Ok(count) = client.read(&mut asked) => {
                if count == 0 { return }
                if !is(Mode::Silent) && server.write_all(&asked[..count]).await.is_err() { return }
            }
            Ok(count) = server.read(&mut answered) => {
                if count == 0 { return }
                if is(Mode::Cut) {
                    let _ = client.write_all(&answered[..count.min(3)]).await;
                    return;
                }
                if !is(Mode::Silent) && client.write_all(&answered[..count]).await.is_err() { return }
            }
            else => return,
        }
    }
}
