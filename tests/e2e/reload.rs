//! Settings that change while requests are answered.

mod storm;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use crate::support::{Answer, CHAT, Outrigger, Simulator, ask, chat, command, get, post, read, request, stream};

/// A file of settings that ends with the test.
pub struct File(PathBuf);

impl File {
    pub fn new(name: &str) -> Self {
        File(std::env::temp_dir().join(format!("outrigger-reload-{}-{name}.toml", std::process::id())))
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A process that reads its settings from a file, to begin with this one.
async fn by(file: &File, text: &str) -> Outrigger {
    file.write(text);
    Outrigger::by(&file.path()).await
}

pub fn backend(name: &str, simulator: &Simulator) -> String {
    format!("[[backends]]\nname = \"{name}\"\nurl = \"http://{}\"\n", simulator.address)
}

async fn reload(outrigger: &Outrigger) -> Value {
    post(outrigger.admin, "/api/reload", &[], "").await.json()
}

/// Sends the signal, and waits until it has been followed.
pub async fn hang_up(outrigger: &Outrigger) -> Value {
    let last = async || get(outrigger.admin, "/api/reload").await.json()["last"].clone();
    let before = last().await;
    outrigger.process.signal(1);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let now = last().await;
        if now != before {
            return now;
        }
        assert!(Instant::now() < until, "the signal was not followed: {}", outrigger.log());
        sleep(Duration::from_millis(5)).await;
    }
}

async fn by_key(outrigger: &Outrigger, key: &str) -> Answer {
    let key = format!("Bearer {key}");
    post(outrigger.address, CHAT, &[("authorization", &key), ("x-outrigger-dedup", "off")], chat(json!({})).to_string())
        .await
}

#[tokio::test]
async fn what_can_change_changes_at_once_and_what_cannot_is_named() {
    let (file, simulator) = (File::new("keys"), Simulator::start(&[]));
    let limits = |amount: u32| format!("[[rate_limit.limits]]\nname = \"rpm\"\namount = {amount}\nwindow = \"1h\"\n");
    let outrigger = by(&file, &format!("{}{}", backend("a", &simulator), limits(4))).await;
    for _ in 0..3 {
        assert_eq!(by_key(&outrigger, "one").await.status, StatusCode::OK);
    }
    assert_eq!(hang_up(&outrigger).await["outcome"], "unchanged");

    file.write(&format!(
        "[server]\nthreads = 7\npassed = []\n[telemetry]\nlog_level = \"debug\"\n{}{}",
        backend("a", &simulator),
        limits(2)
    ));
    let told = hang_up(&outrigger).await;
    assert_eq!((&told["outcome"], &told["by"]), (&json!("partly"), &json!("signal")), "{told}");
    assert_eq!(told["changed"], json!(["rate_limit.limits.rpm.amount", "server.passed", "telemetry.log_level"]));
    assert_eq!(told["refused"], json!([{ "key": "server.threads", "why": "threads are made at the start" }]));
    outrigger.until_logged("server.threads: threads are made at the start").await;

    let refused = by_key(&outrigger, "one").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "three of two are used: {}", refused.text());
    // What is refused is told at that level.
    outrigger.until_logged("\"DEBUG\"").await;
    assert_eq!(by_key(&outrigger, "other").await.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(get(outrigger.address, "/v1/models").await.status, StatusCode::NOT_FOUND, "it is not passed any more");
    assert_eq!(hang_up(&outrigger).await["outcome"], "unchanged", "the file says the same as before");

    file.write(&format!("{}{}", backend("a", &simulator), limits(40)));
    assert_eq!(reload(&outrigger).await["outcome"], "applied");
    assert_eq!(by_key(&outrigger, "one").await.header("x-ratelimit-remaining-requests"), "36", "four are charged");
    assert_eq!(get(outrigger.address, "/v1/models").await.status, StatusCode::OK);
    for (outcome, count) in [("applied", 1.0), ("partly", 1.0), ("unchanged", 2.0)] {
        let name = format!("outrigger_reloads_total{{outcome=\"{outcome}\"");
        assert_eq!(outrigger.metric(&name).await, Some(count), "{outcome}");
    }
}

#[tokio::test]
async fn wrong_settings_change_nothing_and_say_their_line() {
    let (file, simulator) = (File::new("wrong"), Simulator::start(&[]));
    let good = backend("a", &simulator);
    let outrigger = by(&file, &good).await;
    for (wrong, place) in [
        (format!("{good}[breaker]\nretries = -1\n"), ":5: breaker.retries: "),
        (format!("{good}[dedup]\nenabled = false\nsampled = \"maybe\"\n"), ":6: dedup.sampled: "),
        (format!("{good}[[rate_limit.limits]]\nname = \"x\"\namount = 1\n"), ":4: rate_limit.limits.0.window: "),
        ("[server]\npassed = [\n".to_owned(), ":2: "),
        (String::new(), "backends: no backend is configured"),
    ] {
        file.write(&wrong);
        let answer = post(outrigger.admin, "/api/reload", &[], "").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let told = answer.json();
        assert_eq!(told["outcome"], "invalid", "{told}");
        let error = told["error"].as_str().unwrap();
        assert!(error.contains(place), "{error}");
        let (code, _, said) = command(&["check", "--config", &file.path()], &[]);
        assert_eq!((code, said.trim_start_matches("outrigger: ").trim_end()), (1, error), "as `check` says it");
        outrigger.until_logged(&error.replace('"', "\\\"")).await;
        let answer = ask(outrigger.address, chat(json!({}))).await;
        assert_eq!(
            (answer.status, answer.header("x-outrigger-dedup")),
            (StatusCode::OK, "leader"),
            "it goes on as before"
        );
    }
    assert_eq!(get(outrigger.admin, "/api/reload").await.json()["last"]["outcome"], "invalid");
    file.write(&good);
    assert_eq!(reload(&outrigger).await["outcome"], "unchanged", "it holds what it held");
}

#[tokio::test]
async fn a_stream_in_flight_ends_where_it_began_though_its_backend_is_taken_away() {
    let (file, first, second) = (File::new("moved"), Simulator::start(&[]), Simulator::start(&[]));
    let outrigger = by(&file, &backend("a", &first)).await;
    let body = stream(json!({ "tokens": 40, "gap_ms": 25 })).to_string();
    let mut client = crate::support::Client::http1(outrigger.address).await;
    let begun = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
    file.write(&format!("[dedup]\nenabled = false\n[breaker]\nretries = 0\n{}", backend("b", &second)));
    assert_eq!(hang_up(&outrigger).await["outcome"], "applied");
    let now = ask(outrigger.address, chat(json!({}))).await;
    assert_eq!((now.header("x-outrigger-backend"), now.header("x-outrigger-dedup")), ("b", ""));
    let answer = read(begun).await;
    assert_eq!((answer.status, answer.header("x-outrigger-backend")), (StatusCode::OK, "a"));
    assert!(answer.complete && answer.text().contains("[DONE]"), "{}", answer.text());
    assert_eq!(first.stats().await["finished"], 1, "it was not cancelled");
    let known = get(outrigger.admin, "/api/backends").await.json();
    assert_eq!((known["backends"].as_array().unwrap().len(), &known["backends"][0]["name"]), (1, &json!("b")));
}

/// Makes a certificate, puts it and its key there, and gives who trusts it.
fn certify(folder: &Path) -> RootCertStore {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

async fn is_trusted(outrigger: &Outrigger, roots: &RootCertStore) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots.clone()).with_no_client_auth();
    let connection = tokio::net::TcpStream::connect(outrigger.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, connection).await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_in_the_same_files_is_shown_and_a_wrong_one_is_not() {
    let (file, simulator) = (File::new("tls"), Simulator::start(&[]));
    let folder = std::env::temp_dir().join(format!("outrigger-reload-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let old = certify(&folder);
    let shown = folder.display();
    let tls = format!("[server]\ntls_cert = \"{shown}/cert.pem\"\ntls_key = \"{shown}/key.pem\"\n");
    let outrigger = by(&file, &format!("{tls}{}", backend("a", &simulator))).await;
    assert!(is_trusted(&outrigger, &old).await);
    let new = certify(&folder);
    let told = hang_up(&outrigger).await;
    assert_eq!((&told["outcome"], &told["changed"]), (&json!("applied"), &json!(["server.tls_cert (its file)"])));
    assert!(is_trusted(&outrigger, &new).await && !is_trusted(&outrigger, &old).await);
    std::fs::write(folder.join("cert.pem"), "nonsense").unwrap();
    let told = hang_up(&outrigger).await;
    assert_eq!(told["outcome"], "invalid", "{told}");
    assert!(is_trusted(&outrigger, &new).await, "it goes on with the one it has");
    std::fs::remove_dir_all(&folder).unwrap();
}
