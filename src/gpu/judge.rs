//! Which cards are critical: too hot, or with their memory nearly full; and since when, and until when at least.
//!
//! A card that is critical stays so until all of what makes it so is clearly below again, and has been for a while:
//! what wavers around its bound is told of once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::card::Card;
use crate::config;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Memory,
    Temperature,
}

impl Cause {
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Memory => "memory",
            Cause::Temperature => "temperature",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Critical {
    pub cause: Cause,
    pub since: Instant,
    /// It is not over before then.
    pub until: Instant,
}

/// A card has become critical, or is so no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Entered(String, Cause),
    Left(String),
}

pub struct Judge {
    /// Each cause with the bound from which on it is one, and the one below which it is none.
    bounds: [(Cause, f64, f64); 2],
    hold: Duration,
    critical: BTreeMap<String, Critical>,
}

impl Judge {
    pub fn new(config: &config::Gpu) -> Self {
        let bounds = [
            (Cause::Memory, config.memory_share, config.memory_share - config.hysteresis_share),
            (Cause::Temperature, config.temperature_c, config.temperature_c - config.hysteresis_c),
        ];
        Judge { bounds, hold: config.hold(), critical: BTreeMap::new() }
    }

    /// Looks at what all cards say now. One that says nothing any more is not critical for long.
    pub fn look(&mut self, now: Instant, cards: &[Card]) -> Vec<Change> {
        let mut changes = Vec::new();
        for card in cards {
            let key = card.key();
            let beyond = |bound: fn(&(Cause, f64, f64)) -> f64| {
                let found =
                    self.bounds.iter().find(|bounds| reading(card, bounds.0).is_some_and(|is| is >= bound(bounds)));
                found.map(|(cause, ..)| *cause)
            };
            let until = now + self.hold;
            match self.critical.get_mut(&key) {
                Some(critical) if beyond(|(_, _, clear)| *clear).is_some() => critical.until = until,
                Some(_) => {}
                None => {
                    if let Some(cause) = beyond(|(_, bad, _)| *bad) {
                        self.critical.insert(key.clone(), Critical { cause, since: now, until });
                        changes.push(Change::Entered(key, cause));
                    }
                }
            }
        }
        self.critical.retain(|key, critical| {
            let stays = now < critical.until;
            if !stays {
                changes.push(Change::Left(key.clone()));
            }
            stays
        });
        changes
    }

    pub fn of(&self, card: &Card) -> Option<Critical> {
        self.critical.get(&card.key()).copied()
    }
}

fn reading(card: &Card, cause: Cause) -> Option<f64> {
    match cause {
        Cause::Memory => card.memory_share(),
        Cause::Temperature => card.reading.now.temperature_c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::card::{Identity, Now, Reading, Standing, Vendor};

    fn card(temperature_c: Option<f64>, used: u64) -> Card {
        let now = Now {
            temperature_c,
            memory_used_bytes: Some(used),
            memory_free_bytes: Some(1000 - used),
            ..Now::default()
        };
        Card {
            vendor: Vendor::Nvidia,
            index: 0,
            device: "nvidia0".to_owned(),
            is: Identity::default(),
            reading: Reading { now, standing: Standing::default() },
            problem: None,
        }
    }

    /// What changes when a card says this, one second after the other.
    fn changes(says: &[Card]) -> Vec<(usize, Change)> {
        let mut judge = Judge::new(&config::Gpu::default());
        let start = Instant::now();
        let look = |(second, card): (usize, &Card)| {
            let now = start + Duration::from_secs(second as u64);
            judge
                .look(now, std::slice::from_ref(card))
                .into_iter()
                .map(move |change| (second, change))
                .collect::<Vec<_>>()
        };
        says.iter().enumerate().flat_map(look).collect()
    }

    fn entered(cause: Cause) -> Change {
        Change::Entered("nvidia0".to_owned(), cause)
    }

    fn left() -> Change {
        Change::Left("nvidia0".to_owned())
    }

    #[test]
    fn a_card_is_critical_from_its_bound_on() {
        let (well, hot, full) = (card(Some(89.9), 979), card(Some(90.0), 0), card(None, 980));
        assert_eq!(changes(&[well.clone(), hot]), [(1, entered(Cause::Temperature))]);
        assert_eq!(changes(&[well.clone(), full]), [(1, entered(Cause::Memory))]);
        assert_eq!(changes(&[well.clone(), well]), []);
        assert_eq!(changes(&[card(None, 0), card(None, 0)]), [], "what is not said is not critical");
    }

    #[test]
    fn what_wavers_is_told_of_once() {
        let wavers: Vec<_> = (0..60).map(|second| card(Some(if second % 2 == 0 { 90.0 } else { 85.0 }), 0)).collect();
        assert_eq!(changes(&wavers), [(0, entered(Cause::Temperature))]);
        // Clearly below for nine seconds, and no longer.
        let cools: Vec<_> = (0..60).map(|second| card(Some(if second % 10 == 0 { 90.0 } else { 20.0 }), 0)).collect();
        assert_eq!(changes(&cools)[..1], [(0, entered(Cause::Temperature))]);
    }

    #[test]
    fn it_is_over_when_all_of_it_has_been_below_for_the_hold() {
        let hot_then = |then: Card| std::iter::once(card(Some(95.0), 0)).chain(vec![then; 20]).collect::<Vec<_>>();
        assert_eq!(changes(&hot_then(card(Some(84.9), 0))), [(0, entered(Cause::Temperature)), (10, left())]);
        assert_eq!(
            changes(&hot_then(card(Some(20.0), 970))),
            [(0, entered(Cause::Temperature))],
            "its memory is still near"
        );
        assert_eq!(
            changes(&hot_then(card(None, 0))).last(),
            Some(&(10, left())),
            "one that says nothing is not held for ever"
        );
    }

    #[test]
    fn a_card_that_is_gone_is_not_critical_for_ever() {
        let mut judge = Judge::new(&config::Gpu::default());
        let start = Instant::now();
        judge.look(start, &[card(Some(95.0), 0)]);
        assert_eq!(judge.look(start + Duration::from_secs(9), &[]), []);
        assert!(judge.of(&card(None, 0)).is_some());
        assert_eq!(judge.look(start + Duration::from_secs(10), &[]), [left()]);
    }
}
