//! Which request goes where.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::body::ReplyBody;
use super::ending::Cut;
use super::problem::{Problem, json_response};
use super::question::Route;
use super::simulator::Simulator;
use super::{control_routes, engine_metrics, generate, models};

/// Answers one request; an error abandons the connection, or in HTTP/2 the stream.
pub async fn answer(simulator: Arc<Simulator>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Cut> {
    let path = request.uri().path();
    if path.starts_with("/sim/") {
        return Ok(control_routes::answer(&simulator, request).await.unwrap_or_else(Problem::into_response));
    }
    if path == "/metrics" && request.method() == Method::GET {
        return Ok(engine_metrics::answer(&simulator));
    }
    simulator.ledger.request();
    if let Some(route) = Route::from_path(path) {
        return match *request.method() {
            Method::POST => generate::answer(&simulator, route, request).await,
            _ => Ok(Problem::wrong_method("POST").into_response()),
        };
    }
    Ok(read_only(&simulator, request.method(), path).unwrap_or_else(Problem::into_response))
}

fn read_only(simulator: &Simulator, method: &Method, path: &str) -> Result<Response<ReplyBody>, Problem> {
    let body = match path {
        "/" | "/health" => ReplyBody::plain(r#"{"status":"ok"}"#.into()),
        "/v1/models" => models::list(simulator),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) => models::one(simulator, id)?,
            None => return Err(Problem::unknown_route(path)),
        },
    };
    match *method {
        Method::GET | Method::HEAD => Ok(json_response(StatusCode::OK, body)),
        _ => Err(Problem::wrong_method("GET, HEAD")),
    }
}
