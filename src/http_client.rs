//! Our own HTTP client, for what is told to others: collectors and webhooks. Backends are Pingora's.

use std::time::Duration;

use reqwest::{Certificate, Client, redirect};

/// Trusts whom the machine trusts; where that has no certificates, as in the smallest containers, whom browsers trust.
///
/// # Errors
/// If there is no way to make one.
pub fn client(timeout: Duration) -> reqwest::Result<Client> {
    // It takes the process's provider of cryptography; it may be there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || Client::builder().timeout(timeout).redirect(redirect::Policy::none());
    builder().build().or_else(|_| {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|root| Certificate::from_der(root).ok());
        builder().tls_certs_only(roots).build()
    })
}
