//! What the scripts answer: integers in a row.

use std::time::Duration;

use redis::Value;

use super::{Answer, Seen};

/// Integers for each limit.
const EACH: usize = 7;

pub(super) fn parse(value: Value, lines: usize) -> Option<Answer> {
    let numbers = numbers(value)?;
    let (&[status, at], rest) = numbers.split_first_chunk::<2>()?;
    let at = u64::try_from(at).ok()?;
    match status {
        0 | 1 => {
            let lines: Vec<_> = (rest.len() == EACH * lines).then(|| rest.as_chunks().0.iter().map(seen).collect())?;
            Some(if status == 0 { Answer::Admitted { at, lines } } else { Answer::Refused { at, lines } })
        }
        2 if rest.len() == lines => {
            Some(Answer::Lost { at, stored: rest.iter().map(|&number| number.max(0) as u64).collect() })
        }
        _ => None,
    }
}

pub(super) fn parse_one(value: Value) -> Option<Seen> {
    let numbers = numbers(value)?;
    numbers.get(2..)?.as_chunks().0.first().map(seen)
}

fn numbers(value: Value) -> Option<Vec<i64>> {
    let Value::Array(values) = value else { return None };
    let number = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
    values.iter().map(number).collect()
}

fn seen(numbers: &[i64; EACH]) -> Seen {
    let &[used, reserved, own, oldest, newest, fits, retry] = numbers;
    let count = |number: i64| number.max(0) as u64;
    let time = |number: i64| u64::try_from(number).ok().map(Duration::from_micros);
    Seen {
        used: count(used),
        reserved: count(reserved),
        own: count(own),
        oldest: time(oldest),
        newest: time(newest),
        fits: fits == 1,
        retry: time(retry),
    }
}
