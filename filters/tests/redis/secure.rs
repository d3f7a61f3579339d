//! TLS and passwords.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_filters::rate_limit::remote::Kind;
use outrigger_filters::store::{Config, Error, Store};

use crate::server::{Folder, Server, free_port};
use crate::side::{MINUTE, Side, admitted, config, limit, line};

struct Certificates {
    _folder: Folder,
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// An authority, and a certificate by it for 127.0.0.1.
fn certificates() -> Certificates {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::from_params(&authority, &authority_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("a certificate");
    let folder = Folder::new();
    let write = |name: &str, text: String| {
        let path = folder.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    Certificates {
        authority: write("ca.pem", authority_certificate.pem()),
        certificate: write("server.pem", certificate.pem()),
        key: write("server.key", key.serialize_pem()),
        _folder: folder,
    }
}

async fn works(config: &Config) {
    let side = Side::with(config, MINUTE);
    side.ready().await;
    admitted(side.admit(1, vec![line(&limit("rpm", Kind::Window, 100), 1, 0)]).await);
}

async fn does_not_work(config: &Config) {
    let side = Side::with(config, MINUTE);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!side.store.health().is_up(), "it should not have come up: {config:?}");
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    let made = certificates();
    let port = free_port().to_string();
    let path = |path: &PathBuf| path.to_str().expect("a path").to_owned();
    let arguments =
        ["--tls-port", &port, "--tls-cert-file", &path(&made.certificate), "--tls-key-file", &path(&made.key)];
    let clients = ["--tls-auth-clients", "no", "--tls-ca-cert-file", &path(&made.authority), "--requirepass", "word"];
    let _server = Server::start(&[&arguments[..], &clients[..]].concat()).await;
    let plain = config(&format!("rediss://:word@127.0.0.1:{port}"));
    works(&Config { ca_file: Some(made.authority.clone()), ..plain.clone() }).await;
    works(&Config { tls_insecure: true, ..plain.clone() }).await;
    does_not_work(&plain).await;
}

#[tokio::test]
async fn a_password_in_the_address_or_the_environment() {
    let server =
        Server::start(&["--requirepass", "word", "--user", "someone", "on", ">other", "~*", "&*", "+@all"]).await;
    let at = |user: &str| config(&format!("redis://{user}127.0.0.1:{}/1", server.port));
    works(&at(":word@")).await;
    works(&at("someone:other@")).await;
    does_not_work(&at("")).await;
    does_not_work(&at(":wrong@")).await;
    // Cargo sets this one for tests; the server is told the same.
    let name = "CARGO_PKG_NAME";
    let word = std::env::var(name).expect("set by cargo");
    let admin = redis::Client::open(format!("redis://:word@127.0.0.1:{}", server.port)).expect("an address");
    let mut admin = admin.get_connection().expect("a connection");
    redis::cmd("CONFIG").arg(&["SET", "requirepass", &word]).exec(&mut admin).expect("done");
    works(&Config { password_env: Some(name.into()), ..at("") }).await;
    let missing = Config { password_env: Some("OUTRIGGER_NOT_SET".into()), ..at("") };
    let error = Store::new(&missing, &opentelemetry::global::meter("test")).map(|_| ()).expect_err("not set");
    assert!(matches!(error, Error::NoPassword(_)), "{error}");
}
