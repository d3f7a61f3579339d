//! The books: prices, budgets, ledger, and what they add up to. Shared by the room, the admin port and the background.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use opentelemetry::metrics::Meter;

use super::advice::{self, Advice};
use super::bill::{Closed, Order, Used};
use super::budgets::{Budgets, Demand, Refused, Reservation, Sharing, Spent};
use super::busy::{Machine, Shift};
use super::config::{Config, Unpriced};
use super::counting::{Counting, Unsaid};
use super::ledger::{self, Ended, Kind, Ledger, Measured, Record, Series, Sums};
use super::meters::Meters;
use super::prices::{Price, Prices, Use};
use super::wishes;
use crate::ask::{Ask, Route};
use crate::charge::{Charged, Saver, Savings, Source};
use crate::estimate::Estimates;
use crate::labels;
use crate::money::Money;
use crate::store::Store;
use crate::tenants::Names;
use crate::tokens::Tokenizers;
use crate::usage::{Service, Tokens};

/// How long the end of the process waits for what is still counted, and for the ledger's disk.
pub(super) const LAST_FLUSH: Duration = Duration::from_secs(2);

/// A backend, as far as costs go.
#[derive(Clone, Debug)]
pub struct Backend {
    pub name: Arc<str>,
    /// Whether streams may be asked what they used.
    pub include_usage: bool,
}

/// What the books are made of.
pub struct Parts<'config> {
    pub config: &'config Config,
    pub backends: Vec<Backend>,
    pub names: Names,
    pub store: Option<Arc<Store>>,
    pub tokenizers: Arc<Tokenizers>,
    pub meter: &'config Meter,
    /// The lock on the ledger, from a process that this one is to follow.
    pub ledger_lock: Option<OwnedFd>,
}

impl<'config> Parts<'config> {
    /// Without backends that have names, tenants that have, or a store.
    pub fn alone(config: &'config Config, tokenizers: Arc<Tokenizers>, meter: &'config Meter) -> Self {
        let (backends, names) = (Vec::new(), Names::default());
        Parts { config, backends, names, store: None, tokenizers, meter, ledger_lock: None }
    }
}

pub struct Books {
    pub(super) prices: Arc<Prices>,
    pub(super) unpriced: Unpriced,
    pub(super) ledger: Arc<Ledger>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) advice: Arc<Advice>,
    pub(super) tokenizers: Arc<Tokenizers>,
    pub(super) names: Names,
    pub(super) zone: TimeZone,
    /// By their places; a place whose backend is no more is empty.
    pub(super) backends: Vec<Option<Backend>>,
    pub(super) machines: Vec<Arc<Machine>>,
    pub(super) counting: Arc<Counting>,
    pub(super) meters: Arc<Meters>,
    /// What answers use, for what is to be reserved.
    pub(super) outputs: Arc<Estimates>,
    /// What calls cost that are paid by time, in millionths of a dollar.
    pub(super) times: Arc<Estimates>,
    /// The day, and the second until which it is this one.
    pub(super) today: (AtomicI64, AtomicI64),
}

impl Books {
    /// # Errors
    /// The key below `cost` that is wrong, and why.
    pub fn new(parts: Parts<'_>) -> Result<Arc<Self>, (String, String)> {
        let Parts { config, backends, names, store, tokenizers, meter, ledger_lock } = parts;
        let zone = config.zone()?;
        let wrong = |key: &str, words: &dyn std::fmt::Display| (key.to_owned(), words.to_string());
        let ledger = Ledger::open_beside(&config.ledger(), meter, ledger_lock);
        let ledger = ledger.map_err(|error| wrong("ledger_path", &error))?;
        let sidecar = ledger.identity().map_err(|error| wrong("ledger_path", &error))?;
        let reservation = Duration::from_secs(config.reservation_secs.get());
        let sharing = store.map(|store| Sharing { store, sidecar, reservation });
        let budgets = Budgets::new(&config.budgets, zone.clone(), &names, sharing, meter)?;
        remember(&budgets, &ledger).map_err(|error| wrong("ledger_path", &error))?;
        let counting = Counting::start(tokenizers.clone()).map_err(|error| wrong("ledger_path", &error))?;
        let advice = Advice::new(&config.advice, names.clone(), tokenizers.clone());
        let machines = backends.iter().map(|_| Arc::default()).collect();
        Ok(Arc::new(Books {
            prices: Arc::new(config.prices()?),
            unpriced: config.unpriced,
            ledger,
            budgets,
            advice,
            tokenizers,
            zone,
            backends: backends.into_iter().map(Some).collect(),
            machines,
            counting: Arc::new(counting),
            meters: Arc::new(Meters::new(meter, &names)),
            names,
            outputs: Arc::default(),
            times: Arc::default(),
            today: Default::default(),
        }))
    }

