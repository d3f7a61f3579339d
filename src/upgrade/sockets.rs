//! The sockets of a process: bound, or given by the one before it; and services that wait until it is their turn.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service;

use super::Turn;

/// The listening sockets, for as long as this process may have to hand them over.
pub struct Sockets {
    pub clients: TcpListener,
    pub admin: TcpListener,
}

impl Sockets {
    /// Bound at once, so that nobody takes them before they are served.
    pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    pub fn files(&self) -> [BorrowedFd<'_>; 2] {
        [self.clients.as_fd(), self.admin.as_fd()]
    }
}

/// Where requests are relayed to, by processes that came before.
pub fn relay_path(upgrade_socket: &Path) -> PathBuf {
    let mut name = upgrade_socket.as_os_str().to_owned();
    name.push(".relay");
    name.into()
}

/// A socket at this path, in the place of any other, for this user alone. Nobody finds none there meanwhile.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A service of Pingora that begins when it is this process's turn, on sockets that are open already.
pub struct Gated<S> {
    pub service: S,
    pub turn: Turn,
    /// By the addresses that the service was told.
    pub sockets: Arc<Mutex<Fds>>,
}

/// Puts a socket where a service will look for it. From there on it is the service's.
pub fn put(sockets: &Mutex<Fds>, address: &str, socket: impl IntoRawFd) {
    sockets.lock().unwrap_or_else(PoisonError::into_inner).add(address.to_owned(), socket.into_raw_fd());
}

#[async_trait]
impl<S: Service + Send + Sync> Service for Gated<S> {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, listeners_per_fd: usize) {
        tokio::select! {
            () = self.turn.begun() => {}
            _ = shutdown.wait_for(|over| *over) => return,
        }
        let sockets = std::mem::replace(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner), Fds::new());
        let sockets = Arc::new(parking_lot::Mutex::new(sockets));
        self.service.start_service(Some(sockets), shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
