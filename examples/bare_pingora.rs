//! The yardstick: a Pingora passthrough with no filters at all, in the same build profile.
//!
//! `bare_pingora LISTEN BACKEND [THREADS]`, both as `127.0.0.1:port`.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare(std::net::SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, backend, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: bare_pingora LISTEN BACKEND [THREADS]");
        std::process::exit(2);
    };
    let Ok(backend) = backend.parse() else {
        eprintln!("bare_pingora: `{backend}` is not an address");
        std::process::exit(2);
    };
    let threads = rest.first().and_then(|threads| threads.parse().ok()).unwrap_or(1);
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);
    let mut service = http_proxy_service(&conf, Bare(backend));
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}
