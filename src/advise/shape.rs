//! The shape of a model: what decides how many weights each tensor has.

use super::mix::Traits;
use super::model::{Model, Source};
use super::tensor::{Role, Tensor};

/// The shape of a transformer of the llamas' kind, which nearly all open models are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub layers: u64,
    pub hidden: u64,
    /// Of one expert, where there are several.
    pub feed_forward: u64,
    pub heads: u64,
    pub key_value_heads: u64,
    /// Weights of a head.
    pub head: u64,
    pub vocabulary: u64,
    /// Whether the embedding of tokens is the output, too.
    pub tied: bool,
    /// Whether queries, keys and values are one matrix, and gate and up another, as Phi has them.
    pub fused: bool,
    pub experts: Option<Experts>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    pub count: u64,
    /// That work on a token.
    pub used: u64,
}

impl Shape {
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = vec![
            Tensor::new(Role::TokenEmbedding, 0, self.hidden, self.vocabulary),
            Tensor::new(Role::Kept, 0, self.hidden, 1),
        ];
        if !self.tied {
            tensors.push(Tensor::new(Role::Output, 0, self.hidden, self.vocabulary));
        }
        for layer in 0..self.layers {
            self.attention(layer, &mut tensors);
            self.feeding(layer, &mut tensors);
        }
        tensors
    }

    fn attention(&self, layer: u64, tensors: &mut Vec<Tensor>) {
        let (queries, values) = (self.heads * self.head, self.key_value_heads * self.head);
        let mut add = |role, row, rows| tensors.push(Tensor::new(role, layer, row, rows));
        if self.fused {
            add(Role::Fused, self.hidden, queries + 2 * values);
        } else {
            add(Role::Query, self.hidden, queries);
            add(Role::Key, self.hidden, values);
            add(Role::Value, self.hidden, values);
        }
        add(Role::AttentionOutput, queries, self.hidden);
        add(Role::Kept, self.hidden, 2);
    }

    fn feeding(&self, layer: u64, tensors: &mut Vec<Tensor>) {
        let experts = self.experts.map_or(1, |experts| experts.count);
        let mut add = |role, row, rows| {
            let of_experts = self.experts.is_some();
            tensors.push(Tensor { of_experts, ..Tensor::new(role, layer, row, rows * experts) });
        };
        if self.fused {
            add(Role::Up, self.hidden, 2 * self.feed_forward);
        } else {
            add(Role::Gate, self.hidden, self.feed_forward);
            add(Role::Up, self.hidden, self.feed_forward);
        }
        add(Role::Down, self.feed_forward, self.hidden);
        if self.experts.is_some() {
            // Which expert takes a token.
            tensors.push(Tensor::new(Role::Kept, layer, self.hidden, experts));
        }
    }

    pub fn parameters(&self) -> u64 {
        self.tensors().iter().map(Tensor::weights).sum()
    }

    /// Parameters that work on a token.
    pub fn active(&self) -> u64 {
        let one = self.layers.saturating_mul(3 * self.hidden * self.feed_forward);
        match self.experts {
            Some(experts) => self.parameters().saturating_sub(one * (experts.count - experts.used)),
            None => self.parameters(),
        }
    }

    pub const fn traits(&self) -> Traits {
        let experts = match self.experts {
            Some(experts) => experts.count,
            None => 0,
        };
        Traits { layers: self.layers, grouped: self.heads / self.key_value_heads, experts, tied: self.tied }
    }

    /// The model of this shape, with so many parameters: what a shape cannot meet exactly is met in proportion.
    pub fn model(&self, parameters: u64) -> Model {
        let values = self.key_value_heads * self.head;
        let working = self.experts.map_or(1, |experts| experts.used);
        Model {
            parameters,
            tensors: self.tensors(),
            traits: self.traits(),
            caches: vec![(values, values); usize::try_from(self.layers).unwrap_or(usize::MAX)],
            hidden: self.hidden,
            queries: self.heads * self.head,
            working_feed_forward: self.feed_forward * working,
            working_hidden: self.experts.map_or(0, |experts| experts.used * self.hidden),
            vocabulary: self.vocabulary,
            source: Source::Shape,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::advise::known;

    #[test]
    fn published_shapes_have_the_parameters_that_are_published() {
        // As their makers count them; norms and all.
        let published = [
            ("Llama-2-7B", 6_738_415_616),
            ("Llama-2-13B", 13_015_864_320),
            ("Mistral-7B", 7_241_732_096),
            ("Llama-3.1-8B", 8_030_261_248),
            ("Llama-3.1-70B", 70_553_706_496),
            ("TinyLlama-1.1B", 1_100_048_384),
            ("SmolLM2-135M", 134_515_008),
            ("Mixtral-8x7B", 46_702_792_704),
        ];
        for (name, parameters) in published {
            let shape = known::named(name).expect(name);
            assert_eq!(shape.parameters(), parameters, "{name}");
        }
        let mixtral = known::named("Mixtral-8x7B").unwrap();
        assert_eq!(mixtral.active(), 12_879_925_248, "two of eight experts work on a token");
    }
}
