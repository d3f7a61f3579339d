//! `/sim/…`: the tester's side door, which counts as no request.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use super::body::{ReplyBody, read_whole};
use super::controls::Controls;
use super::problem::{Problem, json_response};
use super::simulator::Simulator;

pub async fn answer(simulator: &Simulator, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let only = |allowed: Method, name: &'static str| {
        if method == allowed { Ok(()) } else { Err(Problem::wrong_method(name)) }
    };
    match path.as_str() {
        "/sim/stats" => only(Method::GET, "GET").and_then(|()| json(&simulator.ledger.counts())),
        "/sim/log" => only(Method::GET, "GET").and_then(|()| json(&simulator.ledger.log())),
        "/sim/time" => only(Method::GET, "GET").and_then(|()| json(&Time { now_us: simulator.clock.now_us() })),
        "/sim/reset" => {
            only(Method::POST, "POST")?;
            simulator.ledger.reset();
            json(&simulator.ledger.counts())
        }
        "/sim/config" => {
            only(Method::POST, "POST")?;
            let body = read_whole(request.into_body()).await?;
            let controls: Controls = serde_json::from_slice(&body)
                .map_err(|error| Problem::bad_request(format!("The configuration could not be read: {error}.")))?;
            simulator.configure(controls.clone());
            json(&controls)
        }
        _ => Err(Problem::unknown_route(&path)),
    }
}

#[derive(Serialize)]
struct Time {
    now_us: u64,
}

fn json(value: &impl Serialize) -> Result<Response<ReplyBody>, Problem> {
    let text = serde_json::to_vec(value).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(json_response(StatusCode::OK, ReplyBody::plain(text.into())))
}
