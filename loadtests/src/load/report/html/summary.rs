//! What is seen first: the verdict, and the figures that most people came for.

use maud::{Markup, html};

use crate::load::report::figure::{count, figure, share};
use crate::load::report::verdict::{Outcome, Verdict};
use crate::load::result::{Metric, Run};

pub fn verdict(run: &Run) -> Markup {
    let verdict = Verdict::of(run);
    html! {
        section class=(format!("verdict {}", class(verdict.outcome))) {
            h2 { (verdict.word()) }
            ul { @for reason in &verdict.reasons { li { (reason) } } }
        }
    }
}

/// Of the style: a colour, beside the word that says the same.
pub fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Invalid | Outcome::Partial => "doubtful",
    }
}

struct Tile {
    name: &'static str,
    value: String,
    unit: &'static str,
    under: String,
}

pub fn tiles(run: &Run) -> Markup {
    html! {
        section class="tiles" {
            @for tile in rates(run).into_iter().chain(latencies(run)) {
                div class="tile" {
                    h3 { (tile.name) }
                    p class="value" { (tile.value) span class="unit" { (tile.unit) } }
                    p class="under" { (tile.under) }
                }
            }
        }
    }
}

fn rates(run: &Run) -> Vec<Tile> {
    let (counts, rates) = (&run.counts, &run.rates);
    let answered = format!("{} of {} answered", count(counts.answered), count(counts.sent));
    let failed = format!("{} requests", count(counts.failed));
    let mut tiles = vec![
        Tile { name: "Throughput", value: figure(rates.requests), unit: "requests/s", under: answered },
        Tile { name: "Goodput", value: figure(rates.goodput), unit: "requests/s", under: within(run) },
        Tile { name: "Failed", value: share(counts.failed, counts.sent), unit: "", under: failed },
    ];
    if counts.output_tokens > 0 {
        let under = format!("{} in all", count(counts.output_tokens));
        tiles.push(Tile { name: "Output tokens", value: figure(rates.output_tokens), unit: "tokens/s", under });
    }
    tiles
}

fn within(run: &Run) -> String {
    format!("{} met every level on latency", count(run.counts.good))
}

fn latencies(run: &Run) -> Vec<Tile> {
    let shown = [
        (Metric::EndToEnd, "End to end, p50"),
        (Metric::Ttft, "First token, p50"),
        (Metric::InterToken, "Inter-token, p50"),
        (Metric::ScheduleLag, "Schedule lag, p50"),
    ];
    let measured = shown.into_iter().filter_map(|(metric, name)| {
        let of = run.latencies.get(&metric).filter(|of| of.count > 0)?;
        let under = format!("p99 {} ms, max {} ms", figure(of.p99), figure(of.max));
        Some(Tile { name, value: figure(of.p50), unit: "ms", under })
    });
    measured.collect()
}
