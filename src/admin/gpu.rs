//! The machine's GPUs on the admin port. No driver is asked: what was read last is told, and how old it is.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{Here, json_answer};

pub(super) async fn status(State(admin): Here) -> Response {
    json_answer(StatusCode::OK, &admin.gpu.report(admin.current.load().fleet()))
}
