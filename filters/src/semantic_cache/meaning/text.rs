//! The canonical text: what two people write who ask the same thing in the same words.
//!
//! Only what surely leaves the answer as it is: two texts with one canonical form get one answer, without a model or
//! a look at any of them. So a text with anything in it that looks like code, data or mathematics keeps every
//! character, and capitals stay where they may mean something (`US`, `May`, `Polish`).

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Words that open a question or a request, and mean the same with a capital.
const OPENERS: &[&str] = &[
    "a",
    "am",
    "an",
    "any",
    "are",
    "as",
    "at",
    "calculate",
    "can",
    "compare",
    "could",
    "define",
    "describe",
    "did",
    "do",
    "does",
    "explain",
    "find",
    "for",
    "from",
    "get",
    "give",
    "had",
    "has",
    "have",
    "hello",
    "help",
    "hey",
    "hi",
    "how",
    "i",
    "i'm",
    "if",
    "in",
    "is",
    "it",
    "let",
    "list",
    "make",
    "my",
    "name",
    "of",
    "on",
    "please",
    "should",
    "show",
    "summarize",
    "tell",
    "thanks",
    "that",
    "the",
    "there",
    "these",
    "this",
    "to",
    "translate",
    "was",
    "we",
    "were",
    "what",
    "what's",
    "when",
    "where",
    "which",
    "who",
    "whose",
    "why",
    "with",
    "would",
    "write",
    "you",
    "your",
];

/// The words whose sentence is a question, with a mark at its end or without.
const ASKING: &[&str] = &[
    "am", "are", "can", "could", "did", "do", "does", "has", "have", "how", "is", "should", "was", "were", "what",
    "what's", "when", "where", "which", "who", "whose", "why", "would",
];

/// Behind these, `I` is who asks, and not a numeral or a name.
const BEFORE_I: &[&str] = &[
    "am", "and", "are", "can", "could", "did", "do", "had", "have", "if", "may", "must", "shall", "should", "that",
    "was", "were", "when", "where", "will", "would",
];

const CONTRACTIONS: &[(&str, &str)] = &[
    ("aren't", "are not"),
    ("can't", "cannot"),
    ("couldn't", "could not"),
    ("didn't", "did not"),
    ("doesn't", "does not"),
    ("don't", "do not"),
    ("hasn't", "has not"),
    ("haven't", "have not"),
    ("i'm", "i am"),
    ("i've", "i have"),
    ("isn't", "is not"),
    ("wasn't", "was not"),
    ("weren't", "were not"),
    ("what's", "what is"),
    ("won't", "will not"),
    ("wouldn't", "would not"),
    ("you're", "you are"),
];

/// The form under which texts that deserve the same answer are equal.
pub fn canonical(text: &str) -> String {
    let text: String = text.trim().chars().map(usual).nfc().collect();
    if !text.chars().all(is_plain) {
        return text;
    }
    let mut words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if let Some(first) = words.first_mut() {
        let lower = first.to_lowercase();
        if OPENERS.contains(&lower.trim_end_matches([',', '!', '.', '?'])) {
            *first = lower;
        }
    }
    let asks = words.first().is_some_and(|first| ASKING.contains(&first.as_str()));
    for place in 1..words.len() {
        if words[place] == "I" && BEFORE_I.contains(&words[place - 1].as_str()) {
            words[place] = "i".into();
        }
    }
    for word in &mut words {
        if let Some((_, long)) = CONTRACTIONS.iter().find(|(short, _)| short == word) {
            *word = (*long).into();
        }
    }
    without_end(&words.join(" "), asks).to_owned()
}

/// Letters, digits, and the punctuation of plain sentences, in one line.
fn is_plain(sign: char) -> bool {
    sign.is_alphabetic()
        || is_combining_mark(sign)
        || sign.is_ascii_digit()
        || matches!(sign, ' ' | '.' | ',' | '?' | '!' | '\'' | '-' | '%' | '$' | '€' | '£')
}

/// Quotes, spaces and full-width letters in their usual form. What stands for something else than it looks like, as
/// `²` does, stays.
fn usual(sign: char) -> char {
    match sign {
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => std::iter::once(sign).nfkc().next().unwrap_or(sign),
        _ => sign,
    }
}

/// Without the mark at its end that changes nothing. An ellipsis asks for more; a question mark behind words that
/// ask nothing makes them a question.
fn without_end(text: &str, asks: bool) -> &str {
    let marks: &[char] = if asks { &['.', '!', '?'] } else { &['.', '!'] };
    let bare = text.trim_end_matches(marks).trim_end();
    let end = &text[bare.len()..];
    let is_ellipsis = end.contains("..");
    if is_ellipsis || bare.is_empty() || bare.ends_with('?') { text } else { bare }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_have_one_form() {
        for (left, right) in [
            ("What is the capital of France?", "what is  the capital of France"),
            ("How do I reset my password", "how do i reset my password?"),
            ("What’s a monad?", "what is a monad"),
            ("Tell me a joke!", "tell me a joke."),
            ("  Please list the planets ", "please list the planets"),
            ("I don’t understand it", "I do not understand it"),
            ("Cafe\u{301} near me", "Café near me"),
        ] {
            assert_eq!(canonical(left), canonical(right));
        }
    }

    #[test]
    fn what_may_mean_something_else_keeps_its_form() {
        for (left, right) in [
            ("when is it due in the US", "when is it due in the us"),
            ("how to polish silver", "how to Polish silver"),
            ("print(\"a  b\")", "print(\"a b\")"),
            ("what is x²", "what is x2"),
            ("what is -5 + 3", "what is 5 + 3"),
            ("you cancelled my order?", "you cancelled my order."),
            ("roses are red ...", "roses are red"),
            ("a\n  b", "a\n b"),
            ("what is 1.5", "what is 15"),
            ("explain a Type I error", "explain a Type i error"),
        ] {
            assert_ne!(canonical(left), canonical(right));
        }
    }

    #[test]
    fn it_is_its_own_canonical_form() {
        for text in ["What’s up?!", "Hi. How are you?", "I'm", "what", "?", "", " . ", "What is it ?"] {
            assert_eq!(canonical(&canonical(text)), canonical(text), "{text}");
        }
    }
}
