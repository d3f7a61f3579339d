//! Whether requests are welcome.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use outrigger_filters::cost::Books;
use outrigger_filters::rate_limit::Limiter;

use crate::ending::Ending;

/// Whether requests are welcome.
#[derive(Clone)]
pub struct Readiness {
    pub listen: SocketAddr,
    pub ending: Ending,
    pub limiter: Arc<Limiter>,
    pub books: Arc<Books>,
}

impl Readiness {
    /// What stands in the way, if anything.
    pub async fn obstacle(&self) -> Option<&'static str> {
        if self.ending.has_begun() {
            return Some("draining");
        }
        if !self.limiter.is_settled() {
            return Some("Redis has not been asked yet");
        }
        if !self.books.is_settled() {
            return Some("Redis is new, and the budgets in it are not settled yet");
        }
        let connect = tokio::net::TcpStream::connect(reachable(self.listen));
        match tokio::time::timeout(Duration::from_secs(1), connect).await {
            Ok(Ok(_)) => None,
            _ => Some("the clients' port does not answer yet"),
        }
    }
}

/// Where what listens there can be asked on this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
