//! What matching by meaning serves, and how much of it wrongly.
//!
//! `make eval-cache` prints it, and draws the streams' curve in `target/eval-cache.html`. `make calibrate-cache`
//! makes the weights of the decision again, from the training texts alone.

mod calibrate;
mod chart;
mod data;
mod learn;
mod pairs;
mod random;
mod stream;
mod traps;
mod vectors;

use std::path::{Path, PathBuf};

use anyhow::Context;
use outrigger_filters::semantic_cache::meaning::decide::{BUDGET, Bounds};
use outrigger_filters::semantic_cache::meaning::gate::Gate;
use outrigger_filters::semantic_cache::meaning::{Meaning, Settings, Vector};

use chart::Point;
use data::Prompt;
use stream::{Asked, Policy, Stream};
use vectors::Vectors;

/// The models, with what they have made already.
pub struct Lab {
    pub vectors: Vectors,
    pub gate: Gate,
    pub settings: Settings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let model = std::env::var_os("OUTRIGGER_MODEL").map_or_else(|| root.join("models/minilm"), PathBuf::from);
    let settings = Settings { model: Some(model.clone()), sessions: 2, ..Settings::default() };
    let meaning = Meaning::open(&settings).context("`make model` brings the model")?;
    let gate = Gate::open(&model.join("static"))?.context("the gate's model is missing: `make model` makes it")?;
    let mut lab = Lab { vectors: Vectors::open(&meaning, root.join("target/eval-cache"))?, gate, settings };
    match std::env::args().nth(1).as_deref() {
        Some("calibrate") => learn::learn(&mut lab).await,
        // The bounds are chosen by what this prints: the texts that the weights come from, and no others.
        Some("choose") => {
            for threshold in [0.80, 0.82, 0.84, 0.86] {
                lab.settings.threshold = threshold;
                streams(&mut lab, "train", &[threshold]).await?;
            }
            gates(&mut lab).await
        }
        _ => evaluate(&mut lab, &root.join("target/eval-cache.html")).await,
    }
}

async fn evaluate(lab: &mut Lab, html: &Path) -> anyhow::Result<()> {
    println!(
        "At the defaults: cosine {} or more, wrong with a probability of {BUDGET} at most.\n",
        lab.settings.threshold
    );
    println!("Pairs: whether the second is served with the first one's answer.");
    pairs::by_hand(lab).await?;
    pairs::by_rule(lab, "test", 12).await?;
    println!(
        "\nStreams through an empty cache, one pass. A hit is wrong if the intents differ or either is out of scope."
    );
    let points = streams(lab, "test", &[0.78, 0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.95]).await?;
    std::fs::write(html, chart::page(&points))?;
    println!("\n{} shows the curve.", html.display());
    Ok(())
}

/// Each stream by cosine alone and by all that Outrigger does, for each threshold.
async fn streams(lab: &mut Lab, part: &str, thresholds: &[f32]) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    println!("{:10} {:>9}  {:>22}  {:>22}", "stream", "threshold", "cosine: hits, wrong", "Outrigger: hits, wrong");
    for set in ["clinc150", "banking77"] {
        let prompts: Vec<Prompt> = data::read(&format!("{set}_{part}.jsonl"))?;
        let prompts = lab.asked(stream::mixed(&prompts, 1)).await?;
        let stream = Stream { gate: &lab.gate, gate_threshold: lab.settings.gate_threshold };
        for threshold in thresholds {
            let bounds = Bounds { threshold: *threshold, budget: BUDGET };
            let [plain, whole] =
                [Policy::Cosine(*threshold), Policy::Whole(bounds)].map(|policy| stream.run(&prompts, policy));
            println!("{set:10} {threshold:9.2}  {:>22}  {:>22}", plain.shares(), whole.shares());
            for (name, outcome) in [("cosine", plain), ("Outrigger", whole)] {
                points.push(Point {
                    set: set.into(),
                    policy: name.into(),
                    threshold: *threshold,
                    hits: outcome.hit_share(),
                    wrong: outcome.wrong_share(),
                });
            }
        }
    }
    Ok(points)
}

/// What the gate settles by itself, and what it costs.
async fn gates(lab: &mut Lab) -> anyhow::Result<()> {
    for set in ["clinc150", "banking77"] {
        let prompts: Vec<Prompt> = data::read(&format!("{set}_train.jsonl"))?;
        let prompts = lab.asked(stream::mixed(&prompts, 1)).await?;
        for gate_threshold in [0.0, 0.60, 0.65, 0.70, 0.75, 0.80] {
            let stream = Stream { gate: &lab.gate, gate_threshold };
            let outcome = stream.run(&prompts, Policy::Whole(Bounds { threshold: 0.84, budget: BUDGET }));
            println!(
                "{set:10} gate {gate_threshold:.2}: {}, settled {:.1} %",
                outcome.shares(),
                100.0 * outcome.gated as f64 / outcome.asked as f64
            );
        }
    }
    Ok(())
}

impl Lab {
    pub async fn asked(&mut self, prompts: Vec<Prompt>) -> anyhow::Result<Vec<Asked>> {
        let made: Vec<Vector> = self.vectors.of(prompts.iter().map(|prompt| &*prompt.text)).await?;
        let asked = prompts.into_iter().zip(made);
        Ok(asked.map(|(prompt, vector)| Asked { gate: self.gate.vector(&prompt.text), prompt, vector }).collect())
    }
}
