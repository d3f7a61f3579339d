//! Whether two texts use the same words the other way round: `dollars to euros` and `euros to dollars`.

use super::reading::Reading;

/// What stands on both sides of such a word may not change its place.
const PIVOTS: &[&str] = &[
    "to", "into", "from", "in", "than", "over", "versus", "vs", "per", "for", "by", "before", "after", "against",
    "with", "minus", "divided", "beats", "beat", "onto", "of", "off",
];

/// Whether one word of each side of a pivot stands on the other side in the other text.
pub fn is_turned(asked: &Reading, candidate: &Reading) -> bool {
    PIVOTS.iter().any(|pivot| {
        let (Some(left), Some(right)) = (sides(asked, pivot), sides(candidate, pivot)) else { return false };
        let crosses = |from: &[&str], to: &[&str]| from.iter().any(|word| to.contains(word));
        crosses(&left.0, &right.1) && crosses(&left.1, &right.0)
    })
}

/// The words before and behind the pivot that stand on one side only.
fn sides<'a>(reading: &'a Reading, pivot: &str) -> Option<(Vec<&'a str>, Vec<&'a str>)> {
    let place = reading.words.iter().position(|word| word == pivot)?;
    let content = |range: std::ops::Range<usize>| -> Vec<&str> {
        range.filter(|at| reading.is_content[*at]).map(|at| reading.stems[at].as_str()).collect()
    };
    let (before, behind) = (content(0..place), content(place + 1..reading.words.len()));
    let once =
        |these: &[&'a str], others: &[&str]| these.iter().copied().filter(|word| !others.contains(word)).collect();
    Some((once(&before, &behind), once(&behind, &before)))
}

/// Whether something that one text moves to a place, the other moves from it.
pub fn is_reversed(asked: &Reading, candidate: &Reading) -> bool {
    let (to, from) = (targets(asked, TO), targets(asked, FROM));
    let (other_to, other_from) = (targets(candidate, TO), targets(candidate, FROM));
    let only = |these: &[&str], others: &[&str], word: &str| these.contains(&word) && !others.contains(&word);
    to.iter().any(|word| only(&to, &from, word) && only(&other_from, &other_to, word))
        || from.iter().any(|word| only(&from, &to, word) && only(&other_to, &other_from, word))
}

const TO: &[&str] = &["to", "into", "onto"];
const FROM: &[&str] = &["from", "off"];

/// The one or two words that a preposition points at.
fn targets<'a>(reading: &'a Reading, prepositions: &[&str]) -> Vec<&'a str> {
    let places = (0..reading.words.len()).filter(|place| prepositions.contains(&&*reading.words[*place]));
    let behind = |place: usize| {
        let rest = place + 1..reading.words.len();
        let until = rest.take_while(|at| !TO.contains(&&*reading.words[*at]) && !FROM.contains(&&*reading.words[*at]));
        until.filter(|at| reading.is_content[*at]).take(2).map(|at| reading.stems[at].as_str())
    };
    places.flat_map(behind).collect()
}
