//! Where requests go: a URL taken apart once, and the way to open a connection to it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use http::Uri;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::connection::Connection;
use super::transport::Transport;

#[derive(Clone)]
pub struct Endpoint {
    /// At least one; connections try them in order.
    addresses: Vec<SocketAddr>,
    authority: String,
    /// What stands before `/v1`; empty, or without a slash at its end.
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authorization: Option<String>,
}

impl Endpoint {
    /// Of `http://host:port` or `https://host`, with or without a path, which may end in `/v1` as the base URLs of
    /// clients do. Authorities in `ca_file` are trusted beside the system's.
    pub fn new(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Endpoint> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL; one reads http://127.0.0.1:8000"))?;
        let authority = uri.authority().with_context(|| format!("{url} names no host"))?;
        anyhow::ensure!(!authority.as_str().contains('@'), "the URL holds a password; name a variable in api_key_env");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let (port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => (443, Some((connector(ca_file)?, ServerName::try_from(host.to_owned())?))),
            _ => anyhow::bail!("{url} is neither http:// nor https://"),
        };
        let found = (host, authority.port_u16().unwrap_or(port)).to_socket_addrs();
        let addresses: Vec<SocketAddr> = found.with_context(|| format!("the host of {url} is unknown"))?.collect();
        anyhow::ensure!(!addresses.is_empty(), "the host of {url} has no address");
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        Ok(Endpoint { addresses, authority: authority.to_string(), prefix, tls, authorization: None })
    }

    /// Sends this key with every request.
    pub fn with_key(self, key: &str) -> anyhow::Result<Endpoint> {
        let clean = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        anyhow::ensure!(clean, "the key is empty, or has characters that no header may hold");
        Ok(Endpoint { authorization: Some(key.to_owned()), ..self })
    }

    pub async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.addresses.as_slice()).await?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(match &self.tls {
            None => Transport::Plain(stream),
            Some((connector, name)) => Transport::Tls(Box::new(connector.connect(name.clone(), stream).await?)),
        }))
    }

    /// The head of a POST of JSON to this path below the prefix, up to the digits of its content-length.
    pub fn head(&self, path: &str) -> String {
        let authorization = self.authorization.as_ref().map(|key| format!("authorization: Bearer {key}\r\n"));
        format!(
            "POST {}{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: outrigger-load\r\naccept: */*\r\n\
             content-type: application/json\r\n{}content-length: ",
            self.prefix,
            self.authority,
            authorization.unwrap_or_default(),
        )
    }
}

fn connector(ca_file: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let unreadable = || format!("ca_file {} cannot be read as PEM", file.display());
        for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
            roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
        }
    }
    anyhow::ensure!(!roots.is_empty(), "this machine knows no certificate authorities; name a file of them in ca_file");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_before_v1_is_kept() {
        for (url, line) in [
            ("http://127.0.0.1:8000", "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n"),
            ("http://127.0.0.1:8000/v1/", "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n"),
            ("http://127.0.0.1/a/b", "POST /a/b/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
        ] {
            let head = Endpoint::new(url, None).unwrap().head("/v1/chat/completions");
            assert!(head.starts_with(line) && head.ends_with("content-length: "), "{url}: {head}");
        }
    }

    #[test]
    fn a_key_is_sent_and_never_stands_in_a_url() {
        let endpoint = Endpoint::new("http://127.0.0.1:1", None).unwrap();
        assert!(endpoint.clone().with_key("abc").unwrap().head("/").contains("authorization: Bearer abc\r\n"));
        assert!(endpoint.with_key("a\r\nx: y").is_err(), "no key ends a header");
        assert!(Endpoint::new("http://user:secret@127.0.0.1:1", None).is_err());
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (wrong, word) in [("127.0.0.1:1", "no URL"), ("ftp://127.0.0.1", "neither"), ("/v1", "no host")] {
            let Err(error) = Endpoint::new(wrong, None) else { panic!("{wrong} is no address") };
            assert!(
                format!("{error:#}").contains(word) || format!("{error:#}").contains("neither"),
                "{wrong}: {error:#}"
            );
        }
    }
}
