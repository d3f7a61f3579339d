//! Requests that once came somewhere: traces of public services, replayed with the lengths of prompt and answer.

mod azure;
mod burstgpt;
mod format;
mod mooncake;
mod recording;
mod servegen;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::plan::Planned;
use super::scenario::number::{Amount, Positive};

pub use format::Format;

/// What of a trace is replayed, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// For ServeGen a folder of clients, or one of them.
    pub file: PathBuf,
    /// Told by the file's beginning where left out.
    pub format: Option<Format>,
    /// 20 replays twenty times as fast.
    pub speed: Positive,
    /// Where to begin, in the trace's own time: counted from its first request, for ServeGen from its clock's 0.
    pub from_secs: Amount,
    /// Where to end, in the time of the replay.
    pub duration_secs: Option<Positive>,
    /// At most so many requests.
    pub limit: Option<NonZeroUsize>,
    /// A longer prompt is cut to this.
    pub max_input_tokens: Option<NonZeroU32>,
    pub max_output_tokens: Option<NonZeroU32>,
}

/// A request as a trace tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Nanoseconds, since a moment that is the trace's own.
    pub at: i64,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub blocks: Box<[u64]>,
}

type Recordings = Box<dyn Iterator<Item = Recorded> + Send>;

impl Replay {
    /// The requests in the order of their times, of kind 0; the seed is for traces that describe clients rather than
    /// requests.
    pub fn open(&self, seed: u64) -> anyhow::Result<Box<dyn Iterator<Item = Planned> + Send>> {
        let format = match self.format {
            Some(format) => format,
            None => Format::of(&self.file)?,
        };
        let recordings: Recordings = match format {
            Format::Azure => recording::from(&self.file, self.from_secs, azure::read)?,
            Format::Mooncake => recording::from(&self.file, self.from_secs, mooncake::read)?,
            Format::Burstgpt => recording::from(&self.file, self.from_secs, burstgpt::read)?,
            Format::Servegen => Box::new(servegen::Clients::read(&self.file, self.from_secs, seed)?),
        };
        let (replay, end) = (self.clone(), self.duration_secs.map(Positive::seconds));
        let planned = recordings
            .map(move |recorded| replay.planned(recorded))
            .take_while(move |planned| end.is_none_or(|end| planned.at < end));
        Ok(match self.limit {
            Some(limit) => Box::new(planned.take(limit.get())),
            None => Box::new(planned),
        })
    }

    fn planned(&self, recorded: Recorded) -> Planned {
        let seconds = recorded.at as f64 / 1e9 / self.speed.get();
        Planned {
            at: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            kind: 0,
            input_tokens: capped(recorded.input_tokens, self.max_input_tokens),
            output_tokens: capped(recorded.output_tokens, self.max_output_tokens),
            blocks: recorded.blocks.into_vec(),
        }
    }
}

/// At least one: some traces tell of answers that never came as of 0 tokens, which no server can be asked for.
fn capped(tokens: Option<u32>, most: Option<NonZeroU32>) -> Option<u32> {
    tokens.map(|tokens| tokens.clamp(1, most.map_or(u32::MAX, NonZeroU32::get)))
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn nanoseconds(seconds: f64) -> anyhow::Result<i64> {
    anyhow::ensure!(seconds.abs() < 9e9, "{seconds} is no time");
    Ok((seconds * 1e9).round() as i64)
}

#[cfg(test)]
mod tests;
