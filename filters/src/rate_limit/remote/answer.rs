//! What the scripts answer: the outcome, the clock, and seven numbers of each limit, as packed doubles.

use std::time::Duration;

use redis::Value;

use super::{Answer, Seen};

/// Bytes of a limit.
const EACH: usize = 7 * size_of::<f64>();

pub(super) fn parse(value: &Value, lines: usize) -> Option<Answer> {
    let Value::BulkString(bytes) = value else { return None };
    let (head, rest) = bytes.split_first_chunk::<16>()?;
    let [status, at] = numbers(head)?;
    let at = count(at);
    let lines = (rest.len() == EACH * lines).then(|| rest.chunks_exact(EACH).map(seen))?;
    match count(status) {
        0 => Some(Answer::Admitted { at, lines: lines.collect::<Option<_>>()? }),
        1 => Some(Answer::Refused { at, lines: lines.collect::<Option<_>>()? }),
        2 => Some(Answer::Lost { at, stored: lines.map(|seen| Some(seen?.own)).collect::<Option<_>>()? }),
        _ => None,
    }
}

pub(super) fn parse_one(value: &Value) -> Option<Seen> {
    if let Value::BulkString(bytes) = value { seen(bytes) } else { None }
}

fn numbers<const COUNT: usize>(bytes: &[u8]) -> Option<[f64; COUNT]> {
    let (chunks, rest) = bytes.as_chunks();
    let numbers: &[[u8; 8]; COUNT] = chunks.try_into().ok().filter(|_| rest.is_empty())?;
    Some(numbers.map(f64::from_le_bytes))
}

/// Whole numbers within what a double holds; below 0 only a count can be that Redis has lost a part of.
fn count(number: f64) -> u64 {
    number as u64
}

fn seen(bytes: &[u8]) -> Option<Seen> {
    let [used, reserved, own, oldest, newest, fits, retry] = numbers(bytes)?;
    let time = |number: f64| (number >= 0.0).then(|| Duration::from_micros(count(number)));
    Some(Seen {
        used: count(used),
        reserved: count(reserved),
        own: count(own),
        oldest: time(oldest),
        newest: time(newest),
        fits: fits > 0.0,
        retry: time(retry),
    })
}
