//! The words that the guard knows. In each list, values are parted by commas, and spellings of one value by `|`;
//! all are brought to their stems before they are compared, so one form of a verb or noun stands for its others.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Veto;
use super::stem::stem;

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Both texts must name the same of these.
    Same(Veto, u16),
    /// The texts must not take different sides: the group, and the side.
    Side(Veto, u16, u16),
}

impl Mark {
    /// The group whose sides exclude each other.
    pub fn group(self) -> Option<(Veto, u16)> {
        match self {
            Mark::Side(veto, group, _) => Some((veto, group)),
            Mark::Same(..) => None,
        }
    }
}

const SAME: &[(Veto, &str)] = &[
    (
        Veto::Unit,
        "km|kilometer|kilometre|kms, mile|mi, meter|metre, cm|centimeter|centimetre, mm|millimeter|millimetre, inch|inches, \
         foot|feet|ft, yard, kg|kilo|kilogram, gram, pound|lb|lbs, ounce|oz, ton|tonne, liter|litre, ml|milliliter, \
         gallon, quart, pint, cup, tablespoon|tbsp, teaspoon|tsp, celsius|centigrade, fahrenheit, kelvin, second|sec, \
         minute|min|mins, hour|hr|hrs, day, night, week, fortnight, month, quarter, year|yr|yrs, decade, century, \
         acre, hectare, mph, kph|kmh, watt, kilowatt|kw, volt, amp, byte, kb|kilobyte, mb|megabyte, gb|gigabyte, tb|terabyte, \
         dollar|usd|buck|$, cent, euro|eur|€, sterling|gbp|£|quid, yen|jpy|¥, yuan|cny|rmb, rupee|inr, peso|mxn, franc|chf, \
         won|krw, ruble|rub, krona|sek, lira, aud, cad, bitcoin|btc, ethereum|eth, percent|percentage|%|pct, degree, calorie",
    ),
    (
        Veto::Date,
        "january|jan, february|feb, march, april|apr, june, july, august|aug, september|sept, october|oct, november|nov, \
         december|dec, monday|mon, tuesday|tue|tues, wednesday|wed, thursday|thu|thurs, friday|fri, saturday, sunday, \
         morning, noon|midday, afternoon, evening, midnight, weekend, weekday, daily, weekly, biweekly, monthly, quarterly, \
         yearly|annual|annually, spring, summer, autumn, winter, christmas|xmas, easter, halloween, thanksgiving",
    ),
    (
        Veto::Quantity,
        "only, both, half, double|twice, triple, entire|whole, except|excluding|besides, maximum|max, minimum|min, \
         average|mean|median, total|altogether",
    ),
    (
        Veto::Name,
        "visa, mastercard, amex, discover, paypal, venmo, zelle, stripe, klarna, apple, google, samsung, microsoft, amazon, \
         netflix, spotify, uber, lyft, facebook, instagram, twitter, youtube, whatsapp, tiktok, linkedin, reddit, \
         windows, linux, mac|macos, android, ios|iphone, ipad, chrome, firefox, safari, swift, sepa, swift, iban, ach, \
         python, java, javascript|js, typescript, rust, golang, ruby, php, kotlin, scala, perl, haskell, sql, mysql, postgres|postgresql, \
         mongodb, redis, kafka, docker, kubernetes|k8s, react, angular, vue, django, flask, pytorch, tensorflow, excel, \
         mother|mom|mum, father|dad, brother, sister, son, daughter, husband, wife, uncle, aunt, grandmother|grandma, \
         grandfather|grandpa, cousin, nephew, niece, boss, doctor, dentist, landlord, \
         breakfast, brunch, lunch, dinner|supper, dog, cat, horse, bird, fish, chicken, beef, pork, lamb, turkey, rice, pasta, pizza, \
         red, orange, yellow, green, blue, purple, pink, brown, black, white, gold, silver, bronze, platinum, \
         mercury, venus, mars, jupiter, saturn, uranus, neptune, pluto",
    ),
    (
        Veto::Place,
        "america|usa|us, england, britain|uk, scotland, wales, ireland, france, germany, spain, portugal, italy, greece, \
         switzerland, austria, belgium, netherlands|holland, denmark, sweden, norway, finland, iceland, poland, czechia, hungary, \
         romania, bulgaria, serbia, croatia, ukraine, russia, turkey, egypt, morocco, kenya, nigeria, ghana, ethiopia, israel, iran, iraq, \
         india, pakistan, bangladesh, china, japan, korea, taiwan, vietnam, thailand, malaysia, singapore, indonesia, philippines, \
         australia, canada, mexico, brazil, argentina, chile, peru, colombia, cuba, jamaica, europe, asia, africa, \
         london, paris, berlin, munich, madrid, barcelona, lisbon, rome, milan, venice, athens, vienna, zurich, geneva, brussels, \
         amsterdam, copenhagen, stockholm, oslo, helsinki, dublin, edinburgh, prague, budapest, warsaw, moscow, istanbul, \
         dubai, cairo, delhi, mumbai, beijing, shanghai, tokyo, osaka, seoul, bangkok, sydney, melbourne, toronto, \
         vancouver, montreal, boston, chicago, houston, dallas, austin, denver, phoenix, seattle, portland, miami, orlando, \
         atlanta, detroit, philadelphia, california, texas, florida, nevada, arizona, oregon, colorado, georgia, ohio, michigan, \
         virginia, hawaii, alaska, manhattan, brooklyn, vegas, york, angeles, francisco, diego, antonio, orleans, \
         french, german, spanish, italian, portuguese, dutch, danish, swedish, norwegian, finnish, polish, czech, hungarian, \
         romanian, russian, ukrainian, turkish, arabic, hebrew, persian, hindi, urdu, bengali, chinese|mandarin, cantonese, \
         japanese, korean, vietnamese, thai, indonesian, greek, latin, english, british, american, canadian, mexican, indian, \
         irish, scottish, european, asian, african, australian, north|northern, south|southern, east|eastern, west|western",
    ),
];

