//! Where a backend is: its name resolved, its connection options, its key.

use std::collections::BTreeSet;
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
    Named(Mutex<Option<Named>>),
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
            Err(_) => Place::Named(Mutex::default()),
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

    /// How many addresses it has: the replicas behind a name that lists them, as a headless service does. What a name had
    /// counts on where it cannot be resolved now.
    pub async fn addresses(&self) -> usize {
        match &self.place {
            Place::Fixed(_) => 1,
            Place::Named(resolved) => {
                let mut resolved = resolved.lock().await;
                self.refreshed(&mut resolved).await.map_or(0, |named| named.all.len())
            }
        }
    }

    async fn named(&self, resolved: &Mutex<Option<Named>>) -> std::io::Result<Peers> {
        let mut resolved = resolved.lock().await;
        Ok(self.refreshed(&mut resolved).await?.next())
    }

    async fn refreshed<'here>(&self, resolved: &'here mut Option<Named>) -> std::io::Result<&'here mut Named> {
        let is_good = resolved.as_ref().is_some_and(|named| named.since.elapsed() < NAME_LASTS);
        if !is_good {
            match (self.resolve().await, &mut *resolved) {
                (Ok(addresses), known) => {
                    let at = |address| Peers::at(address, &self.url, &self.options);
                    let turn = known.as_ref().map_or(0, |known| known.turn);
                    let all = addresses.into_iter().map(at).collect();
                    *known = Some(Named { since: Instant::now(), all, turn });
                }
                // A name server that is gone takes no backend with it, and is not asked again by each request.
                (Err(_), Some(known)) => known.since = Instant::now(),
                (Err(error), None) => return Err(error),
            }
        }
        resolved.as_mut().ok_or_else(nowhere)
    }

    async fn resolve(&self) -> std::io::Result<BTreeSet<SocketAddr>> {
        let lookup = tokio::net::lookup_host((self.url.host.as_str(), self.url.port));
        let addresses = of_one_family(tokio::time::timeout(NAME_TAKES, lookup).await??);
        if addresses.is_empty() { Err(nowhere()) } else { Ok(addresses) }
    }
}

fn nowhere() -> std::io::Error {
    std::io::Error::other("the backend's name has no address")
}

/// Those of the family that the resolver prefers, in an order that does not change with the name server's. One machine
/// may have an address of each family and listen on one of them only, as many do at `localhost`.
fn of_one_family(addresses: impl Iterator<Item = SocketAddr>) -> BTreeSet<SocketAddr> {
    let mut addresses = addresses.peekable();
    let is_ipv4 = addresses.peek().is_some_and(SocketAddr::is_ipv4);
    addresses.filter(|address| address.is_ipv4() == is_ipv4).collect()
}

/// The addresses of a name. Each has its turn: the resolver of the system gives them in one order, and whoever takes the
/// first always loads one of many replicas.
struct Named {
    since: Instant,
    all: Vec<Peers>,
    turn: usize,
}

impl Named {
    fn next(&mut self) -> Peers {
        self.turn = (self.turn + 1) % self.all.len();
        self.all[self.turn].clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_machine_with_two_families_is_one_replica_and_each_address_counts_once() {
        let both = addresses(&["[::1]:80", "127.0.0.1:80"]);
        assert_eq!(Vec::from_iter(of_one_family(both.into_iter())), addresses(&["[::1]:80"]), "the first that is told");
        let pods = addresses(&["10.0.0.3:80", "10.0.0.1:80", "10.0.0.3:80", "[fd00::1]:80"]);
        let told = of_one_family(pods.into_iter());
        assert_eq!(Vec::from_iter(told), addresses(&["10.0.0.1:80", "10.0.0.3:80"]), "in an order of our own");
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_counted_and_an_address_is_one() {
        let backend = |url: &str| {
            let backend: Backend = toml::from_str(&format!("name = 'a'\nurl = '{url}'")).unwrap();
            Upstream::new(&backend).unwrap()
        };
        assert_eq!(backend("http://127.0.0.1:1").addresses().await, 1);
        assert_eq!(backend("http://localhost:1").addresses().await, 1, "of both families it has one");
        assert_eq!(backend("http://no-such-name.invalid:1").addresses().await, 0);
    }

    #[test]
    fn addresses_take_turns() {
        let url = toml::from_str::<Backend>("name = 'a'\nurl = 'http://pods:80'").unwrap();
        let at = |address| Peers::at(address, &url.url, &options(&url));
        let all: Vec<_> = addresses(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]).into_iter().map(at).collect();
        let mut named = Named { since: Instant::now(), all, turn: 0 };
        let asked: Vec<_> = (0..6).map(|_| named.next().usual.to_string()).collect();
        for ip in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(asked.iter().filter(|peer| peer.contains(ip)).count(), 2, "{asked:?}");
        }
    }
}
