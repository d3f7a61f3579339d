//! Pairs made by rule from a sentence: traps, which ask for something else in nearly the same words, and harmless
//! rewrites. The word lists are their own and not the guard's: names of people, for one, the guard has none of.

use crate::data::Pair;
use crate::random::Random;

const KINDS: [(&str, Rule); 11] = [
    ("number", number),
    ("unit", unit),
    ("place", place),
    ("person", person),
    ("sibling", sibling),
    ("direction", direction),
    ("antonym", antonym),
    ("negation", negation),
    ("ask", ask),
    ("action", action),
    ("harmless", harmless),
];

type Rule = fn(&str, &mut Random) -> Option<(String, String)>;

/// Up to `each` pairs of each kind, from sentences in a random order.
pub fn make(sentences: &[String], each: usize, seed: u64) -> Vec<Pair> {
    let mut random = Random::new(seed);
    let mut pairs = Vec::new();
    for (kind, rule) in KINDS {
        let mut bases: Vec<&String> = sentences.iter().collect();
        random.shuffle(&mut bases);
        let made = bases.into_iter().filter_map(|base| rule(base, &mut random).filter(|(a, b)| a != b)).take(each);
        pairs.extend(made.map(|(a, b)| Pair { a, b, same: kind == "harmless", kind: kind.into() }));
    }
    pairs
}

fn two<'a>(words: &'a [&'a str], random: &mut Random) -> (&'a str, &'a str) {
    let first = random.below(words.len());
    let second = (first + 1 + random.below(words.len() - 1)) % words.len();
    (words[first], words[second])
}

/// The sentence with one of its words, or two, replaced; none where it has none of them.
fn swapped(base: &str, sets: &[&[&str]], random: &mut Random) -> Option<String> {
    let words: Vec<&str> = base.split(' ').collect();
    let bare = |word: &str| word.trim_end_matches(['?', '.', ',', '!']).to_lowercase();
    let mut hits: Vec<(usize, &[&str])> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        hits.extend(sets.iter().filter(|set| set.contains(&&*bare(word))).map(|set| (at, *set)));
    }
    if hits.is_empty() {
        return None;
    }
    let (at, set) = *random.one_of(&hits);
    let others: Vec<&&str> = set.iter().filter(|other| **other != bare(words[at])).collect();
    let other = random.one_of(&others);
    Some(
        words
            .iter()
            .enumerate()
            .map(|(place, word)| if place == at { **other } else { *word })
            .collect::<Vec<&str>>()
            .join(" "),
    )
}

fn bare(base: &str) -> &str {
    base.trim_end_matches(['?', '.', '!', ' '])
}

fn number(base: &str, random: &mut Random) -> Option<(String, String)> {
    let words = &["two", "three", "four", "five", "six", "ten", "twenty", "fifty"];
    let figures = &["2", "3", "5", "10", "15", "25", "40", "100", "250", "1000"];
    if let Some(other) = swapped(base, &[words, figures], random) {
        return Some((base.into(), other));
    }
    let (one, other) = if random.below(2) == 0 { two(words, random) } else { two(figures, random) };
    let frame = random.one_of(&[
        "over {} years",
        "for {} people",
        "for more than {} items",
        "within {} days",
        "for ${}",
        "at {}%",
    ]);
    Some((
        format!("{} {}", bare(base), frame.replace("{}", one)),
        format!("{} {}", bare(base), frame.replace("{}", other)),
    ))
}

fn unit(base: &str, random: &mut Random) -> Option<(String, String)> {
    let sets: &[&[&str]] = &[
        &["days", "weeks", "months", "years", "hours", "minutes"],
        &["miles", "kilometers", "meters", "feet", "inches"],
        &["dollars", "euros", "pounds", "yen", "pesos"],
        &["cups", "grams", "ounces", "teaspoons", "liters"],
    ];
    if let Some(other) = swapped(base, sets, random) {
        return Some((base.into(), other));
    }
    let (one, other) = two(sets[random.below(sets.len())], random);
    Some((format!("{} in {one}", bare(base)), format!("{} in {other}", bare(base))))
}

