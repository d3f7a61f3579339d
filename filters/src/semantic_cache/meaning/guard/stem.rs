//! One form for the forms of an English word: crude, and the same for the lexicon and for texts.

/// Of a word in small letters. Plurals, `-ed` and `-ing`, and a silent `e` go, and so does one of two equal
/// consonants: `selling`, `sells` and `sell` are `sel`.
pub fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    let mut stem = word.to_owned();
    if !word.is_ascii() || word.len() <= 3 {
        return stem;
    }
    if let Some(bare) = word.strip_suffix("ies").filter(|bare| bare.len() > 1) {
        stem = format!("{bare}y");
    } else if word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        stem.pop();
    }
    for end in ["ing", "ed"] {
        let bare =
            stem.strip_suffix(end).filter(|bare| bare.len() > 2 && bare.contains(|sign| "aeiouy".contains(sign)));
        if let Some(bare) = bare {
            stem = bare.to_owned();
            break;
        }
    }
    if stem.len() > 3 && stem.ends_with('e') {
        stem.pop();
    }
    let is_doubled = match stem.as_bytes() {
        [.., before, last] => before == last && !b"aeiou".contains(last) && stem.len() > 3,
        _ => false,
    };
    if is_doubled {
        stem.pop();
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for forms in [
            ["sell", "sells", "selling"],
            ["enable", "enabled", "enabling"],
            ["city", "cities", "city's"],
            ["stop", "stopped", "stopping"],
            ["transfer", "transferred", "transfers"],
            ["dollar", "dollars", "dollar's"],
        ] {
            assert_eq!(stem(forms[0]), stem(forms[1]));
            assert_eq!(stem(forms[0]), stem(forms[2]));
        }
        assert_ne!(stem("enable"), stem("disable"));
    }
}
