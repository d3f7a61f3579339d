//! What a newcomer types first, and what it says to mistakes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::support::{CHAT, Client, Outrigger, Simulator, command, request, stream};

fn file(text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("outrigger-check-{}-{}.toml", std::process::id(), text.len()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn check_takes_the_examples() {
    for name in ["config/outrigger.toml", "config/local.toml", "docker/settings.toml"] {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let (code, out, error) = command(&["check", "--config", &path], &[]);
        assert_eq!((code, out.as_str(), error.as_str()), (0, "The settings are good.\n", ""), "{name}");
    }
}

#[test]
fn check_names_file_line_and_key() {
    let path = file("[server]\nlisten = \"127.0.0.1:8080\"\nmax_body = 1\n");
    let (code, _, error) = command(&["check", "--config", path.to_str().unwrap()], &[]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, 1);
    assert!(error.starts_with(&format!("outrigger: {}:3: server.max_body: unknown field", path.display())), "{error}");
}

#[test]
fn without_a_backend_it_says_how_to_name_one() {
    let (code, _, error) = command(&["check"], &[]);
    assert_eq!(code, 1);
    assert!(error.contains("OUTRIGGER_BACKEND"), "{error}");
    let (code, _, _) = command(&["check"], &[("OUTRIGGER_BACKEND", "http://127.0.0.1:8000")]);
    assert_eq!(code, 0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, error) = command(&["--config", "/none.toml"], &[]);
    assert_eq!(code, 1);
    assert!(error.contains("/none.toml"), "{error}");
}

#[test]
fn help_says_how_to_begin() {
    let (code, help, _) = command(&["--help"], &[]);
    assert_eq!(code, 0);
    for word in ["OUTRIGGER_BACKEND=", "--config", "check", "OUTRIGGER__SERVER__LISTEN"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

/// What `outrigger health` says with the settings of a process whose admin port is there.
async fn health(arguments: &[&str], admin: &str) -> (i32, String, String) {
    let arguments = [&["health"], arguments].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
    let admin = admin.to_owned();
    let asked = move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let environment =
            [("OUTRIGGER_BACKEND", "http://127.0.0.1:8000"), ("OUTRIGGER__SERVER__ADMIN", admin.as_str())];
        command(&arguments, &environment)
    };
    tokio::task::spawn_blocking(asked).await.unwrap()
}

#[tokio::test]
async fn health_is_good_while_requests_are_welcome() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let ready = health(&[], &outrigger.admin.to_string()).await;
    assert_eq!(ready, (0, "{\"status\":\"ready\"}\n".to_owned(), String::new()));
    // A container's setting: it listens everywhere, and that is no address to ask.
    let everywhere = format!("0.0.0.0:{}", outrigger.admin.port());
    assert_eq!(health(&[], &everywhere).await, ready, "asked by the settings of a container");
    let (code, said, _) = health(&["--live"], &everywhere).await;
    assert_eq!((code, said.trim()), (0, "{\"status\":\"alive\"}"));
    let (code, said, _) = health(&["--url", &format!("http://{}/health", simulator.address)], "127.0.0.1:1").await;
    assert_eq!(code, 0, "the backend can be reached: {said}");
}

#[tokio::test]
async fn health_is_bad_while_it_drains_though_the_process_lives() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let mut client = Client::http1(outrigger.address).await;
    let body = stream(json!({ "gap_ms": 100, "tokens": 1000 })).to_string();
    let stream = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
    outrigger.process.signal(15);
    let admin = outrigger.admin.to_string();
    for _ in 0..100 {
        if health(&[], &admin).await.0 != 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (code, said, error) = health(&[], &admin).await;
    assert_eq!(code, 1, "it takes no more requests");
    assert!(said.contains("draining") && error.contains("/readyz answers 503"), "{said} {error}");
    assert_eq!(health(&["--live"], &admin).await.0, 0, "there is no reason to end it");
    drop(stream);
}

#[tokio::test]
async fn health_is_bad_in_time_where_nobody_answers() {
    let (code, said, error) = health(&[], "127.0.0.1:1").await;
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(error.contains("http://127.0.0.1:1/readyz does not answer"), "{error}");
    // Taken by the kernel, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = tokio::time::Instant::now();
    let (code, _, error) = health(&["--timeout-ms", "200"], &silent.local_addr().unwrap().to_string()).await;
    assert_eq!(code, 1, "{error}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(20), "it waited {took:?} for 200 ms");
}

#[tokio::test]
async fn health_asks_no_proxy_and_reads_no_endless_answer() {
    let endless = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = endless.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, _) = endless.accept().unwrap();
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while client.write_all(&[b'x'; 1024]).is_ok() {}
    });
    let asked = move || {
        let admin = address.to_string();
        let proxy = ("http_proxy", "http://127.0.0.1:1");
        let environment = [("OUTRIGGER_BACKEND", "http://127.0.0.1:8000"), ("OUTRIGGER__SERVER__ADMIN", &admin), proxy];
        command(&["health", "--timeout-ms", "10000"], &environment)
    };
    let (code, said, error) = tokio::task::spawn_blocking(asked).await.unwrap();
    assert_eq!(code, 0, "{error}");
    assert!(said.len() >= 64 * 1024 && said.len() < 1024 * 1024, "it read {} bytes", said.len());
    server.join().unwrap();
}
