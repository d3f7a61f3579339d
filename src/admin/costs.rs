//! Costs, budgets and recommendations on the admin port.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use outrigger_filters::cost::advice;
use outrigger_filters::cost::report::{Asked, Unclear};
use outrigger_filters::semantic_cache::Mode;
use serde_json::Value;

use super::{Admin, Here, error, json_answer};

pub(super) async fn costs(State(admin): Here, RawQuery(query): RawQuery) -> Response {
    let books = admin.serving().books.clone();
    off_the_workers(move || books.costs(&asked(query)?)).await
}

pub(super) async fn costs_today(State(admin): Here, RawQuery(query): RawQuery) -> Response {
    let books = admin.serving().books.clone();
    off_the_workers(move || books.costs_today(&asked(query)?)).await
}

pub(super) async fn budgets(State(admin): Here, RawQuery(query): RawQuery) -> Response {
    let books = admin.serving().books.clone();
    off_the_workers(move || books.budgets(asked(query)?.tenant.as_deref())).await
}

pub(super) async fn recommendations(State(admin): Here) -> Response {
    let (books, cache) = (admin.serving().books.clone(), admin.cache_as_advised());
    off_the_workers(move || Ok(books.recommendations(cache))).await
}

impl Admin {
    fn cache_as_advised(&self) -> advice::Cache {
        let serving = self.serving();
        let config = &serving.config.semantic_cache;
        match config.mode {
            Mode::Off => advice::Cache::Off,
            _ => advice::Cache::On { max_temperature: config.max_temperature },
        }
    }
}

fn asked(query: Option<String>) -> Result<Asked, Unclear> {
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        asked.set(&name, value.into_owned())?;
    }
    Ok(asked)
}

/// The ledger is read from its file: not on a worker.
async fn off_the_workers(read: impl FnOnce() -> Result<Value, Unclear> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(told)) => json_answer(StatusCode::OK, &told),
        Ok(Err(unclear)) => refused(&unclear),
        Err(_) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error("The books could not be read.")),
    }
}

fn refused(unclear: &Unclear) -> Response {
    let status = match unclear {
        Unclear::NoSuchTenant => StatusCode::NOT_FOUND,
        Unclear::Ledger(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    json_answer(status, &error(&unclear.to_string()))
}