fn place(base: &str, random: &mut Random) -> Option<(String, String)> {
    let sets: &[&[&str]] = &[
        &[
            "france", "spain", "italy", "germany", "mexico", "canada", "japan", "china", "india", "brazil", "kenya",
            "peru", "nepal", "cambodia",
        ],
        &[
            "london", "paris", "chicago", "boston", "denver", "seattle", "tokyo", "lagos", "nairobi", "leeds", "tampa",
            "omaha", "lyon",
        ],
        &["french", "spanish", "italian", "german", "japanese", "chinese", "korean", "swahili", "tagalog", "welsh"],
    ];
    if let Some(other) = swapped(base, sets, random) {
        return Some((base.into(), other));
    }
    let set = sets[random.below(2)];
    let (one, other) = two(set, random);
    Some((format!("{} in {one}", bare(base)), format!("{} in {other}", bare(base))))
}

fn person(base: &str, random: &mut Random) -> Option<(String, String)> {
    let people = &[
        "john",
        "mary",
        "steve",
        "linda",
        "carlos",
        "aisha",
        "tom",
        "emma",
        "raj",
        "olga",
        "my brother",
        "my boss",
        "my aunt",
        "my wife",
    ];
    if let Some(other) =
        swapped(base, &[people, &["mom", "dad", "sister", "brother", "wife", "husband", "son", "daughter"]], random)
    {
        return Some((base.into(), other));
    }
    let (one, other) = two(people, random);
    Some((format!("{} for {one}", bare(base)), format!("{} for {other}", bare(base))))
}

/// One thing for another of its kind. Sentences without any are left out.
fn sibling(base: &str, random: &mut Random) -> Option<(String, String)> {
    let sets: &[&[&str]] = &[
        &["car", "truck", "motorcycle", "boat", "bike"],
        &["phone", "laptop", "tablet", "camera", "tv"],
        &["card", "cheque", "loan", "mortgage", "passport"],
        &["account", "subscription", "policy", "contract"],
        &["hotel", "flight", "restaurant", "train", "taxi"],
        &["pin", "password", "username", "address", "email"],
        &["oil", "tires", "brakes", "battery"],
        &["song", "movie", "book", "podcast"],
        &["bill", "taxes", "rent", "insurance", "salary"],
        &["recipe", "calories", "ingredients", "price"],
        &["payment", "refund", "transfer", "withdrawal", "deposit"],
        &["milk", "eggs", "bread", "cheese", "sugar"],
        &["fee", "limit", "rate", "balance"],
        &["alarm", "timer", "reminder", "meeting"],
    ];
    swapped(base, sets, random).map(|other| (base.into(), other))
}

fn direction(base: &str, random: &mut Random) -> Option<(String, String)> {
    let things: &[&[&str]] = &[
        &["checking", "savings", "my wallet", "my trust fund"],
        &["london", "paris", "chicago", "denver", "lagos"],
        &["dollars", "euros", "pesos", "yen"],
        &["english", "french", "german", "welsh"],
    ];
    let (one, other) = two(things[random.below(things.len())], random);
    Some((format!("{} from {one} to {other}", bare(base)), format!("{} from {other} to {one}", bare(base))))
}

fn antonym(base: &str, random: &mut Random) -> Option<(String, String)> {
    let sets: &[&[&str]] = &[
        &["increase", "decrease"],
        &["raise", "lower"],
        &["activate", "deactivate"],
        &["freeze", "unfreeze"],
        &["block", "unblock"],
        &["buy", "sell"],
        &["open", "close"],
        &["start", "stop"],
        &["add", "remove"],
        &["on", "off"],
        &["up", "down"],
        &["more", "less"],
        &["before", "after"],
        &["high", "low"],
        &["cancel", "book"],
        &["cheap", "expensive"],
        &["send", "receive"],
        &["first", "last"],
        &["best", "worst"],
        &["long", "short"],
        &["top-up", "withdraw"],
        &["virtual", "physical"],
        &["incoming", "outgoing"],
        &["accept", "decline"],
        &["loud", "quiet"],
        &["new", "old"],
        &["with", "without"],
        &["find", "hide"],
        &["deposit", "withdraw"],
        &["confirm", "cancel"],
        &["schedule", "cancel"],
        &["make", "cancel"],
        &["order", "return"],
        &["in", "out"],
    ];
    swapped(base, sets, random).map(|other| (base.into(), other))
}

