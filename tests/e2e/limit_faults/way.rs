//! A way to a server that can be made to fail, on a thread of its own: it must not be late because a test is busy.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Pass,
    /// Takes connections and what they say, and answers nothing.
    Silent,
    /// Ends a connection within a reply.
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Course {
    mode: Mode,
    to: SocketAddr,
}

pub struct Way {
    pub address: SocketAddr,
    course: watch::Sender<Course>,
}

impl Way {
    pub fn to(server: SocketAddr) -> Self {
        let (course, taken) = watch::channel(Course { mode: Mode::Pass, to: server });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(TcpListener::from_std(listener).unwrap(), taken).await });
        });
        Way { address, course }
    }

    pub fn set(&self, mode: Mode) {
        self.course.send_modify(|course| course.mode = mode);
    }

    /// Leads to another server from now on; what led to the one before is cut.
    pub fn turn(&self, to: SocketAddr) {
        self.course.send_modify(|course| course.to = to);
    }
}

/// Until the way is dropped.
async fn serve(listener: TcpListener, course: watch::Receiver<Course>) {
    let (listening, mut dropped) = (course.clone(), course.clone());
    let accept = async {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, listening.clone()));
        }
    };
    tokio::select! {
        () = accept => {}
        () = async { while dropped.changed().await.is_ok() {} } => {}
    }
}

async fn carry(mut client: TcpStream, mut course: watch::Receiver<Course>) {
    let Course { to, .. } = *course.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        let mode = course.borrow().mode;
        tokio::select! {
            changed = course.changed() => {
                if changed.is_err() || course.borrow().to != to { return }
            }
            Ok(count) = client.read(&mut asked) => {
                if count == 0 { return }
                if mode != Mode::Silent && server.write_all(&asked[..count]).await.is_err() { return }
            }
            Ok(count) = server.read(&mut answered) => {
                if count == 0 { return }
                match mode {
                    Mode::Pass if client.write_all(&answered[..count]).await.is_err() => return,
                    Mode::Pass | Mode::Silent => {}
                    Mode::Cut => {
                        let _ = client.write_all(&answered[..count.min(3)]).await;
                        return;
                    }
                }
            }
            else => return,
        }
    }
}
