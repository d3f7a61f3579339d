use std::time::Duration;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::usage::Tokens;

const DAY: Date = date(2026, 7, 1);

fn table(text: &str) -> Prices {
    Prices::new(&[&read(text).unwrap()]).unwrap()
}

fn wrong(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn nanos(price: &Price, tokens: Tokens) -> u64 {
    price.cost(&Use { tokens, ..Use::default() }).nanos()
}

/// The input rate of what is found, which tells prices of these tests apart.
fn input(prices: &Prices, model: &str, backend: &str) -> Option<u64> {
    let price = prices.find(model, backend, DAY)?;
    Some(nanos(price, Tokens { input: 1_000_000, ..Tokens::default() }) / 1_000_000_000)
}

#[test]
fn every_part_has_its_rate_and_every_token_is_charged_once() {
    let prices = table(
        "[[prices]]\nmodel = 'm'\ninput = 1\ncached_input = 2\ncache_write = 3\ncache_write_1h = 4\naudio_input = 5\n\
         image_input = 6\noutput = 7\nreasoning = 8\naudio_output = 9\nimage_output = 10\nrequest = 0.5",
    );
    let tokens = Tokens {
        input: 600,
        cached_input: 100,
        cache_writes: 200,
        cache_writes_1h: 100,
        audio_input: 100,
        image_input: 100,
        output: 400,
        reasoning: 100,
        audio_output: 100,
        image_output: 100,
    };
    let a_hundred_each = (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10) * 100_000;
    assert_eq!(nanos(prices.find("m", "b", DAY).unwrap(), tokens), 500_000_000 + a_hundred_each);
}

#[test]
fn a_part_without_a_rate_costs_what_it_is_a_part_of() {
    let prices = table("[[prices]]\nmodel = 'm'\ninput = 2\noutput = 10\ncache_write = 3");
    let price = prices.find("m", "b", DAY).unwrap();
    for (tokens, wanted) in [
        (Tokens { input: 1000, cached_input: 1000, ..Tokens::default() }, 2_000_000),
        (Tokens { input: 1000, audio_input: 500, image_input: 500, ..Tokens::default() }, 2_000_000),
        (Tokens { input: 1000, cache_writes: 1000, cache_writes_1h: 1000, ..Tokens::default() }, 3_000_000),
        (
            Tokens { output: 1000, reasoning: 400, audio_output: 300, image_output: 300, ..Tokens::default() },
            10_000_000,
        ),
    ] {
        assert_eq!(nanos(price, tokens), wanted, "{tokens:?}");
    }
}

#[test]
fn parts_beyond_the_whole_are_no_credit_and_no_charge() {
    let prices = table("[[prices]]\nmodel = 'm'\ninput = 2\ncached_input = 1\noutput = 10\nreasoning = 20");
    let price = prices.find("m", "b", DAY).unwrap();
    let tokens =
        Tokens { input: 1000, cached_input: 5000, cache_writes: 9000, output: 10, reasoning: 50, ..Tokens::default() };
    assert_eq!(nanos(price, tokens), 1000 * 1000 + 10 * 20_000);
}

#[test]
fn half_a_nano_dollar_is_rounded_up_after_the_sum() {
    let prices = table("[[prices]]\nmodel = 'm'\ninput = 0.0001\noutput = 0.0004");
    let price = prices.find("m", "b", DAY).unwrap();
    for (input, output, wanted) in [(4, 0, 0), (5, 0, 1), (1, 1, 1), (3, 3, 2), (14, 0, 1), (15, 0, 2)] {
        assert_eq!(nanos(price, Tokens { input, output, ..Tokens::default() }), wanted, "{input} and {output} tokens");
    }
}

#[test]
fn a_machine_is_paid_by_its_time() {
    let prices = table("[[prices]]\nmodel = '*'\ngpu_second = 0.000694444");
    let price = prices.find("whatever", "b", DAY).unwrap();
    let cost = |busy| price.cost(&Use { busy, ..Use::default() }).nanos();
    assert_eq!(cost(Duration::from_secs(3600)), 2_499_998_400);
    assert_eq!(cost(Duration::from_nanos(1)), 0);
    assert_eq!(cost(Duration::MAX), Money::MOST.nanos(), "an age costs the most there is");
    assert!(price.is_wildcard());
}

#[test]
fn a_class_of_service_changes_only_what_it_names() {
    let prices = table(
        "[[prices]]\nmodel = 'm'\ninput = 2\ncached_input = 1\noutput = 8\nbatch = { output = 4 }\nflex = { input = 1.5 }",
    );
    let price = prices.find("m", "b", DAY).unwrap();
    let tokens = Tokens { input: 2000, cached_input: 1000, output: 1000, ..Tokens::default() };
    let cost = |service| price.cost(&Use { tokens, service, ..Use::default() }).nanos() / 1_000_000;
    assert_eq!([Service::Standard, Service::Batch, Service::Flex, Service::Priority].map(cost), [11, 7, 10, 11]);
}

#[test]
fn a_tier_is_for_the_whole_request_and_begins_above_its_input() {
    let prices = table(
        "[[prices]]\nmodel = 'm'\ninput = 1\noutput = 10\nbatch = { input = 0.5 }\n\
         [[prices.tiers]]\nabove_input = 200_000\ninput = 2\nbatch = { output = 5 }\n\
         [[prices.tiers]]\nabove_input = 400_000\noutput = 20",
    );
    let price = prices.find("m", "b", DAY).unwrap();
    let cost = |input, service| {
        let tokens = Tokens { input, output: 1000, ..Tokens::default() };
        price.cost(&Use { tokens, service, ..Use::default() }).nanos() / 1000
    };
    assert_eq!(cost(200_000, Service::Standard), 200_000 + 10_000);
    assert_eq!(cost(200_001, Service::Standard), 400_002 + 10_000);
    assert_eq!(cost(400_001, Service::Standard), 800_002 + 20_000, "input stays as in the tier below");
    assert_eq!(cost(200_001, Service::Batch), 400_002 + 5_000, "a tier goes before what a class says of all requests");
}

#[test]
fn a_name_beats_a_beginning_and_a_longer_beginning_a_shorter_one() {
    let prices = table(
        "prices = [{ model = '*', input = 1 }, { model = 'gpt-*', input = 2 }, { model = 'gpt-4*', input = 3 },\
         { model = 'gpt-4o', input = 4 }, { model = 'gpt-3*', input = 5 }]",
    );
    for (model, wanted) in
        [("gpt-4o", 4), ("gpt-4o-mini", 3), ("gpt-4", 3), ("gpt-5", 2), ("gpt-3.5", 5), ("o1", 1), ("", 1)]
    {
        assert_eq!(input(&prices, model, "b"), Some(wanted), "{model}");
    }
    assert!(!prices.find("gpt-4o", "b", DAY).unwrap().is_wildcard());
    assert!(prices.find("gpt-4", "b", DAY).unwrap().is_wildcard());
}

#[test]
fn a_name_with_its_maker_before_it_is_found_by_what_follows_the_last_slash() {
    let prices = table(
        "prices = [{ model = 'gpt-4o', input = 4 }, { model = 'azure/gpt-4o', input = 5 }, { model = 'eu/*', input = 6 }]",
    );
    for (model, wanted) in [
        ("openai/gpt-4o", Some(4)),
        ("router/openai/gpt-4o", Some(4)),
        ("azure/gpt-4o", Some(5)),
        ("eu/gpt-4o", Some(6)),
        ("openai/gpt-4o-2024-08-06", None),
        ("gpt-4o/", None),
    ] {
        assert_eq!(input(&prices, model, "b"), wanted, "{model}");
    }
    let with_any = table("prices = [{ model = 'gpt-4o', input = 4 }, { model = '*', input = 9 }]");
    assert_eq!(input(&with_any, "openai/gpt-4o", "b"), Some(4), "a price for everything does not hide a known model");
}

#[test]
fn a_price_for_the_backend_beats_one_for_all() {
    let prices = table("prices = [{ model = 'm', input = 1 }, { model = '*', backends = ['gpu', 'tpu'], input = 2 }]");
    assert_eq!(
        (input(&prices, "m", "gpu"), input(&prices, "m", "tpu"), input(&prices, "m", "cloud")),
        (Some(2), Some(2), Some(1))
    );
    assert_eq!(input(&prices, "other", "cloud"), None);
}

#[test]
fn the_operators_own_price_beats_the_table_and_leaves_the_rest_of_it() {
    let own = read("prices = [{ model = 'a', input = 9 }, { model = '*', input = 8 }]").unwrap();
    let public = read("prices = [{ model = 'a', input = 1 }, { model = 'b', input = 2 }]").unwrap();
    let prices = Prices::new(&[&own, &public]).unwrap();
    assert_eq!(["a", "b", "c"].map(|model| input(&prices, model, "b")), [Some(9), Some(2), Some(8)]);
}

#[test]
fn a_price_holds_from_its_first_day_to_its_last() {
    let prices = table(
        "prices = [{ model = 'm', input = 1 }, { model = 'm', from = 2026-06-01, until = '2026-06-30', input = 2 },\
         { model = 'm', from = 2026-06-15, input = 3 }, { model = 'n', until = 2026-01-31, input = 4 }, { model = 'n*', input = 5 }]",
    );
    let on = |model, day| {
        nanos(prices.find(model, "b", day).unwrap(), Tokens { input: 1000, ..Tokens::default() }) / 1_000_000
    };
    for (day, wanted) in [
        (date(2026, 5, 31), 1),
        (date(2026, 6, 1), 2),
        (date(2026, 6, 14), 2),
        (date(2026, 6, 15), 3),
        (date(2027, 1, 1), 3),
    ] {
        assert_eq!(on("m", day), wanted, "{day}");
    }
    assert_eq!((on("n", date(2026, 1, 31)), on("n", date(2026, 2, 1))), (4, 5), "what is over hides nothing");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_key() {
    for (text, words) in [
        ("[[prices]]\nmodel = 'm'\ninptu = 1", ["line 3", "inptu"]),
        ("[[prices]]\nmodel = 'm'\ninput = -1", ["line 3", "`-1` is no price"]),
        ("[[prices]]\nmodel = 'm'\ninput = nan", ["line 3", "is no price"]),
        ("[[prices]]\nmodel = 'm'\ninput = '1'", ["line 3", "expected f64"]),
        ("[[prices]]\nmodel = 'm'\nfrom = 2026-13-01\ninput = 1", ["line 3", "from"]),
        ("[[prices]]\nmodel = 'm'\nfrom = 'soon'\ninput = 1", ["line 3", "a day is written as"]),
        ("[[prices]]\nmodel = 'm'\nfrom = 2026-01-01T00:00:00Z\ninput = 1", ["line 3", "without a time"]),
        ("\n[[prices]]\nmodel = 'm'", ["line 2", "`m` has no price"]),
        ("[[prices]]\ninput = 1", ["line 1", "`model` is missing"]),
        ("[[prices]]\nmodel = 'a*b'\ninput = 1", ["line 1", "`a*b`"]),
        ("[[prices]]\nmodel = '**'\ninput = 1", ["line 1", "`**`"]),
        ("[[prices]]\nmodel = 'm'\nfrom = 2026-02-01\nuntil = 2026-01-01\ninput = 1", ["line 1", "`until` of `m`"]),
        ("[[prices]]\nmodel = 'm'\ninput = 1\n[[prices.tiers]]\ninput = 1", ["line 1", "without `above_input`"]),
        (
            "[[prices]]\nmodel = 'm'\ninput = 1\ntiers = [{ above_input = 2 }, { above_input = 2 }]",
            ["line 1", "`above_input = 2`"],
        ),
        ("[[price]]\nmodel = 'm'", ["line 1", "price"]),
        ("[[prices]\n", ["line 1", ""]),
    ] {
        let said = wrong(text);
        assert!(words.iter().all(|word| said.contains(word)), "{text}\n--\n{said}");
    }
}

#[test]
fn an_empty_table_is_good_and_knows_nothing() {
    let prices = table("");
    assert!(prices.is_empty() && prices.find("gpt-4o", "b", DAY).is_none());
}

#[test]
fn two_prices_that_nothing_decides_between_are_refused() {
    let twice = |text: &str| Prices::new(&[&read(text).unwrap()]).is_err();
    assert!(twice("prices = [{ model = 'm', input = 1 }, { model = 'm', input = 2 }]"));
    assert!(twice(
        "prices = [{ model = 'm*', backends = ['a', 'b'], input = 1 }, { model = 'm*', backends = ['b'], input = 2 }]"
    ));
    assert!(!twice("prices = [{ model = 'm', input = 1 }, { model = 'm', from = 2026-01-01, input = 2 }]"));
    assert!(!twice(
        "prices = [{ model = 'm', backends = ['a'], input = 1 }, { model = 'm', backends = ['b'], input = 2 }]"
    ));
}

#[test]
fn the_prices_that_come_with_the_binary_are_good() {
    let prices = Prices::builtin().unwrap();
    assert!(prices.len() >= 150, "{} prices", prices.len());
    let rate = |model: &str, part: Part, input, service| {
        prices.find(model, "b", DAY).unwrap_or_else(|| panic!("{model}")).rates(input, service).0[part as usize]
    };
    for (model, part, micros) in [
        ("gpt-4o", Part::Input, 2_500_000),
        ("gpt-4o", Part::CachedInput, 1_250_000),
        ("openai/gpt-4o-mini", Part::Output, 600_000),
        ("text-embedding-3-small", Part::Input, 20_000),
        ("claude-sonnet-4-5", Part::CacheWrite1h, 6_000_000),
        ("gemini-2.5-pro", Part::Input, 1_250_000),
    ] {
        assert_eq!(rate(model, part, 1000, Service::Standard), micros * 1000, "{model}");
    }
    assert_eq!(rate("gpt-4o", Part::Input, 1000, Service::Batch), 1_250_000_000);
    assert_eq!(rate("gemini-2.5-pro", Part::Output, 200_001, Service::Standard), 15_000_000_000);
}

#[test]
fn a_mistyped_name_is_told_what_is_near() {
    let prices = Prices::builtin().unwrap();
    assert!(prices.near("gpt-4o-mni", 3).contains(&"gpt-4o-mini"));
    assert!(prices.near("zzzzzzzz", 3).is_empty());
}

proptest! {
    #[test]
    fn a_beginning_is_found_as_by_looking_at_all_of_them(
        beginnings in prop::collection::btree_set("[ab/]{0,5}", 0..30), name in "[ab/]{0,8}",
    ) {
        let entries: Vec<String> = beginnings.iter().map(|one| format!("{{ model = '{one}*', input = {} }}", one.len())).collect();
        let prices = table(&format!("prices = [{}]", entries.join(",")));
        let longest = |name: &str| beginnings.iter().filter(|one| !one.is_empty() && name.starts_with(one.as_str())).map(String::len).max();
        let bare = name.rsplit_once('/').and_then(|(_, bare)| longest(bare));
        let any = beginnings.contains("").then_some(0);
        let wanted = longest(&name).or(bare).or(any).map(|length| length as u64);
        prop_assert_eq!(input(&prices, &name, "b"), wanted);
    }

    #[test]
    fn no_usage_overflows_or_costs_less_for_more(
        input in any::<u64>(), output in any::<u64>(), cached in any::<u64>(), busy in any::<u64>(), more in 0u64..1_000_000,
    ) {
        let prices = table("[[prices]]\nmodel = 'm'\ninput = 1_000_000\ncached_input = 1000\noutput = 1_000_000\ngpu_second = 1000\nrequest = 1_000_000");
        let price = prices.find("m", "b", DAY).unwrap();
        let cost = |output| {
            let tokens = Tokens { input, output, cached_input: cached, ..Tokens::default() };
            price.cost(&Use { tokens, busy: Duration::from_nanos(busy), ..Use::default() })
        };
        prop_assert!(cost(output) <= cost(output.saturating_add(more)));
    }
}
