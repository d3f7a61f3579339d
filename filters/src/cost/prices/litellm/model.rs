//! The rates of one model, as LiteLLM's functions for costs work them out of its keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Why;
use crate::cost::prices::rates::{PARTS, Part, Rates};
use crate::cost::prices::write::Full;

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const READ: &str = "cache_read_input_token_cost";
const WRITE: &str = "cache_creation_input_token_cost";
const WRITE_1H: &str = "cache_creation_input_token_cost_above_1hr";
const REASONING: &str = "output_cost_per_reasoning_token";
const AUDIO_IN: &str = "input_cost_per_audio_token";
const AUDIO_OUT: &str = "output_cost_per_audio_token";
const IMAGE_IN: &str = "input_cost_per_image_token";
const IMAGE_OUT: &str = "output_cost_per_image_token";
const REQUEST: &str = "input_cost_per_request";
const PRICED: [&str; 11] =
    [INPUT, OUTPUT, READ, WRITE, WRITE_1H, REASONING, AUDIO_IN, AUDIO_OUT, IMAGE_IN, IMAGE_OUT, REQUEST];
const CLASSES: [&str; 3] = ["_batches", "_flex", "_priority"];
/// Nano-dollars for a million tokens in a dollar for one.
const UNITS: f64 = 1e15;
/// A dollar for one token is a slip of the pen.
const MOST: f64 = 1.0;

/// Providers whose prices are worked out in a way of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    /// One rate of each tier for all of the input that was not cached, and one for what is put into the cache.
    Dashscope,
    /// Its thoughts are ordinary output, and a tier begins with its first token.
    Xai,
    /// What was cached costs half where nothing is said.
    Fireworks,
    /// Runs on the client's own machine, for nothing.
    Lemonade,
    Other,
}

/// The input above which it begins, and its rates.
type Range<'table> = (u64, &'table Map<String, Value>);

#[derive(Debug)]
pub struct Listing<'table> {
    raw: &'table Map<String, Value>,
    provider: Provider,
    /// Inputs above which other rates hold, and how the keys write each.
    above: BTreeMap<u64, Vec<String>>,
    ranges: Vec<Range<'table>>,
}

impl<'table> Listing<'table> {
    pub fn new(raw: &'table Map<String, Value>, provider: &str) -> Result<Self, Why> {
        let provider = match provider {
            "dashscope" | "qwencloud" | "qwen_ai_platform" => Provider::Dashscope,
            "xai" => Provider::Xai,
            "fireworks_ai" => Provider::Fireworks,
            "lemonade" => Provider::Lemonade,
            _ => Provider::Other,
        };
        let listing = Listing { raw, provider, above: thresholds(raw), ranges: ranges(raw)? };
        listing.check()?;
        Ok(listing)
    }

    /// Whether it can be charged by what we count.
    fn check(&self) -> Result<(), Why> {
        let tables = self.ranges.iter().map(|(_, range)| *range).chain([self.raw]);
        let mut rates = tables.flatten().filter(|(key, value)| !value.is_null() && is_taken(key));
        let charged: Vec<bool> = rates
            .by_ref()
            .map(|(_, value)| rate(value).map(|rate| rate > 0).ok_or(Why::NoAmount))
            .collect::<Result<_, _>>()?;
        let other = |(key, value): (&String, &Value)| {
            !is_taken(key) && is_price(key) && value.as_f64().is_some_and(|rate| rate > 0.0)
        };
        let by_others = self.raw.iter().any(other);
        match (charged.is_empty(), charged.contains(&true), by_others) {
            (_, true, _) | (false, false, false) => Ok(()),
            (_, false, true) => Err(Why::NotByTokens),
            (true, false, false) => Err(Why::NoPrice),
        }
    }

    /// Keys of prices that are not taken, without what tells tiers and classes apart.
    pub fn ignored(&self) -> impl Iterator<Item = String> {
        let taken = |key: &str| is_taken(key) || (key == "tiered_pricing" && !self.ranges.is_empty());
        let keys = self.raw.iter().filter(move |(key, value)| !value.is_null() && is_price(key) && !taken(key));
        keys.map(|(key, _)| key.clone())
    }

    pub fn full(&self) -> Full {
        if self.provider == Provider::Lemonade {
            return Full { tiers: vec![(0, [Rates::default(); 4])] };
        }
        if !self.ranges.is_empty() {
            return self.by_range();
        }
        // Where a tier begins with its first token, it is for whatever is above the one before that.
        let first = u64::from(self.provider == Provider::Xai);
        let mut crossed: Vec<&str> = Vec::new();
        let mut tiers = vec![(0, self.classes(&crossed))];
        for (above, written) in &self.above {
            crossed.extend(written.iter().map(String::as_str));
            tiers.push((above.saturating_sub(first), self.classes(&crossed)));
        }
        Full { tiers }
    }