    pub fn backend(&self, place: usize) -> Option<&Backend> {
        self.backends.get(place)?.as_ref()
    }

    pub fn price(&self, model: &str, backend: &str) -> Option<Arc<Price>> {
        self.prices.find(model, backend, self.day()).cloned()
    }

    pub fn begin_shift(&self, backend: usize) -> Option<Shift> {
        Some(self.machines.get(backend)?.begin())
    }

    /// Prices hold from day to day, by UTC. A day is looked up once a minute.
    fn day(&self) -> Date {
        let now = ledger::now() / 1000;
        let (day, until) = &self.today;
        if now >= until.load(Ordering::Relaxed) {
            day.store(now.div_euclid(86_400), Ordering::Relaxed);
            until.store(now - now.rem_euclid(60) + 60, Ordering::Relaxed);
        }
        let start = Timestamp::from_second(day.load(Ordering::Relaxed) * 86_400).unwrap_or_default();
        start.to_zoned(TimeZone::UTC).date()
    }

    /// How much of the budget that is nearest to its end is spent.
    pub fn spent_share(&self) -> Option<f64> {
        self.budgets.spent_share()
    }

    /// Takes what a call may cost out of the budgets.
    pub async fn reserve(self: &Arc<Self>, order: &mut Order) -> Result<Option<Reservation>, Refused> {
        order.expected = self.output(order);
        let Some(amount) = self.most(order) else { return Ok(None) };
        let question = &order.ask.question;
        let demand = Demand {
            tenant: order.ask.tenant,
            model: question.model.as_deref().unwrap_or_default(),
            tag: wishes::tag(order.ask.steering()),
        };
        let mut held = self.budgets.reserve(&demand, amount).await?;
        // Who leaves before the answer has begun has had his prompt read.
        held.spent_if_dropped = order.price.as_ref().map_or(Money::ZERO, |price| {
            price.cost(&Use { tokens: input_only(order.prompt.unwrap_or(0)), ..Use::default() })
        });
        Ok(Some(held))
    }

    /// The tokens that an answer may have: as its client bounds it, or as others like it had.
    fn output(&self, order: &Order) -> u64 {
        let question = &order.ask.question;
        let each = match question.max_tokens {
            _ if order.ask.route == Route::Embeddings => 0,
            Some(most) => most,
            None => self.outputs.output(question.model.as_deref(), order.prompt.unwrap_or(0)),
        };
        each.saturating_mul(question.choices.unwrap_or(1).max(1))
    }

    /// What a call may cost, as far as anybody can know; none where nobody asks.
    fn most(&self, order: &Order) -> Option<Money> {
        if self.budgets.is_empty() {
            return None;
        }
        let Some(price) = &order.price else { return Some(Money::ZERO) };
        let (question, input) = (&order.ask.question, order.prompt.unwrap_or(0));
        let model = question.model.as_deref();
        let tokens = Tokens { output: order.expected, ..input_only(input) };
        let by_tokens = price.cost(&Use { tokens, service: question.service.unwrap_or_default(), ..Use::default() });
        let by_time = if price.is_by_time() { self.times.output(model, input) } else { 0 };
        Some(by_tokens + Money::from_nanos(by_time.saturating_mul(1000)))
    }

    /// Writes down what a call has cost.
    pub(super) fn book(&self, closed: Closed, used: &Used) {
        let Closed { open, end, took, busy } = closed;
        let order = &open.order;
        let service = used.usage.service.or(order.ask.question.service).unwrap_or_default();
        let cost = order.price.as_ref().map(|price| price.cost(&Use { tokens: used.tokens, service, busy }));
        self.learn(order, used, end, cost);
        self.write_down(order, used, service, cost, (end, took, open.first_token));
        self.meters.paid(&order.ask, &used.tokens, cost, used.source);
        let backend = self.backend(order.backend).map_or("", |backend| &backend.name);
        let model = order.ask.question.model.as_deref().unwrap_or_default();
        let wasted = end != Ended::Complete;
        let spent = advice::Spent {
            ask: &order.ask,
            model,
            backend,
            tokens: used.tokens,
            cost,
            attempt: order.attempt,
            wasted,
        };
        self.advice.note(&spent);
        open.charge.fill(Charged { tokens: used.tokens, cost, source: used.source });
        if let Some(held) = open.held {
            held.settle(cost.unwrap_or_default());
        }
    }

    fn learn(&self, order: &Order, used: &Used, end: Ended, cost: Option<Money>) {
        if end != Ended::Complete || self.budgets.is_empty() {
            return;
        }
        let question = &order.ask.question;
        let output = used.tokens.output / question.choices.unwrap_or(1).max(1);
        // One that its bound has cut off says nothing of how long it would have been.
        if question.max_tokens.is_none_or(|most| output < most) {
            self.outputs.learn(question.model.as_deref(), used.tokens.input, output);
        }
        if let (Some(cost), Some(true)) = (cost, order.price.as_ref().map(|price| price.is_by_time())) {
            self.times.learn(question.model.as_deref(), used.tokens.input, cost.nanos() / 1000);
        }
    }

