//! A shape for a model of which little more is known than how many parameters it has.
//!
//! It is taken to be like the published model that is nearest in parameters. What is given replaces what that one has,
//! and the feed forward is made as wide as the parameters ask. Where that would be no model any more (narrower than
//! the hidden state, or more than eight times as wide), the hidden state is chosen anew first.

use anyhow::bail;

use super::known;
use super::shape::{Experts, Shape};

/// What is said of a model.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub parameters: Option<u64>,
    /// That work on a token: it is a mixture.
    pub active: Option<u64>,
    pub layers: Option<u64>,
    pub hidden: Option<u64>,
    pub feed_forward: Option<u64>,
    pub heads: Option<u64>,
    pub key_value_heads: Option<u64>,
    pub head: Option<u64>,
    pub vocabulary: Option<u64>,
    pub experts: Option<u64>,
    pub used: Option<u64>,
    pub tied: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub shape: Shape,
    pub parameters: u64,
    /// Whom the rest is like, and which parts that is: none where all was said.
    pub like: &'static str,
    pub assumed: Vec<String>,
}

/// Widths are whole numbers of the largest blocks, as nearly all published ones are.
const WIDTH: u64 = 256;
/// The widest hidden state that is tried.
const WIDEST: u64 = 65_536;

impl Said {
    /// # Errors
    /// In words, where no model can be like that.
    pub fn estimate(&self) -> anyhow::Result<Estimate> {
        self.like(&known::KNOWN)
    }

    /// An estimate by these published shapes.
    pub fn like(&self, published: &[known::Known]) -> anyhow::Result<Estimate> {
        let is_mixture = self.active.is_some() || self.experts.is_some_and(|experts| experts > 1);
        let Some(parameters) = self.parameters.or_else(|| self.counted(published)) else {
            bail!("how many parameters has it? Say --params 7B, or --gguf FILE");
        };
        if self.active.is_some_and(|active| active >= parameters) {
            bail!("--active is what works on a token, and must be less than --params");
        }
        let (like, near) = known::nearest(published, parameters, self.active, is_mixture);
        let mut shape = self.over(near);
        if self.feed_forward.is_none() && self.changes(parameters, near) {
            self.fit(&mut shape, parameters);
        }
        check(&shape)?;
        Ok(Estimate { shape, parameters, like, assumed: self.assumed(&shape) })
    }

    /// The parameters of a shape that is said whole.
    fn counted(&self, published: &[known::Known]) -> Option<u64> {
        let feed_forward = self.feed_forward?;
        let (hidden, layers, vocabulary) = (self.hidden?, self.layers?, self.vocabulary?);
        let (_, near) = known::nearest(published, layers * hidden * feed_forward, None, self.experts.is_some());
        Some(Shape { hidden, layers, vocabulary, feed_forward, ..self.over(near) }.parameters())
    }

    /// What is said, over what a published model has.
    fn over(&self, near: Shape) -> Shape {
        let head = self.head.unwrap_or(near.head).max(1);
        let hidden = self.hidden.unwrap_or(near.hidden);
        let grouped = (near.heads / near.key_value_heads).max(1);
        // As many as share their keys evenly.
        let fresh = (hidden / head / grouped).max(1) * grouped;
        let fresh = if self.hidden.is_some() { fresh } else { near.heads };
        let heads = self.heads.unwrap_or(fresh).max(1);
        let experts = near.experts.map(|experts| Experts {
            count: self.experts.unwrap_or(experts.count),
            used: self.used.unwrap_or(experts.used).min(self.experts.unwrap_or(experts.count)),
        });
        let head = match (self.head, self.heads) {
            (None, Some(heads)) => (hidden / heads.max(1)).max(1),
            _ => head,
        };
        Shape {
            layers: self.layers.unwrap_or(near.layers),
            hidden,
            feed_forward: self.feed_forward.unwrap_or(near.feed_forward),
            heads,
            key_value_heads: self.key_value_heads.unwrap_or((heads / grouped).max(1)),
            head,
            vocabulary: self.vocabulary.unwrap_or(near.vocabulary),
            tied: self.tied.unwrap_or(near.tied),
            fused: near.fused,
            experts,
        }
    }

    /// Whether the model differs from the published one by more than biases and rounding do.
    fn changes(&self, parameters: u64, near: Shape) -> bool {
        self.over(near) != near || parameters.abs_diff(near.parameters()) > parameters / 200
    }

    fn fit(&self, shape: &mut Shape, parameters: u64) {
        let is_one =
            |shape: &Shape, width: u64| shape.experts.is_some() || (shape.hidden..=8 * shape.hidden).contains(&width);
        let wide = width(shape, parameters);
        if is_one(shape, wide) || self.hidden.is_some() {
            shape.feed_forward = wide.max(WIDTH);
            return;
        }
        let ratio = shape.feed_forward as f64 / shape.hidden as f64;
        let grouped = (shape.heads / shape.key_value_heads).max(1);
        let like = |hidden: u64| {
            let feed_forward = rounded(hidden as f64 * ratio);
            let key_value_heads = (hidden / shape.head / grouped).max(1);
            let heads = key_value_heads * grouped;
            self.over(Shape { hidden, feed_forward, heads, key_value_heads, ..*shape })
        };
        let tried = (1..=WIDEST / WIDTH).map(|step| like(step * WIDTH));
        if let Some(nearest) = tried.min_by_key(|shape| shape.parameters().abs_diff(parameters)) {
            let wide = width(&nearest, parameters);
            *shape = if is_one(&nearest, wide) { Shape { feed_forward: wide, ..nearest } } else { nearest };
        }
    }

