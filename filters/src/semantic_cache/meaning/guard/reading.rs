//! What the guard sees in a text.

use super::lexicon::{FUNCTION_WORDS, Mark, NEGATIONS, marks};
use super::number::numbers;
use super::stem::stem;

/// One text, taken apart once and compared with each candidate.
#[derive(Debug, Default)]
pub struct Reading {
    /// All words in small letters, and their stems.
    pub words: Vec<String>,
    pub stems: Vec<String>,
    /// Which of them are no function words.
    pub is_content: Vec<bool>,
    pub same: Vec<Mark>,
    /// As often as they are taken.
    pub sides: Vec<Mark>,
    pub numbers: Vec<i64>,
    /// How many words say no.
    pub negations: usize,
    /// Stems of words with a capital that no sentence's beginning explains.
    pub names: Vec<String>,
    /// Words of letters with digits or signs: `mp3`, `c++`.
    pub codes: Vec<String>,
}

impl Reading {
    pub fn new(text: &str) -> Self {
        let mut reading = Reading::default();
        let (mut capitals, mut starts) = (0, true);
        for part in text.split(|sign: char| sign.is_whitespace() || matches!(sign, '/' | '(' | ')' | '"' | ':' | ';')) {
            for word in part
                .split(['-', '–', '—'])
                .filter(|_| !is_negative(part))
                .chain(Some(part).filter(|part| is_negative(part)))
            {
                let word =
                    word.trim_matches(|sign| matches!(sign, '.' | ',' | '!' | '?' | '\'' | '‘' | '’' | '“' | '”'));
                if word.is_empty() {
                    continue;
                }
                let is_capital = word.chars().next().is_some_and(char::is_uppercase);
                capitals += usize::from(is_capital);
                reading.read(word, is_capital && !starts);
                starts = false;
            }
            starts |= part.ends_with(['.', '!', '?']);
        }
        // Who writes everything with capitals names nothing by them.
        if capitals * 2 > reading.words.len() {
            reading.names.clear();
        }
        reading.finish();
        reading
    }

    fn read(&mut self, word: &str, is_name: bool) {
        let word = word.replace('’', "'");
        let lower = word.to_lowercase();
        let stem = stem(&lower);
        if is_name && !matches!(&*lower, "i" | "i'm" | "i'd" | "i'll" | "i've") {
            self.names.push(stem.clone());
        }
        let has_letter = lower.contains(|sign: char| sign.is_ascii_lowercase());
        let is_shouted = word.len() > 1 && word.chars().all(|sign| sign.is_uppercase());
        let is_mixed =
            has_letter && lower.contains(|sign: char| sign.is_ascii_digit() || matches!(sign, '+' | '#' | '.' | '&'));
        if is_mixed && numbers(std::iter::once(&*lower)).is_empty() || is_shouted && is_name {
            self.codes.push(lower.clone());
        }
        self.negations += usize::from(lower.ends_with("n't") || NEGATIONS.contains(&&*lower));
        self.is_content.push(!FUNCTION_WORDS.contains(&&*lower));
        self.stems.push(stem);
        self.words.push(lower);
    }

    fn finish(&mut self) {
        self.numbers = numbers(self.words.iter().map(String::as_str));
        let mut asks = false;
        let mut place = 0;
        while let Some(stem) = self.stems.get(place) {
            let pair = self.stems.get(place + 1).map(|next| format!("{stem} {next}"));
            let of_pair = pair.as_deref().map_or(&[][..], marks);
            let mut found: Vec<Mark> = if of_pair.is_empty() { marks(stem).into() } else { of_pair.into() };
            found.extend(self.unit_at_end(place));
            for mark in found {
                match mark {
                    Mark::Same(..) => self.same.push(mark),
                    // Only the first word that asks does: `tell me how I find out when` asks how.
                    Mark::Side(super::Veto::Ask, ..) if asks => {}
                    Mark::Side(veto, ..) => {
                        asks |= veto == super::Veto::Ask;
                        self.sides.push(mark);
                    }
                }
            }
            place += 1;
        }
        self.same.sort_unstable();
        self.same.dedup();
        for list in [&mut self.names, &mut self.codes] {
            list.sort_unstable();
            list.dedup();
        }
    }

    /// `$20`, `15%` and `5km` have their unit in the word.
    fn unit_at_end(&self, place: usize) -> Vec<Mark> {
        let word = &self.words[place];
        if !word.contains(|sign: char| sign.is_ascii_digit()) {
            return Vec::new();
        }
        let is_figure = |sign: char| sign.is_ascii_digit() || matches!(sign, '.' | ',' | '-' | '+');
        word.split(is_figure).filter(|part| !part.is_empty()).flat_map(|part| marks(&stem(part))).copied().collect()
    }

    pub fn content(&self) -> impl Iterator<Item = &str> {
        self.stems.iter().zip(&self.is_content).filter(|(_, is)| **is).map(|(stem, _)| stem.as_str())
    }
}

/// `-5`, whose dash joins nothing.
fn is_negative(part: &str) -> bool {
    part.strip_prefix('-').is_some_and(|rest| rest.starts_with(|sign: char| sign.is_ascii_digit()))
}
