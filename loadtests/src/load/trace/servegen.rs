//! ServeGen: the clients of Alibaba's model service, each by its rate and burstiness over time, drawn from anew.
//!
//! A client is `chunk-N-trace.csv`, with rows of `time,rate,cv,distribution,shape,scale` and no header: from this second on,
//! until the next row's, so many requests a second, with gaps that were found to follow a gamma or a Weibull
//! distribution. The distribution is empty where the client was silent. As ServeGen's own generator does, the fitted
//! distribution gives the gaps their form, and the rate, which was counted, gives them their mean; `cv`, which was
//! measured as well, is left aside. Unlike it, windows are not filled to the exact count, and a gap goes on over the
//! end of its window.
//!
//! `chunk-N-dataset.json` beside it has the distributions of the lengths. Without it the scenario's own lengths hold.

mod client;
mod lengths;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use self::client::Client;
use self::lengths::Lengths;
use super::{Recorded, nanoseconds};
use crate::load::scenario::number::Amount;

const TRACE: &str = "-trace.csv";
const DATASET: &str = "-dataset.json";

/// The requests of all clients, merged in the order of their times.
pub struct Clients {
    clients: Vec<Client>,
    /// When each comes next.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    begin: i64,
}

impl Clients {
    /// Of a folder, or the one client whose trace the path is.
    pub fn read(path: &Path, from: Amount, seed: u64) -> anyhow::Result<Clients> {
        let context = || format!("the trace {} cannot be read", path.display());
        let files = if path.is_dir() { traces(path).with_context(context)? } else { vec![path.to_owned()] };
        ensure!(!files.is_empty(), "the folder {} has no chunk-N{TRACE}", path.display());
        let mut clients = Vec::with_capacity(files.len());
        for (place, file) in files.iter().enumerate() {
            let number = number(file).or_else(|| u32::try_from(place).ok()).unwrap_or_default();
            let lengths = Lengths::beside(file, TRACE, DATASET)?;
            clients.push(Client::read(file, lengths)?.begin(from.get(), seed, number));
        }
        let mut merged = Clients { next: BinaryHeap::new(), begin: nanoseconds(from.get())?, clients };
        (0..merged.clients.len()).for_each(|place| merged.schedule(place));
        Ok(merged)
    }

    fn schedule(&mut self, place: usize) {
        let next = self.clients[place].next().and_then(|seconds| nanoseconds(seconds).ok());
        self.next.extend(next.map(|at| Reverse((at, place))));
    }
}

impl Iterator for Clients {
    type Item = Recorded;

    fn next(&mut self) -> Option<Recorded> {
        let Reverse((at, place)) = self.next.pop()?;
        let (input_tokens, output_tokens) = self.clients[place].lengths(at as f64 / 1e9);
        self.schedule(place);
        Some(Recorded { at: at - self.begin, input_tokens, output_tokens, blocks: Box::default() })
    }
}

/// In the order of their names, which decides between requests of the same moment.
fn traces(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(TRACE) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// 16, of `chunk-16-trace.csv`: a client draws the same whether or not others are beside it.
fn number(file: &Path) -> Option<u32> {
    file.file_name()?.to_str()?.strip_prefix("chunk-")?.strip_suffix(TRACE)?.parse().ok()
}
