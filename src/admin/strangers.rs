//! Pages of foreign sites that a browser on this machine has open: they shall neither read here nor give orders.
//!
//! A browser lets a page ask its own site whatever it likes, and a site can give its name our address (DNS rebinding).
//! So a name must be one that no stranger can own: an address, `localhost`, a name without a dot, one of a cluster, or one
//! that the settings give. And a browser says where an order comes from.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};

use super::{Here, error, json_answer};

const NO_STRANGERS: &str = "This name is not ours: add it to server.admin_hosts, or ask by address.";
const NO_PAGES: &str = "Orders are not taken from web pages.";
/// Names that nobody can own on the open network.
const PRIVATE: [&str; 5] = [".localhost", ".local", ".internal", ".svc", ".cluster.local"];

pub(super) async fn turned_away(State(admin): Here, request: Request, next: Next) -> Response {
    match verdict(request.method(), request.headers(), &admin.serving().config.server.admin_hosts) {
        None => next.run(request).await,
        Some(words) => json_answer(StatusCode::FORBIDDEN, &error(words)),
    }
}

fn verdict(method: &Method, headers: &HeaderMap, ours: &[String]) -> Option<&'static str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_ours(host, ours) {
        return Some(NO_STRANGERS);
    }
    let orders = !matches!(*method, Method::GET | Method::HEAD);
    (orders && headers.contains_key(header::ORIGIN)).then_some(NO_PAGES)
}

fn is_ours(host: &str, ours: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    name.parse::<std::net::IpAddr>().is_ok()
        || !name.contains('.')
        || PRIVATE.iter().any(|ending| name.ends_with(ending))
        || ours.iter().any(|our| our.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_stranger_can_own_are_ours() {
        let ours = ["ops.example.com".to_owned()];
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "::1",
            "localhost:9090",
            "outrigger:9090",
            "outrigger",
            "10.0.0.7",
            "",
            "outrigger.default.svc.cluster.local:9090",
            "OPS.example.com:9090",
            "box.local",
        ] {
            assert!(is_ours(host, &ours), "{host}");
        }
        for host in ["evil.example:9090", "127.0.0.1.evil.example", "ops.example.com.evil.example:9090", "a.b"] {
            assert!(!is_ours(host, &ours), "{host}");
        }
    }

    #[test]
    fn a_page_gives_no_orders() {
        let headers = |origin: Option<&str>| -> HeaderMap {
            let origin = origin.map(|origin| (header::ORIGIN, origin.parse().unwrap()));
            std::iter::once((header::HOST, "localhost".parse().unwrap())).chain(origin).collect()
        };
        assert_eq!(verdict(&Method::DELETE, &headers(Some("http://a")), &[]), Some(NO_PAGES));
        assert_eq!(verdict(&Method::DELETE, &headers(None), &[]), None);
        assert_eq!(verdict(&Method::GET, &headers(Some("http://a")), &[]), None);
    }
}