    fn assumed(&self, shape: &Shape) -> Vec<String> {
        let mut parts = vec![
            (self.layers, "layers", shape.layers),
            (self.hidden, "hidden", shape.hidden),
            (self.feed_forward, "feed forward", shape.feed_forward),
            (self.heads, "heads", shape.heads),
            (self.key_value_heads, "kv heads", shape.key_value_heads),
            (self.head, "head dim", shape.head),
            (self.vocabulary, "vocab", shape.vocabulary),
        ];
        if let Some(experts) = shape.experts {
            parts.push((self.experts, "experts", experts.count));
            parts.push((self.used, "used", experts.used));
        }
        let unsaid = parts.into_iter().filter(|(said, ..)| said.is_none());
        let mut words: Vec<_> = unsaid.map(|(_, name, number)| format!("{name} {number}")).collect();
        if self.tied.is_none() {
            words.push(if shape.tied { "tied embeddings" } else { "an output of its own" }.to_owned());
        }
        words
    }
}

/// How wide the feed forward must be for so many parameters.
fn width(shape: &Shape, parameters: u64) -> u64 {
    let rest = Shape { feed_forward: 0, ..*shape }.parameters();
    let experts = shape.experts.map_or(1, |experts| experts.count);
    let each = 3 * shape.layers * shape.hidden * experts;
    rounded(parameters.saturating_sub(rest) as f64 / each.max(1) as f64)
}

fn rounded(width: f64) -> u64 {
    // A mixture's experts may be narrower than a block of the largest.
    let step = if width < 4.0 * WIDTH as f64 { 64 } else { WIDTH };
    (width / step as f64).round() as u64 * step
}

/// Nothing that is said may be beyond any model, or what is reckoned with it means nothing.
fn check(shape: &Shape) -> anyhow::Result<()> {
    let parts = [
        ("--layers", shape.layers, 1_000),
        ("--hidden", shape.hidden, WIDEST * 4),
        ("--ffn", shape.feed_forward, 1 << 20),
        ("--heads", shape.heads, 1 << 12),
        ("--kv-heads", shape.key_value_heads, 1 << 12),
        ("--head-dim", shape.head, 1 << 14),
        ("--vocab", shape.vocabulary, 1 << 24),
        ("--experts", shape.experts.map_or(1, |experts| experts.count), 1 << 12),
    ];
    for (name, number, most) in parts {
        if number == 0 || number > most {
            bail!("{name} {number}: it must be from 1 to {most}");
        }
    }
    if !shape.heads.is_multiple_of(shape.key_value_heads) {
        bail!("{} heads cannot share {} heads of keys evenly", shape.heads, shape.key_value_heads);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parameters: u64) -> Said {
        Said { parameters: Some(parameters), ..Said::default() }
    }

    #[test]
    fn who_has_a_published_number_of_parameters_has_that_shape() {
        let estimate = said(8_030_261_248).estimate().unwrap();
        assert_eq!(estimate.like, "Llama-3.1-8B");
        assert_eq!(estimate.shape, known::named("Llama-3.1-8B").unwrap());
    }

    #[test]
    fn other_numbers_of_parameters_are_met_by_the_feed_forward() {
        for parameters in [150e6 as u64, 2e9 as u64, 7e9 as u64, 9_240_000_000, 20e9 as u64, 123e9 as u64] {
            let shape = said(parameters).estimate().unwrap().shape;
            let apart = shape.parameters() as f64 / parameters as f64 - 1.0;
            assert!(apart.abs() < 0.02, "{parameters}: {shape:?} is {apart} apart");
        }
    }

    #[test]
    fn what_is_said_is_taken() {
        let said = Said { layers: Some(48), key_value_heads: Some(4), vocabulary: Some(64_000), ..said(8_500_000_000) };
        let estimate = said.estimate().unwrap();
        let shape = estimate.shape;
        assert_eq!((shape.layers, shape.key_value_heads, shape.vocabulary), (48, 4, 64_000));
        assert!((shape.parameters() as f64 / 8.5e9 - 1.0).abs() < 0.02, "{shape:?}");
        assert!(!estimate.assumed.iter().any(|part| part.contains("layers")), "{:?}", estimate.assumed);
        assert!(estimate.assumed.iter().any(|part| part.contains("heads 32")), "{:?}", estimate.assumed);
    }

    #[test]
    fn a_depth_that_fits_no_width_chooses_the_width_anew() {
        let deep = Said { layers: Some(96), ..said(7e9 as u64) }.estimate().unwrap().shape;
        assert!(deep.hidden < 4_096 && deep.feed_forward > deep.hidden, "{deep:?}");
        assert!((deep.parameters() as f64 / 7e9 - 1.0).abs() < 0.1, "{deep:?}");
    }

    #[test]
    fn a_mixture_is_like_a_mixture() {
        let said = Said { active: Some(12_900_000_000), ..said(46_700_000_000) };
        assert_eq!(said.estimate().unwrap().like, "Mixtral-8x7B");
        let said = Said { active: Some(3_300_000_000), ..self::said(30_500_000_000) };
        assert_eq!(said.estimate().unwrap().like, "Qwen3-30B-A3B");
    }

    #[test]
    fn what_no_model_can_be_is_refused() {
        let wrong = |said: Said| said.estimate().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(wrong(Said::default()).contains("--params"), "nothing was said");
        assert!(wrong(Said { layers: Some(0), ..said(7) }).contains("--layers 0"), "no layers");
        assert!(wrong(Said { key_value_heads: Some(3), ..said(7_000_000_000) }).contains("evenly"), "32 by 3");
        assert!(wrong(Said { active: Some(9), ..said(8) }).contains("--active"), "more than all");
    }
}
