//! Faults in words: `at 10s: simulator stalls for 5s`.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Configuration, Fault, FaultAction, Victim};

const SENTENCES: &str = "a line reads `at TIME: FAULT for TIME`, and a fault is one of `simulator stalls`, \
    `simulator stalls after N tokens`, `simulator answers STATUS`, `simulator answers STATUS with retry-after SECONDS`, \
    `simulator cuts connections`, `simulator cuts streams after N tokens`, \
    `simulator waits TIME before the first token`, `simulator waits TIME between tokens`, \
    `stop target`, `stop pid N`, `kill target`, `kill pid N`";

/// A line of a script, which is kept as it was written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line {
    text: String,
    fault: Fault,
}

impl Line {
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl TryFrom<String> for Line {
    type Error = String;

    fn try_from(text: String) -> Result<Line, String> {
        match parse(&text) {
            Ok(fault) => Ok(Line { text, fault }),
            Err(error) => Err(format!("{text:?}: {error:#}; {SENTENCES}")),
        }
    }
}

impl From<Line> for String {
    fn from(line: Line) -> String {
        line.text
    }
}

fn parse(text: &str) -> anyhow::Result<Fault> {
    let (time, rest) =
        text.trim().strip_prefix("at ").and_then(|rest| rest.split_once(':')).context("has no `at TIME:`")?;
    let at = duration(time)?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (words, length) = match words.as_slice() {
        [words @ .., "for", time] => (words, Some(duration(time)?)),
        words => (words, None),
    };
    ensure!(length != Some(Duration::ZERO), "a fault that lasts for nothing is none");
    let action = action(words)?;
    if let FaultAction::Kill(_) = action {
        ensure!(length.is_none(), "what is killed stays so: leave out `for`");
    }
    Ok(Fault { at, until: length.map(|length| at + length), action, what: words.join(" ") })
}

fn action(words: &[&str]) -> anyhow::Result<FaultAction> {
    Ok(match words {
        ["simulator", words @ ..] => simulator(words)?,
        ["stop", victim @ ..] => FaultAction::Stop(self::victim(victim)?),
        ["kill", victim @ ..] => FaultAction::Kill(self::victim(victim)?),
        _ => bail!("`{}` is no fault", words.join(" ")),
    })
}

fn simulator(words: &[&str]) -> anyhow::Result<FaultAction> {
    let fields = match words {
        ["stalls"] => json!({"fault": "stall_before"}),
        ["stalls", "after", count, "token" | "tokens"] => json!({"fault": "stall_after", "at": number(count)?}),
        ["answers", status] => json!({"status": number(status)?}),
        ["answers", status, "with", "retry-after", seconds] => {
            json!({"status": number(status)?, "retry_after": number(seconds)?.to_string()})
        }
        ["cuts", "connections"] => json!({"fault": "cut_before"}),
        ["cuts", "streams", "after", count, "token" | "tokens"] => json!({"fault": "cut", "at": number(count)?}),
        ["waits", time, "before", "the", "first", "token"] => json!({"ttft_ms": milliseconds(time)?}),
        ["waits", time, "between", "tokens"] => json!({"gap_ms": milliseconds(time)?}),
        _ => bail!("`simulator {}` is no fault", words.join(" ")),
    };
    let fields: Map<String, Value> = serde_json::from_value(fields)?;
    Ok(FaultAction::Simulator(Configuration::try_from(fields).map_err(anyhow::Error::msg)?.into()))
}

fn victim(words: &[&str]) -> anyhow::Result<Victim> {
    match words {
        ["target"] => Ok(Victim::Target),
        ["pid", pid] => {
            let pid = pid.parse().ok().filter(|pid| *pid > 1);
            Ok(Victim::Pid(pid.with_context(|| format!("`{}` names no process to signal", words.join(" ")))?))
        }
        _ => bail!("`{}` is neither `target` nor `pid N`", words.join(" ")),
    }
}

fn number(word: &str) -> anyhow::Result<u64> {
    word.parse().with_context(|| format!("`{word}` is no whole number"))
}

fn milliseconds(word: &str) -> anyhow::Result<f64> {
    Ok(duration(word)?.as_secs_f64() * 1000.0)
}

/// `500ms`, `10s`, `2m`, `1h30m`.
fn duration(word: &str) -> anyhow::Result<Duration> {
    let time: SignedDuration =
        word.trim().parse().map_err(|_| anyhow::anyhow!("`{word}` is no time such as `500ms`, `10s`, `2m`"))?;
    Duration::try_from(time).map_err(|_| anyhow::anyhow!("`{word}` lies before the load"))
}
