//! The accounts that all sidecars share, in Redis.
//!
//! Everything that is told there can be told again and changes nothing then, so that an answer that was lost costs
//! nothing:
//! - What a sidecar has spent is told as the whole of it, each sidecar in a field of its own, and only ever rises (a
//!   grow-only counter: Shapiro and others, "Conflict-free Replicated Data Types", 2011).
//! - A reservation has a name, and can be opened and ended once. One that nobody renews lapses.
//! - What all have spent never falls, and every call says how much of it the sidecar has seen. If Redis has less, it
//!   was emptied, or a replica took over that had not heard all. What is missing counts at once, and until those who
//!   spent it have told it again; what sidecars spent that are gone, for good.
//! - An emptied Redis knows of no reservations. It says that it is young, and for a moment sidecars decide alone
//!   (see [`super::step`]), until all have told it what they hold.
//!
//! All keys share one hash tag, so that one script may touch several budgets in a cluster, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::Value;

use super::account::{Account, Lease, Sums, Word};
use super::period::{Millis, Span};
use super::step::Step;
use crate::money::Money;
use crate::store::{Call, Script, Store, Unanswered};

static RESERVE: LazyLock<Script> =
    LazyLock::new(|| Script::new([include_str!("shared/state.lua"), include_str!("shared/reserve.lua")].concat()));
static TELL: LazyLock<Script> =
    LazyLock::new(|| Script::new([include_str!("shared/state.lua"), include_str!("shared/tell.lua")].concat()));

/// How long Redis keeps an account after its period: calls that began in it may still end.
const MARGIN: Millis = 2 * 24 * 3_600_000;

/// What is needed to share budgets with other sidecars.
#[derive(Clone)]
pub struct Sharing {
    pub store: Arc<Store>,
    /// This sidecar among all. One that keeps its ledger over a restart should keep this with it: what it has spent
    /// is told under this name, and no two that live may have the same.
    pub sidecar: String,
    /// How long what a sidecar has reserved outlives the sidecar. While it lives, it renews.
    pub reservation: Duration,
}

pub struct Remote {
    pub store: Arc<Store>,
    pub reservation: Duration,
    pub step: Step,
    sidecar: String,
    /// Tells this start of the process from others of the same name.
    start: String,
    prefix: String,
    life: Mutex<String>,
    /// Whether it has ever been sure of its sums.
    settled: AtomicBool,
}

pub struct Answer {
    pub word: Word,
    pub reserved: bool,
    pub sums: Vec<Sums>,
}

/// What is told of one account.
pub struct Told {
    pub account: Arc<Account>,
    pub spent: u64,
    pub acknowledged: u64,
    pub total: u64,
    /// What each held by Redis's knowledge, and what it holds now.
    pub leases: Vec<(Lease, u64, u64)>,
}

/// What Redis says to it: what it knew of this sidecar before, and the sums.
pub type Heard = (u64, Sums);

impl Remote {
    pub fn new(sharing: Sharing) -> Self {
        let Sharing { store, sidecar, reservation } = sharing;
        let prefix = format!("{}:{{b}}", store.prefix());
        let start = format!("{:016x}", fastrand::u64(..));
        Remote {
            store,
            reservation,
            step: Step::default(),
            sidecar,
            start,
            prefix,
            life: Mutex::default(),
            settled: AtomicBool::new(false),
        }
    }

    /// The places of an account.
    pub fn places(&self, budget: &str, span: Span, digest: &str) -> [String; 2] {
        let begin = if span == Span::ALL { "all".to_owned() } else { span.begin.to_string() };
        let key = format!("{}:{budget}:{begin}:{digest}", self.prefix);
        [key.clone(), format!("{key}:r")]
    }

    fn call(&self, script: &'static Script, accounts: &[&Account]) -> Call {
        let life = format!("{}:life", self.prefix);
        let mut keys = vec![life.as_str()];
        keys.extend(accounts.iter().filter_map(|account| account.places.as_ref()).flatten().map(String::as_str));
        let mut call = script.call(keys);
        call.arg(self.life.lock().unwrap_or_else(PoisonError::into_inner).as_str());
        call.arg(&self.start).arg(self.reservation.as_millis() as u64).arg(&self.sidecar);
        call
    }

