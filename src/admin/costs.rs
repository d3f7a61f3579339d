//! Costs, budgets and recommendations on the admin port.

use http::{Response, StatusCode};
use outrigger_filters::cost::advice;
use outrigger_filters::cost::report::{Asked, Unclear};
use outrigger_filters::semantic_cache::Mode;
use serde_json::Value;

use super::{Admin, error, json_answer};

impl Admin {
    /// What is asked of the books, if it is something of them.
    pub(super) async fn of_the_books(&self, path: &str, query: &str) -> Option<Response<Vec<u8>>> {
        let books = self.books.clone();
        let asked = match asked(query) {
            Ok(asked) => asked,
            Err(unclear) if path.starts_with("/api/costs") || path == "/api/budgets" => return Some(refused(&unclear)),
            Err(_) => Asked::default(),
        };
        // The ledger is read from its file: not on a worker.
        Some(match path {
            "/api/costs" => off_the_workers(move || books.costs(&asked)).await,
            "/api/costs/today" => off_the_workers(move || books.costs_today(&asked)).await,
            "/api/budgets" => off_the_workers(move || books.budgets(asked.tenant.as_deref())).await,
            "/api/recommendations" => {
                let cache = self.cache_as_advised();
                off_the_workers(move || Ok(books.recommendations(cache))).await
            }
            _ => return None,
        })
    }

    fn cache_as_advised(&self) -> advice::Cache {
        let config = &self.cache_config;
        match config.mode {
            Mode::Off => advice::Cache::Off,
            _ => advice::Cache::On { max_temperature: config.max_temperature },
        }
    }
}

fn asked(query: &str) -> Result<Asked, Unclear> {
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        asked.set(&name, value.into_owned())?;
    }
    Ok(asked)
}

async fn off_the_workers(read: impl FnOnce() -> Result<Value, Unclear> + Send + 'static) -> Response<Vec<u8>> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(told)) => json_answer(StatusCode::OK, &told),
        Ok(Err(unclear)) => refused(&unclear),
        Err(_) => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error("The books could not be read.")),
    }
}

fn refused(unclear: &Unclear) -> Response<Vec<u8>> {
    let status = match unclear {
        Unclear::NoSuchTenant => StatusCode::NOT_FOUND,
        Unclear::Ledger(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    json_answer(status, &error(&unclear.to_string()))
}