    fn write_down(
        &self,
        order: &Order,
        used: &Used,
        service: Service,
        cost: Option<Money>,
        (end, took, first_token): (Ended, Duration, Option<Duration>),
    ) {
        let backend = self.backend(order.backend).map_or_else(|| Arc::from(""), |backend| backend.name.clone());
        self.ledger.append(Record {
            at: ledger::now(),
            kind: Kind::Call,
            series: series(&order.ask, backend),
            measured: match used.source {
                Source::Measured => Measured::Measured,
                Source::Estimated => Measured::Estimated,
            },
            end,
            tokens: used.tokens,
            service,
            cost,
            took_ms: millis(took),
            first_token_ms: first_token.map(millis),
            attempt: u16::try_from(order.attempt).unwrap_or(u16::MAX),
            request_id: order.ask.header("x-request-id").map(Box::from),
        });
    }

    /// The same once it is known what it used: counted elsewhere, and not waited for.
    pub(super) fn count_and_book(self: &Arc<Self>, closed: Closed, tally: Option<crate::usage::Tally>) {
        let books = self.clone();
        let book = Box::new(move |closed: Closed, used: &Used| books.book(closed, used));
        self.counting.count(Unsaid { closed, tally, book });
    }

    /// Waits until all is counted and written that was used until now; whether it is. Blocks.
    pub fn settle_all(&self) -> bool {
        self.counting.flush(LAST_FLUSH) & self.ledger.flush(LAST_FLUSH)
    }

    /// Whether budgets can be decided as they should.
    pub fn is_settled(&self) -> bool {
        self.budgets.is_settled()
    }

    /// What goes on behind the requests. Never ends.
    pub async fn run(self: Arc<Self>) {
        if self.budgets.has_hard() {
            // The usual encoding takes a tenth of a second to unfold: not when the first request waits for it.
            let tokenizers = self.tokenizers.clone();
            tokio::task::spawn_blocking(move || tokenizers.text(None, "ready"));
        }
        self.budgets.clone().run().await;
    }

    /// The end of the process: what is still to be counted, told and written is.
    pub async fn finish(self: &Arc<Self>) {
        self.budgets.finish().await;
        let books = self.clone();
        let done = tokio::task::spawn_blocking(move || books.settle_all());
        if !done.await.unwrap_or(false) {
            tracing::error!("the ledger could not be written to its end");
        }
        self.budgets.finish().await;
    }
}

/// Tells the budgets what was spent in periods that are not over, range by range between their beginnings.
pub(super) fn remember(budgets: &Budgets, ledger: &Ledger) -> Result<(), ledger::Error> {
    let mut begins = budgets.begins();
    begins.insert(i64::MAX);
    let begins: Vec<_> = begins.into_iter().collect();
    for range in begins.windows(2) {
        let (since, until) = (range[0], range[1]);
        ledger.spent(since, until, |series, sums| {
            let (model, tag) = (series.model.to_string(), series.tag.as_deref().map(str::to_owned));
            budgets.load(std::iter::once(Spent { at: since, tenant: series.tenant, model, tag, amount: sums.cost }));
        })?;
    }
    Ok(())
}

impl Savings for Books {
    fn saved(&self, by: Saver, ask: &Ask, tokens: &Tokens, calls: u64) {
        let model = ask.question.model.as_deref().unwrap_or_default();
        let service = ask.question.service.unwrap_or_default();
        let price = self.price(model, "");
        let each = price.map(|price| price.cost(&Use { tokens: *tokens, service, ..Use::default() }));
        self.meters.saved(by, tokens, each, calls);
        let kind = match by {
            Saver::Cache => Kind::CacheSaving,
            Saver::Dedup => Kind::DedupSaving,
        };
        let sums = Sums {
            requests: 1,
            unpriced: each.is_none().into(),
            tokens: *tokens,
            cost: each.unwrap_or_default(),
            ..Sums::default()
        };
        self.ledger.save(kind, series(ask, Arc::from("")), &sums, calls);
    }
}

fn series(ask: &Ask, backend: Arc<str>) -> Series {
    let model = ask.question.model.as_deref().filter(|model| labels::is_harmless(model));
    let tag = wishes::tag(ask.steering()).map(Arc::from);
    Series { tenant: ask.tenant, model: Arc::from(model.unwrap_or(labels::OTHER)), backend, route: ask.route, tag }
}

fn input_only(input: u64) -> Tokens {
    Tokens { input, ..Tokens::default() }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