    fn classes(&self, crossed: &[&str]) -> [Rates; 4] {
        let standard = self.standard("", crossed);
        let has =
            |class: &str| self.raw.iter().any(|(key, value)| !value.is_null() && is_taken(key) && key.ends_with(class));
        let batch = if has("_batches") { self.batch(crossed) } else { standard };
        let [flex, priority] =
            ["_flex", "_priority"].map(|class| if has(class) { self.standard(class, crossed) } else { standard });
        [standard, batch, flex, priority]
    }

    /// Rates of a class of service: what it does not say is as in the standard. A tier that the standard has goes
    /// before what the class says of short inputs.
    fn standard(&self, class: &str, crossed: &[&str]) -> Rates {
        let get = |key: &str| self.rate(&format!("{key}{class}")).or_else(|| self.rate(key));
        let tiered = |key: &str| {
            let above = |tier: &&str| get(&format!("{key}_above_{tier}_tokens"));
            crossed.iter().rev().find_map(above).or_else(|| get(key))
        };
        let own = |key: &str| self.rate(&format!("{key}{class}"));
        let input = tiered(INPUT).unwrap_or_default();
        let output_below = get(OUTPUT).filter(|rate| *rate > 0).or_else(|| self.rate(IMAGE_OUT)).unwrap_or_default();
        let output =
            crossed.iter().rev().find_map(|tier| get(&format!("{OUTPUT}_above_{tier}_tokens"))).unwrap_or(output_below);
        let halved =
            || (self.provider == Provider::Fireworks).then(|| self.rate(INPUT).map(|rate| rate.div_ceil(2))).flatten();
        let cache_write = tiered(WRITE).unwrap_or(input);
        let long_tier = crossed.iter().rev().find_map(|tier| own(&format!("{WRITE_1H}_above_{tier}_tokens")));
        let reasoning = match own(REASONING) {
            Some(rate) => rate,
            None if !class.is_empty() && own(OUTPUT).is_some() => output,
            None => self.rate(REASONING).unwrap_or(output),
        };
        let mut rates = [0; PARTS];
        rates[Part::Input as usize] = input;
        rates[Part::CachedInput as usize] = tiered(READ).or_else(halved).unwrap_or(input);
        rates[Part::CacheWrite as usize] = cache_write;
        rates[Part::CacheWrite1h as usize] = long_tier.or_else(|| get(WRITE_1H)).unwrap_or(cache_write);
        rates[Part::AudioInput as usize] = get(AUDIO_IN).unwrap_or(input);
        rates[Part::ImageInput as usize] = get(IMAGE_IN).unwrap_or(input);
        rates[Part::Output as usize] = output;
        rates[Part::Reasoning as usize] = reasoning;
        rates[Part::AudioOutput as usize] = self.rate(AUDIO_OUT).unwrap_or(output);
        rates[Part::ImageOutput as usize] = self.rate(IMAGE_OUT).unwrap_or(output);
        rates[Part::Request as usize] = self.request();
        self.plain(rates)
    }

    /// Rates of a batch: half of the standard where nothing is said, and no rates of their own for what was thought
    /// or spoken.
    fn batch(&self, crossed: &[&str]) -> Rates {
        let said = |key: &str| {
            let above = |tier: &&str| self.rate(&format!("{key}_above_{tier}_tokens_batches"));
            crossed.iter().rev().find_map(above).or_else(|| self.rate(&format!("{key}_batches")))
        };
        let half = |key: &str| self.rate(key).map(|rate| rate.div_ceil(2));
        let input = said(INPUT).or_else(|| half(INPUT)).unwrap_or_default();
        let output = said(OUTPUT).or_else(|| half(OUTPUT)).unwrap_or_default();
        let cache_write = said(WRITE).unwrap_or(input);
        let mut rates = [0; PARTS];
        rates[Part::Input as usize] = input;
        rates[Part::CachedInput as usize] = said(READ).unwrap_or(input);
        rates[Part::CacheWrite as usize] = cache_write;
        rates[Part::CacheWrite1h as usize] = said(WRITE_1H).unwrap_or(cache_write);
        rates[Part::AudioInput as usize] = self.rate(&format!("{AUDIO_IN}_batches")).unwrap_or(input);
        rates[Part::ImageInput as usize] = self.rate(&format!("{IMAGE_IN}_batches")).unwrap_or(input);
        let image = self.rate(&format!("{IMAGE_OUT}_batches")).or_else(|| half(IMAGE_OUT));
        rates[Part::Output as usize] = output;
        rates[Part::Reasoning as usize] = output;
        rates[Part::AudioOutput as usize] = output;
        rates[Part::ImageOutput as usize] = image.unwrap_or(output);
        rates[Part::Request as usize] = self.request();
        Rates(rates)
    }

    fn by_range(&self) -> Full {
        let mut tiers: Vec<_> = self.ranges.iter().map(|(above, range)| (*above, [self.in_range(range); 4])).collect();
        if tiers.first().is_some_and(|(above, _)| *above > 0) {
            tiers.insert(0, (0, self.classes(&[])));
        }
        Full { tiers }
    }

