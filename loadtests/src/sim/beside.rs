//! A simulator on a thread of this process, for those who need one and have none.

use std::thread::JoinHandle;

use clap::Parser;
use tokio::sync::oneshot;

use super::{Options, Server};

/// It serves until it is dropped.
pub struct Beside {
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    pub fn start() -> anyhow::Result<Beside> {
        let options = Options::try_parse_from(["outrigger-sim", "--listen", "127.0.0.1:0"])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server = {
            let _entered = runtime.enter();
            Server::bind(&options)?
        };
        let url = server.url()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    never = server.serve() => match never {},
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(serve)?;
        Ok(Beside { url, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What a simulator fails of is told where it is used.
            let _ = thread.join();
        }
    }
}
