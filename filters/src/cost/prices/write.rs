//! Writes prices as TOML, so that what is read from it charges the same to the token.

use std::fmt::Write;

use super::entry::{Rate, Step};
use super::rates::{Named, PARTS, Part, Rates, over};

/// The rates of a model in full: for each tier by its input, and in it for standard, batch, flex and priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub tiers: Vec<(u64, [Rates; 4])>,
}

impl Full {
    /// What must be named, given that what is not named stays as it is below.
    fn steps(&self) -> Vec<Step> {
        let mut below = [[None; PARTS]; 4];
        let mut steps = Vec::new();
        for (place, (above_input, wanted)) in self.tiers.iter().enumerate() {
            let mut standard = difference(&below[0], &wanted[0]);
            if place == 0 {
                standard[Part::Input as usize] = Some(Rate(wanted[0].0[Part::Input as usize]));
            }
            let mut classes = [[None; PARTS]; 3];
            below[0] = over(&below[0], &standard);
            for class in 0..3 {
                let stays = over(&below[class + 1], &standard);
                classes[class] = difference(&stays, &wanted[class + 1]);
                below[class + 1] = over(&stays, &classes[class]);
            }
            let silent = standard.iter().chain(classes.iter().flatten()).all(Option::is_none);
            if !silent {
                steps.push(Step { above_input: *above_input, standard, classes });
            }
        }
        steps
    }

    pub fn write(&self, model: &str, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n[[prices]]\nmodel = {}", toml::Value::from(model))?;
        for step in self.steps() {
            if step.above_input > 0 {
                writeln!(text, "[[prices.tiers]]\nabove_input = {}", grouped(step.above_input))?;
            }
            for pair in pairs(&step.standard) {
                writeln!(text, "{pair}")?;
            }
            for (name, class) in ["batch", "flex", "priority"].iter().zip(&step.classes) {
                let pairs: Vec<_> = pairs(class).collect();
                if !pairs.is_empty() {
                    writeln!(text, "{name} = {{ {} }}", pairs.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

/// What must be named over the rates below, so that they become those that are wanted.
fn difference(below: &Named, wanted: &Rates) -> Named {
    let mut named = [None; PARTS];
    for part in Part::ALL {
        let rate = wanted.0[part as usize];
        if Rates::of(&over(below, &named)).0[part as usize] != rate {
            named[part as usize] = Some(Rate(rate));
        }
    }
    named
}

fn pairs(named: &Named) -> impl Iterator<Item = String> {
    let pair = |part: Part| named[part as usize].map(|rate| format!("{} = {}", part.key(), part.dollars(rate.0)));
    Part::ALL.into_iter().filter_map(pair)
}

/// `200_000`, as TOML takes it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join("_")
}
