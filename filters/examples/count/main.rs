//! Counts questions and answers as Outrigger counts them where a backend says nothing of what they took.
//!
//! `count FILE` takes the `file` of a `[[tokenizers]]` table, and from its input one JSON object a line: the `route`
//! (a path), the `request`'s body, and the `answer` as the backend sent it, whole or a stream, with no usage
//! in it or with one, which it does not look at.
//!
//! It prints `{"input":…,"output":…}` for each.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::HeaderMap;
use outrigger_filters::ask::Sharing;
use outrigger_filters::reply::Kind;
use outrigger_filters::sse::Splitter;
use outrigger_filters::tokens::{Config, Tokenizers};
use outrigger_filters::usage::Tally;
use outrigger_filters::{Ask, Event, Route, Tenant};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Exchange {
    route: String,
    /// As it was written: the order of members is what a template makes of it.
    request: Box<RawValue>,
    answer: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1).context("the file of a tokenizer is missing")?;
    let config: Config = serde_json::from_value(serde_json::json!({"models": ["*"], "file": file}))?;
    let tokenizers = Arc::new(Tokenizers::new(&[config])?);
    for line in std::io::stdin().lock().lines() {
        let exchange: Exchange = serde_json::from_str(&line?).context("a line is no exchange")?;
        let (input, output) = count(&exchange, &tokenizers).await?;
        println!("{}", serde_json::json!({"input": input, "output": output}));
    }
    Ok(())
}

async fn count(exchange: &Exchange, tokenizers: &Arc<Tokenizers>) -> anyhow::Result<(u64, u64)> {
    let Some(route) = Route::ALL.into_iter().find(|route| route.path() == exchange.route) else {
        bail!("`{}` is no route", exchange.route);
    };
    let (tenant, headers) = (Tenant::anonymous(), HeaderMap::new());
    let body = Bytes::from(exchange.request.get().to_owned());
    let ask = Ask::read(route, tenant, exchange.route.clone(), headers, body, Sharing::Allowed);
    let ask = ask.map_err(|reason| anyhow::anyhow!("the request was refused: {reason}"))?;
    let mut tally = Tally::of(&ask, tokenizers.clone());
    for event in events(&ask, exchange.answer.clone().into()) {
        tally.event(&event);
    }
    Ok((tokenizers.prompt(&ask), tally.count_output().await))
}

fn events(ask: &Ask, answer: Bytes) -> Vec<Event> {
    if !ask.question.stream {
        return vec![Event { bytes: answer, kind: Kind::Bytes }];
    }
    let (mut splitter, mut events) = (Splitter::default(), Vec::new());
    splitter.push(answer, &mut events);
    events
}
