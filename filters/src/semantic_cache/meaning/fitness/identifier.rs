//! What names one thing and no other: numbers of orders and cards, addresses, codes; and code itself.

/// So many digits in a row, or in one text, are no amount that anybody asks about in general.
const DIGITS_OF_A_NUMBER: usize = 5;
const DIGITS_OF_A_TEXT: usize = 9;

pub fn names_one(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= DIGITS_OF_A_TEXT || is_code(text) || text.split_whitespace().any(is_identifier)
}

/// Signs that sentences do not have.
fn is_code(text: &str) -> bool {
    const SIGNS: &[&str] =
        &["`", "{", "}", "()", "==", "=>", "->", "::", "</", "/>", "&&", "||", "!=", "\\", " = ", "$("];
    SIGNS.iter().any(|sign| text.contains(sign)) || text.lines().any(|line| line.trim_end().ends_with(';'))
}

fn is_identifier(word: &str) -> bool {
    let bare = word.trim_matches(|sign: char| sign.is_ascii_punctuation() && sign != '#' && sign != '@');
    bare.contains("://")
        || bare.starts_with("www.")
        || bare.contains('@')
        || bare.contains('_')
        || is_numbered(bare)
        || is_number(bare)
        || is_mixed(bare)
}

/// `#4821`
fn is_numbered(word: &str) -> bool {
    word.strip_prefix('#').is_some_and(|rest| rest.bytes().any(|byte| byte.is_ascii_digit()))
}

/// Digits with at most dashes between them; `1,250,000` and `2,500.00` are amounts.
fn is_number(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    digits >= DIGITS_OF_A_NUMBER && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'/' | b'+'))
}

/// Letters and digits in one, six or more of both: `1Z999AA1`, and each part of a UUID's kind. `401k`, `2fa`,
/// `covid19`, `30-day` and `100gb` are words.
fn is_mixed(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let changes = word
        .as_bytes()
        .windows(2)
        .filter(|pair| pair[0].is_ascii_alphanumeric() && pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
        .count();
    digits >= 2 && letters >= 1 && digits + letters >= 6 && (changes >= 2 || digits >= 4)
}
