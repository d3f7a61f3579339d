//! Rates of every part of an answer: as they are named, and as they are charged.

use std::time::Duration;

use super::entry::Rate;
use crate::money::Money;
use crate::usage::{Service, Tokens};

/// What has a rate of its own. Whoever others fall back on stands before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Input,
    CachedInput,
    CacheWrite,
    CacheWrite1h,
    AudioInput,
    ImageInput,
    Output,
    Reasoning,
    AudioOutput,
    ImageOutput,
    Request,
    GpuSecond,
}

pub const PARTS: usize = 12;

impl Part {
    pub const ALL: [Part; PARTS] = [
        Part::Input,
        Part::CachedInput,
        Part::CacheWrite,
        Part::CacheWrite1h,
        Part::AudioInput,
        Part::ImageInput,
        Part::Output,
        Part::Reasoning,
        Part::AudioOutput,
        Part::ImageOutput,
        Part::Request,
        Part::GpuSecond,
    ];

    /// The key in TOML.
    pub const fn key(self) -> &'static str {
        match self {
            Part::Input => "input",
            Part::CachedInput => "cached_input",
            Part::CacheWrite => "cache_write",
            Part::CacheWrite1h => "cache_write_1h",
            Part::AudioInput => "audio_input",
            Part::ImageInput => "image_input",
            Part::Output => "output",
            Part::Reasoning => "reasoning",
            Part::AudioOutput => "audio_output",
            Part::ImageOutput => "image_output",
            Part::Request => "request",
            Part::GpuSecond => "gpu_second",
        }
    }

    /// A rate as it is written: in dollars for a million tokens, for a request, or for a second.
    pub fn dollars(self, rate: u64) -> String {
        match self {
            // Nano-dollars for a million seconds; all others are nano-dollars for what they are written for.
            Part::GpuSecond => (rate as f64 / 1e15).to_string(),
            _ => Money::from_nanos(rate).to_string(),
        }
    }

    /// Whose rate it takes where it has none.
    const fn like(self) -> Option<Part> {
        match self {
            Part::CachedInput | Part::CacheWrite | Part::AudioInput | Part::ImageInput => Some(Part::Input),
            Part::CacheWrite1h => Some(Part::CacheWrite),
            Part::Reasoning | Part::AudioOutput | Part::ImageOutput => Some(Part::Output),
            Part::Input | Part::Output | Part::Request | Part::GpuSecond => None,
        }
    }
}

/// The rates that are written, of each part.
pub type Named = [Option<Rate>; PARTS];

/// What is named in the second stands over what is in the first.
pub fn over(below: &Named, above: &Named) -> Named {
    std::array::from_fn(|part| above[part].or(below[part]))
}

/// The rate of every part: what is named nowhere costs what it is like, and else nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates(pub [u64; PARTS]);

/// What a call used, as far as it is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    pub tokens: Tokens,
    pub service: Service,
    /// The call's share of the machine's time.
    pub busy: Duration,
}

impl Rates {
    pub fn of(named: &Named) -> Rates {
        let mut rates = [0; PARTS];
        for part in Part::ALL {
            let like = part.like().map_or(0, |other| rates[other as usize]);
            rates[part as usize] = named[part as usize].map_or(like, |rate| rate.0);
        }
        Rates(rates)
    }

    /// To the nearest nano-dollar, and half of one up. Everything is summed first, and divided once.
    pub fn cost(&self, tokens: &Tokens, busy: Duration) -> Money {
        // Nano-dollars for a million tokens, and nano-dollars for a million seconds counted in nanoseconds.
        const TOKENS: u128 = 1_000_000;
        const BUSY: u128 = 1_000_000 * 1_000_000_000;
        let rate = |part: Part| u128::from(self.0[part as usize]);
        let of_tokens = parts(tokens).into_iter().map(|(part, count)| u128::from(count) * rate(part));
        let of_tokens = of_tokens.fold(rate(Part::Request) * TOKENS, u128::saturating_add);
        let of_time = rate(Part::GpuSecond).saturating_mul(busy.as_nanos());
        let sum = of_tokens.saturating_mul(BUSY / TOKENS).saturating_add(of_time);
        let nanos = sum.saturating_add(BUSY / 2) / BUSY;
        Money::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Every token once: parts that claim more than there is get what the parts before them have left.
fn parts(tokens: &Tokens) -> [(Part, u64); 10] {
    let mut input = tokens.input;
    let mut output = tokens.output;
    let cached = take(&mut input, tokens.cached_input);
    let mut writes = take(&mut input, tokens.cache_writes);
    let writes_1h = take(&mut writes, tokens.cache_writes_1h);
    let (audio, image) = (take(&mut input, tokens.audio_input), take(&mut input, tokens.image_input));
    let reasoning = take(&mut output, tokens.reasoning);
    let (spoken, drawn) = (take(&mut output, tokens.audio_output), take(&mut output, tokens.image_output));
    [
        (Part::Input, input),
        (Part::CachedInput, cached),
        (Part::CacheWrite, writes),
        (Part::CacheWrite1h, writes_1h),
        (Part::AudioInput, audio),
        (Part::ImageInput, image),
        (Part::Output, output),
        (Part::Reasoning, reasoning),
        (Part::AudioOutput, spoken),
        (Part::ImageOutput, drawn),
    ]
}

fn take(left: &mut u64, wanted: u64) -> u64 {
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}
