//! What tokens, requests and machines cost: a table by model, backend and day.
//!
//! Several tables lie over one another, the operator's own first. The price of a call is looked for
//!
//! 1. among the prices that name the call's backend, then among those for all backends;
//! 2. by the model's whole name, by its longest beginning before a `*`, then in the same way by what follows
//!    the last `/` of it, since clients write `openai/gpt-4o`, and at last by the `*` alone;
//! 3. in the first table that has one;
//! 4. and of several for the same by the day: the one that began last.
//!
//! A dated name (`gpt-4o-2024-08-06`) is a name like any other: its price is that of `gpt-4o` only where a table
//! says so.

mod beginnings;
mod entry;
pub mod litellm;
mod rates;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

pub use jiff::civil::Date;
use serde::Deserialize;

use crate::money::Money;
use crate::usage::Service;
use beginnings::Beginnings;
use entry::MAX_NAME_BYTES;
pub use entry::{Entry, Rate};
use rates::over;
pub use rates::{Part, Rates, Use};

/// The public prices that the binary brings with it.
const BUILTIN: &str = include_str!("../../../config/prices.toml");
/// Prices in all tables together.
const MAX_ENTRIES: usize = 50_000;

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Says line and key.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("there are {0} prices: {MAX_ENTRIES} at most")]
    TooMany(usize),
    #[error(
        "two prices for the model `{model}` begin on the same day for the same backend: leave one out, or give it `from`"
    )]
    Twice { model: String },
}

/// Finds the price of a call in well below a microsecond.
#[derive(Debug, Default)]
pub struct Prices {
    prices: Vec<Arc<Price>>,
    names: HashMap<Box<str>, Vec<usize>>,
    beginnings: Beginnings,
}

/// What calls to some models cost.
#[derive(Debug)]
pub struct Price {
    model: Box<str>,
    backends: Box<[String]>,
    from: Date,
    until: Date,
    /// Ordered by the input above which they hold; the first is for all.
    tiers: Box<[Tier]>,
    table: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tier {
    above_input: u64,
    standard: Rates,
    /// Batch, flex, priority, where they are something else than the standard.
    classes: Option<Box<[Rates; 3]>>,
}

/// Whom a price must be for to be taken into account.
#[derive(Clone, Copy)]
struct Wanted<'call> {
    backend: Option<&'call str>,
    day: Date,
}

/// The day by which prices hold now.
pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The entries of one table, of which a text without any has none.
///
/// # Errors
/// What is wrong, with its line and key.
pub fn read(text: &str) -> Result<Vec<Entry>, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        prices: Vec<Entry>,
    }
    Ok(toml::from_str::<File>(text)?.prices)
}

/// The public prices that come with the binary, to lay tables over them.
///
/// # Errors
/// Never in a binary whose tests have passed.
pub fn builtin_entries() -> Result<Vec<Entry>, Problem> {
    read(BUILTIN)
}

impl Prices {
    /// The public prices that come with the binary.
    ///
    /// # Errors
    /// Never in a binary whose tests have passed.
    pub fn builtin() -> Result<Prices, Problem> {
        Prices::new(&[&builtin_entries()?])
    }

    /// Of tables the first is asked first.
    ///
    /// # Errors
    /// Where there are too many entries, or nothing decides between two of one table.
    pub fn new(tables: &[&[Entry]]) -> Result<Prices, Problem> {
        let count = tables.iter().map(|table| table.len()).sum();
        if count > MAX_ENTRIES {
            return Err(Problem::TooMany(count));
        }
        let mut prices = Vec::with_capacity(count);
        for (table, entries) in tables.iter().enumerate() {
            prices.extend(entries.iter().map(|entry| Arc::new(Price::new(entry, table))));
        }
        let mut names: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (place, price) in prices.iter().enumerate() {
            names.entry(price.model.clone()).or_default().push(place);
        }
        for places in names.values_mut() {
            places.sort_by_key(|place| (prices[*place].table, std::cmp::Reverse(prices[*place].from)));
            if let Some(place) = in_doubt(&prices, places) {
                return Err(Problem::Twice { model: prices[place].model.to_string() });
            }
        }
        let beginnings = names.extract_if(|model, _| model.ends_with('*'));
        let beginnings = Beginnings::new(beginnings.map(|(model, places)| (model[..model.len() - 1].into(), places)));
        Ok(Prices { prices, names, beginnings })
    }