    /// This sidecar's name among all.
    pub fn sidecar(&self) -> &str {
        &self.sidecar
    }

    /// Whether Redis has ever been sure of its sums.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    fn lease(&self, lease: Lease) -> String {
        format!("{}:{lease:x}", self.start)
    }

    /// Reserves in all accounts, or in none. An answer that comes when nobody waits any more goes to `late`.
    pub async fn reserve<L>(
        self: &Arc<Self>,
        accounts: &[&Account],
        lease: Lease,
        amount: u64,
        late: L,
    ) -> Result<Answer, Unanswered>
    where
        L: FnOnce(Answer) + Send + 'static,
    {
        let mut call = self.call(&RESERVE, accounts);
        call.arg(self.lease(lease)).arg(amount);
        for account in accounts {
            let known = account.state().shared.as_ref().map_or(0, |shared| shared.total);
            call.arg(account.limit().nanos()).arg(known).arg(expires(account.span));
        }
        let (weak, count) = (Arc::downgrade(self), accounts.len());
        let late = move |value| {
            if let Some(answer) = Weak::upgrade(&weak).and_then(|remote| remote.understand(&value, count)) {
                late(answer);
            }
        };
        let value = self.store.call(call, late).await?;
        self.understand(&value, count).ok_or(Unanswered::Down)
    }

    /// Tells Redis, with nobody waiting; none if it did not answer.
    pub async fn tell(&self, told: &[Told]) -> Option<(Word, Vec<Heard>)> {
        let accounts: Vec<&Account> = told.iter().map(|one| one.account.as_ref()).collect();
        let mut call = self.call(&TELL, &accounts);
        for one in told {
            call.arg(one.spent).arg(one.acknowledged).arg(one.total);
            call.arg(expires(one.account.span)).arg(one.leases.len());
            for (lease, held, holds) in &one.leases {
                call.arg(self.lease(*lease)).arg(held).arg(holds);
            }
        }
        let value = self.store.call_patiently(call).await.ok()?;
        let (word, at, rest) = self.head(&value)?;
        let heard = |chunk: &[Value]| Some((number(&chunk[0])?, sums(&chunk[1..], at)?));
        let heard: Vec<Heard> = rest.chunks_exact(6).map(heard).collect::<Option<_>>()?;
        (heard.len() == told.len()).then_some((word, heard))
    }

    fn understand(&self, value: &Value, count: usize) -> Option<Answer> {
        let (word, at, rest) = self.head(value)?;
        let (reserved, rest) = rest.split_first()?;
        let sums: Vec<Sums> = rest.chunks_exact(5).map(|parts| sums(parts, at)).collect::<Option<_>>()?;
        (sums.len() == count).then_some(Answer { word, reserved: number(reserved)? == 1, sums })
    }

    /// Notes the life of Redis. Another one than before means that it was emptied.
    fn head<'value>(&self, value: &'value Value) -> Option<(Word, u64, &'value [Value])> {
        let Value::Array(parts) = value else { return None };
        let [life, sure, at, rest @ ..] = parts.as_slice() else { return None };
        let Value::BulkString(life) = life else { return None };
        let life = str::from_utf8(life).ok()?;
        let mut known = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != life {
            if !known.is_empty() {
                tracing::warn!("Redis was emptied: budgets are told to it again");
                self.step.lose();
            }
            life.clone_into(&mut known);
        }
        let sure = number(sure)? == 1;
        self.settled.fetch_or(sure, Ordering::AcqRel);
        Some((if sure { Word::Whole } else { Word::Partial }, number(at)?, rest))
    }
}

fn expires(span: Span) -> Millis {
    if span == Span::ALL { 0 } else { span.end.saturating_add(MARGIN) }
}

fn sums(parts: &[Value], at: u64) -> Option<Sums> {
    let [sum, missing, held, own_spent, own_held] = parts else { return None };
    let total = number(sum)?.saturating_add(number(missing)?).min(Money::MOST.nanos());
    Some(Sums { at, total, held: number(held)?, own_spent: number(own_spent)?, own_held: number(own_held)? })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}
