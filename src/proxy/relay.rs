//! Requests that come on an old connection when another process has taken this one's place already: that one answers them.

use std::net::IpAddr;

use http::header::HeaderName;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;

/// Says from which address a relayed request came. Heard only of a process of our own, on a socket that nobody else may open.
pub const HEADER: HeaderName = HeaderName::from_static("x-outrigger-client-address");
/// What such a request is called where it is told of.
pub const WORD: &str = "relayed";

/// Where the client is, as far as that is known.
pub fn client(session: &Session) -> Option<IpAddr> {
    match session.client_addr()? {
        SocketAddr::Inet(address) => Some(address.ip()),
        SocketAddr::Unix(_) => session.req_header().headers.get(HEADER)?.to_str().ok()?.parse().ok(),
    }
}

/// Leaves the request as it came, but for the address.
pub fn mark(session: &Session, head: &mut RequestHeader) -> Result<()> {
    head.remove_header(&HEADER);
    match client(session) {
        Some(address) => head.insert_header(HEADER, address.to_string()),
        None => Ok(()),
    }
}
