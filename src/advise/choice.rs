//! Which quantization fits: each one's need against what is free.

use super::block::Block;
use super::model::{CELLS, Model, Need, Setup, Source};
use super::quantization::{Fit, Quantization};

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub name: &'static str,
    /// On average, over all weights.
    pub bits: f64,
    pub need: Need,
    /// What is left of the memory, or by how much it is too little.
    pub left: i128,
}

impl Row {
    pub const fn fits(&self) -> bool {
        self.left >= 0
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The most precise first.
    pub rows: Vec<Row>,
    /// Which of them is the most precise that fits.
    pub chosen: Option<usize>,
    /// The file that was read, as it is.
    pub file: Option<Row>,
}

/// What a model may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    pub reserve: u64,
}

pub fn advise(model: &Model, setup: Setup, room: Room, among: &[Quantization]) -> Advice {
    let row = |name, need: Need| Row {
        name,
        bits: need.weights as f64 * 8.0 / model.parameters as f64,
        need,
        left: i128::from(room.free) - i128::from(room.reserve) - i128::from(need.sum()),
    };
    let looked_at = candidates(model, among);
    let rows: Vec<_> = looked_at.into_iter().map(|one| row(one.name(), model.need(one, setup))).collect();
    let file = match model.source {
        Source::File { bytes } => {
            let need = model.need(Quantization::F16, setup);
            Some(row("the file", Need { weights: bytes, ..need }))
        }
        Source::Shape => None,
    };
    Advice { chosen: rows.iter().position(Row::fits), rows, file }
}

/// Those that are asked for, else all that make sense for the model.
fn candidates(model: &Model, among: &[Quantization]) -> Vec<Quantization> {
    let makes_sense = |one: &Quantization| match one.fit() {
        Fit::General => true,
        Fit::Experts => model.traits.experts > 1,
        Fit::Ternary => false,
    };
    let is_wanted = |one: &Quantization| if among.is_empty() { makes_sense(one) } else { among.contains(one) };
    Quantization::ALL.into_iter().filter(is_wanted).collect()
}

/// What would make the smallest fit, in words.
pub fn help(model: &Model, setup: Setup, room: Room, among: &[Quantization]) -> Vec<String> {
    let Some(smallest) = candidates(model, among).into_iter().min_by_key(|one| model.file_bytes(*one)) else {
        return Vec::new();
    };
    let room_for =
        |setup| i128::from(room.free) >= i128::from(room.reserve) + i128::from(model.need(smallest, setup).sum());
    let name = smallest.name();
    let mut words = Vec::new();
    for (cache, block) in [("q8_0", Block::Q8_0), ("q4_0", Block::Q4_0)] {
        let quantized = Setup { key_value: block, ..setup };
        if model.key_value_bytes(quantized) < model.key_value_bytes(setup) && room_for(quantized) {
            words.push(format!("with --kv-type {cache}, {name} fits"));
            break;
        }
    }
    for one in candidates(model, among).into_iter().filter(|one| *one == Quantization::Q4KM || *one == smallest) {
        if let Some(context) = longest(model, one, setup, room) {
            words.push(format!("with --context {context}, {} fits", one.name()));
        }
    }
    if setup.slots > 1 && room_for(Setup { slots: 1, ..setup }) {
        words.push(format!("with --parallel 1, {name} fits"));
    }
    let rest = model.need(smallest, setup);
    let left = room.free.saturating_sub(room.reserve).saturating_sub(rest.sum() - rest.weights);
    let share = left as f64 / rest.weights as f64;
    if share >= 0.01 {
        let fitting = super::size::parameters((model.parameters as f64 * share) as u64);
        words.push(format!("a model of at most about {fitting} parameters fits as {name}"));
    }
    let needed = super::size::bytes(rest.sum().saturating_add(room.reserve));
    words.push(format!("{name} needs {needed} of free memory"));
    words
}