const SIDES: &[(Veto, &str)] = &[
    (Veto::Antonym, "enable|activate|reactivate, disable|deactivate"),
    (Veto::Antonym, "lock|block|freeze|froze|frozen, unlock|unblock|unfreeze"),
    (Veto::Antonym, "allow|permit|approve|accept, forbid|deny|reject|refuse|prohibit|decline"),
    (Veto::Antonym, "increase|raise|rise|grow|boost, decrease|reduce|lower|drop|shrink|cut"),
    (Veto::Antonym, "buy|bought|purchase, sell|sold|sale"),
    (Veto::Antonym, "deposit|topup, withdraw|withdrawal|withdrew|withdrawn"),
    (Veto::Antonym, "open|reopen, close|shut"),
    (Veto::Antonym, "start|begin|began|launch, stop|end|finish|quit"),
    (
        Veto::Antonym,
        "add|insert|create|make|book|order|place|schedule|renew|continue|keep, remove|delete|cancel|cancellation|undo|erase|terminate",
    ),
    (Veto::Antonym, "send|sent, receive|get"),
    (Veto::Antonym, "give|gave|lend|lent|loan, borrow|take"),
    (Veto::Antonym, "before|prior, after|following"),
    (Veto::Antonym, "more|greater|higher|above|over, less|fewer|below|under"),
    (Veto::Antonym, "most, least"),
    (Veto::Antonym, "highest|largest|biggest|tallest|longest, lowest|smallest|shortest"),
    (Veto::Antonym, "best|good|better|great, worst|bad|worse"),
    (Veto::Antonym, "fast|faster|fastest|quick, slow|slower|slowest"),
    (Veto::Antonym, "cheap|cheaper|cheapest, expensive|pricey"),
    (Veto::Antonym, "hot|warm|heat, cold|cool"),
    (Veto::Antonym, "import, export"),
    (Veto::Antonym, "upload, download"),
    (Veto::Antonym, "arrive|arrival|land, depart|departure|leave"),
    (Veto::Antonym, "debit, credit, prepaid"),
    (Veto::Antonym, "checking, saving|savings"),
    (Veto::Antonym, "income|earn|revenue, expense|spend|spent|cost"),
    (Veto::Antonym, "profit|gain, loss"),
    (Veto::Antonym, "win|won, lose|lost"),
    (Veto::Antonym, "left, right"),
    (Veto::Antonym, "incoming|inbound, outgoing|outbound"),
    (Veto::Antonym, "physical|plastic, virtual|digital"),
    (Veto::Antonym, "personal|private, business|corporate|public"),
    (Veto::Antonym, "safe|secure, unsafe|insecure|dangerous"),
    (Veto::Antonym, "legal, illegal"),
    (Veto::Antonym, "possible, impossible"),
    (Veto::Antonym, "same|identical|similar, different|opposite"),
    (Veto::Antonym, "synonym, antonym"),
    (Veto::Antonym, "early|earlier|earliest, late|later|latest"),
    (Veto::Antonym, "front, back"),
    (Veto::Antonym, "hide, show"),
    (Veto::Antonym, "mute, unmute"),
    (Veto::Antonym, "join, leave"),
    (Veto::Antonym, "subscribe, unsubscribe"),
    (Veto::Antonym, "follow, unfollow"),
    (Veto::Antonym, "connect, disconnect"),
    (Veto::Antonym, "link, unlink"),
    (Veto::Antonym, "install, uninstall"),
    (Veto::Antonym, "encrypt, decrypt"),
    (Veto::Antonym, "compress|zip, decompress|unzip|extract"),
    (Veto::Antonym, "male|man|men|boy, female|woman|women|girl"),
    (Veto::Antonym, "fixed, variable|floating"),
    (Veto::Antonym, "domestic|national, international|foreign|abroad|overseas"),
    (Veto::Antonym, "indoor|inside, outdoor|outside"),
    (Veto::Antonym, "full|all, partial|part"),
    (Veto::Antonym, "single|individual, joint|multiple|several"),
    (Veto::Antonym, "temporary|temporarily, permanent|permanently"),
    (Veto::Antonym, "upgrade, downgrade"),
    (Veto::Antonym, "encode, decode"),
    (Veto::Antonym, "push, pull"),
    (Veto::Antonym, "advantage|benefit|pro, disadvantage|drawback|con"),
    (Veto::Antonym, "gross, net"),
    (Veto::Antonym, "ascending, descending"),
    (Veto::Antonym, "even, odd"),
    (Veto::Antonym, "day, night"),
    (Veto::Antonym, "cash, cheque|check, transfer"),
    (Veto::Direction, "to|into|onto, from"),
    (
        Veto::Direction,
        "log in|sign in|check in|opt in|cash in|turn on|switch on|put on|login|signin, \
         log out|sign out|check out|opt out|cash out|turn off|switch off|shut off|logout|signout|log off|sign off",
    ),
    (Veto::Direction, "up, down"),
    (Veto::Direction, "on|onto|upon, off"),
    (Veto::Direction, "in|into|inside, out|outside"),
    (Veto::Antonym, "high|loud, low|quiet"),
    (Veto::Antonym, "confirm|confirmation, cancel|cancellation"),
    (Veto::Antonym, "order|buy|purchase, return"),
    (Veto::Antonym, "long, short"),
    (Veto::Antonym, "find|show, hide"),
    (Veto::Quantity, "all|every|each|any|everything, some|few|none|nothing"),
    (Veto::Quantity, "always, sometimes|occasionally|rarely|seldom"),
    (Veto::Quantity, "at least, at most"),
    (Veto::Quantity, "first|1st, second|2nd, third|3rd, fourth|4th, fifth|5th, last|final, next, previous"),
    (Veto::Owner, "my|mine, your|yours, his, her|hers, our|ours, their|theirs"),
    (
        Veto::Owner,
        "am i|i am|i'm|do i|did i|was i|i was|have i|can i|should i, are you|you are|you're|do you|did you|were you|have you",
    ),
    (
        Veto::Ask,
        "how many, how much, how long, how often, how far, how old, how big|how large, how tall, why|how come|reason, \
         how, when|what time|what date, where, who|whom|whose",
    ),
];

