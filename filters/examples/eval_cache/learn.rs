//! What the decision learns from: streams of the training texts, and pairs made by rule from their sentences.

use outrigger_filters::semantic_cache::meaning::decide;
use outrigger_filters::semantic_cache::meaning::fitness;
use outrigger_filters::semantic_cache::meaning::guard::{self, Reading};

use crate::calibrate::{Sample, fit, source};
use crate::data::{self, Prompt};
use crate::random::Random;
use crate::stream::Stream;
use crate::{Lab, pairs};

/// The least cosine of a pair that it learns from.
const LEAST: f32 = 0.70;
const STREAM: usize = 5_000;

/// Prints the source of the weights.
pub async fn learn(lab: &mut Lab) -> anyhow::Result<()> {
    let mut samples = Vec::new();
    for set in ["clinc150", "banking77"] {
        let mut prompts: Vec<Prompt> = data::read(&format!("{set}_train.jsonl"))?;
        Random::new(7).shuffle(&mut prompts);
        for part in prompts.chunks(STREAM) {
            let asked = lab.asked(part.to_vec()).await?;
            let stream = Stream { gate: &lab.gate, gate_threshold: lab.settings.gate_threshold };
            let found = stream.samples(&asked, LEAST).into_iter();
            samples.extend(found.map(|(features, wrong)| Sample { features, wrong }));
        }
    }
    let of_streams = samples.len();
    for (pair, cosine) in pairs::made(lab, "train", 11).await? {
        let (left, right) = (Reading::new(&pair.b), Reading::new(&pair.a));
        let is_fit = fitness(&pair.a, &[]).is_ok() && fitness(&pair.b, &[]).is_ok();
        if is_fit && cosine >= LEAST && guard::veto(&left, &right).is_none() {
            let features = decide::features(&left, &right, cosine, Some(&lab.gate));
            samples.push(Sample { features, wrong: !pair.same });
        }
    }
    eprintln!("{of_streams} pairs of streams, {} made by rule", samples.len() - of_streams);
    print!("{}", source(&fit(&samples)));
    Ok(())
}