/// The longest context, shorter than that which was asked for, with which a quantization fits.
fn longest(model: &Model, quantization: Quantization, setup: Setup, room: Room) -> Option<u64> {
    let most = room.free.saturating_sub(room.reserve);
    let fits = |cells: u64| model.need(quantization, Setup { context: cells * CELLS, ..setup }).sum() <= most;
    let (mut fitting, mut beyond) = (0, setup.context.div_ceil(CELLS));
    while beyond.saturating_sub(fitting) > 1 {
        let middle = fitting.midpoint(beyond);
        if fits(middle) { fitting = middle } else { beyond = middle }
    }
    (fitting > 0).then_some(fitting * CELLS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advise::known;

    const GIB: u64 = 1 << 30;
    const SETUP: Setup = Setup { context: 4_096, slots: 1, key_value: Block::F16 };

    fn model(name: &str) -> Model {
        let shape = known::named(name).expect(name);
        shape.model(shape.parameters())
    }

    fn chosen(name: &str, gib: u64) -> Option<&'static str> {
        let room = Room { free: gib * GIB, reserve: GIB };
        let advice = advise(&model(name), SETUP, room, &[]);
        advice.chosen.map(|at| advice.rows[at].name)
    }

    #[test]
    fn the_most_precise_that_fits_is_chosen() {
        assert_eq!(chosen("Llama-3.1-8B", 80), Some("f32"));
        assert_eq!(chosen("Llama-3.1-8B", 24), Some("bf16"));
        assert_eq!(chosen("Llama-3.1-8B", 12), Some("q8_0"));
        assert_eq!(chosen("Llama-3.1-8B", 8), Some("q6_k"));
        assert_eq!(chosen("Llama-3.1-70B", 44), Some("q4_k_m"));
        assert_eq!(chosen("Llama-3.1-70B", 4), None);
    }

    #[test]
    fn what_fits_adds_up_to_what_is_free() {
        let room = Room { free: 10 * GIB, reserve: GIB };
        let advice = advise(&model("Llama-2-7B"), SETUP, room, &[]);
        for row in &advice.rows {
            let Need { weights, key_value_cache, compute, process } = row.need;
            assert_eq!(row.need.sum(), weights + key_value_cache + compute + process, "{}", row.name);
            assert_eq!(row.left, i128::from(9 * GIB) - i128::from(row.need.sum()), "{}", row.name);
        }
        let at = advice.chosen.expect("something fits");
        assert!(advice.rows[at].fits() && advice.rows[..at].iter().all(|row| !row.fits()), "{at}");
    }

    #[test]
    fn only_what_suits_the_model_is_looked_at() {
        let names = |name: &str| -> Vec<_> {
            let advice = advise(&model(name), SETUP, Room { free: GIB, reserve: 0 }, &[]);
            advice.rows.into_iter().map(|row| row.name).collect()
        };
        assert!(!names("Llama-2-7B").contains(&"mxfp4") && names("Mixtral-8x7B").contains(&"mxfp4"), "experts only");
        assert!(!names("Llama-2-7B").contains(&"tq1_0"), "a model must be trained for it");
        let room = Room { free: 80 * GIB, reserve: 0 };
        let advice = advise(&model("Llama-2-7B"), SETUP, room, &[Quantization::Tq1_0, Quantization::Q4KM]);
        assert_eq!(advice.rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["q4_k_m", "tq1_0"]);
    }

    #[test]
    fn what_helps_does_help() {
        let long = Setup { context: 131_072, ..SETUP };
        let room = Room { free: 8 * GIB, reserve: GIB };
        let model = model("Llama-3.1-8B");
        assert_eq!(advise(&model, long, room, &[]).chosen, None, "16 GiB of cache fit nowhere");
        let words = help(&model, long, room, &[]).join("; ");
        let context = words.split("--context ").last().and_then(|rest| rest.split(',').next()).expect(&words);
        let context = context.parse().expect(context);
        assert!(advise(&model, Setup { context, ..long }, room, &[]).chosen.is_some(), "{words}");
        assert_eq!(advise(&model, Setup { context: context + 256, ..long }, room, &[]).chosen, None, "{words}");
    }
}
