//! Whether a text may be matched by its meaning at all. Where in doubt it may not: then only the same words again
//! have its answer.

mod identifier;
pub mod language;
mod volatile;

use super::embedder::MAX_TOKENS;
pub use language::are_in_one as are_in_one_language;

/// Why a text is matched only by its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It asks for what changes: the news, a price, today.
    Volatile,
    /// It names one thing by a number, an address or a code, or is code.
    Identifier,
    /// The model does not know its language.
    Language,
    /// A single word says too little, and what the model does not read whole it cannot tell apart.
    Length,
}

impl Unfit {
    pub fn name(self) -> &'static str {
        match self {
            Unfit::Volatile => "volatile",
            Unfit::Identifier => "identifier",
            Unfit::Language => "language",
            Unfit::Length => "length",
        }
    }
}

/// English has four letters a token; what is longer by bytes is surely longer than the model reads. The exact count
/// is taken by who embeds it.
const MAX_BYTES: usize = MAX_TOKENS * 5;

/// Whether a question asks for what changes. Of a text longer than a question it is not asked.
pub fn asks_about_now(text: &str) -> bool {
    text.len() <= MAX_BYTES && volatile::changes(text.trim())
}

/// `languages` are codes of ISO 639-3; `*` stands for all, none for English.
pub fn fitness(text: &str, languages: &[String]) -> Result<(), Unfit> {
    let text = text.trim();
    if text.len() > MAX_BYTES || text.split_whitespace().nth(1).is_none() {
        return Err(Unfit::Length);
    }
    if volatile::changes(text) {
        return Err(Unfit::Volatile);
    }
    if identifier::names_one(text) {
        return Err(Unfit::Identifier);
    }
    if !language::is_known(text, languages) {
        return Err(Unfit::Language);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(), Unfit> {
        fitness(text, &[])
    }

    #[test]
    fn plain_questions_are_fit() {
        for text in [
            "how do i reset my password",
            "What is the capital of France?",
            "can you tell me how to say 'i do not speak much spanish', in spanish",
            "what are the rules for a 401k",
            "How much is 20% of $1,250?",
            "I know it well - is it an e-mail?",
        ] {
            assert_eq!(of(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_changes_names_one_thing_or_is_not_read_is_not() {
        for (text, why) in [
            ("what is the weather today", Unfit::Volatile),
            ("who is the current president", Unfit::Volatile),
            ("What's the price of gold?", Unfit::Volatile),
            ("where is order 48213377", Unfit::Identifier),
            ("where is my order #4821", Unfit::Identifier),
            ("write to jane@example.com", Unfit::Identifier),
            ("what is on https://example.com", Unfit::Identifier),
            ("call me at 555-013-2047 please", Unfit::Identifier),
            ("what does `ls -a` do", Unfit::Identifier),
            ("what does let x = foo(); do", Unfit::Identifier),
            ("track parcel 1Z999AA1", Unfit::Identifier),
            ("find 123e4567-e89b-12d3-a456-426614174000 please", Unfit::Identifier),
            ("как мне сбросить мой пароль", Unfit::Language),
            ("wie kann ich mein Passwort zurücksetzen, wenn ich es vergessen habe", Unfit::Language),
            ("Hello", Unfit::Length),
            ("", Unfit::Length),
        ] {
            assert_eq!(of(text), Err(why), "{text}");
        }
        assert_eq!(of(&"word ".repeat(200)), Err(Unfit::Length));
    }

    #[test]
    fn a_model_for_more_languages_is_given_more() {
        let german = "wie kann ich mein Passwort zurücksetzen, wenn ich es vergessen habe";
        let languages = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
        assert_eq!(fitness(german, &languages(&["eng", "deu"])), Ok(()));
        assert_eq!(fitness(german, &languages(&["deu"])), Ok(()));
        assert_eq!(fitness(german, &languages(&["fra"])), Err(Unfit::Language));
        assert_eq!(fitness("как мне сбросить мой пароль", &languages(&["*"])), Ok(()));
    }
}
