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
fn advise_shows_its_reckoning() {
    let (code, out, error) = command(&["advise", "--params", "8_030_261_248", "--free-memory", "8GiB"], &[]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for words in ["assumed like Llama-3.1-8B", "8.00 GiB are free (--free-memory)", "> q5_k_m", "  q6_k", "  q5_1"] {
        assert!(out.contains(words), "{words} is missing in {out}");
    }
    let sum = out.lines().find(|line| line.starts_with("q5_k_m: ")).unwrap_or_else(|| panic!("no sum in {out}"));
    for words in ["5.34 GiB weights", "1.00 GiB KV cache", "compute", "process"] {
        assert!(sum.contains(words), "{words} is missing in {sum}");
    }
}

#[test]
fn advise_answers_programs_too() {
    let asked = ["advise", "--params", "7B", "--layers", "32", "--context", "4096", "--kv-type", "q8_0", "--json"];
    let (code, out, error) = command(&[&asked[..], &["--free-memory", "16GB"]].concat(), &[]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let advice: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(advice["free_bytes"], 16_000_000_000_u64);
    let candidates = advice["candidates"].as_array().expect("candidates");
    let chosen = candidates.iter().find(|one| one["quantization"] == advice["quantization"]).expect("the chosen one");
    let number = |key: &str| chosen[key].as_i64().unwrap_or_else(|| panic!("{key} in {chosen}"));
    let parts = ["weights_bytes", "kv_cache_bytes", "compute_bytes", "process_bytes"].map(number);
    assert_eq!(parts.iter().sum::<i64>(), number("sum_bytes"), "{chosen}");
    let reserve = advice["reserve_bytes"].as_i64().expect("a reserve");
    assert_eq!(number("left_bytes"), 16_000_000_000 - reserve - number("sum_bytes"), "{chosen}");
    let before = candidates.iter().take_while(|one| one["quantization"] != advice["quantization"]);
    assert!(before.into_iter().all(|one| one["fits"] == false), "a more precise one fits: {out}");
}

#[test]
fn advise_says_what_would_help_where_nothing_fits() {
    let asked = ["advise", "--params", "8B", "--context", "131072", "--free-memory", "6GiB"];
    let (code, _, error) = command(&asked, &[]);
    assert_eq!(code, 1, "{error}");
    for words in ["nothing fits 6.00 GiB", "--context ", "iq1_s needs"] {
        assert!(error.contains(words), "{words} is missing in {error}");
    }
}

#[test]
fn advise_refuses_what_it_cannot_read() {
    for (asked, words) in [
        (&["advise"][..], "--params"),
        (&["advise", "--params", "lots"], "write it like 7B"),
        (&["advise", "--params", "7B", "--free-memory", "24Gi"], "24GiB"),
        (&["advise", "--params", "7B", "--kv-type", "q3_k"], "q8_0"),
        (&["advise", "--params", "7B", "--among", "q4_k"], "q4_k_m"),
        (&["advise", "--gguf", "/none.gguf"], "/none.gguf"),
        (&["advise", "--gguf", "/none.gguf", "--layers", "2"], "cannot be used with"),
        (&["advise", "--gguf", "/none.gguf", "--params", "7B"], "cannot be used with"),
        (&["advise", "--params", "7B", "--layers", "0"], "1..="),
    ] {
        let (code, out, error) = command(asked, &[]);
        assert!(code != 0 && out.is_empty(), "{asked:?} answered {out}");
        assert!(error.contains(words), "{words} is missing in {error}");
    }
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
