//! The faults of one Redis, as they are brought about and as they end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::way::{Mode, Way};
use crate::redis::Redis;
use crate::support::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Stopped, and started again with nothing.
    Refused,
    /// A way that takes everything and says nothing.
    Blackholed,
    /// The process stands still.
    Slow,
    /// A way that cuts every connection within a reply.
    Cut,
    Loading,
    ReadOnly,
    ScriptsFlushed,
    AllFlushed,
    OutOfMemory,
    /// Connections are cut and new ones want a password.
    AuthLost,
    /// The limit's key goes, as when it is evicted.
    KeyGone,
    ClockAhead,
    ClockBack,
    /// A replica takes over that lacks the last second.
    Failover,
}

impl Fault {
    /// Whether it is over as soon as it has happened.
    pub fn is_moment(self) -> bool {
        use Fault::{AllFlushed, ClockAhead, ClockBack, KeyGone, ScriptsFlushed};
        matches!(self, ScriptsFlushed | AllFlushed | KeyGone | ClockAhead | ClockBack)
    }

    fn needs_clock(self) -> bool {
        matches!(self, Fault::ClockAhead | Fault::ClockBack)
    }
}

/// A Redis with all that it needs to fail so.
pub struct Server {
    fault: Fault,
    redis: Redis,
    replica: Option<Redis>,
    way: Way,
    /// Of the clock that can be set.
    folder: PathBuf,
}

impl Server {
    pub async fn before(fault: Fault) -> Server {
        let address = free_port();
        let folder =
            std::env::temp_dir().join(format!("outrigger-e2e-{}-clock-{}", std::process::id(), address.port()));
        let redis = if fault.needs_clock() {
            let library = clock(&folder);
            let offset = folder.join("offset").to_string_lossy().into_owned();
            Redis::with(address, &[], &[("LD_PRELOAD", &library), ("CLOCK_OFFSET", &offset)]).await
        } else {
            Redis::at(address).await
        };
        let server = Server { fault, way: Way::to(redis.address), redis, replica: None, folder };
        server.prepared().await
    }

    async fn prepared(mut self) -> Server {
        match self.fault {
            Fault::Loading => {
                // Half a thousandth of a second each, when they are loaded.
                self.redis.tell("EVAL \"for i = 1, 4000 do redis.call('SET', i, string.rep('x', 100)) end\" 0").await;
                self.redis.tell("SAVE").await;
                self.redis.tell("FLUSHALL").await;
            }
            Fault::Failover => {
                let replica = Redis::start().await;
                replica.tell(&format!("REPLICAOF 127.0.0.1 {}", self.redis.address.port())).await;
                while !replica.tell("INFO replication").await.contains("master_link_status:up") {
                    sleep(Duration::from_millis(20)).await;
                }
                self.replica = Some(replica);
            }
            _ => {}
        }
        self
    }

    /// Where sidecars find it.
    pub fn address(&self) -> SocketAddr {
        match self.fault {
            Fault::Blackholed | Fault::Cut | Fault::Failover => self.way.address,
            _ => self.redis.address,
        }
    }

    /// What comes before the fault and is not one yet.
    pub async fn lead_up(&self) {
        if let Some(replica) = &self.replica {
            replica.tell("REPLICAOF NO ONE").await;
            sleep(Duration::from_secs(1)).await;
        }
    }

    pub async fn begin(&mut self) {
        match self.fault {
            Fault::Refused | Fault::Failover => self.redis.stop().await,
            Fault::Blackholed => self.way.set(Mode::Silent),
            Fault::Slow => self.redis.signal(19),
            Fault::Cut => self.way.set(Mode::Cut),
            Fault::Loading => {
                self.redis.stop().await;
                self.redis.start_again(&["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]);
            }
            Fault::ReadOnly => drop(self.redis.tell("REPLICAOF 127.0.0.1 1").await),
            Fault::ScriptsFlushed => drop(self.redis.tell("SCRIPT FLUSH").await),
            Fault::AllFlushed => drop(self.redis.tell("FLUSHALL").await),
            Fault::OutOfMemory => drop(self.redis.tell("CONFIG SET maxmemory 1").await),
            Fault::AuthLost => {
                let cut = "ACL SETUSER default resetpass >other\r\nCLIENT KILL TYPE normal SKIPME yes";
                self.redis.tell(cut).await;
            }
            Fault::KeyGone => {
                let gone = "EVAL \"return redis.call('DEL', unpack(redis.call('KEYS', '*:rpm*')))\" 0";
                assert_eq!(self.redis.tell(gone).await, ":1\r\n", "one tenant, one limit, one key");
            }
            Fault::ClockAhead => self.set_clock("3600"),
            Fault::ClockBack => self.set_clock("-3600"),
        }
    }

    /// In one step: it must never be read half written.
    fn set_clock(&self, seconds: &str) {
        let written = self.folder.join("next");
        std::fs::write(&written, seconds).unwrap();
        std::fs::rename(written, self.folder.join("offset")).unwrap();
    }

    pub async fn end(&mut self) {
        match (self.fault, &self.replica) {
            (Fault::Refused, _) => {
                self.redis.start_again(&[]);
                self.redis.until("+PONG").await;
            }
            (Fault::Blackholed | Fault::Cut, _) => self.way.set(Mode::Pass),
            (Fault::Slow, _) => self.redis.signal(18),
            (Fault::Loading, _) => self.redis.until("+PONG").await,
            (Fault::ReadOnly, _) => drop(self.redis.tell("REPLICAOF NO ONE").await),
            (Fault::OutOfMemory, _) => drop(self.redis.tell("CONFIG SET maxmemory 0").await),
            (Fault::AuthLost, _) => {
                self.redis.tell("AUTH other\r\nACL SETUSER default nopass").await;
            }
            (Fault::Failover, Some(replica)) => self.way.turn(replica.address),
            _ => {}
        }
    }
}

/// Builds the library that moves a server's clock.
fn clock(folder: &Path) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, include_str!("clock.c")).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed: `scripts/setup build` installs it");
    library.to_string_lossy().into_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
