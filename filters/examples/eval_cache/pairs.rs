//! Pairs of texts: the first is kept, the second is asked.

use outrigger_filters::semantic_cache::meaning::decide::{self, BUDGET, Bounds};
use outrigger_filters::semantic_cache::meaning::fitness;

use crate::data::{self, Pair, Prompt};
use crate::{Lab, traps};

/// How many of each kind are made.
const EACH: usize = 400;

pub async fn by_hand(lab: &mut Lab) -> anyhow::Result<()> {
    let pairs = data::read("gated_traps.jsonl")?;
    let pairs = with_cosine(lab, pairs).await?;
    table(lab, "by hand", &pairs);
    Ok(())
}

pub async fn by_rule(lab: &mut Lab, part: &str, seed: u64) -> anyhow::Result<()> {
    let pairs = made(lab, part, seed).await?;
    table(lab, "by rule", &pairs);
    Ok(())
}

/// Made by rule from the sentences of one part, with their cosines.
pub async fn made(lab: &mut Lab, part: &str, seed: u64) -> anyhow::Result<Vec<(Pair, f32)>> {
    let mut sentences = Vec::new();
    for set in ["clinc150", "banking77"] {
        let prompts: Vec<Prompt> = data::read(&format!("{set}_{part}.jsonl"))?;
        sentences.extend(prompts.into_iter().map(|prompt| prompt.text));
    }
    with_cosine(lab, traps::make(&sentences, EACH, seed)).await
}

async fn with_cosine(lab: &mut Lab, pairs: Vec<Pair>) -> anyhow::Result<Vec<(Pair, f32)>> {
    let left = lab.vectors.of(pairs.iter().map(|pair| &*pair.a)).await?;
    let right = lab.vectors.of(pairs.iter().map(|pair| &*pair.b)).await?;
    let cosines: Vec<f32> = left.iter().zip(&right).map(|(left, right)| left.cosine(right)).collect();
    Ok(pairs.into_iter().zip(cosines).collect())
}

/// By kind, and all that should and that should not be served.
fn table(lab: &Lab, source: &str, pairs: &[(Pair, f32)]) {
    println!("{source:8} {:>14} {:>6} {:>14} {:>14}", "kind", "pairs", "cosine serves", "Outrigger");
    let mut kinds: Vec<&str> = pairs.iter().map(|(pair, _)| &*pair.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        for same in [true, false] {
            let name = format!("{kind}{}", if same { " (same)" } else { "" });
            row(lab, source, &name, pairs.iter().filter(|(pair, _)| pair.kind == kind && pair.same == same));
        }
    }
    row(lab, source, "ALL SAME", pairs.iter().filter(|(pair, _)| pair.same));
    row(lab, source, "ALL TRAPS", pairs.iter().filter(|(pair, _)| !pair.same));
}

fn row<'a>(lab: &Lab, source: &str, name: &str, pairs: impl Iterator<Item = &'a (Pair, f32)>) {
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() {
        return;
    }
    let share = |count: usize| format!("{count} = {:.1} %", 100.0 * count as f64 / pairs.len() as f64);
    let plain = pairs.iter().filter(|(_, cosine)| *cosine >= lab.settings.threshold).count();
    let served = pairs.iter().filter(|(pair, cosine)| serves(lab, pair, *cosine)).count();
    println!("{source:8} {name:>14} {:6} {:>14} {:>14}", pairs.len(), share(plain), share(served));
}

fn serves(lab: &Lab, pair: &Pair, cosine: f32) -> bool {
    let bounds = Bounds { threshold: lab.settings.threshold, budget: BUDGET };
    let passes = || lab.gate.vector(&pair.a).cosine(&lab.gate.vector(&pair.b)) >= lab.settings.gate_threshold;
    fitness(&pair.a, &[]).is_ok()
        && fitness(&pair.b, &[]).is_ok()
        && passes()
        && decide::choose(&pair.b, &[(&pair.a, cosine)], bounds, Some(&lab.gate)).is_ok()
}