/// One thing done to something for another.
fn action(base: &str, random: &mut Random) -> Option<(String, String)> {
    let verbs: &[&str] = &[
        "check",
        "change",
        "update",
        "cancel",
        "replace",
        "report",
        "track",
        "renew",
        "activate",
        "close",
        "freeze",
        "order",
        "find",
        "view",
        "verify",
        "return",
        "dispute",
        "schedule",
        "book",
        "pay",
        "share",
        "print",
        "download",
        "edit",
        "delete",
        "open",
        "request",
        "transfer",
        "withdraw",
        "deposit",
        "buy",
        "sell",
        "play",
        "set",
        "remove",
        "add",
        "send",
        "call",
        "lock",
        "unlock",
        "translate",
        "spell",
        "cook",
        "calculate",
        "improve",
        "reset",
    ];
    swapped(base, &[verbs], random).map(|other| (base.into(), other))
}

fn negation(base: &str, _: &mut Random) -> Option<(String, String)> {
    for (plain, negated) in [
        ("can i ", "can't i "),
        ("do i ", "do i not "),
        ("should i ", "should i not "),
        ("i want ", "i don't want "),
        ("i need ", "i don't need "),
        ("i am ", "i am not "),
        ("i have ", "i have no "),
        ("is the ", "isn't the "),
        ("is my ", "isn't my "),
        ("are the ", "aren't the "),
        ("did ", "didn't "),
        ("does ", "doesn't "),
        ("will ", "won't "),
        ("please ", "please don't "),
        (" to ", " not to "),
        ("was ", "was not "),
    ] {
        let lower = base.to_lowercase();
        if lower.contains(plain) && !lower.contains("not ") && !lower.contains("n't") {
            return Some((base.into(), lower.replacen(plain, negated, 1)));
        }
    }
    None
}

fn ask(base: &str, random: &mut Random) -> Option<(String, String)> {
    let lower = base.to_lowercase();
    let (first, rest) = lower.split_once(' ')?;
    let words = ["why", "when", "where", "how"];
    if !words.contains(&first)
        || ["many", "much", "long", "often", "old", "far", "come"].iter().any(|word| rest.starts_with(word))
    {
        return None;
    }
    let others: Vec<&str> = words.into_iter().filter(|word| *word != first).collect();
    Some((base.into(), format!("{} {rest}", random.one_of(&others))))
}

fn harmless(base: &str, random: &mut Random) -> Option<(String, String)> {
    let lower = base.to_lowercase();
    let changes = [
        ("how do i ", "how can i "),
        ("how can i ", "how do i "),
        ("what's ", "what is "),
        ("what is ", "what's "),
        ("can you ", "could you "),
        ("i want to ", "i would like to "),
        ("i need to ", "i have to "),
        ("tell me ", "please tell me "),
        ("the ", ""),
    ];
    if let Some((from, to)) = changes.iter().find(|(from, _)| lower.starts_with(from)).filter(|_| random.below(3) > 0) {
        return Some((base.into(), lower.replacen(from, to, 1)));
    }
    Some((
        base.into(),
        match random.below(6) {
            0 => format!("please {lower}"),
            1 => format!("{} please", bare(&lower)),
            2 => format!("hi, {lower}"),
            3 => format!("{}, thanks", bare(&lower)),
            4 => format!("hello {}!", bare(&lower)),
            _ => format!("ok so {lower}"),
        },
    ))
}
