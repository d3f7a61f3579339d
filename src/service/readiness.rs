//! Whether requests are welcome.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::ending::Ending;
use crate::serving::Current;

/// Whether requests are welcome.
#[derive(Clone)]
pub struct Readiness {
    pub listen: SocketAddr,
    pub ending: Ending,
    pub current: Arc<Current>,
}

impl Readiness {
    /// What stands in the way, if anything.
    pub async fn obstacle(&self) -> Option<&'static str> {
        if self.ending.has_begun() {
            return Some("draining");
        }
        let serving = self.current.load_full();
        if !serving.limiter.is_settled() {
            return Some("Redis has not been asked yet");
        }
        if !serving.books.is_settled() {
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
