//! Where a backend is: its name resolved, its connection options, its key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderValue;
use pingora::protocols::{ALPN, TcpKeepalive};
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::wire::Wire;
use crate::config::{Backend, BackendUrl, Protocol};

/// How long a resolved name is used: services move.
const NAME_LASTS: Duration = Duration::from_secs(10);
/// How long resolving a name may take.
const NAME_TAKES: Duration = Duration::from_secs(5);
/// Streams on one HTTP/2 connection to a backend.
const STREAMS: usize = 100;

pub struct Upstream {
    pub name: HeaderValue,
    pub url: BackendUrl,
    pub host: HeaderValue,
    pub api_key: Option<HeaderValue>,
    pub wire: Arc<Wire>,
    options: PeerOptions,
    place: Place,
    config: Backend,
}

enum Place {
    /// An address: it is where it is.
    Fixed(Peers),
    /// A name, which is asked for again after a while.
    Named(Mutex<Option<(Instant, Peers)>>),
}

/// The same backend twice: as its pool knows it, and under a name that no pooled connection has.
#[derive(Clone)]
pub struct Peers {
    pub usual: Arc<HttpPeer>,
    pub fresh: Arc<HttpPeer>,
}

impl Upstream {
    pub fn new(config: &Backend) -> anyhow::Result<Self> {
        Upstream::over(config, Arc::new(Wire::new(config)))
    }

    /// The same under other settings: it keeps its connections, unless it is to be connected to otherwise.
    pub fn renewed(self: &Arc<Self>, config: &Backend) -> anyhow::Result<Arc<Self>> {
        let before = &self.config;
        let stays = before.url == config.url
            && before.protocol == config.protocol
            && before.idle_timeout_ms == config.idle_timeout_ms
            && before.ca_file == config.ca_file
            && before.tls_insecure == config.tls_insecure;
        match stays {
            true if before == config => Ok(self.clone()),
            true => Upstream::over(config, self.wire.clone()).map(Arc::new),
            false => Upstream::new(config).map(Arc::new),
        }
    }

    fn over(config: &Backend, wire: Arc<Wire>) -> anyhow::Result<Self> {
        let api_key = config.api_key_env.as_ref().map(|variable| {
            let key = std::env::var(variable).with_context(|| format!("reading {variable}"))?;
            let mut key = HeaderValue::from_str(key.trim()).with_context(|| format!("{variable} is no key"))?;
            key.set_sensitive(true);
            anyhow::Ok(key)
        });
        let options = options(config);
        let place = match config.url.host.parse() {
            Ok(ip) => Place::Fixed(Peers::at(SocketAddr::new(ip, config.url.port), &config.url, &options)),
            Err(_) => Place::Named(Mutex::new(None)),
        };
        Ok(Upstream {
            name: HeaderValue::from_str(&config.name).context("a backend's name must be visible ASCII")?,
            url: config.url.clone(),
            host: HeaderValue::from_str(&config.url.authority).context("the host of a backend's url")?,
            api_key: api_key.transpose()?,
            options,
            wire,
            place,
            config: config.clone(),
        })
    }

    pub async fn peer(&self) -> std::io::Result<Peers> {
        match &self.place {
            Place::Fixed(peers) => Ok(peers.clone()),
            Place::Named(resolved) => self.named(resolved).await,
        }
    }

    async fn named(&self, resolved: &Mutex<Option<(Instant, Peers)>>) -> std::io::Result<Peers> {
        let mut resolved = resolved.lock().await;
        if let Some((since, peers)) = &*resolved
            && since.elapsed() < NAME_LASTS
        {
            return Ok(peers.clone());
        }
        match self.resolve().await {
            Ok(address) => {
                let peers = Peers::at(address, &self.url, &self.options);
                *resolved = Some((Instant::now(), peers.clone()));
                Ok(peers)
            }
            // A name server that is gone takes no backend with it, and is not asked again by each request.
            Err(error) => match &mut *resolved {
                Some((since, peers)) => {
                    *since = Instant::now();
                    Ok(peers.clone())
                }
                None => Err(error),
            },
        }
    }

    async fn resolve(&self) -> std::io::Result<SocketAddr> {
        let lookup = tokio::net::lookup_host((self.url.host.as_str(), self.url.port));
        let mut addresses = tokio::time::timeout(NAME_TAKES, lookup).await??;
        addresses.next().ok_or_else(|| std::io::Error::other("the backend's name has no address"))
    }
}

impl Peers {
    fn at(address: SocketAddr, url: &BackendUrl, options: &PeerOptions) -> Self {
        let mut peer = HttpPeer::new(address, url.tls, url.host.clone());
        peer.options = options.clone();
        let mut fresh = peer.clone();
        fresh.group_key = 1;
        Peers { usual: Arc::new(peer), fresh: Arc::new(fresh) }
    }
}

fn options(config: &Backend) -> PeerOptions {
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(config.connect_timeout_ms.duration());
    options.total_connection_timeout = Some(config.connect_timeout_ms.duration());
    options.idle_timeout = Some(config.idle_timeout_ms.duration());
    options.alpn = match config.protocol {
        Protocol::Auto if config.url.tls => ALPN::H2H1,
        Protocol::Auto | Protocol::Http1 => ALPN::H1,
        Protocol::Http2 => ALPN::H2,
    };
    options.max_h2_streams = STREAMS;
    options.h2_ping_interval = Some(Duration::from_secs(30));
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    options.verify_cert = !config.tls_insecure;
    options.verify_hostname = !config.tls_insecure;
    options
}
