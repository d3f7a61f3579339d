//! TLS on both sides.

use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{CHAT, Client, Outrigger, Simulator, ask, chat, get, read, request, stream};

struct Certificate {
    folder: PathBuf,
    der: rustls::pki_types::CertificateDer<'static>,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = std::env::temp_dir().join(format!("outrigger-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Certificate { folder, der: made.cert.der().clone() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn clients_come_in_over_tls_with_either_http() {
    let certificate = Certificate::new("in");
    let simulator = Simulator::start(&[]);
    let (cert, key) = (certificate.path("cert.pem"), certificate.path("key.pem"));
    let address = crate::support::free_port();
    let url = format!("http://{}", simulator.address);
    let settings = [
        ("SERVER__LISTEN", address.to_string()),
        ("SERVER__TLS_CERT", cert),
        ("SERVER__TLS_KEY", key),
        ("BACKENDS__0__URL", url),
    ];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _outrigger = Outrigger::start(&settings).await;

    let mut roots = RootCertStore::empty();
    roots.add(certificate.der.clone()).unwrap();
    for (alpn, http2) in [(&b"h2"[..], true), (b"http/1.1", false)] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn), "the protocol is agreed on");
        let mut client = if http2 {
            Client::http2_over(TokioIo::new(tls)).await
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
            tokio::spawn(connection);
            Client::Http1(sender)
        };
        for body in [chat(json!({})), stream(json!({ "tokens": 20, "gap_ms": 1 }))] {
            let answer = read(client.send(request(address, CHAT, &[], body.to_string())).await.unwrap()).await;
            assert!(answer.status == 200 && answer.complete);
        }
    }
}

#[tokio::test]
async fn a_backend_is_reached_over_tls_and_its_certificate_is_checked() {
    let certificate = Certificate::new("out");
    let (cert, key) = (certificate.path("cert.pem"), certificate.path("key.pem"));
    let simulator = Simulator::start(&["--tls-cert", &cert, "--tls-key", &key]);
    let url = format!("https://localhost:{}", simulator.address.port());
    for (setting, value, status) in [
        ("BACKENDS__0__CA_FILE", cert.as_str(), 200),
        ("BACKENDS__0__TLS_INSECURE", "true", 200),
        ("BACKENDS__0__TLS_INSECURE", "false", 502),
    ] {
        for protocol in ["auto", "http1", "http2"] {
            let settings = [("BACKENDS__0__URL", url.as_str()), (setting, value), ("BACKENDS__0__PROTOCOL", protocol)];
            let outrigger = Outrigger::start(&settings).await;
            let answer = ask(outrigger.address, chat(json!({}))).await;
            assert_eq!(answer.status, status, "{setting}={value}, {protocol}: {}", answer.text());
            let streamed = ask(outrigger.address, stream(json!({ "tokens": 3 }))).await;
            assert_eq!(streamed.status, status);
            assert_eq!(get(outrigger.address, "/v1/models").await.status, status);
        }
    }
}
