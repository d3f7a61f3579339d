//! Backends on the admin port: how they stand, and what the operator orders.

use http::{Method, Response, StatusCode, header};
use outrigger_filters::breaker::Override;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use super::{Admin, error, json_answer};

const ORDERS: &str = "Say POST /api/backends/{name}/force-open, force-closed, drain or auto.";

impl Admin {
    pub(super) fn backends(&self, name: Option<&str>) -> Response<Vec<u8>> {
        match self.fleet.report(name) {
            Some(report) => json_answer(StatusCode::OK, &report),
            None => no_such_backend(),
        }
    }

    /// An operator's order, if it is one.
    pub(super) fn order(&self, path: &str, session: &ServerSession) -> Option<Response<Vec<u8>>> {
        let rest = path.strip_prefix("/api/backends/")?;
        if session.req_header().method != Method::POST {
            return None;
        }
        // No page of a foreign site shall make a browser give orders: a browser says where they come from.
        if session.req_header().headers.contains_key(header::ORIGIN) {
            return Some(json_answer(StatusCode::FORBIDDEN, &error("Orders are not taken from web pages.")));
        }
        let Some((name, order)) = rest.rsplit_once('/') else {
            return Some(json_answer(StatusCode::NOT_FOUND, &error(ORDERS)));
        };
        let order = match order {
            "force-open" => Override::ForcedOpen,
            "force-closed" => Override::ForcedClosed,
            "drain" => Override::Draining,
            "auto" => Override::Auto,
            _ => return Some(json_answer(StatusCode::NOT_FOUND, &error(ORDERS))),
        };
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let Some(member) = self.fleet.named(&name) else { return Some(no_such_backend()) };
        self.fleet.obey(member, order);
        Some(json_answer(StatusCode::OK, &json!({ "backend": &*name, "override": order.name() })))
    }
}

fn no_such_backend() -> Response<Vec<u8>> {
    json_answer(StatusCode::NOT_FOUND, &error("There is no backend of this name; GET /api/backends lists them."))
}
