//! Decides requests: by the shared store where it answers, by this process's own ledger otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::metrics::Meter;

use super::guard::Guard;
use super::handover::Heir;
use super::ledger::{Full, Ledger, Line, Standing, State, in_order};
use super::limit::{Config, Unit, WhenLost};
use super::log::Nanos;
use super::metrics::Metrics;
use super::permit::{Held, Late, Permit};
use super::remote::{Answer, Call, Kind, Lease, Line as Asked, Remote, Restore, Seen};
use super::rule::{Demand, Rule, rules};
use super::share::{View, share};
use super::step::{Step, UNSURE};
use crate::newest::Newest;
use crate::store::{Replicas, Store, Unanswered};
use crate::tenants::Names;

/// How long a refusal by the store is repeated without asking it again, at most: its limits may change.
const REPEATED: Duration = Duration::from_millis(250);
/// How often a request tells the store again what the store has lost.
const TELLINGS: u8 = 3;

pub struct Limiter {
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) remote: Option<Arc<Remote>>,
    pub(super) metrics: Metrics,
    pub(super) names: Names,
    pub guard: Arc<Guard>,
    pub(super) step: Arc<Step>,
    pub(super) heir: Arc<Heir>,
    pub(super) leases: Arc<AtomicU64>,
    pub(super) me: Weak<Limiter>,
    pub(super) newest: Arc<Newest<Limiter>>,
}

/// By whose word a request was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The shared store's.
    Redis,
    /// This process's own, which is all there is.
    Alone,
    /// This process's own, because the store cannot be asked.
    Degraded,
}

/// Where a request stands with one of its limits.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub rule: usize,
    pub amount: u64,
    pub cost: u64,
    pub standing: Standing,
}

/// A request that did not fit.
#[derive(Debug)]
pub struct Denied {
    pub verdicts: Vec<Verdict>,
    pub mode: Mode,
    /// The limit that refuses because its store cannot be asked.
    pub unknown: Option<usize>,
}

impl Limiter {
    /// # Errors
    /// The path of a key below `rate_limit`, and what is wrong there.
    pub fn new(
        config: &Config,
        names: Names,
        store: Option<Arc<Store>>,
        meter: &Meter,
    ) -> Result<Arc<Self>, (String, String)> {
        let lease = Duration::from_secs(config.reservation_secs.get());
        // Also where there is no limit yet: one may come.
        let remote = store.map(|store| Remote::new(store, lease, meter));
        let rules = rules(config, &names, remote.as_ref().map(|remote| remote.store().prefix()))?;
        let metrics = Metrics::new(&rules, None);
        let limiter = Arc::new_cyclic(|me| Limiter {
            ledger: Arc::new(Ledger::new(config.max_keys.get())),
            guard: Arc::new(Guard::new(&config.guard)),
            step: Arc::default(),
            heir: Arc::default(),
            leases: Arc::default(),
            me: me.clone(),
            newest: Newest::of(me),
            metrics,
            remote,
            names,
            rules,
        });
        Metrics::observe(&limiter, meter);
        Ok(limiter)
    }

