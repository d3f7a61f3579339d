//! What goes on in the background: news are listened to, writes sent, scopes loaded, and what is past is let go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;

use super::Places;
use super::rules::{Purge, Rule};
use super::shared::{Away, Item, Job, News, Position, Remote};
use super::stats::count;
use crate::semantic_cache::entry::{Scope, now};

/// How often the news are asked for: as long as a purge takes to be heard of by the others.
const NEWS: Duration = Duration::from_millis(75);
/// How long it waits after an answer that failed, where Redis itself is up.
const AGAIN: Duration = Duration::from_millis(250);
const SWEEP: Duration = Duration::from_secs(20);
/// Scopes that are loaded side by side.
const LOADS: usize = 4;

impl Places {
    /// Until it is dropped.
    pub async fn run(self: Arc<Self>) {
        match &self.remote {
            Some(remote) => {
                tokio::join!(self.sweep(), self.listen(remote), self.send(remote), self.load(remote));
            }
            None => self.sweep().await,
        }
    }

    async fn sweep(&self) {
        loop {
            self.measure().await;
            tokio::time::sleep(SWEEP).await;
            self.drop_bad().await;
            let rules = self.rules.clone();
            let _ = tokio::task::spawn_blocking(move || rules.sweep()).await;
        }
    }

    /// What the disk really holds, as the file system has it.
    async fn measure(&self) {
        let Some(folder) = self.folder.clone() else { return };
        let bytes = tokio::task::spawn_blocking(move || super::disk::bytes_in(&folder)).await;
        if let Ok(Ok(bytes)) = bytes {
            self.counts.disk_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    async fn listen(&self, remote: &Remote) {
        loop {
            remote.store.up().await;
            let Some(epoch) = remote.store.epoch() else { continue };
            if let Ok(position) = self.begin(remote, epoch).await {
                self.follow(remote, epoch, position).await;
            } else {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Learns and tells all purges; after this, what Redis has may be trusted.
    async fn begin(&self, remote: &Remote, epoch: u64) -> Result<Position, Away> {
        let start = remote.index.begin(self.era()).await?;
        self.take(start.rules.clone()).await;
        let covers =
            |known: &Rule, rule: &Rule| known.era >= rule.era && (known.what == rule.what || known.what == Purge::All);
        let lost = |rule: &Rule| !start.rules.iter().any(|known| covers(known, rule));
        let lost: Vec<Rule> = self.rules.told(true).into_iter().filter(lost).collect();
        remote.index.restore(&lost).await?;
        self.tell(remote).await?;
        remote.trust(epoch, start.born);
        remote.entered.reload();
        Ok(start.position)
    }

    /// Tells the purges that the others have not heard of.
    async fn tell(&self, remote: &Remote) -> Result<(), Away> {
        for rule in self.rules.told(false) {
            let told = remote.index.purge(&rule).await?;
            self.take(vec![told]).await;
        }
        Ok(())
    }

    /// Listens until something was lost.
    async fn follow(&self, remote: &Remote, epoch: u64, mut position: Position) {
        while remote.store.epoch() == Some(epoch) {
            match remote.index.news(&position, self.era()).await {
                Ok(News::Items { items, position: next, more }) => {
                    self.hear(remote, items).await;
                    position = next;
                    if !more {
                        let _ = self.tell(remote).await;
                        tokio::time::sleep(NEWS).await;
                    }
                }
                Ok(News::Lost) => {
                    tracing::info!("Redis has lost news of kept answers: all is read anew");
                    break;
                }
                Err(Away) => tokio::time::sleep(NEWS).await,
            }
        }
        remote.distrust();
    }

    async fn hear(&self, remote: &Remote, items: Vec<Item>) {
        let mut rules = Vec::new();
        for item in items {
            match item {
                Item::Hint(hint) if hint.until > now() && remote.entered.has(&hint.scope) => self.listener.hint(hint),
                Item::Hint(_) => {}
                Item::Gone(scope, id) => self.remove_here(&id, &scope),
                Item::Rule(rule) => rules.push(rule),
            }
        }
        self.take(rules).await;
    }

    /// Takes over rules that all know, and lets go of what they hide.
    pub(super) async fn take(&self, rules: Vec<Rule>) {
        if rules.is_empty() {
            return;
        }
        let held = self.rules.clone();
        match tokio::task::spawn_blocking(move || held.take(rules)).await {
            Ok(Ok(false)) | Err(_) => return,
            Ok(Ok(true)) => {}
            Ok(Err(error)) => tracing::error!(%error, "a purge that was heard of could not be written"),
        }
        self.drop_bad().await;
    }

    async fn load(&self, remote: &Remote) {
        let mut requests = remote.requests.lock().await;
        let requests = futures::stream::poll_fn(|context| requests.poll_recv(context));
        requests.for_each_concurrent(LOADS, |scope| self.load_one(remote, scope)).await;
    }

    async fn load_one(&self, remote: &Remote, scope: Scope) {
        let Ok(hints) = remote.index.scope(&scope).await else {
            // When Redis is back, all that are entered are loaded; where it is up, the next use asks again.
            if remote.store.epoch().is_some() {
                remote.entered.failed(&scope);
            }
            return;
        };
        hints.into_iter().for_each(|hint| self.listener.hint(hint));
        remote.entered.loaded(&scope);
    }

    async fn send(&self, remote: &Remote) {
        loop {
            while self.send_some(remote).await {}
            remote.queue.any().await;
        }
    }

    /// Sends what may go side by side; false where nothing waits.
    pub(super) async fn send_some(&self, remote: &Remote) -> bool {
        let _writing = remote.writing.lock().await;
        let (mut answers, mut rest) = (Vec::new(), Vec::new());
        for job in remote.queue.take() {
            match job {
                Job::Keep(entry, bytes) => answers.push((entry, bytes)),
                other => rest.push(other),
            }
        }
        // An answer before its hint, so that whoever follows the hint finds it.
        let answers = answers.iter().map(|(entry, bytes)| async move {
            let counts = &self.counts;
            count(if remote.put(entry, bytes).await { &counts.redis_writes } else { &counts.redis_dropped });
        });
        let any = join_all(answers).await.len() + rest.len() > 0;
        let rest = rest.iter().map(|job| async move {
            let told = match job {
                Job::Hint(hint) => remote.index.publish(hint).await,
                Job::Gone(scope, id) => remote.index.withdraw(scope, id).await,
                Job::Keep(..) => Ok(()),
            };
            if told.is_err() {
                count(&self.counts.redis_dropped);
            }
        });
        join_all(rest).await;
        any
    }
}
