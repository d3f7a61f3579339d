//! The stream of events on the admin port: server-sent events, or a WebSocket for who asks for one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream::unfold;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{interval, timeout};

use super::{Here, error, json_answer};
use crate::events::{Event, Kinds, Reader};

/// How often something is said where nothing happens: proxies between close what is silent.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Pings that may go unanswered.
const SILENT_PINGS: u32 = 2;
/// How long a reader of a WebSocket may leave an event unread.
const UNREAD_TIME: Duration = Duration::from_secs(10);
/// What a reader may say at most: it is asked nothing.
const LONGEST_MESSAGE: usize = 4096;
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    since: Option<u64>,
    kind: Option<String>,
}

pub(super) async fn events(
    State(admin): Here,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let since_and_kinds = asked
        .map_err(|rejection| rejection.body_text())
        .and_then(|Query(asked)| Ok((last_seen(&headers)?.or(asked.since), Kinds::of(asked.kind.as_deref()))));
    let (since, kinds) = match since_and_kinds {
        Ok(asked) => asked,
        Err(words) => return json_answer(StatusCode::BAD_REQUEST, &error(&words)),
    };
    let upgrade = match upgrade {
        _ if !asks_for_a_socket(&headers) => None,
        Ok(_) if is_of_another_site(&headers) => {
            return json_answer(StatusCode::FORBIDDEN, &error("Events are not told to other sites' pages."));
        }
        Ok(upgrade) => Some(upgrade),
        Err(rejection) => return json_answer(rejection.status(), &error(&rejection.body_text())),
    };
    let Some(reader) = admin.events.reader(since, kinds) else {
        return json_answer(StatusCode::SERVICE_UNAVAILABLE, &error("Too many listen already."));
    };
    match upgrade {
        Some(upgrade) => upgrade
            .max_message_size(LONGEST_MESSAGE)
            .max_frame_size(LONGEST_MESSAGE)
            .on_upgrade(|socket| speak(socket, reader)),
        None => stream(reader),
    }
}

/// What a browser's EventSource says when it comes back, whatever address it was given.
fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|value| value.parse().ok());
    number.map(Some).ok_or_else(|| "Last-Event-ID is the number of an event.".to_owned())
}

fn asks_for_a_socket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A browser lets any page open a WebSocket to anywhere, unasked; it only says where the page is from.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let said = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(origin) = said(header::ORIGIN) else { return false };
    let site = origin.split_once("://").map(|(_, site)| site);
    !site.zip(said(header::HOST)).is_some_and(|(site, host)| site.eq_ignore_ascii_case(host))
}

fn stream(reader: Reader) -> Response {
    let told = unfold(reader, async |mut reader| {
        let event = reader.next().await;
        let told = sse::Event::default().id(event.id.to_string()).event(event.kind).data(event.data.to_string());
        Some((Ok::<_, Infallible>(told), reader))
    });
    Sse::new(told).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response()
}

async fn speak(mut socket: WebSocket, mut reader: Reader) {
    let mut alive = interval(ALIVE_EVERY);
    let mut unanswered = 0;
    loop {
        let message = tokio::select! {
            event = reader.next() => Message::text(in_words(&event)),
            _ = alive.tick() => {
                unanswered += 1;
                Message::Ping(Bytes::new())
            }
            heard = socket.recv() => match heard {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {
                    unanswered = 0;
                    continue;
                }
            },
        };
        if unanswered > SILENT_PINGS {
            return cut_off(socket, "no ping is answered").await;
        }
        match timeout(UNREAD_TIME, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return cut_off(socket, "too slow: what was said was not read").await,
        }
    }
}

fn in_words(event: &Arc<Event>) -> String {
    json!({ "id": event.id, "kind": event.kind, "data": event.data }).to_string()
}

/// Says why, if it is heard at all.
async fn cut_off(mut socket: WebSocket, why: &'static str) {
    tracing::info!(why, "a reader of events is cut off");
    let close = Message::Close(Some(CloseFrame { code: close_code::POLICY, reason: why.into() }));
    let _ = timeout(UNREAD_TIME, socket.send(close)).await;
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use futures::StreamExt as _;

    use super::*;
    use crate::admin::serve::serve;
    use crate::events::Events;

    #[test]
    fn a_page_may_listen_to_its_own_site_only() {
        let foreign = |origin: Option<&'static str>, host: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
            host.map(|host| headers.insert(header::HOST, host.parse().unwrap()));
            is_of_another_site(&headers)
        };
        assert!(!foreign(None, Some("a:1")), "who is no browser says nothing");
        assert!(!foreign(Some("http://a:1"), Some("A:1")));
        for origin in ["http://b:1", "http://a:2", "http://a", "http://a:1.b", "null", "", "a:1"] {
            assert!(foreign(Some(origin), Some("a:1")), "{origin}");
        }
        assert!(foreign(Some("http://a:1"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_is_cut_off_and_told_why() {
        let events = Events::new();
        let (client, server) = tokio::io::duplex(4096);
        let reader = Arc::new(std::sync::Mutex::new(events.reader(None, Kinds::default())));
        let socket = get(async move |upgrade: WebSocketUpgrade| {
            let reader = reader.lock().unwrap().take().unwrap();
            upgrade.on_upgrade(|socket| speak(socket, reader))
        });
        let listen = async {
            let (mut client, _) = tokio_tungstenite::client_async("ws://x/", client).await.unwrap();
            events.say("long", json!("x".repeat(64 * 1024)));
            tokio::time::sleep(UNREAD_TIME + Duration::from_secs(1)).await;
            let (mut told, mut last) = (0, None);
            while let Some(Ok(message)) = client.next().await {
                told += usize::from(message.is_text());
                last = Some(message);
            }
            (told, last)
        };
        let router = Router::new().route("/", socket);
        let (_, (told, last)) = tokio::join!(serve(server, router, std::future::pending()), listen);
        assert_eq!(told, 1, "what was begun is said to its end");
        let last = last.unwrap();
        assert!(last.is_close() && last.to_string().contains("too slow"), "{last:?}");
    }
}
