//! A file of requests: read line by line, checked to its end, put in order, and counted from where a replay begins.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, ensure};

use super::{Recorded, Recordings, nanoseconds};
use crate::load::scenario::number::Amount;

pub type Input = BufReader<File>;
/// Each line as it is read; its errors name the line.
pub type Lines = Box<dyn Iterator<Item = anyhow::Result<Recorded>>>;

/// Only the requests are kept, some fifty bytes each and eight for each block; never the file's text.
pub fn from(path: &Path, from: Amount, read: fn(Input) -> Lines) -> anyhow::Result<Recordings> {
    let context = || format!("the trace {} cannot be read", path.display());
    let file = File::open(path).with_context(context)?;
    let mut requests = read(BufReader::new(file)).collect::<anyhow::Result<Vec<_>>>().with_context(context)?;
    // Most traces are in order, and then this takes no time; requests of one moment stay as they stand.
    requests.sort_by_key(|request| request.at);
    let Some(first) = requests.first().map(|request| request.at) else {
        anyhow::bail!("the trace {} has no requests", path.display());
    };
    let begin = first.saturating_add(nanoseconds(from.get())?);
    let before = requests.partition_point(|request| request.at < begin);
    ensure!(before < requests.len(), "the trace {} ends before load.from_secs, {}", path.display(), from.get());
    Ok(Box::new(requests.into_iter().skip(before).map(move |request| Recorded { at: request.at - begin, ..request })))
}
