//! Every way to speak to the simulator, and the signal that ends it.

use std::process::Command;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Simulator, chat};

#[tokio::test]
async fn http2_with_prior_knowledge_shares_the_port() {
    let simulator = Simulator::start(&[]);
    let mut connection = simulator.connect_http2().await;
    for stream in [false, true] {
        let body = chat(stream, json!({"tokens": 2})).to_string();
        let answer = connection.ask("POST", "/v1/chat/completions", body).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(!answer.header("x-sim-generation").is_empty(), "the generation is named");
    }
    let stats = simulator.stats().await;
    assert_eq!((&stats["finished"], &stats["open_connections"]), (&json!(2), &json!(2)), "its own and this one");
}

#[tokio::test]
async fn tls_offers_http2_first() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("outrigger-sim-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let simulator = Simulator::start(&["--tls-cert", certificate, "--tls-key", key]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(simulator.url.starts_with("https://"), "{}", simulator.url);

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let stream = TcpStream::connect(simulator.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "h2 is agreed on");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(connection);
    let request = hyper::Request::get("https://localhost/v1/models").body(Empty::<bytes::Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"object\":\"list\""), "{body:?}");
}

#[test]
fn a_signal_ends_it_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let mut simulator = Simulator::start(&[]);
        Command::new("kill").args([signal, &simulator.process_id().to_string()]).status().unwrap();
        assert!(simulator.wait().success(), "{signal} is no failure");
    }
}
