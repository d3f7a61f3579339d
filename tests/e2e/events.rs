//! What happens, as the admin port tells it while it happens.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{Client, Outrigger, Simulator, ask, chat, get, post};

const SOON: Duration = Duration::from_secs(30);

/// One fault opens the breaker.
async fn fragile(simulator: &Simulator) -> Outrigger {
    let settings = [("BREAKER__RETRIES", "0"), ("BREAKER__CONSECUTIVE_FAILURES", "1"), ("BREAKER__OPEN_MS", "60000")];
    Outrigger::before(simulator, &settings).await
}

/// The breaker opens, and the operator closes it: two events.
async fn opens_and_closes(outrigger: &Outrigger) {
    ask(outrigger.address, chat(json!({ "status": 500 }))).await;
    assert_eq!(post(outrigger.admin, "/api/backends/local/auto", &[], "").await.status, StatusCode::OK);
}

/// One who listens to server-sent events.
struct Listener {
    /// The connection lasts as long as this.
    _client: Client,
    body: Incoming,
    text: String,
}

impl Listener {
    async fn to(outrigger: &Outrigger, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut client = Client::http1(outrigger.admin).await;
        let mut request = Request::get(path).header("host", outrigger.admin.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = client.send(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Listener { _client: client, body: response.into_body(), text: String::new() }
    }

    /// The number, the kind and the data of the next event.
    async fn next(&mut self) -> (u64, String, Value) {
        let whole = async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let lines: Vec<_> = event.lines().filter_map(|line| line.split_once(": ")).collect();
                    let field = |name| lines.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
                    let event = field("id").map(|id| {
                        let data = serde_json::from_str(field("data").unwrap()).unwrap();
                        (id.parse().unwrap(), field("event").unwrap().to_owned(), data)
                    });
                    self.text = rest.to_owned();
                    match event {
                        Some(event) => return event,
                        None => continue,
                    }
                }
                let frame = self.body.frame().await.expect("the stream has no end").unwrap();
                self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
        };
        timeout(SOON, whole).await.expect("an event is told soon")
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn socket(outrigger: &Outrigger, path: &str, origin: Option<&str>) -> Result<Socket, Error> {
    let mut request = format!("ws://{}{path}", outrigger.admin).into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    let stream = TcpStream::connect(outrigger.admin).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| socket)
}

async fn next_text(socket: &mut Socket) -> Value {
    let text = async {
        loop {
            if let Message::Text(text) = socket.next().await.expect("the stream has no end").unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    };
    timeout(SOON, text).await.expect("an event is told soon")
}

#[tokio::test]
async fn a_breaker_that_changes_is_told_to_who_listens_and_to_who_comes_back() {
    let simulator = Simulator::start(&[]);
    let outrigger = fragile(&simulator).await;
    let mut listener = Listener::to(&outrigger, "/api/events", &[]).await;
    let mut elsewhere = Listener::to(&outrigger, "/api/events?kind=nothing,of-this", &[]).await;
    opens_and_closes(&outrigger).await;
    let (opened, kind, data) = listener.next().await;
    assert_eq!(kind, "backend");
    let told = |name: &str| data[name].as_str().unwrap_or_default();
    assert_eq!((told("backend"), told("model")), ("local", "sim"), "{data}");
    assert_eq!((told("from"), told("to"), told("cause")), ("closed", "open", "consecutive_failures"), "{data}");
    assert!(data["open_for_ms"].as_u64() > Some(0), "{data}");
    let (closed, _, data) = listener.next().await;
    assert_eq!((closed, &data["to"]), (opened + 1, &json!("closed")));
    drop(listener);

    opens_and_closes(&outrigger).await;
    let last_seen = closed.to_string();
    let mut back = Listener::to(&outrigger, "/api/events?since=0", &[("last-event-id", &last_seen)]).await;
    assert_eq!(back.next().await.0, closed + 1, "what a browser says it has seen counts, whatever the address says");
    let mut all = Listener::to(&outrigger, "/api/events?since=0&kind=backend", &[]).await;
    for id in opened..opened + 4 {
        assert_eq!(all.next().await.0, id, "all that is kept is told again");
    }
    let waited = timeout(Duration::from_millis(100), elsewhere.body.frame()).await;
    assert!(waited.is_err(), "who wants other kinds hears nothing: {waited:?}");
}

#[tokio::test]
async fn the_same_is_told_over_a_websocket_but_not_to_pages_of_other_sites() {
    let simulator = Simulator::start(&[]);
    let outrigger = fragile(&simulator).await;
    let own = format!("http://{}", outrigger.admin);
    let mut live = socket(&outrigger, "/api/events?kind=backend", Some(&own)).await.unwrap();
    opens_and_closes(&outrigger).await;
    let told = next_text(&mut live).await;
    assert_eq!((&told["kind"], &told["data"]["to"]), (&json!("backend"), &json!("open")), "{told}");
    let id = told["id"].as_u64().unwrap();
    assert_eq!(next_text(&mut live).await["id"], id + 1);
    let mut back = socket(&outrigger, &format!("/api/events?since={id}"), None).await.unwrap();
    assert_eq!(next_text(&mut back).await["id"], id + 1);

    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let Err(Error::Http(refused)) = socket(&outrigger, "/api/events", Some(origin)).await else {
            panic!("{origin} is let in")
        };
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{origin}");
    }
}

#[tokio::test]
async fn so_many_listen_at_a_time_and_the_port_answers_all_the_same() {
    let simulator = Simulator::start(&[]);
    let outrigger = fragile(&simulator).await;
    let mut listeners = Vec::new();
    for _ in 0..64 {
        listeners.push(Listener::to(&outrigger, "/api/events", &[]).await);
    }
    assert_eq!(get(outrigger.admin, "/api/events").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(outrigger.admin, "/livez").await.status, StatusCode::OK);
    listeners.clear();
    let until = Instant::now() + SOON;
    while let Err(refused) = socket(&outrigger, "/api/events", None).await {
        assert!(Instant::now() < until, "a seat that is left is free: {refused}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_answered_as_everywhere() {
    let simulator = Simulator::start(&[]);
    let outrigger = fragile(&simulator).await;
    for path in ["/api/events?since=yesterday", "/api/events?since=-1", "/api/events?until=7"] {
        let refused = get(outrigger.admin, path).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(refused.json()["error"]["type"], "invalid_request_error", "{path}");
        assert!(refused.text().ends_with("}\n"), "{path}");
    }
    let refused = post(outrigger.admin, "/api/events", &[], "").await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    let mut client = Client::http1(outrigger.admin).await;
    let request = Request::get("/api/events").header("host", "x").header("upgrade", "websocket");
    let half = client.send(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let half = crate::support::read(half).await;
    assert!(half.status.is_client_error() && half.json()["error"]["message"].is_string(), "{}", half.text());
}
