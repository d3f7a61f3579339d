//! Where requests come in: sockets that are bound, or taken over from the process before this one.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::HttpProxy;
use pingora::server::Fds;
use pingora::services::listening::Service;
use pingora::upstreams::peer::HttpPeer;

use crate::config::Config;
use crate::guard::Guard;
use crate::proxy::Proxy;
use crate::tls::Certificates;
use crate::upgrade::{self, Gated, Given, Predecessor, Sockets, Turn};

/// Where requests are relayed to that come when another process has taken over.
pub fn next_process(upgrade_socket: &Path) -> anyhow::Result<HttpPeer> {
    let path = upgrade::relay_path(upgrade_socket).display().to_string();
    let peer = HttpPeer::new_uds(&path, false, String::new());
    peer.map_err(|error| anyhow::anyhow!("server.upgrade_socket: {error}"))
}

/// Asks the process that runs to prepare for this one.
pub fn predecessor(config: &Config) -> anyhow::Result<Option<Predecessor>> {
    let Some(path) = &config.server.upgrade_socket else {
        anyhow::bail!("server.upgrade_socket: --upgrade needs the socket at which the process that runs is asked");
    };
    let predecessor = Predecessor::meet(path).context("server.upgrade_socket")?;
    if predecessor.is_none() {
        tracing::info!(path = %path.display(), "no process is there whose place could be taken: this one just starts");
    }
    Ok(predecessor)
}

/// The listening sockets: the predecessor's, where it listens at the same addresses, or new ones. Port 0 becomes a free one.
pub fn sockets(config: &mut Config, mut predecessor: Option<&mut Predecessor>) -> anyhow::Result<Sockets> {
    let mut socket = |address: SocketAddr, given: fn(String) -> Given| {
        let given = predecessor.as_mut().and_then(|before| before.listener(&given(address.to_string())));
        given.map_or_else(|| Sockets::bind(address), Ok)
    };
    let clients = socket(config.server.listen, Given::Clients).context("server.listen")?;
    let admin = socket(config.server.admin, Given::Admin).context("server.admin")?;
    config.server.listen = clients.local_addr().context("server.listen")?;
    config.server.admin = admin.local_addr().context("server.admin")?;
    Ok(Sockets { clients, admin })
}

/// Where requests come in: from clients, and from processes that this one has followed.
pub struct Doors {
    clients: Arc<Mutex<Fds>>,
    pub relayed: Arc<Mutex<Fds>>,
    turn: Turn,
}

pub type Clients = Gated<Service<Guard<HttpProxy<Proxy>>>>;

impl Doors {
    pub fn new(config: &Config, sockets: &Sockets, turn: Turn) -> anyhow::Result<Self> {
        let clients = Arc::new(Mutex::new(Fds::new()));
        let socket = sockets.clients.try_clone().context("server.listen")?;
        upgrade::put(&clients, &config.server.listen.to_string(), socket);
        Ok(Doors { clients, relayed: Arc::new(Mutex::new(Fds::new())), turn })
    }

    pub fn services(
        self,
        config: &Config,
        guard: Guard<HttpProxy<Proxy>>,
        certificates: Option<Arc<Certificates>>,
    ) -> anyhow::Result<Vec<Clients>> {
        let Doors { clients, relayed, turn } = self;
        let mut services = Vec::new();
        if let Some(path) = &config.server.upgrade_socket {
            let mut service = Service::new("relayed".to_owned(), guard.clone());
            let own = std::fs::Permissions::from_mode(0o600);
            service.add_uds(&upgrade::relay_path(path).display().to_string(), Some(own));
            services.push(Gated { service, turn: turn.clone(), sockets: relayed });
        }
        let mut service = Service::new("clients".to_owned(), guard);
        let listen = config.server.listen.to_string();
        match certificates {
            Some(certificates) => {
                let mut tls =
                    TlsSettings::intermediate("", "").map_err(|error| anyhow::anyhow!("server.tls_cert: {error}"))?;
                tls.set_cert_resolver(certificates);
                tls.enable_h2();
                service.add_tls_with_settings(&listen, None, tls);
            }
            None => service.add_tcp(&listen),
        }
        services.push(Gated { service, turn, sockets: clients });
        Ok(services)
    }
}