    pub fn len(&self) -> usize {
        self.prices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    /// The price of a call on that day of UTC. None where no table has one.
    pub fn find(&self, model: &str, backend: &str, day: Date) -> Option<&Arc<Price>> {
        let named = Wanted { backend: Some(backend), day };
        let all = Wanted { backend: None, day };
        [named, all].into_iter().find_map(|wanted| self.by_name(model, wanted))
    }

    fn by_name(&self, model: &str, wanted: Wanted) -> Option<&Arc<Price>> {
        let bare = model.rsplit_once('/').map(|(_, bare)| bare);
        let known = |name: &str| {
            let exact = (name.len() <= MAX_NAME_BYTES).then(|| self.names.get(name)).flatten();
            let exact = exact.and_then(|places| self.first(places, wanted));
            exact.or_else(|| self.beginnings.of(name).find_map(|places| self.first(places, wanted)))
        };
        let any = || self.beginnings.any().and_then(|places| self.first(places, wanted));
        known(model).or_else(|| bare.and_then(known)).or_else(any)
    }

    fn first(&self, places: &[usize], wanted: Wanted) -> Option<&Arc<Price>> {
        places.iter().map(|place| &self.prices[*place]).find(|price| price.is_for(wanted))
    }

    /// Names in the tables that are most like this one, for whoever mistyped it.
    pub fn near(&self, model: &str, most: usize) -> Vec<&str> {
        let likeness = |name: &str| strsim::jaro_winkler(name, model);
        let mut near: Vec<_> = self.names.keys().map(|name| (likeness(name), &**name)).collect();
        near.retain(|(likeness, _)| *likeness > 0.8);
        near.sort_by(|(one, name), (other, next)| other.total_cmp(one).then(name.cmp(next)));
        near.into_iter().take(most).map(|(_, name)| name).collect()
    }
}

/// Of prices for the same models in their order, the first that nothing puts before another.
fn in_doubt(prices: &[Arc<Price>], places: &[usize]) -> Option<usize> {
    let equal = |one: &usize, other: &usize| {
        let (one, other) = (&prices[*one], &prices[*other]);
        one.table == other.table && one.from == other.from
    };
    let doubtful = |same: &[usize]| {
        let shared = |(at, place): (usize, &usize)| {
            same[at + 1..].iter().any(|next| prices[*place].shares_backend(&prices[*next]))
        };
        same.iter().enumerate().find(|pair| shared(*pair)).map(|(_, place)| *place)
    };
    places.chunk_by(equal).find_map(doubtful)
}

impl Price {
    fn new(entry: &Entry, table: usize) -> Price {
        let (from, until) = entry.days();
        let mut below = [[None; rates::PARTS]; 4];
        let tiers = entry.steps().map(|step| {
            let classes = std::iter::once([None; rates::PARTS]).chain(step.classes);
            for (class, named) in below.iter_mut().zip(classes) {
                *class = over(&over(class, &step.standard), &named);
            }
            let [standard, batch, flex, priority] = below.each_ref().map(Rates::of);
            let classes = [batch, flex, priority];
            let classes = classes.iter().any(|class| *class != standard).then(|| Box::new(classes));
            Tier { above_input: step.above_input, standard, classes }
        });
        Price {
            model: entry.model().into(),
            backends: entry.backends().into(),
            from: from.map_or(Date::MIN, |day| day.0),
            until: until.map_or(Date::MAX, |day| day.0),
            tiers: tiers.collect(),
            table,
        }
    }

    /// As the table has it: a whole name, or a beginning and `*`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether it is for all models that begin alike, and was made for none of them.
    pub fn is_wildcard(&self) -> bool {
        self.model.ends_with('*')
    }

    /// The backends that it is for; none means all.
    pub fn backends(&self) -> &[String] {
        &self.backends
    }

    /// The first day and the last, where they are said.
    pub fn days(&self) -> (Option<Date>, Option<Date>) {
        ((self.from > Date::MIN).then_some(self.from), (self.until < Date::MAX).then_some(self.until))
    }

    /// Whether calls are paid by the time that they take of a machine.
    pub fn is_by_time(&self) -> bool {
        self.tiers.iter().any(|tier| tier.standard.0[Part::GpuSecond as usize] > 0)
    }

    pub fn cost(&self, used: &Use) -> Money {
        self.rates(used.tokens.input, used.service).cost(&used.tokens, used.busy)
    }

    /// The rates that a request with so much input is charged at as a whole.
    pub fn rates(&self, input: u64, service: Service) -> &Rates {
        let tier = self.tiers[1..].iter().rfind(|tier| tier.above_input < input).unwrap_or(&self.tiers[0]);
        match (&tier.classes, service) {
            (None, _) | (_, Service::Standard) => &tier.standard,
            (Some(classes), Service::Batch) => &classes[0],
            (Some(classes), Service::Flex) => &classes[1],
            (Some(classes), Service::Priority) => &classes[2],
        }
    }

    /// The inputs above which other rates hold.
    pub fn tiers(&self) -> impl Iterator<Item = u64> {
        self.tiers[1..].iter().map(|tier| tier.above_input)
    }

    fn is_for(&self, wanted: Wanted) -> bool {
        let backend = match wanted.backend {
            None => self.backends.is_empty(),
            Some(backend) => self.backends.iter().any(|name| name == backend),
        };
        backend && (self.from..=self.until).contains(&wanted.day)
    }

    fn shares_backend(&self, other: &Price) -> bool {
        let all = self.backends.is_empty() && other.backends.is_empty();
        all || self.backends.iter().any(|backend| other.backends.contains(backend))
    }
}

#[cfg(test)]
mod tests;
