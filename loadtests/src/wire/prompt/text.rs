//! Prose without meaning, as long as it takes.

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "the", "a", "server", "of", "and", "to", "answer", "question", "in", "that",
    "model", "which", "please", "explain", "how", "request", "stream", "with", "for", "token",
    "summarise", "between", "paragraph", "customer", "invoice", "is", "was", "because", "latency", "table",
    "following", "document", "naïve", "café", "first", "second", "each", "list",
];

/// Words of a seeded draw, with quotes and line ends as people write them; of this length once escaped, about.
pub fn prose(words: &mut fastrand::Rng, length: usize) -> String {
    let (mut text, mut escaped) = (String::with_capacity(length), 0);
    while escaped < length {
        let word = WORDS[words.usize(..WORDS.len())];
        let piece = match words.u8(..24) {
            0 => format!("\"{word}\" "),
            1 => format!("{word}.\n"),
            _ => format!("{word} "),
        };
        escaped += piece.len() + piece.matches(['"', '\n']).count();
        text.push_str(&piece);
    }
    text
}
