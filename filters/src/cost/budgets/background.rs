//! What goes on beside the calls: Redis hears what was spent, reservations are renewed, the spending of others is read,
//! and old accounts are forgotten.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Budgets;
use super::account::{Account, Known, Open, State, Word};
use super::shared::{Heard, Remote, Told};
use super::step::OTHERS;
use crate::store::{Fault, Health};

/// How often there is news for Redis, at most.
const FLUSH: Duration = Duration::from_millis(50);
/// How long Redis may be left unasked: an emptied one is to be noticed before it trusts what it knows.
const QUIET: Duration = Duration::from_millis(250);
const FORGET: Duration = Duration::from_secs(60);
/// An account that was used so lately is read anew, so that a share of what is left is one of what is left now.
const USED: i64 = 60_000;
const READ: Duration = Duration::from_secs(1);
/// Accounts read anew at a time.
const MOST_READ: usize = 2_000;
/// Accounts, and reservations, that are told of in one call: Redis does nothing else meanwhile.
const ACCOUNTS: usize = 32;
const LEASES: usize = 256;
/// How long the end of the process waits for Redis.
const GOODBYE: Duration = Duration::from_millis(500);

/// When each of these was done last.
struct Rounds {
    epoch: Option<u64>,
    aside_until: Option<Instant>,
    renewed: Instant,
    read: Instant,
    forgot: Instant,
    asked: Instant,
}

impl Budgets {
    /// Until it is dropped, for all that follow this one too.
    pub async fn run(self: Arc<Self>) {
        let now = Instant::now();
        let mut rounds = Rounds { epoch: None, aside_until: None, renewed: now, read: now, forgot: now, asked: now };
        loop {
            let budgets = self.newest.get().unwrap_or_else(|| self.clone());
            if rounds.forgot.elapsed() >= FORGET {
                rounds.forgot = Instant::now();
                budgets.accounts.forget(budgets.now());
            }
            let Some(remote) = &budgets.remote else {
                drop(budgets);
                tokio::time::sleep(FORGET).await;
                continue;
            };
            budgets.keep_step(remote, &mut rounds);
            budgets.queue_rounds(remote, &mut rounds);
            let told = budgets.flush(remote, &mut rounds.asked).await;
            if let Some(epoch) = rounds.epoch
                && told
                && rounds.aside_until.is_none_or(|until| Instant::now() >= until)
            {
                rounds.aside_until = None;
                remote.step.fall_in(epoch);
            }
            let _ = tokio::time::timeout(FLUSH, remote.step.woken.notified()).await;
        }
    }

    /// Tells Redis what is still to be told.
    pub async fn finish(&self) {
        let Some(remote) = &self.remote else { return };
        let mut asked = Instant::now();
        // An account that Redis has not answered about yet takes two rounds: first it says what it knows.
        let told = async { while self.flush(remote, &mut asked).await && self.has_news() {} };
        let _ = tokio::time::timeout(GOODBYE, told).await;
    }

    /// Whether budgets can be decided as they should: without Redis, or with one that knows all, or one that was tried and is
    /// not to be had. A Redis that is new takes most of a second.
    pub fn is_settled(&self) -> bool {
        let Some(remote) = self.remote.as_ref().filter(|_| !self.is_empty()) else { return true };
        match remote.store.health() {
            Health::Up => remote.is_settled(),
            Health::Down { reason, .. } => reason != Fault::NotTried,
        }
    }

