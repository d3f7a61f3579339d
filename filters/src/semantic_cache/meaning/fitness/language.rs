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

/// Codes of two letters, as most people write them. Those of three are whatlang's own.
const CODES: &[(&str, Lang)] = &[
    ("ar", Lang::Ara),
    ("bg", Lang::Bul),
    ("bn", Lang::Ben),
    ("ca", Lang::Cat),
    ("cs", Lang::Ces),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fa", Lang::Pes),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("ko", Lang::Kor),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("nb", Lang::Nob),
    ("nl", Lang::Nld),
    ("no", Lang::Nob),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("sk", Lang::Slk),
    ("sl", Lang::Slv),
    ("sr", Lang::Srp),
    ("sv", Lang::Swe),
    ("th", Lang::Tha),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("ur", Lang::Urd),
    ("vi", Lang::Vie),
    ("zh", Lang::Cmn),
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

/// The language that a code of ISO 639 names.
pub fn parse(code: &str) -> Option<Lang> {
    let two = CODES.iter().find(|(two, _)| *two == code).map(|(_, lang)| *lang);
    two.or_else(|| Lang::from_code(code))
}