static MARKS: LazyLock<HashMap<String, Vec<Mark>>> = LazyLock::new(|| {
    let mut marks: HashMap<String, Vec<Mark>> = HashMap::new();
    let mut put = |spelling: &str, mark: Mark| {
        let stems: Vec<String> = spelling.split(' ').map(stem).collect();
        let marks = marks.entry(stems.join(" ")).or_default();
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    };
    let mut value = 0;
    for (veto, list) in SAME {
        for spellings in list.split(',') {
            value += 1;
            spellings.trim().split('|').for_each(|spelling| put(spelling, Mark::Same(*veto, value)));
        }
    }
    for (group, (veto, list)) in (0..).zip(SIDES) {
        for (side, spellings) in (0..).zip(list.split(',')) {
            spellings.trim().split('|').for_each(|spelling| put(spelling, Mark::Side(*veto, group, side)));
        }
    }
    marks
});

/// What a stem says, or two behind each other with a space between.
pub fn marks(stems: &str) -> &'static [Mark] {
    MARKS.get(stems).map_or(&[], Vec::as_slice)
}

/// The words that turn a sentence into its opposite, beside those that end in `n't`.
pub const NEGATIONS: &[&str] = &[
    "not", "no", "never", "without", "none", "nobody", "nothing", "cannot", "neither", "nor", "unable", "non", "cant",
    "dont", "wont", "isnt", "doesnt", "didnt", "arent", "wasnt", "werent", "hasnt", "havent", "hadnt", "couldnt",
    "wouldnt", "shouldnt", "aint", "fail", "failed", "fails", "failing",
];

/// Words without a subject of their own.
pub const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "actually", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but", "by",
    "can", "could", "did", "do", "does", "doing", "for", "from", "get", "give", "go", "going", "got", "had", "has",
    "have", "hello", "help", "hey", "hi", "how", "i", "i'd", "i'm", "i'll", "i've", "if", "in", "into", "is", "it",
    "it's", "its", "just", "know", "let", "like", "may", "me", "might", "mine", "must", "my", "need", "of", "ok",
    "okay", "on", "or", "our", "please", "really", "shall", "should", "so", "some", "tell", "than", "thank", "thanks",
    "that", "that's", "the", "their", "them", "then", "there", "there's", "these", "they", "this", "those", "to", "us",
    "very", "want", "was", "way", "we", "were", "what", "what's", "when", "where", "which", "who", "whose", "why",
    "will", "with", "would", "wanna", "you", "you're", "your",
];
