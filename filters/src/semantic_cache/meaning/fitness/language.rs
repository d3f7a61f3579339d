//! Which languages the model knows, and which a text is in.

use whatlang::{Lang, Script};

/// Below so many bytes any guess is too often wrong to turn an English text away.
const GUESSABLE_BYTES: usize = 24;

/// Two of these make a text English: no other language in Latin letters has two of them. The guess, which takes ten
/// times as long, is for the rest.
const ENGLISH: &[&str] = &[
    "the", "how", "what", "what's", "why", "where", "which", "my", "you", "your", "with", "this", "that", "are",
    "does", "of", "and", "would", "should", "could", "have", "tell", "need", "i'm", "it's", "don't",
];

/// Whether it is in one of the languages, or may be. A short text in Latin letters gets the benefit of the doubt.
pub fn is_known(text: &str, languages: &[String]) -> bool {
    if languages.iter().any(|language| language == "*") {
        return true;
    }
    let english_only = languages.is_empty();
    let is_named =
        |lang: Lang| (english_only && lang == Lang::Eng) || languages.iter().any(|code| parse(code) == Some(lang));
    if is_named(Lang::Eng) && is_plainly_english(text) {
        return true;
    }
    let Some(script) = whatlang::detect_script(text) else { return true };
    if script == Script::Latin && text.is_ascii() && text.len() < GUESSABLE_BYTES {
        return true;
    }
    match whatlang::detect(text) {
        Some(guess) if is_named(guess.lang()) => true,
        // An unsure guess within Latin letters may as well be wrong; another script is no guess.
        Some(guess) => script == Script::Latin && !guess.is_reliable(),
        None => script == Script::Latin,
    }
}

fn is_plainly_english(text: &str) -> bool {
    let is_word = |word: &&str| ENGLISH.iter().any(|english| word.eq_ignore_ascii_case(english));
    text.is_ascii() && text.split(' ').filter(is_word).nth(1).is_some()
}

/// Whether two texts are in the same language, as far as anybody can tell.
pub fn are_in_one(one: &str, other: &str) -> bool {
    whatlang::detect_lang(one) == whatlang::detect_lang(other)
}

/// The language that a code of ISO 639-3 names.
pub fn parse(code: &str) -> Option<Lang> {
    Lang::from_code(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_never_meets_one_in_another_language() {
        let [english, again, german] = [
            "How do I reset the password of my account?",
            "How can I reset the password of my account?",
            "Wie kann ich das Passwort meines Kontos zurücksetzen?",
        ];
        assert!(are_in_one(english, again) && !are_in_one(english, german));
        let both = ["eng".to_owned(), "deu".to_owned()];
        assert!(is_known(german, &both) && is_known(english, &both) && !is_known(german, &both[..1]));
        assert!(parse("eng").is_some() && parse("en").is_none());
    }
}
