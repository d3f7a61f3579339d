//! AMD's cards, by what their driver (amdgpu) shows under `/sys`: no library is needed.
//!
//! <https://docs.kernel.org/gpu/amdgpu/thermal.html> names the files. Which of them a card has is looked for seldom; a
//! file that cannot be read, or says no number, says nothing.

mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::card::{self, Card, Reading, Vendor};
use super::reader::{Nothing, Reader, SELDOM};
use super::slot::Versions;
use files::{Files, text};

const AMD: &str = "0x1002";

pub fn run(reader: &Reader, sysfs: &Path) {
    let mut cards = Cards::default();
    let mut looks = 0;
    while reader.goes_on() {
        let begun = reader.begin();
        if looks % SELDOM == 0 {
            cards.find(sysfs);
        }
        looks += 1;
        let seen = cards.look();
        let is_any = seen.iter().any(|card| card.problem.is_none());
        let wait = match is_any {
            true => {
                let driver = text(&sysfs.join("module/amdgpu/version"));
                reader.found(begun, seen, &Versions { driver, library: None });
                reader.every
            }
            false => {
                let why = match seen.into_iter().find_map(|card| card.problem) {
                    Some(problem) => Nothing::Fails(problem),
                    None => Nothing::Absent(format!("no card of AMD's is under {}", sysfs.display())),
                };
                reader.missed(begun, why);
                // It is looked for anew.
                looks = 0;
                reader.retry
            }
        };
        reader.wait(wait);
    }
}

/// The free memory of the card that has most of it; none without a card. Reads the files that drivers show, at once.
pub fn free_bytes(sysfs: &Path) -> Option<u64> {
    let mut cards = Cards::default();
    cards.find(sysfs);
    cards.look().iter().filter_map(|card| card.reading.now.memory_free_bytes).max()
}

/// The cards that are there, and those that were, by the kernel's names.
#[derive(Default)]
struct Cards(BTreeMap<u32, Files>);

impl Cards {
    fn find(&mut self, sysfs: &Path) {
        for (number, folder) in found(sysfs) {
            if self.0.contains_key(&number) || self.0.len() < card::MOST {
                self.0.insert(number, Files::of(folder));
            }
        }
    }

    fn look(&mut self) -> Vec<Card> {
        let look = |(index, (number, files)): (usize, (&u32, &mut Files))| {
            let (reading, problem) = match files.are_there() {
                true => (files.read(), None),
                // One that comes back may have other files.
                false => (Reading::default(), Some(format!("card{number} is gone"))),
            };
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            Card { vendor: Vendor::Amd, index, device: format!("card{number}"), is: files.is.clone(), reading, problem }
        };
        self.0.iter_mut().enumerate().map(look).collect()
    }
}

/// The folders of AMD's cards, by their numbers: `card0`, and not its outlets such as `card0-DP-1`.
fn found(sysfs: &Path) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(sysfs.join("class/drm")) else { return Vec::new() };
    let card = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?;
        let folder = entry.path().join("device");
        (text(&folder.join("vendor"))? == AMD).then_some((number, folder))
    };
    entries.flatten().filter_map(card).collect()
}

#[cfg(test)]
mod tests;
