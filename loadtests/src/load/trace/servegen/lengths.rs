//! How long a client's prompts and answers are, over time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use rand::RngExt;
use serde::Deserialize;

use crate::load::arrival::Random;

/// By the second from which on they hold.
#[derive(Debug)]
pub struct Lengths(Vec<(f64, Window)>);

#[derive(Debug)]
struct Window {
    input: Histogram,
    output: Histogram,
}

/// Each length with the share of all that are at most as long.
#[derive(Debug, Default, PartialEq)]
struct Histogram(Vec<(u32, f64)>);

#[derive(Deserialize)]
struct Fields {
    input_tokens: String,
    output_tokens: String,
}

impl Lengths {
    /// From the file that has the same name but for its ending; none where there is none.
    pub fn beside(trace: &Path, ending: &str, instead: &str) -> anyhow::Result<Option<Lengths>> {
        let name = trace.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ending));
        let Some(path) = name.map(|name| trace.with_file_name(format!("{name}{instead}"))) else { return Ok(None) };
        if !path.exists() {
            return Ok(None);
        }
        Lengths::read(&path).map(Some).with_context(|| format!("the lengths in {} cannot be read", path.display()))
    }

    fn read(path: &Path) -> anyhow::Result<Lengths> {
        let fields: BTreeMap<String, Fields> = serde_json::from_reader(BufReader::new(File::open(path)?))?;
        let mut windows = Vec::new();
        for (time, fields) in fields {
            let begin: f64 = time.parse().with_context(|| format!("{time:?} is no number of seconds"))?;
            let histogram = |text: &str, key| Histogram::parse(text).with_context(|| format!("{time}: {key}"));
            let input = histogram(&fields.input_tokens, "input_tokens")?;
            let output = histogram(&fields.output_tokens, "output_tokens")?;
            // A client that was silent for six hours has none.
            if !input.0.is_empty() && !output.0.is_empty() {
                windows.push((begin, Window { input, output }));
            }
        }
        windows.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Lengths(windows))
    }

    /// By the last distribution that holds at this second, or the first. One draw serves both, as in ServeGen's own
    /// generator: a long prompt has a long answer.
    pub fn draw(&self, at: f64, random: &mut Random) -> (Option<u32>, Option<u32>) {
        let place = self.0.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
        let share = random.random::<f64>();
        match self.0.get(place) {
            Some((_, window)) => (window.input.at(share), window.output.at(share)),
            None => (None, None),
        }
    }
}

impl Histogram {
    /// As Python writes a dictionary: `{120: 0.25, 121: 0.75}`.
    fn parse(text: &str) -> anyhow::Result<Histogram> {
        let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).context("is no {…}")?;
        let mut shares = BTreeMap::new();
        for entry in inner.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (length, share) = entry.split_once(':').with_context(|| format!("{entry:?} is no `length: share`"))?;
            let length: u32 = length.trim().parse().with_context(|| format!("{length:?} is no length"))?;
            let share: f64 = share.trim().parse().with_context(|| format!("{share:?} is no share"))?;
            anyhow::ensure!((0.0..=1.0 + 1e-6).contains(&share), "{share} is no share");
            shares.insert(length, share);
        }
        let until = shares.into_iter().scan(0.0, |sum, (length, share)| {
            *sum += share;
            Some((length, *sum))
        });
        Ok(Histogram(until.collect()))
    }

    /// The shares sum to 1 but for rounding, or less where the file was cut; either way all of it is drawn from.
    fn at(&self, share: f64) -> Option<u32> {
        let sum = self.0.last()?.1;
        let place = self.0.partition_point(|(_, until)| *until <= share * sum);
        self.0.get(place).or(self.0.last()).map(|(length, _)| *length)
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn a_dictionary_of_python_is_read() {
        let histogram = Histogram::parse("{120: 0.25, 121: 5e-1, 130: 0.25}").unwrap();
        assert_eq!(histogram.at(0.0), Some(120));
        assert_eq!(histogram.at(0.25), Some(121), "the share of the first is used up");
        assert_eq!(histogram.at(0.74), Some(121));
        assert_eq!(histogram.at(0.999), Some(130));
        assert_eq!(Histogram::parse("{}").unwrap().at(0.5), None, "a silent client has no lengths");
        for wrong in ["", "{1}", "{a: 1}", "{1: b}", "{1: -1}", "{1: 0.5"] {
            assert!(Histogram::parse(wrong).is_err(), "{wrong} is no dictionary");
        }
    }
}
