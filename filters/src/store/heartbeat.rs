//! The sign of life: who shares the store, and whether the whole path to it works, a write included.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use redis::RedisResult;
use tokio::time::Instant;

use super::link::Link;
use super::{Fault, Health, Script, Store};

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("heartbeat.lua")));

/// How often a sidecar gives a sign, and how long one holds.
const INTERVAL: Duration = Duration::from_millis(500);
const HOLDS: Duration = Duration::from_secs(5);

/// How many sidecars live and how many of them come before this one in an order that all agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub count: u32,
    pub rank: u32,
}

pub(super) struct Heartbeat {
    key: String,
    seen: AtomicU64,
    /// Whether this sidecar has told the store all that it had to tell.
    told: AtomicBool,
    /// When the store was lost last; none if it never was.
    lost: Mutex<Option<Instant>>,
}

impl Heartbeat {
    pub(super) fn new(prefix: &str) -> Self {
        Heartbeat {
            key: format!("{prefix}:sidecars"),
            seen: AtomicU64::new(1 << 32),
            told: AtomicBool::new(false),
            lost: Mutex::new(None),
        }
    }

    pub(super) fn replicas(&self) -> Replicas {
        let seen = self.seen.load(Ordering::Relaxed);
        Replicas { count: (seen >> 32) as u32, rank: seen as u32 }
    }

    /// Notes since when the store is lost, so that what the others had told before does not count.
    pub(super) fn lost(&self, since: Instant) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(since);
    }

    /// Gives a sign; says how many sidecars have told all they had to tell, and whether the store did not know that
    /// this one has.
    async fn beat(&self, link: &Link, sidecar: &str) -> RedisResult<(u64, bool)> {
        let mut call = BEAT.call([self.key.as_str()]);
        let lost = *self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let since = lost.map_or(HOLDS, |lost| lost.elapsed().min(HOLDS));
        call.arg(sidecar).arg(HOLDS.as_millis() as u64).arg(u8::from(self.told.load(Ordering::Relaxed)));
        call.arg(since.as_millis() as u64);
        let (count, rank, told, new): (u64, u64, u64, bool) = redis::from_redis_value(call.run(link.clone()).await?)?;
        self.seen.store(count.clamp(1, u32::MAX.into()) << 32 | rank, Ordering::Relaxed);
        Ok((told, new))
    }
}

impl Store {
    /// Keeps the store's health and this sidecar's sign of life, until it is dropped: then the sidecar is
    /// taken off the list, if that can be done.
    pub async fn run(self: Arc<Self>) {
        let _leaving = Leaving(self.clone());
        loop {
            self.heartbeat.told.store(false, Ordering::Relaxed);
            let link = self.find().await;
            self.slots.spare(Some(link.clone()));
            self.rise();
            self.keep(link).await;
        }
    }

    /// Says to the others that this sidecar has told the store all that it had to tell, and how many have. None
    /// if the store does not answer.
    pub async fn have_told(self: &Arc<Self>) -> Option<u64> {
        self.heartbeat.told.store(true, Ordering::Relaxed);
        let (epoch, link) = self.ready()?;
        match tokio::time::timeout(self.opener.patience(), self.heartbeat.beat(&link, &self.sidecar)).await {
            Ok(Ok((told, _))) => Some(told),
            Ok(Err(error)) => {
                self.fall(Fault::of(&error), epoch);
                None
            }
            Err(_) => {
                self.fall(Fault::Slow, epoch);
                None
            }
        }
    }

    /// Takes this sidecar off the list, so that the others need not wait to see that it is gone.
    pub async fn leave(&self) {
        let leaving = async {
            let mut link = self.opener.open().await?;
            let told = format!("{}+", self.sidecar);
            link.send(redis::cmd("ZREM").arg(&self.heartbeat.key).arg(&self.sidecar).arg(told)).await
        };
        let _ = tokio::time::timeout(self.opener.patience(), leaving).await;
    }

    /// Tries until the whole path works, on a new connection every time.
    async fn find(&self) -> Link {
        loop {
            let begun = Instant::now();
            match tokio::time::timeout(self.opener.patience(), self.probe()).await {
                Ok(Ok(link)) => return link,
                Ok(Err(fault)) => self.note(fault),
                Err(_) => self.note(Fault::Slow),
            }
            tokio::time::sleep_until(begun + self.probe_interval).await;
        }
    }

    async fn probe(&self) -> Result<Link, Fault> {
        let fault = |error| match Fault::of(&error) {
            Fault::Other => Fault::Refused,
            fault => fault,
        };
        let mut link = self.opener.open().await.map_err(fault)?;
        link.reaches_all().await.map_err(fault)?;
        // It must be as quick as requests need it, or it would fall again at once; the first call may
        // carry the script.
        for _ in 0..3 {
            let begun = Instant::now();
            self.heartbeat.beat(&link, &self.sidecar).await.map_err(fault)?;
            if begun.elapsed() <= self.timeout {
                return Ok(link);
            }
        }
        Err(Fault::Slow)
    }

    fn note(&self, fault: Fault) {
        self.meters.error(fault);
        if self.health.still(fault) {
            tracing::warn!(address = %self.opener.address(), fault = fault.name(), "Redis is not to be had");
        }
    }

    /// Gives signs of life until the store is down.
    async fn keep(&self, link: Link) {
        let Some(epoch) = self.health.epoch_if_up() else { return };
        let mut told = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.health.wait(|health| !Health::is_up(health)) => return,
            }
            let beat = self.heartbeat.beat(&link, &self.sidecar);
            let fault = match tokio::time::timeout(self.opener.patience(), beat).await {
                // What it knew before it can have forgotten with all the rest.
                Ok(Ok((_, new))) if !(told && new) => {
                    told = self.heartbeat.told.load(Ordering::Relaxed);
                    continue;
                }
                Ok(Ok(_)) => Fault::Forgot,
                Ok(Err(error)) => Fault::of(&error),
                Err(_) => Fault::Slow,
            };
            self.meters.error(fault);
            self.fall(fault, epoch);
            return;
        }
    }
}

/// Takes the sidecar off the list when the loop is dropped.
struct Leaving(Arc<Store>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && self.0.health().is_up()
        {
            let store = self.0.clone();
            runtime.spawn(async move { store.leave().await });
        }
    }
}
