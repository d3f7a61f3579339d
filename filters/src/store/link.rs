//! One connection, to a single server or to a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates, TlsMode, Value,
};

use super::{Config, Error};

#[derive(Clone)]
pub(super) enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Link::Single(connection) => connection.req_packed_command(command).await,
            Link::Cluster(connection) => connection.req_packed_command(command).await,
        }?
        .extract_error()
    }

    /// Whether every node of a cluster answers.
    pub(super) async fn reaches_all(&mut self) -> RedisResult<()> {
        match self {
            Link::Single(_) => Ok(()),
            Link::Cluster(_) => self.send(&redis::cmd("PING")).await.map(|_| ()),
        }
    }
}

/// Commands that wait for the driver of one connection at most; more wait for a place.
const PIPELINED: usize = 1024;

enum Kind {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Opens connections.
pub(super) struct Opener {
    kind: Kind,
    address: String,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Opener {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let url = config.url.as_ref().ok_or(Error::NoAddress)?;
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let authorities = config
            .ca_file
            .as_ref()
            .map(|path| std::fs::read(path).map_err(|error| Error::Authorities { path: path.clone(), error }));
        let certificates = TlsCertificates { client_tls: None, root_cert: authorities.transpose()? };
        let secured = matches!(url.parsed().addr(), ConnectionAddr::TcpTls { .. });
        if secured {
            // Fails where one is installed already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let kind = if config.cluster {
            Kind::Cluster(Box::new(cluster(config, connect_timeout, secured.then_some(certificates))?))
        } else {
            let info = info(config, url.parsed())?;
            let client = if secured { Client::build_with_tls(info, certificates) } else { Client::open(info) };
            Kind::Single(Box::new(
                client.map_err(|_| Error::Client("the address and its TLS settings make no client"))?,
            ))
        };
        Ok(Opener {
            kind,
            address: url.to_string(),
            connect_timeout,
            timeout: Duration::from_millis(config.timeout_ms),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// How long the background waits for an answer. A server that takes longer to open a connection or to
    /// answer than this would be of no use to requests that wait `timeout_ms`, so that trying again finds
    /// its return sooner than waiting on.
    pub(super) fn patience(&self) -> Duration {
        self.connect_timeout.min(Duration::from_millis(250) + 4 * self.timeout)
    }

    /// Takes at most `connect_timeout_ms`, or its error comes sooner. The connection is driven by a task on
    /// the runtime that this is called on, and ends when all its clones are gone.
    pub(super) async fn open(&self) -> RedisResult<Link> {
        match &self.kind {
            Kind::Single(client) => {
                let settings = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(self.connect_timeout))
                    .set_response_timeout(None)
                    .set_pipeline_buffer_size(PIPELINED);
                client.get_multiplexed_async_connection_with_config(&settings).await.map(Link::Single)
            }
            Kind::Cluster(client) => {
                let opening = tokio::time::timeout(self.connect_timeout, client.get_async_connection());
                opening
                    .await
                    .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
                    .map(Link::Cluster)
            }
        }
    }
}

fn cluster(
    config: &Config,
    connect_timeout: Duration,
    certificates: Option<TlsCertificates>,
) -> Result<ClusterClient, Error> {
    let nodes: Result<Vec<_>, _> =
        config.url.iter().chain(&config.nodes).map(|node| info(config, node.parsed())).collect();
    let mut builder = ClusterClientBuilder::new(nodes?)
        .connection_timeout(connect_timeout)
        .response_timeout(connect_timeout)
        .overall_response_timeout(None)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        // One redirection is followed; whatever needs more time is for the breaker, not for a request.
        .retries(1)
        .min_retry_wait(1)
        .max_retry_wait(2);
    if let Some(certificates) = certificates {
        if certificates.root_cert.is_some() {
            builder = builder.certs(certificates);
        }
        builder = builder.tls(if config.tls_insecure { TlsMode::Insecure } else { TlsMode::Secure });
    }
    builder.build().map_err(|_| Error::Client("the nodes differ in user, password, database or TLS"))
}

fn info(config: &Config, parsed: &ConnectionInfo) -> Result<ConnectionInfo, Error> {
    let mut info = parsed.clone().set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let mut settings = info.redis_settings().clone().set_lib_name("outrigger", env!("CARGO_PKG_VERSION"));
    if let Some(name) = &config.password_env {
        let password = std::env::var(name).map_err(|_| Error::NoPassword(name.clone()))?;
        settings = settings.set_password(password);
    }
    if let (ConnectionAddr::TcpTls { host, port, .. }, true) = (info.addr(), config.tls_insecure) {
        let address = ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: true, tls_params: None };
        info = info.set_addr(address);
    }
    Ok(info.set_redis_settings(settings))
}
