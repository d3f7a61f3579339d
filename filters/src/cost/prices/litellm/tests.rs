use std::fmt::Write;

use jiff::civil::date;

use super::super::{Part, Prices, read};
use super::*;
use crate::usage::Service;

fn taken(json: &str) -> Imported {
    import(json, &Wanted::default()).unwrap()
}

/// A part's rate in thousandths of a dollar for a million tokens.
fn rate(imported: &Imported, model: &str, input: u64, service: Service, part: Part) -> u64 {
    let prices = Prices::new(&[&read(&imported.text).unwrap()]).unwrap();
    prices.find(model, "", date(2026, 1, 1)).unwrap().rates(input, service).0[part as usize] / 1_000_000
}

#[test]
fn a_class_of_service_pays_what_the_standard_has_for_long_inputs() {
    let imported = taken(
        r#"{"m": {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6, "input_cost_per_token_priority": 2e-6,
            "input_cost_per_token_above_200k_tokens": 3e-6, "output_cost_per_token_above_200k_tokens": "8e-6",
            "output_cost_per_token_above_200k_tokens_priority": 9e-6}}"#,
    );
    let of = |input, service, part| rate(&imported, "m", input, service, part);
    assert_eq!(of(200_000, Service::Priority, Part::Input), 2000);
    assert_eq!(of(200_001, Service::Priority, Part::Input), 3000);
    assert_eq!(
        (of(200_001, Service::Standard, Part::Output), of(200_001, Service::Priority, Part::Output)),
        (8000, 9000)
    );
}

#[test]
fn thoughts_keep_a_rate_of_their_own_until_a_class_has_one_for_output() {
    let imported = taken(
        r#"{"m": {"output_cost_per_token": 4e-6, "output_cost_per_reasoning_token": 6e-6, "output_cost_per_token_flex": 2e-6,
            "input_cost_per_token_priority": 1e-6}}"#,
    );
    let of = |service| rate(&imported, "m", 1, service, Part::Reasoning);
    assert_eq!((of(Service::Standard), of(Service::Flex), of(Service::Priority)), (6000, 2000, 6000));
}

#[test]
fn a_range_of_input_begins_above_the_end_of_the_one_before() {
    let imported = taken(
        r#"{"dashscope/m": {"litellm_provider": "dashscope", "tiered_pricing": [
            {"range": [32000, 128000], "input_cost_per_token": 2e-6, "output_cost_per_token": 5e-6},
            {"range": [0, 32000.0], "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6}]}}"#,
    );
    let of = |input, part| rate(&imported, "m", input, Service::Standard, part);
    assert_eq!((of(32_000, Part::Input), of(32_001, Part::Input), of(999_999, Part::Output)), (1000, 2000, 5000));
}

#[test]
fn a_tier_of_xai_begins_with_its_first_token() {
    let imported = taken(
        r#"{"xai/g": {"litellm_provider": "xai", "input_cost_per_token": 1e-6, "input_cost_per_token_above_128k_tokens": 2e-6}}"#,
    );
    let of = |input| rate(&imported, "g", input, Service::Standard, Part::Input);
    assert_eq!((of(127_999), of(128_000)), (1000, 2000));
}

#[test]
fn a_maker_is_listed_by_the_bare_name_unless_that_costs_something_else() {
    let imported = taken(
        r#"{"mistral/one": {"input_cost_per_token": 1e-6}, "mistral/two": {"input_cost_per_token": 1e-6},
            "two": {"input_cost_per_token": 3e-6}, "three": {"input_cost_per_token": 1e-6},
            "azure/three": {"input_cost_per_token": 1e-6}, "groq/four": {"input_cost_per_token": 1e-6}}"#,
    );
    let names: Vec<_> = imported.text.lines().filter(|line| line.starts_with("model")).collect();
    let wanted = ["groq/four", "mistral/two", "one", "three", "two"].map(|name| format!("model = \"{name}\""));
    assert_eq!(names, wanted);
    assert_eq!(imported.left_out[&Why::UnderItsBareName], ["azure/three"]);
}

#[test]
fn what_is_left_out_is_counted_by_its_reason() {
    let imported = taken(
        r#"{"sample_spec": {"input_cost_per_token": "in dollars"}, "good": {"input_cost_per_token": "2e-6", "note": {}, "input_cost_per_video_token": 1},
            "free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0}, "picture": {"output_cost_per_image": 0.04},
            "picture too": {"output_cost_per_image": 0.04, "input_cost_per_token": 0}, "silent": {"mode": "chat"},
            "less": {"input_cost_per_token": -1e-6}, "words": {"input_cost_per_token": "cheap"}, "a*": {"input_cost_per_token": 1e-6},
            "list": [], "gap": {"tiered_pricing": [{"range": [0, 10], "input_cost_per_token": 1e-6}, {"range": [11, 20], "input_cost_per_token": 1e-6}]}}"#,
    );
    assert_eq!(imported.taken, 2, "{}", imported.text);
    let counts: Vec<_> = imported.left_out.iter().map(|(why, names)| (*why, names.len())).collect();
    let wanted = [
        (Why::Sample, 1),
        (Why::NoObject, 1),
        (Why::NoPrice, 1),
        (Why::NotByTokens, 2),
        (Why::NoAmount, 2),
        (Why::BadName, 1),
        (Why::RangesWithGaps, 1),
    ];
    assert_eq!(counts, wanted);
    assert_eq!(imported.ignored.get("input_cost_per_video_token"), Some(&1));
    assert!(imported.summary().contains("is priced by the image"), "{}", imported.summary());
}

#[test]
fn only_what_is_asked_for_is_taken() {
    let json = r#"{"gpt-4": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}, "gpt-5": {"litellm_provider": "azure", "input_cost_per_token": 1e-6},
        "o1": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}}"#;
    let count = |models: &[&str], providers: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        import(json, &Wanted { models: list(models), providers: list(providers) }).unwrap().taken
    };
    assert_eq!(
        (count(&[], &[]), count(&["gpt-*"], &[]), count(&["gpt-*", "o1"], &["openai"]), count(&["o"], &[])),
        (3, 2, 2, 0)
    );
}

#[test]
fn a_text_that_is_no_table_is_refused() {
    for text in ["", "[]", "{", "3"] {
        assert!(import(text, &Wanted::default()).is_err(), "{text}");
    }
}

#[test]
fn a_name_that_needs_quotes_is_read_as_it_was() {
    let mut json = "{".to_owned();
    let names = ["a\"b", "a\\b", "ü\n", "a b", "'"];
    for name in names {
        _ = write!(json, "{}: {{\"input_cost_per_token\": 1e-6}},", Value::from(name));
    }
    let imported = taken(&format!("{}}}", json.trim_end_matches(',')));
    names.iter().for_each(|name| assert_eq!(rate(&imported, name, 1, Service::Standard, Part::Input), 1000));
}
