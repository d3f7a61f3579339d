//! How a call is decided on where sidecars share the budgets: by Redis, or by each alone while it cannot be asked.
//!
//! Alone, a sidecar may have what it had when it last heard of all, and its part of what was left then: over all
//! sidecars that is the limit, if they heard at the same time. What others reserved between its last word and theirs it
//! does not know, and may give away once more; that is as much as goes through them in the milliseconds between.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::Budgets;
use super::account::{Account, Known, State, Sums, Word};
use super::config::WhenLost;
use super::refused::{Refused, Why};
use super::reservation::Reservation;
use super::shared::{Answer, Remote};
use crate::store::Unanswered;

/// How long a worker's first connection is waited for, and how often it is looked for.
const CONNECTING: Duration = Duration::from_millis(250);
const AGAIN: Duration = Duration::from_millis(1);

impl Budgets {
    pub(super) async fn reserve_together(
        self: &Arc<Self>,
        remote: &Arc<Remote>,
        accounts: Vec<Arc<Account>>,
        amount: u64,
    ) -> Result<Reservation, Refused> {
        let now = self.now();
        for account in accounts.iter().filter(|account| account.hard()) {
            let state = account.state();
            // What is spent stays spent: there is no need to ask.
            if state.total().saturating_add(amount) > account.limit().nanos() {
                return Err(self.exceeded(account, &state, amount, Why::Spent).into());
            }
        }
        accounts.iter().for_each(|account| account.state().hold(amount, now));
        let reservation = Reservation::of(self, accounts, self.lease(), amount);
        if !remote.step.is_kept(&remote.store) {
            return self.decide_alone(remote, reservation, Known::Nothing);
        }
        reservation.open(Known::Asked);
        match self.ask_connected(remote, &reservation).await {
            Ok(answer) if answer.reserved => {
                reservation.place();
                self.learn(&reservation, &answer);
                Ok(reservation)
            }
            Ok(answer) if answer.word == Word::Whole => {
                self.learn(&reservation, &answer);
                let refused = self.too_much(&reservation, Why::Spent);
                reservation.annul();
                Err(refused)
            }
            Ok(_) => self.decide_alone(remote, reservation, Known::Nothing),
            Err(_) => self.decide_alone(remote, reservation, Known::Asked),
        }
    }

    /// Asks, and where this worker has no connection yet, waits for it: with many at once on a fresh worker, who decided alone
    /// would overshoot.
    async fn ask_connected(
        self: &Arc<Self>,
        remote: &Arc<Remote>,
        reservation: &Reservation,
    ) -> Result<Answer, Unanswered> {
        let until = Instant::now() + CONNECTING;
        loop {
            match self.ask(remote, reservation).await {
                Err(Unanswered::Down) if remote.store.epoch().is_some() && Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                answered => return answered,
            }
        }
    }

    /// One round trip for all hard budgets of a call.
    async fn ask(self: &Arc<Self>, remote: &Arc<Remote>, reservation: &Reservation) -> Result<Answer, Unanswered> {
        let hard = reservation.leased.clone();
        let (lease, amount) = (reservation.lease, reservation.held);
        let late = {
            let (budgets, hard) = (Arc::downgrade(self), hard.clone());
            move |answer: Answer| {
                let Some(budgets) = budgets.upgrade().filter(|_| answer.reserved) else { return };
                for account in &hard {
                    if account.state().is_over(lease, amount) {
                        budgets.queue(account);
                    }
                }
            }
        };
        let asked: Vec<&Account> = hard.iter().map(AsRef::as_ref).collect();
        remote.reserve(&asked, lease, amount, late).await
    }

    fn learn(&self, reservation: &Reservation, answer: &Answer) {
        for (account, sums) in reservation.leased.iter().zip(&answer.sums) {
            let warns = {
                let mut state = account.state();
                // The sums are those from before the reservation.
                let more = if answer.reserved { reservation.held } else { 0 };
                let (held, own_held) = (sums.held.saturating_add(more), sums.own_held.saturating_add(more));
                state.learn(Sums { held, own_held, ..*sums }, answer.word);
                state.warns(account.warn_at().nanos())
            };
            if warns {
                self.warn(account);
            }
        }
    }

    /// While nobody can be asked. What is decided on is held already.
    fn decide_alone(&self, remote: &Remote, reservation: Reservation, known: Known) -> Result<Reservation, Refused> {
        let sidecars = remote.step.sidecars();
        let refused = {
            let hard: Vec<&Arc<Account>> = reservation.accounts.iter().filter(|account| account.hard()).collect();
            let states: Vec<MutexGuard<'_, State>> = hard.iter().map(|account| account.state()).collect();
            let mut refused = None;
            for (account, state) in hard.iter().zip(&states) {
                refused = match account.terms().when_lost {
                    WhenLost::Open => continue,
                    WhenLost::Closed => Some(Refused::Unknown { budget: account.rule.name.clone() }),
                    WhenLost::Local if state.fits_alone(account.limit().nanos(), 0, sidecars) => continue,
                    WhenLost::Local => Some(self.exceeded(account, state, reservation.held, Why::Share).into()),
                };
                break;
            }
            refused
        };
        match (refused, known) {
            (None, _) => {
                if known == Known::Nothing {
                    reservation.open(Known::Nothing);
                } else {
                    // Redis may have it or not: it is told once more.
                    reservation.place();
                }
                reservation.tell();
                Ok(reservation)
            }
            (Some(refused), Known::Nothing) => {
                reservation.annul();
                Err(refused)
            }
            (Some(refused), _) => Err(refused),
        }
    }

    /// The budget that was too small for what is held already.
    fn too_much(&self, reservation: &Reservation, why: Why) -> Refused {
        let room = |account: &&Arc<Account>| {
            let state = account.state();
            account.limit().nanos().saturating_sub(state.total()).saturating_sub(state.reserved())
        };
        let hard = reservation.accounts.iter().filter(|account| account.hard());
        match hard.min_by_key(room) {
            Some(account) => {
                let mut exceeded = self.exceeded(account, &account.state(), reservation.held, why);
                exceeded.reserved = exceeded.reserved.saturating_sub(exceeded.requested);
                exceeded.into()
            }
            None => Refused::Unknown { budget: "".into() },
        }
    }
}
