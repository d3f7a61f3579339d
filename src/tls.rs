//! The certificate that clients are shown, read anew by a reload: who connects after it sees the new one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificate that holds now.
pub struct Certificates(ArcSwap<CertifiedKey>);

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its key is nobody's business.
        out.write_str("Certificates")
    }
}

impl Certificates {
    /// # Errors
    /// If the files hold no certificate and key that belong together.
    pub fn read(chain: &Path, key: &Path) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Certificates(ArcSwap::new(read(chain, key)?))))
    }

    pub fn show(&self, certificate: Arc<CertifiedKey>) {
        self.0.store(certificate);
    }

    /// Whether another one would be shown.
    pub fn differs(&self, certificate: &CertifiedKey) -> bool {
        self.0.load().cert != certificate.cert
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// # Errors
/// If the files hold no certificate and key that belong together.
pub fn read(chain: &Path, key: &Path) -> anyhow::Result<Arc<CertifiedKey>> {
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.with_context(|| format!("reading {}", chain.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "no certificate is in {}", chain.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading {}", key.display()))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).context("the key is of no kind that is known")?;
    let certified = CertifiedKey::new(certificates, key);
    certified.keys_match().context("the certificate is not that of the key")?;
    Ok(Arc::new(certified))
}
