//! Backends on the admin port: how they stand, and what the operator orders.

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use outrigger_filters::breaker::Override;
use serde_json::json;

use super::{Admin, BACKENDS, Here, error, json_answer, named};

const ORDERS: &str = "Say POST /api/backends/{name}/force-open, force-closed, drain or auto.";

pub(super) async fn one(State(admin): Here, uri: Uri) -> Response {
    admin.backends(Some(&named(&uri, BACKENDS)))
}

/// An operator's order.
pub(super) async fn order(State(admin): Here, uri: Uri) -> Response {
    let path = uri.path().strip_prefix(BACKENDS).unwrap_or_default();
    let order = path.rsplit_once('/').and_then(|(name, order)| Some((name, ordered(order)?)));
    let Some((name, order)) = order else { return json_answer(StatusCode::NOT_FOUND, &error(ORDERS)) };
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let serving = admin.serving();
    let Some(member) = serving.fleet().named(&name) else { return no_such_backend() };
    serving.fleet().obey(member, order);
    json_answer(StatusCode::OK, &json!({ "backend": &*name, "override": order.name() }))
}

fn ordered(order: &str) -> Option<Override> {
    match order {
        "force-open" => Some(Override::ForcedOpen),
        "force-closed" => Some(Override::ForcedClosed),
        "drain" => Some(Override::Draining),
        "auto" => Some(Override::Auto),
        _ => None,
    }
}

impl Admin {
    pub(super) fn backends(&self, name: Option<&str>) -> Response {
        match self.serving().fleet().report(name) {
            Some(report) => json_answer(StatusCode::OK, &report),
            None => no_such_backend(),
        }
    }
}

fn no_such_backend() -> Response {
    json_answer(StatusCode::NOT_FOUND, &error("There is no backend of this name; GET /api/backends lists them."))
}
