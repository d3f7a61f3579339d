//! The numbers of a text, written in digits or in words.

const ONES: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const POWERS: &[(&str, i64)] =
    &[("hundred", 100), ("thousand", 1_000), ("million", 1_000_000), ("billion", 1_000_000_000), ("dozen", 12)];

/// In thousandths, in order of size. `one` counts only before a power: alone it is mostly no number (`which one`).
pub fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Vec<i64> {
    let mut found = Vec::new();
    // The number that is being said: what the last power has closed, and what has been said since.
    let mut said: Option<(i64, i64)> = None;
    let mut pending_one = false;
    for word in words {
        if let Some(digit) = small(word) {
            let (closed, open) = said.unwrap_or_default();
            let goes_on = said.is_some() && (open % 100 == 0 || (open % 10 == 0 && digit < 10 && open % 100 > 10));
            if goes_on || said.is_none() {
                said = Some((closed, open + digit));
            } else {
                found.push((closed + open) * 1_000);
                said = Some((0, digit));
            }
            pending_one = word == "one" && !goes_on;
        } else if let Some((_, power)) = POWERS.iter().find(|(name, _)| *name == word) {
            let (closed, open) = said.unwrap_or((0, 1));
            let open = open.max(1);
            said = Some(if *power == 100 {
                (closed, open.saturating_mul(100))
            } else {
                (closed.saturating_add(open.saturating_mul(*power)), 0)
            });
            pending_one = false;
        } else if word != "and" || said.is_none() {
            close(&mut said, &mut pending_one, &mut found);
            found.extend(digits(word));
        }
    }
    close(&mut said, &mut pending_one, &mut found);
    found.sort_unstable();
    found
}

fn close(said: &mut Option<(i64, i64)>, pending_one: &mut bool, found: &mut Vec<i64>) {
    if let Some((closed, open)) = said.take().filter(|_| !*pending_one) {
        found.push(closed.saturating_add(open).saturating_mul(1_000));
    }
    *pending_one = false;
}

fn small(word: &str) -> Option<i64> {
    let ones = ONES.iter().position(|name| *name == word).map(|place| place as i64);
    ones.or_else(|| TENS.iter().position(|name| *name == word).map(|place| place as i64 * 10 + 20))
}

/// `1,250.50`, `$20`, `15%`, `10k`, `5km`, `3rd`
fn digits(word: &str) -> Option<i64> {
    let bare = word.trim_start_matches(['$', '€', '£', '¥', '+', '~']);
    let (sign, bare) = bare.strip_prefix('-').map_or((1.0, bare), |bare| (-1.0, bare));
    let end = bare.find(|sign: char| !sign.is_ascii_digit() && sign != ',' && sign != '.').unwrap_or(bare.len());
    let number: f64 = bare[..end].trim_end_matches('.').replace(',', "").parse().ok()?;
    let power = match &bare[end..] {
        "k" => 1_000.0,
        "m" | "mm" | "mn" => 1_000_000.0,
        "b" | "bn" => 1_000_000_000.0,
        _ => 1.0,
    };
    Some((number * power * 1_000.0 * sign).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<i64> {
        numbers(text.split(' ')).into_iter().map(|number| number / 1_000).collect()
    }

    #[test]
    fn words_and_digits_are_the_same_numbers() {
        assert_eq!(of("twenty five dollars"), of("$25"));
        assert_eq!(of("two hundred and fifty thousand"), [250_000]);
        assert_eq!(of("a hundred"), of("100"));
        assert_eq!(of("1,250"), of("one thousand two hundred fifty"));
        assert_eq!(of("10k"), of("ten thousand"));
        assert_eq!(of("two three"), [2, 3]);
        assert_eq!(of("from 5km to 3rd"), [3, 5]);
        assert_eq!(of("which one of these and that"), Vec::<i64>::new());
        assert_eq!(of("-5"), [-5]);
    }
}
