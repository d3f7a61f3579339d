//! The slices of all workers, made into what a report says of them.
//!
//! A slice is closed once its requests have ended or timed out, and is kept as small as it is written; what comes
//! later all the same, such as a stream whose check took long, is added without loss.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::SliceRecord;
use crate::load::distribution::{LONGEST, empty};
use crate::load::result::{Distribution, Slice};

pub struct Timeline {
    slice: Duration,
    slices: BTreeMap<u64, Slice>,
}

/// What is read at the end of a slice rather than counted in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub in_flight: u64,
    pub resident_mib: Option<f64>,
    pub open_files: Option<u64>,
    pub cpu_share: Option<f64>,
}

impl Timeline {
    pub fn new(slice: Duration) -> Timeline {
        Timeline { slice, slices: BTreeMap::new() }
    }

    pub fn add(&mut self, records: BTreeMap<u64, SliceRecord>) -> anyhow::Result<()> {
        for (place, record) in records {
            let slice = self.at(place);
            slice.sent += record.sent;
            slice.answered += record.answered;
            slice.failed += record.failed;
            slice.output_tokens += record.output_tokens;
            slice.end_to_end = with(slice.end_to_end.as_ref(), &record.end_to_end)?;
            slice.ttft = with(slice.ttft.as_ref(), &record.ttft)?;
        }
        Ok(())
    }

    pub fn read(&mut self, place: u64, reading: Reading) {
        let slice = self.at(place);
        slice.in_flight = reading.in_flight;
        slice.resident_mib = reading.resident_mib;
        slice.open_files = reading.open_files;
        slice.cpu_share = reading.cpu_share;
    }

    /// In order and without gaps; the last one ends where the sending did.
    pub fn slices(mut self, sending: Duration) -> Vec<Slice> {
        let Some(last) = self.slices.keys().next_back().copied() else {
            return Vec::new();
        };
        for place in 0..last {
            self.at(place);
        }
        if let Some(slice) = self.slices.get_mut(&last) {
            let rest = sending.as_secs_f64() - slice.at_seconds;
            slice.seconds = if rest > 0.0 { rest.min(slice.seconds) } else { slice.seconds };
        }
        self.slices.into_values().collect()
    }

    fn at(&mut self, place: u64) -> &mut Slice {
        let seconds = self.slice.as_secs_f64();
        self.slices.entry(place).or_insert_with(|| Slice {
            at_seconds: place as f64 * seconds,
            seconds,
            ..Slice::default()
        })
    }
}

fn with(before: Option<&Distribution>, values: &[u64]) -> anyhow::Result<Option<Distribution>> {
    if values.is_empty() {
        return Ok(before.cloned());
    }
    let mut histogram: Histogram<u64> = before.map_or_else(empty, Distribution::histogram)?;
    values.iter().for_each(|value| histogram.saturating_record((*value).clamp(1, LONGEST)));
    Distribution::of(&histogram).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[u64]) -> SliceRecord {
        let count = values.len() as u64;
        SliceRecord { sent: count, answered: count, end_to_end: values.to_vec(), ..SliceRecord::default() }
    }

    #[test]
    fn late_values_join_their_slice() {
        let mut timeline = Timeline::new(Duration::from_secs(2));
        timeline.add(BTreeMap::from([(0, record(&[1_000_000, 2_000_000])), (3, record(&[5]))])).unwrap();
        timeline.add(BTreeMap::from([(0, record(&[3_000_000]))])).unwrap();
        let slices = timeline.slices(Duration::from_secs(7));
        assert_eq!(slices.len(), 4, "those without requests are there too");
        let first = slices[0].end_to_end.as_ref().unwrap();
        assert_eq!((slices[0].sent, first.count), (3, 3));
        assert!((first.p50 - 2.0).abs() < 0.01, "{first:?}");
        assert_eq!(slices[1].end_to_end, None, "of nothing there is no distribution");
        assert_eq!((slices[3].at_seconds, slices[3].seconds), (6.0, 1.0), "the last is cut where the sending ended");
    }
}
