//! What the scripts answer: the outcome, the clock, and seven numbers of each limit.

use std::time::Duration;

use redis::Value;

use super::{Answer, Seen};

pub(super) fn parse(value: Value, lines: usize) -> Option<Answer> {
    let Value::Array(values) = value else { return None };
    let (Value::Int(status), Value::Int(at)) = (values.first()?, values.get(1)?) else { return None };
    let at = u64::try_from(*at).ok()?;
    let rest = values.get(2..).filter(|rest| rest.len() == lines)?;
    match status {
        0 => Some(Answer::Admitted { at, lines: rest.iter().map(seen).collect::<Option<_>>()? }),
        1 => Some(Answer::Refused { at, lines: rest.iter().map(seen).collect::<Option<_>>()? }),
        2 => Some(Answer::Lost { at, stored: rest.iter().map(stored).collect::<Option<_>>()? }),
        _ => None,
    }
}

fn stored(value: &Value) -> Option<u64> {
    if let Value::Int(number) = value { Some(count(*number)) } else { None }
}

/// What comes back counts from 0; less can only be a count that Redis has lost a part of.
fn count(number: i64) -> u64 {
    number.max(0).unsigned_abs()
}

pub(super) fn seen(value: &Value) -> Option<Seen> {
    let Value::Array(values) = value else { return None };
    let [
        Value::Int(used),
        Value::Int(reserved),
        Value::Int(own),
        Value::Int(oldest),
        Value::Int(newest),
        Value::Int(fits),
        Value::Int(retry),
    ] = values.as_slice()
    else {
        return None;
    };
    let time = |number: &i64| u64::try_from(*number).ok().map(Duration::from_micros);
    Some(Seen {
        used: count(*used),
        reserved: count(*reserved),
        own: count(*own),
        oldest: time(oldest),
        newest: time(newest),
        fits: *fits == 1,
        retry: time(retry),
    })
}
