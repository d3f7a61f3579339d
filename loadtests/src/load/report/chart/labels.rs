//! Where words go so that none lies on another.

/// What a letter takes at the chart's size of type, on the generous side: the fonts are the reader's.
pub const LETTER: f64 = 6.6;

/// Moves places apart until each has so much room, each as near to its own as the others allow, between two ends.
pub fn spread(places: &[f64], room: f64, ends: (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|one, other| places[*one].total_cmp(&places[*other]));
    let mut groups: Vec<Group> = Vec::new();
    for place in &order {
        groups.push(Group { sum: places[*place], members: 1.0 });
        while let [.., before, last] = groups.as_slice() {
            if last.first(room, ends) - before.last(room, ends) >= room {
                break;
            }
            let merged = before.with(last, room);
            groups.truncate(groups.len() - 2);
            groups.push(merged);
        }
    }
    let starts = groups.iter().flat_map(|group| {
        let first = group.first(room, ends);
        (0..group.members as usize).map(move |member| first + member as f64 * room)
    });
    let mut spread = vec![0.0; places.len()];
    order.iter().zip(starts).for_each(|(place, at)| spread[*place] = at);
    spread
}

/// Labels that touch: they lie in a row about the mean of their places.
struct Group {
    /// Of the places that the first member would have for each to be at its own.
    sum: f64,
    members: f64,
}

impl Group {
    fn first(&self, room: f64, ends: (f64, f64)) -> f64 {
        let highest = (ends.1 - (self.members - 1.0) * room).max(ends.0);
        (self.sum / self.members).clamp(ends.0, highest)
    }

    fn last(&self, room: f64, ends: (f64, f64)) -> f64 {
        self.first(room, ends) + (self.members - 1.0) * room
    }

    fn with(&self, next: &Group, room: f64) -> Group {
        let shift = self.members * room * next.members;
        Group { sum: self.sum + next.sum - shift, members: self.members + next.members }
    }
}

/// A word on one of a few rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub text: String,
    pub at: f64,
    pub row: usize,
}

/// Puts words on rows, from left to right, each at its place and none upon another. Of several wordings, from the
/// longest on, the first that fits is taken; where none does, the word is left out.
pub fn rows(words: &[(f64, Vec<String>)], rows: usize, width: f64) -> Vec<Placed> {
    let mut free = vec![0.0_f64; rows];
    let mut placed = Vec::new();
    for (at, wordings) in words {
        let fits = wordings.iter().find_map(|text| {
            let end = at + letters(text);
            let row = (0..rows).find(|row| free[*row] <= *at && end <= width)?;
            Some((text, row, end))
        });
        if let Some((text, row, end)) = fits {
            free[row] = end + LETTER;
            placed.push(Placed { text: text.clone(), at: *at, row });
        }
    }
    placed
}

pub fn letters(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// No longer than so many letters.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).collect::<String>().trim_end().to_owned() + "…"
}
