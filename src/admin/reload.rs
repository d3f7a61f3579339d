//! Reading the settings again, on the admin port: when it was done last and what came of it, and the order to do it now.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{Here, error, json_answer};

pub(super) async fn last(State(admin): Here) -> Response {
    json_answer(StatusCode::OK, &admin.reload.last())
}

pub(super) async fn now(State(admin): Here) -> Response {
    match admin.reload.clone().run("admin").await {
        Some(told) if told.is_invalid() => json_answer(StatusCode::UNPROCESSABLE_ENTITY, &told.json()),
        Some(told) => json_answer(StatusCode::OK, &told.json()),
        None => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error("The settings could not be read again.")),
    }
}
