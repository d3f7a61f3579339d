//! Finds the longest of many beginnings that a name has, by one binary search.

/// Beginnings of names in their order: those that a name has lie on one line of parents.
#[derive(Debug, Default)]
pub struct Beginnings {
    sorted: Vec<Beginning>,
}

#[derive(Debug)]
struct Beginning {
    text: Box<str>,
    prices: Vec<usize>,
    /// The longest other beginning that this one begins with.
    parent: Option<usize>,
}

impl Beginnings {
    pub fn new(beginnings: impl Iterator<Item = (Box<str>, Vec<usize>)>) -> Self {
        let mut sorted: Vec<_> = beginnings.map(|(text, prices)| Beginning { text, prices, parent: None }).collect();
        sorted.sort_by(|one, other| one.text.cmp(&other.text));
        for place in 1..sorted.len() {
            let above = Beginnings::above(&sorted[..place], Some(place - 1), &sorted[place].text);
            sorted[place].parent = above;
        }
        Beginnings { sorted }
    }

    /// From a place upwards, the first that the text begins with.
    fn above(sorted: &[Beginning], mut place: Option<usize>, text: &str) -> Option<usize> {
        while let Some(at) = place
            && !text.starts_with(&*sorted[at].text)
        {
            place = sorted[at].parent;
        }
        place
    }

    /// What stands at the beginnings of this name, the longest first; what stands at that of every name does not.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &[usize]> {
        let last = self.sorted.partition_point(|beginning| *beginning.text <= *name).checked_sub(1);
        let longest = Beginnings::above(&self.sorted, last, name);
        let line = std::iter::successors(longest, |place| self.sorted[*place].parent);
        line.map(|place| &self.sorted[place]).filter(|one| !one.text.is_empty()).map(|one| one.prices.as_slice())
    }

    /// What stands at the lone `*`.
    pub fn any(&self) -> Option<&[usize]> {
        self.sorted.first().filter(|one| one.text.is_empty()).map(|one| one.prices.as_slice())
    }
}
