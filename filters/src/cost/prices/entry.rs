//! One price as it is written: in the table of prices, or in the settings under `[[cost.price]]`.

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, de};

use super::rates::{Named, PARTS, Part};

/// Longer names of models are in no table.
pub const MAX_NAME_BYTES: usize = 256;
/// Dollars for a million tokens, or for one request: more is a slip of the pen.
const MOST_DOLLARS: f64 = 1_000_000.0;
const MOST_DOLLARS_PER_SECOND: f64 = 1_000.0;

/// An amount that is paid for each unit, as whole numbers: a sum of floats would depend on its order.
///
/// Nano-dollars for a million tokens or a million seconds; for `request`, nano-dollars for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate(pub u64);

/// A day of UTC, as a TOML date (`2026-01-31`) or as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub Date);

/// Adds the rates to a table of TOML, so that each of them stands and is explained once.
macro_rules! with_rates {
    ($(#[$about:meta])* $visible:vis struct $name:ident { $($(#[$note:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $visible struct $name {
            $($(#[$note])* $field: $kind,)*
            /// Dollars for a million tokens of input. Those of the input below are parts of it with rates of their own.
            input: Option<Rate>,
            /// What was in the backend's cache; as `input` where it is left out.
            cached_input: Option<Rate>,
            /// What was put into the backend's cache; as `input`.
            cache_write: Option<Rate>,
            /// What was put there for an hour; as `cache_write`.
            cache_write_1h: Option<Rate>,
            /// As `input`.
            audio_input: Option<Rate>,
            /// As `input`.
            image_input: Option<Rate>,
            /// Dollars for a million tokens of output.
            output: Option<Rate>,
            /// What was thought and not shown; as `output`.
            reasoning: Option<Rate>,
            /// As `output`.
            audio_output: Option<Rate>,
            /// As `output`.
            image_output: Option<Rate>,
            /// Dollars for each request, whatever it used.
            request: Option<Rate>,
            /// Dollars for each second of the machine, where it is your own.
            #[serde(deserialize_with = "per_second")]
            gpu_second: Option<Rate>,
        }

        impl $name {
            fn named(&self) -> Named {
                let mut named = [None; PARTS];
                named[Part::Input as usize] = self.input;
                named[Part::CachedInput as usize] = self.cached_input;
                named[Part::CacheWrite as usize] = self.cache_write;
                named[Part::CacheWrite1h as usize] = self.cache_write_1h;
                named[Part::AudioInput as usize] = self.audio_input;
                named[Part::ImageInput as usize] = self.image_input;
                named[Part::Output as usize] = self.output;
                named[Part::Reasoning as usize] = self.reasoning;
                named[Part::AudioOutput as usize] = self.audio_output;
                named[Part::ImageOutput as usize] = self.image_output;
                named[Part::Request as usize] = self.request;
                named[Part::GpuSecond as usize] = self.gpu_second;
                named
            }
        }
    };
}

with_rates! {
    /// Rates of one class of service: what is left out stays as it is without the class.
    struct Class {}
}

with_rates! {
    /// Rates of a whole request whose input is long: what is left out stays as it is below.
    struct Tier {
        /// Tokens of input: the tier is for requests that have more.
        above_input: Option<u64>,
        batch: Option<Class>,
        flex: Option<Class>,
        priority: Option<Class>,
    }
}

with_rates! {
    struct Written {
        /// The model's name, or the beginning of one before a `*`.
        model: String,
        /// The names of the `[[backends]]` that it is for; all, where it is left out.
        backends: Vec<String>,
        /// The first day on which it holds, and the last, by UTC.
        from: Option<Day>,
        until: Option<Day>,
        batch: Option<Class>,
        flex: Option<Class>,
        priority: Option<Class>,
        tiers: Vec<Tier>,
    }
}

/// One `[[prices]]` or `[[cost.price]]`, which has been found good.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Entry(Written);

/// Rates as they are written for requests with more input than this, and what the classes of service change in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub above_input: u64,
    pub standard: Named,
    /// Batch, flex, priority.
    pub classes: [Named; 3],
}

impl Entry {
    pub fn model(&self) -> &str {
        &self.0.model
    }

    pub(super) fn backends(&self) -> &[String] {
        &self.0.backends
    }

    pub(super) fn days(&self) -> (Option<Day>, Option<Day>) {
        (self.0.from, self.0.until)
    }

    /// The first step is for every request, and the following for ever longer input.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        let classes = |batch: &Option<Class>, flex: &Option<Class>, priority: &Option<Class>| {
            [batch, flex, priority].map(|class| class.as_ref().map_or([None; PARTS], Class::named))
        };
        let base = &self.0;
        let first =
            Step { above_input: 0, standard: base.named(), classes: classes(&base.batch, &base.flex, &base.priority) };
        let tiers = base.tiers.iter().map(move |tier| Step {
            above_input: tier.above_input.unwrap_or_default(),
            standard: tier.named(),
            classes: classes(&tier.batch, &tier.flex, &tier.priority),
        });
        std::iter::once(first).chain(tiers)
    }
}

impl TryFrom<Written> for Entry {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let model = &written.model;
        if model.is_empty() {
            return Err("`model` is missing: the name of a model, or the beginning of one and `*`".to_owned());
        }
        if model.len() > MAX_NAME_BYTES {
            return Err(format!("`model` has {} bytes: {MAX_NAME_BYTES} at most", model.len()));
        }
        if model.trim_end_matches('*').len() + 1 < model.len() || model[..model.len() - 1].contains('*') {
            return Err(format!("`model` is `{model}`: a `*` stands at the end only, and once"));
        }
        if let (Some(from), Some(until)) = (written.from, written.until)
            && until < from
        {
            return Err(format!("`until` of `{model}` is before its `from`: it would never hold"));
        }
        written.check_rates().map_err(|words| format!("`{model}` {words}"))?;
        Ok(Entry(written))
    }
}

impl Written {
    fn check_rates(&self) -> Result<(), String> {
        let mut above = 0;
        for tier in &self.tiers {
            match tier.above_input {
                None => return Err("has one of `tiers` without `above_input`".to_owned()),
                Some(input) if input <= above => {
                    return Err(format!(
                        "has `tiers` out of order at `above_input = {input}`: each above the one before it, the first above 0"
                    ));
                }
                Some(input) => above = input,
            }
        }
        if self.named().iter().all(Option::is_none) {
            return Err("has no price: where it is free, say `input = 0`".to_owned());
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        amount(deserializer, MOST_DOLLARS, 1e9)
    }
}

fn per_second<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    amount(deserializer, MOST_DOLLARS_PER_SECOND, 1e15).map(Some)
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D, most: f64, units: f64) -> Result<Rate, D::Error> {
    let dollars = f64::deserialize(deserializer)?;
    if !(0.0..=most).contains(&dollars) {
        return Err(de::Error::custom(format!("`{dollars}` is no price: dollars, from 0 to {most}")));
    }
    Ok(Rate((dollars * units).round() as u64))
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Date(toml::value::Datetime),
            Text(String),
        }
        let wrong = || de::Error::custom("a day is written as 2026-01-31, without a time");
        let text = match Either::deserialize(deserializer).map_err(|_| wrong())? {
            Either::Date(date) => date.to_string(),
            Either::Text(text) => text,
        };
        if text.len() != "2026-01-31".len() {
            return Err(wrong());
        }
        text.parse().map(Day).map_err(|_| wrong())
    }
}
