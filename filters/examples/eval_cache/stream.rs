//! A stream of prompts through an empty cache, one after the other: what is not served is kept.

use outrigger_filters::semantic_cache::meaning::Vector;
use outrigger_filters::semantic_cache::meaning::decide::{self, Bounds, Features};
use outrigger_filters::semantic_cache::meaning::fitness;
use outrigger_filters::semantic_cache::meaning::gate::Gate;
use outrigger_filters::semantic_cache::meaning::guard::{self, Reading};

use crate::data::Prompt;
use crate::random::Random;

/// What decides whether a prompt is served.
#[derive(Clone, Copy)]
pub enum Policy {
    /// The cosine alone.
    Cosine(f32),
    /// All that Outrigger does.
    Whole(Bounds),
}

/// One prompt with what the models make of it.
pub struct Asked {
    pub prompt: Prompt,
    pub vector: Vector,
    pub gate: Vector,
}

#[derive(Default)]
pub struct Outcome {
    pub asked: usize,
    pub hits: usize,
    pub wrong: usize,
    pub gated: usize,
}

impl Outcome {
    pub fn hit_share(&self) -> f64 {
        100.0 * self.hits as f64 / self.asked as f64
    }

    pub fn wrong_share(&self) -> f64 {
        100.0 * self.wrong as f64 / self.asked as f64
    }

    pub fn shares(&self) -> String {
        format!("{:.1} %, {:.2} %", self.hit_share(), self.wrong_share())
    }
}

pub struct Stream<'a> {
    pub gate: &'a Gate,
    pub gate_threshold: f32,
}

const CANDIDATES: usize = 8;

impl Stream<'_> {
    pub fn run(&self, prompts: &[Asked], policy: Policy) -> Outcome {
        let mut kept: Vec<&Asked> = Vec::new();
        let mut outcome = Outcome { asked: prompts.len(), ..Outcome::default() };
        for asked in prompts {
            if matches!(policy, Policy::Whole(_)) && fitness(&asked.prompt.text, &[]).is_err() {
                continue;
            }
            match self.serve(asked, &kept, policy, &mut outcome) {
                Some(other) => {
                    outcome.hits += 1;
                    outcome.wrong += usize::from(!asked.prompt.is_like(&other.prompt));
                }
                None => kept.push(asked),
            }
        }
        outcome
    }

    fn serve<'b>(&self, asked: &Asked, kept: &[&'b Asked], policy: Policy, outcome: &mut Outcome) -> Option<&'b Asked> {
        match policy {
            Policy::Cosine(threshold) => {
                let (other, cosine) = *nearest(asked, kept).first()?;
                (cosine >= threshold).then_some(other)
            }
            Policy::Whole(bounds) => {
                if !kept.iter().any(|other| other.gate.cosine(&asked.gate) >= self.gate_threshold) {
                    outcome.gated += 1;
                    return None;
                }
                let near = nearest(asked, kept);
                let candidates: Vec<(&str, f32)> =
                    near.iter().map(|(other, cosine)| (&*other.prompt.text, *cosine)).collect();
                let choice = decide::choose(&asked.prompt.text, &candidates, bounds, Some(self.gate)).ok()?;
                Some(near[choice.place].0)
            }
        }
    }

    /// Of each prompt the nearest earlier one that no veto strikes out: what the calibrator learns from.
    pub fn samples(&self, prompts: &[Asked], least: f32) -> Vec<(Features, bool)> {
        let mut kept: Vec<&Asked> = Vec::new();
        let mut samples = Vec::new();
        for asked in prompts.iter().filter(|asked| fitness(&asked.prompt.text, &[]).is_ok()) {
            let reading = Reading::new(&asked.prompt.text);
            let near = nearest(asked, &kept).into_iter().take_while(|(_, cosine)| *cosine >= least);
            let mut readings = near.map(|(other, cosine)| (other, cosine, Reading::new(&other.prompt.text)));
            if let Some((other, cosine, found)) = readings.find(|(_, _, found)| guard::veto(&reading, found).is_none())
            {
                let features = decide::features(&reading, &found, cosine, Some(self.gate));
                samples.push((features, !asked.prompt.is_like(&other.prompt)));
            }
            kept.push(asked);
        }
        samples
    }
}

fn nearest<'b>(asked: &Asked, kept: &[&'b Asked]) -> Vec<(&'b Asked, f32)> {
    let mut near: Vec<(&Asked, f32)> = kept.iter().map(|other| (*other, other.vector.cosine(&asked.vector))).collect();
    let better = |left: &(&Asked, f32), right: &(&Asked, f32)| right.1.total_cmp(&left.1);
    if near.len() > CANDIDATES {
        near.select_nth_unstable_by(CANDIDATES, better);
        near.truncate(CANDIDATES);
    }
    near.sort_by(better);
    near
}

/// 4,000 prompts in scope and 1,000 out of scope, or as many as there are, in a random order.
pub fn mixed(prompts: &[Prompt], seed: u64) -> Vec<Prompt> {
    let mut random = Random::new(seed);
    let (mut outside, mut inside): (Vec<Prompt>, Vec<Prompt>) =
        prompts.iter().cloned().partition(|prompt| prompt.group == "oos");
    random.shuffle(&mut inside);
    random.shuffle(&mut outside);
    inside.truncate(4_000);
    outside.truncate(1_000);
    inside.append(&mut outside);
    random.shuffle(&mut inside);
    inside
}