    /// Whether there is any limit.
    pub fn has_limits(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether any limit counts tokens: only then is a prompt worth counting.
    pub fn counts_tokens(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.unit, Unit::Tokens | Unit::InputTokens | Unit::OutputTokens))
    }

    /// Sweeps, and keeps the store's part going, for all that follow this one too. Runs for as long as the process does.
    pub async fn run(self: Arc<Self>) {
        let sweep = async {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                self.ledger.sweep();
                self.now_holds().guard.sweep();
            }
        };
        match &self.remote {
            Some(remote) => drop(tokio::join!(sweep, remote.clone().run(), self.keep_step(remote))),
            None => sweep.await,
        }
    }

    fn lines(&self, demand: &Demand<'_>) -> Vec<Line> {
        let line = |(at, rule): (usize, &Arc<Rule>)| {
            let amount = rule.amount(&demand.tenant)?;
            let kind = rule.kind();
            let (account, cost) = (self.ledger.account(rule, demand), rule.cost(demand, amount));
            Some(Line { account, rule: at, kind, window: rule.window, amount, cost })
        };
        let concerned = self.rules.iter().enumerate().filter(|(_, rule)| rule.concerns(demand));
        let mut lines: Vec<_> = concerned.filter_map(line).collect();
        in_order(&mut lines);
        lines
    }

    /// Admits a request under all its limits, or none.
    pub async fn admit(&self, demand: &Demand<'_>) -> Result<Permit, Denied> {
        let lines = self.lines(demand);
        let lease = self.lease();
        let decided = match (&self.remote, lines.is_empty()) {
            (Some(remote), false) if self.step.is_kept(remote.store()) => self.shared(remote, lines, lease).await,
            (Some(_), false) => self.alone(lines, lease, Mode::Degraded),
            _ => self.alone(lines, lease, Mode::Alone),
        };
        self.metrics.decided(&decided);
        decided
    }

    pub(super) fn begin_leases_at(&self, first: u64) {
        self.leases.fetch_max(first, Ordering::Relaxed);
    }

    /// A new one.
    pub(super) fn lease(&self) -> Lease {
        Lease(self.leases.fetch_add(1, Ordering::Relaxed))
    }

    fn permit(&self, lines: Vec<Line>, stamps: Vec<Nanos>, lease: Lease, mode: Mode, verdicts: Vec<Verdict>) -> Permit {
        for line in lines.iter().filter(|line| line.kind != Kind::Window) {
            self.metrics.reserve(line.rule, line.cost);
        }
        let held = lines.into_iter().zip(stamps).map(|(line, stamp)| Held { line, stamp }).collect();
        Permit::new(self.me.upgrade(), lease, mode, held, verdicts)
    }

    /// Decides by the ledger: exactly, if there is no store; otherwise each limit as it says for the store's loss.
    fn alone(&self, lines: Vec<Line>, lease: Lease, mode: Mode) -> Result<Permit, Denied> {
        let replicas = match (&self.remote, mode) {
            (Some(_), Mode::Degraded) => self.step.replicas(),
            _ => Replicas { count: 1, rank: 0 },
        };
        let lost = |line: &Line| self.rules.get(line.rule).map_or(WhenLost::Local, |rule| rule.when_lost);
        if mode == Mode::Degraded
            && let Some(closed) = lines.iter().find(|line| lost(line) == WhenLost::Closed)
        {
            return Err(Denied { verdicts: Vec::new(), mode, unknown: Some(closed.rule) });
        }
        let cap = |line: &Line, state: &State, now: Nanos| match (mode, lost(line)) {
            (Mode::Degraded, WhenLost::Open) => u64::MAX,
            (Mode::Degraded, _) => share(line.amount, state.view, replicas, now, line.window),
            _ => line.amount,
        };
        let heir = self.heir.now();
        match self.ledger.admit(&lines, lease, cap) {
            Ok((stamps, standings)) => {
                if let Some(tell) = &*heir {
                    self.tell_charged(tell, &lines, lease);
                }
                let verdicts = verdicts(&lines, standings);
                Ok(self.permit(lines, stamps, lease, mode, verdicts))
            }
            Err(standings) => Err(Denied { verdicts: verdicts(&lines, standings), mode, unknown: None }),
        }
    }

    /// Decides by the store, in one round trip.
    async fn shared(&self, remote: &Arc<Remote>, lines: Vec<Line>, lease: Lease) -> Result<Permit, Denied> {
        if let Some(denied) = self.still_full(&lines) {
            return Err(denied);
        }
        let now = self.ledger.now();
        if lines.iter().any(|line| now < line.account.state().unsure_until) {
            return self.alone(lines, lease, Mode::Degraded);
        }
        let mut stored: Option<Vec<u64>> = None;
        for _ in 0..=TELLINGS {
            let (call, told) = self.call(&lines, lease, stored.as_deref());
            let late = Arc::new(Mutex::new(Late::Awaited));
            match remote.admit(call, self.when_late(&lines, lease, &late)).await {
                Ok(Answer::Admitted { at, lines: seen }) => {
                    let stamps = self.admitted(&lines, lease, &seen, &told);
                    lines.iter().for_each(|line| line.placed(lease, at));
                    let verdicts = verdicts(&lines, seen.iter().map(standing));
                    let permit = self.permit(lines, stamps, lease, Mode::Redis, verdicts);
                    return Ok(permit.placed(Arc::new(Mutex::new(Late::Placed(at)))));
                }
                Ok(Answer::Refused { lines: seen, .. }) => {
                    self.refused(&lines, &seen, &told);
                    let verdicts = verdicts(&lines, seen.iter().map(standing));
                    return Err(Denied { verdicts, mode: Mode::Redis, unknown: None });
                }
                Ok(Answer::Lost { stored: has, .. }) => {
                    if self.has_lost(remote, &lines, &has).await {
                        break;
                    }
                    stored = Some(has);
                }
                Err(Unanswered::Slow) => {
                    let decided = self.alone(lines, lease, Mode::Degraded);
                    return match decided {
                        Ok(permit) => Ok(permit.placed(late)),
                        Err(denied) => {
                            *late.lock().unwrap_or_else(PoisonError::into_inner) = Late::Refused;
                            Err(denied)
                        }
                    };
                }
                Err(Unanswered::Down) => break,
            }
        }
        self.alone(lines, lease, Mode::Degraded)
    }

    /// Whether the store has lost what it once had. What it has never been told it can be told with the next
    /// question; but what it lost of this sidecar it has lost of the others too, and until they have told it again its
    /// sums are too small.
    async fn has_lost(&self, remote: &Arc<Remote>, lines: &[Line], stored: &[u64]) -> bool {
        let until = self.ledger.now() + u64::try_from(UNSURE.as_nanos()).unwrap_or(0);
        let lost = |(line, stored): &(&Line, &u64)| {
            let mut state = line.account.state();
            let kept = if line.kind == Kind::Concurrent { state.open.len() as u64 } else { state.confirmed };
            let lost = **stored < kept;
            if lost {
                state.unsure_until = until;
            }
            lost
        };
        let lost: Vec<Line> = lines.iter().zip(stored).filter(lost).map(|(line, _)| line.clone()).collect();
        for line in &lost {
            self.tell_one(remote, Line { cost: 0, ..line.clone() }).await;
        }
        !lost.is_empty()
    }

    /// A refusal that the store has given a moment ago and that is still true.
    fn still_full(&self, lines: &[Line]) -> Option<Denied> {
        let now = self.ledger.now();
        let full = lines.iter().find_map(|line| {
            let state = line.account.state();
            let full = state.full.as_deref().filter(|full| now < full.until)?;
            Some((line, *full))
        });
        let (line, Full { at, standing, .. }) = full?;
        let since = |span: Duration| span.saturating_sub(Duration::from_nanos(now.saturating_sub(at)));
        let standing = Standing {
            resets: standing.resets.map(|(some, all)| (since(some), since(all))),
            retry: standing.retry.map(since),
            ..standing
        };
        Some(Denied { verdicts: verdicts(std::slice::from_ref(line), [standing]), mode: Mode::Redis, unknown: None })
    }

    /// What the store is asked, and what of it was not told before, line by line.
    pub(super) fn call(&self, lines: &[Line], lease: Lease, stored: Option<&[u64]>) -> (Call, Vec<u64>) {
        let now = self.ledger.now();
        let asked = lines.iter().enumerate().map(|(at, line)| {
            let mut state = line.account.state();
            state.log.expire(now, line.window);
            let known = state.known(line.kind);
            let lost = stored.and_then(|stored| stored.get(at)).copied().filter(|stored| *stored < known);
            let restore = lost.map(|stored| {
                // Of what is lost wholly all is told; of what is lost in part, the newest: it was copied last.
                let most = if stored == 0 { u64::MAX } else { known - stored };
                Restore { stored, charges: state.log.newest(now, most), open: state.open.clone() }
            });
            let told = if restore.is_some() { state.untold } else { 0 };
            (Asked { limit: line.limit(), cost: line.cost, known, restore }, told)
        });
        let (lines, told) = asked.unzip();
        (Call { lease, lines }, told)
    }

    /// Enters in the ledger what the store has admitted.
    fn admitted(&self, lines: &[Line], lease: Lease, seen: &[Seen], told: &[u64]) -> Vec<Nanos> {
        let enter = |((line, seen), told): ((&Line, &Seen), &u64)| {
            let stamp = self.ledger.charge(line, lease);
            self.learn(line, seen, *told);
            stamp
        };
        lines.iter().zip(seen).zip(told).map(enter).collect()
    }

    fn refused(&self, lines: &[Line], seen: &[Seen], told: &[u64]) {
        let now = self.ledger.now();
        for ((line, seen), told) in lines.iter().zip(seen).zip(told) {
            self.learn(line, seen, *told);
            // Only requests: what is reserved in tokens may be given back at any moment.
            let (false, Kind::Window, Some(retry)) = (seen.fits, line.kind, seen.retry) else { continue };
            let nanos = u64::try_from(retry.min(REPEATED).as_nanos()).unwrap_or(0);
            let full = Full { at: now, until: now + nanos, standing: standing(seen) };
            line.account.state().full = Some(Box::new(full));
        }
    }

    pub(super) fn learn(&self, line: &Line, seen: &Seen, told: u64) {
        let mut state = line.account.state();
        state.confirmed = state.confirmed.max(seen.own);
        state.untold = state.untold.saturating_sub(told);
        let in_step = self.remote.as_ref().is_some_and(|remote| self.step.is_kept(remote.store()));
        let now = self.ledger.now();
        let own = if line.kind == Kind::Concurrent { state.open.len() as u64 } else { state.log.sum() };
        if in_step && now >= state.unsure_until {
            state.view = Some(View { at: now, used: seen.used, own });
            return;
        }
        // What the others have is not all there yet. The first to tell a store that came back empty would take all the
        // others' room for free, and part it; what was seen before is nearer to the truth. But what is there already,
        // others have taken.
        let had = share(line.amount, state.view, self.step.replicas(), now, line.window);
        let left = own + line.amount.saturating_sub(seen.used);
        if left < had {
            state.view = Some(View { at: now, used: line.amount, own: left });
        }
    }

    /// What becomes of an answer that came after the request had been decided without it.
    fn when_late(&self, lines: &[Line], lease: Lease, late: &Arc<Mutex<Late>>) -> impl FnOnce(Answer) + Send + 'static {
        let (limiter, lines, late) = (self.me.upgrade(), lines.to_vec(), late.clone());
        move |answer| {
            let (Some(limiter), Answer::Admitted { at, lines: seen }) = (limiter, answer) else { return };
            let mut late = late.lock().unwrap_or_else(PoisonError::into_inner);
            let was = std::mem::replace(&mut *late, Late::Placed(at));
            for (line, seen) in lines.iter().zip(&seen) {
                // What was charged without the store is told to it by this.
                limiter.learn(line, seen, if matches!(was, Late::Refused) { 0 } else { line.cost });
            }
            if matches!(was, Late::Awaited) {
                lines.iter().for_each(|line| line.placed(lease, at));
            }
            match was {
                Late::Settled(actual) => limiter.settle_remotely(&lines, lease, at, &actual),
                Late::Refused => limiter.settle_remotely(&lines, lease, at, &vec![0; lines.len()]),
                Late::Awaited | Late::Placed(_) => {}
            }
        }
    }
}

fn verdicts(lines: &[Line], standings: impl IntoIterator<Item = Standing>) -> Vec<Verdict> {
    let verdict = |(line, standing): (&Line, Standing)| {
        let Line { rule, amount, cost, .. } = *line;
        Verdict { rule, amount, cost, standing }
    };
    lines.iter().zip(standings).map(verdict).collect()
}

fn standing(seen: &Seen) -> Standing {
    let Seen { used, reserved, fits, retry, .. } = *seen;
    Standing { used, reserved, resets: seen.oldest.zip(seen.newest), fits, retry }
}
