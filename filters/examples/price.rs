//! Prices of usages, for comparison with other tables: `price TABLE` reads JSON lines of
//! `{"model", "service", "tokens": {…}}` and writes a line for each: nano-dollars, or `none` for an unknown model.
//! With `--litellm` before it, TABLE is LiteLLM's JSON, which is imported first.

use std::io::{BufRead, BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use outrigger_filters::cost::prices::{Prices, Use, litellm, read};
use outrigger_filters::usage::{Service, Tokens};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    model: String,
    service: Service,
    tokens: Tokens,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let table = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [table] => std::fs::read_to_string(table).context("reading the table")?,
        ["--litellm", table] => {
            let json = std::fs::read_to_string(table).context("reading the table")?;
            litellm::import(&json, &litellm::Wanted::default())?.text
        }
        _ => bail!("usage: price [--litellm] TABLE < usages.jsonl"),
    };
    let prices = Prices::new(&[&read(&table)?])?;
    let day = jiff::civil::date(2026, 1, 1);
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let asked: Asked = serde_json::from_str(&line?)?;
        let used = Use { tokens: asked.tokens, service: asked.service, busy: Duration::ZERO };
        match prices.find(&asked.model, "", day) {
            Some(price) => writeln!(out, "{}", price.cost(&used).nanos())?,
            None => writeln!(out, "none")?,
        }
    }
    Ok(out.flush()?)
}