    fn has_news(&self) -> bool {
        !self.news.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Tells everything anew when Redis is back, or was emptied.
    fn keep_step(&self, remote: &Remote, rounds: &mut Rounds) {
        let epoch = remote.store.epoch();
        if epoch.is_none() {
            rounds.epoch = None;
            return;
        }
        if epoch != rounds.epoch || remote.step.is_lost() {
            rounds.epoch = epoch;
            rounds.aside_until = (!remote.step.is_first()).then(|| Instant::now() + OTHERS);
            remote.step.step_aside();
            self.accounts.each(|account| self.renew(account));
        } else if rounds.aside_until.is_none() {
            remote.step.note(remote.store.replicas().count);
        }
    }

    fn queue_rounds(&self, remote: &Remote, rounds: &mut Rounds) {
        if rounds.renewed.elapsed() >= remote.reservation / 3 {
            rounds.renewed = Instant::now();
            self.accounts.each(|account| {
                if account.state().holds_open() {
                    self.renew(account);
                }
            });
        }
        // With many accounts even looking at them all takes time.
        let often = READ * (1 + self.accounts.len() as u32 / 20_000);
        if rounds.read.elapsed() >= often {
            rounds.read = Instant::now();
            let (now, mut left) = (self.now(), MOST_READ);
            self.accounts.each(|account| {
                let due = left > 0 && account.state().used.saturating_add(USED) > now;
                if due {
                    left -= 1;
                    self.queue(account);
                }
            });
        }
    }

    /// Tells Redis all that is new; false if it does not answer.
    async fn flush(&self, remote: &Remote, asked: &mut Instant) -> bool {
        let _alone = self.flushing.lock().await;
        if remote.store.epoch().is_none() {
            return false;
        }
        let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
        // Until Redis has once been sure of its sums nobody may rely on them: it is asked until it is.
        let quiet = if remote.is_settled() { QUIET } else { FLUSH };
        if news.is_empty() && asked.elapsed() < quiet {
            return true;
        }
        *asked = Instant::now();
        let mut telling = Telling { budgets: self, waiting: news, told: Vec::new() };
        loop {
            telling.fill();
            let Some((word, heard)) = remote.tell(&telling.told).await else { return false };
            let word = if remote.step.is_kept(&remote.store) { word } else { Word::Partial };
            for (told, heard) in std::mem::take(&mut telling.told).into_iter().zip(heard) {
                self.heard(&told, heard, word);
            }
            if telling.waiting.is_empty() {
                return true;
            }
        }
    }

    /// Redis has answered.
    fn heard(&self, told: &Told, (was, sums): Heard, word: Word) {
        let account = &told.account;
        let (news, warns) = {
            let mut state = account.state();
            state.acknowledge(told.spent, was);
            for &(lease, _, holds) in &told.leases {
                if holds > 0 && !state.place(lease, holds) {
                    state.is_over(lease, holds);
                }
            }
            state.learn(sums, word);
            (state.has_news(), state.warns(account.warn_at().nanos()))
        };
        if news {
            self.queue(account);
        }
        if warns {
            self.warn(account);
        }
    }
}

/// What is being told, and what waits. Let go, all of it is to be told again.
struct Telling<'budgets> {
    budgets: &'budgets Budgets,
    waiting: Vec<Arc<Account>>,
    told: Vec<Told>,
}

impl Telling<'_> {
    /// Takes what one call may hold.
    fn fill(&mut self) {
        let mut leases = 0;
        while self.told.len() < ACCOUNTS && leases < LEASES {
            let Some(account) = self.waiting.pop() else { return };
            let told = account.state().tell(&account, LEASES - leases);
            leases += told.leases.len();
            self.told.push(told);
            if account.state().is_queued() {
                self.waiting.push(account);
            }
        }
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        for told in self.told.drain(..) {
            told.account.state().untell(&told);
            self.budgets.queue(&told.account);
        }
        let mut news = self.budgets.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.append(&mut self.waiting);
    }
}

impl State {
    fn is_queued(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.queued)
    }

    fn holds_open(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| !shared.open.is_empty())
    }

    /// What Redis is to hear, with so many reservations at most. What is left then stays queued.
    fn tell(&mut self, account: &Arc<Account>, most: usize) -> Told {
        let mut told =
            Told { account: account.clone(), spent: self.spent, acknowledged: 0, total: 0, leases: Vec::new() };
        let Some(shared) = &mut self.shared else { return told };
        if !shared.met {
            told.spent = shared.before;
        }
        told.acknowledged = shared.told_spent();
        told.total = shared.total;
        // What a call held stays held until what it spent is told with its end, and before the first answer that is not told.
        let ended = if shared.met { shared.over.len().min(most) } else { 0 };
        let over = shared.over.drain(..ended);
        told.leases.extend(over.map(|(lease, held)| (lease, held, 0)));
        while told.leases.len() < most
            && let Some(lease) = shared.due.pop()
        {
            match shared.open.get(&lease) {
                Some(Open { now, told: Known::Nothing }) => told.leases.push((lease, *now, *now)),
                Some(Open { now, told: Known::Amount(held) }) => told.leases.push((lease, *held, *now)),
                Some(Open { told: Known::Asked, .. }) | None => {}
            }
        }
        // One that Redis has not answered about yet is told of again once it has.
        shared.queued = shared.met && (!shared.over.is_empty() || !shared.due.is_empty());
        told
    }

    /// Redis may not have heard it.
    fn untell(&mut self, told: &Told) {
        let Some(shared) = &mut self.shared else { return };
        for &(lease, held, holds) in &told.leases {
            match holds {
                0 => shared.over.push((lease, held)),
                _ if shared.open.contains_key(&lease) => shared.due.push(lease),
                _ => shared.is_over(lease, holds),
            }
        }
    }

    /// Redis has so much of this sidecar's spending, and had so much before.
    fn acknowledge(&mut self, told: u64, was: u64) {
        let Some(shared) = &mut self.shared else { return };
        shared.acknowledged = shared.acknowledged.max(told);
        if !std::mem::replace(&mut shared.met, true) {
            // The ledger of this sidecar has lost its end.
            self.spent = self.spent.saturating_add(was.saturating_sub(shared.before));
            shared.acknowledged = shared.acknowledged.max(was);
        }
    }
}