    /// A range has all its rates itself; only a range without any for output takes those of the model.
    fn in_range(&self, range: &Map<String, Value>) -> Rates {
        let said = |key: &str| range.get(key).and_then(rate);
        let input = said(INPUT).unwrap_or_default();
        let output = said(OUTPUT).or_else(|| self.rate(OUTPUT)).unwrap_or_default();
        let cache_write = said(WRITE).unwrap_or(input);
        let thought = said(REASONING).or_else(|| said(OUTPUT)).or_else(|| self.rate(REASONING)).unwrap_or(output);
        let mut rates = [0; PARTS];
        rates[Part::Input as usize] = input;
        rates[Part::CachedInput as usize] = said(READ).unwrap_or(input);
        rates[Part::CacheWrite as usize] = cache_write;
        rates[Part::CacheWrite1h as usize] = said(WRITE_1H).unwrap_or(cache_write);
        rates[Part::AudioInput as usize] = self.rate(AUDIO_IN).unwrap_or(input);
        rates[Part::ImageInput as usize] = self.rate(IMAGE_IN).unwrap_or(input);
        rates[Part::Output as usize] = output;
        rates[Part::Reasoning as usize] = thought;
        rates[Part::AudioOutput as usize] = self.rate(AUDIO_OUT).unwrap_or(output);
        rates[Part::ImageOutput as usize] = self.rate(IMAGE_OUT).unwrap_or(output);
        rates[Part::Request as usize] = self.request();
        self.plain(rates)
    }

    /// Takes away the differences that a provider does not make.
    fn plain(&self, mut rates: [u64; PARTS]) -> Rates {
        let mut same =
            |parts: &[Part], like: Part| parts.iter().for_each(|part| rates[*part as usize] = rates[like as usize]);
        match self.provider {
            Provider::Dashscope => {
                same(&[Part::AudioInput, Part::ImageInput], Part::Input);
                same(&[Part::CacheWrite1h], Part::CacheWrite);
                same(&[Part::AudioOutput, Part::ImageOutput], Part::Output);
            }
            Provider::Xai => same(&[Part::Reasoning, Part::AudioOutput, Part::ImageOutput], Part::Output),
            Provider::Fireworks | Provider::Lemonade | Provider::Other => {}
        }
        Rates(rates)
    }

    fn rate(&self, key: &str) -> Option<u64> {
        self.raw.get(key).and_then(rate)
    }

    /// Nano-dollars for one request, where a token's are for a million.
    fn request(&self) -> u64 {
        self.rate(REQUEST).map_or(0, |rate| rate.div_ceil(1_000_000))
    }
}

/// Nano-dollars for a million; None where it is no amount.
fn rate(value: &Value) -> Option<u64> {
    let dollars = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_f64()?,
    };
    (0.0..=MOST).contains(&dollars).then(|| (dollars * UNITS).round() as u64)
}

/// Whether a key is one that we charge by.
fn is_taken(key: &str) -> bool {
    let key = CLASSES.iter().find_map(|class| key.strip_suffix(class)).unwrap_or(key);
    let key = key.strip_suffix("_tokens").and_then(|key| key.rsplit_once("_above_")).map_or(key, |(key, _)| key);
    PRICED.contains(&key)
}

fn is_price(key: &str) -> bool {
    ["cost", "pric", "uplift"].iter().any(|word| key.contains(word))
}

/// `200k` of `input_cost_per_token_above_200k_tokens`, for all keys that have one.
fn thresholds(raw: &Map<String, Value>) -> BTreeMap<u64, Vec<String>> {
    let mut above: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (key, _) in raw.iter().filter(|(key, value)| !value.is_null() && is_taken(key)) {
        let written = key.rsplit_once("_above_").and_then(|(_, rest)| rest.split_once("_tokens"));
        let Some((written, _)) = written else { continue };
        let (digits, thousands) = written.strip_suffix('k').map_or((written, 1), |digits| (digits, 1000));
        let Ok(number) = digits.parse::<u64>() else { continue };
        let same = above.entry(number.saturating_mul(thousands)).or_default();
        if !same.iter().any(|other| other == written) {
            same.push(written.to_owned());
        }
    }
    above
}

/// The ranges of input that have rates of their own, in order, each with the input above which it begins.
fn ranges(raw: &Map<String, Value>) -> Result<Vec<Range<'_>>, Why> {
    let listed = raw.get("tiered_pricing").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let mut ranges = Vec::new();
    for range in listed.filter(|range| range.contains_key(INPUT)) {
        let ends =
            range.get("range").and_then(Value::as_array).map(|ends| ends.iter().map(Value::as_f64).collect::<Vec<_>>());
        match ends.as_deref() {
            Some([Some(begin), Some(end)]) if *begin >= 0.0 && begin < end => {
                ranges.push((*begin as u64, *end as u64, range))
            }
            _ => return Err(Why::RangesWithGaps),
        }
    }
    ranges.sort_by_key(|(begin, ..)| *begin);
    if ranges.windows(2).any(|pair| pair[0].1 != pair[1].0) {
        return Err(Why::RangesWithGaps);
    }
    Ok(ranges.into_iter().map(|(begin, _, range)| (begin, range)).collect())
}
