//! Questions whose answer changes by the day.

/// Words that alone make it so.
const WORDS: &[&str] = &[
    "today",
    "today's",
    "todays",
    "tonight",
    "tonight's",
    "tomorrow",
    "tomorrow's",
    "tomorrows",
    "yesterday",
    "yesterday's",
    "current",
    "currently",
    "latest",
    "nowadays",
    "recent",
    "recently",
    "newest",
    "breaking",
    "live",
    "upcoming",
    "weather",
    "forecast",
    "temperature",
    "headlines",
    "news",
    "trending",
    "nasdaq",
    "dow",
];

/// And these, one behind the other.
const PHRASES: &[&[&str]] = &[
    &["right", "now"],
    &["as", "of", "now"],
    &["at", "the", "moment"],
    &["at", "this", "moment"],
    &["this", "morning"],
    &["this", "afternoon"],
    &["this", "evening"],
    &["this", "week"],
    &["this", "weekend"],
    &["this", "month"],
    &["this", "year"],
    &["last", "night"],
    &["last", "week"],
    &["next", "week"],
    &["these", "days"],
    &["so", "far"],
    &["up", "to", "date"],
    &["price", "of"],
    &["prices", "of"],
    &["stock", "price"],
    &["share", "price"],
    &["trading", "at"],
    &["worth", "now"],
    &["score", "of"],
    &["what", "time"],
    &["what", "day"],
    &["the", "time", "in"],
    &["what", "is", "the", "time"],
    &["what's", "the", "time"],
    &["what", "is", "the", "date"],
    &["what's", "the", "date"],
];

pub fn changes(text: &str) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> =
        text.split(|sign: char| !sign.is_alphanumeric() && sign != '\'').filter(|word| !word.is_empty()).collect();
    let asks_for_now = words.last() == Some(&"now") || words.iter().any(|word| WORDS.contains(word));
    asks_for_now || PHRASES.iter().any(|phrase| words.windows(phrase.len()).any(|window| window == *phrase))
}
