//! Where the time goes, what has become slower, and what is alarming, on the admin port.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::{Admin, Here, error, json_answer};
use crate::insight::Insight;

pub(super) async fn metrics(State(admin): Here) -> Response {
    admin.seen(Insight::metrics).await
}

pub(super) async fn report(State(admin): Here) -> Response {
    admin.seen(Insight::report).await
}

pub(super) async fn slow(State(admin): Here) -> Response {
    admin.seen(Insight::slow).await
}

pub(super) async fn alerts(State(admin): Here) -> Response {
    admin.seen(Insight::alerts).await
}

impl Admin {
    /// Summing up takes milliseconds: not on a worker.
    async fn seen(&self, look: fn(&Insight) -> Value) -> Response {
        let insight = self.insight.clone();
        match tokio::task::spawn_blocking(move || look(&insight)).await {
            Ok(seen) => json_answer(StatusCode::OK, &seen),
            Err(_) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error("It could not be summed up.")),
        }
    }
}
