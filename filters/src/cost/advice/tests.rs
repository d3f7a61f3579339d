use std::sync::Arc;
use std::time::Duration;

use http::header::CACHE_CONTROL;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::Tenant;
use crate::ask::Sharing;
use crate::testing::ask_by;

const ON: Cache = Cache::On { max_temperature: 0.3 };

/// Nano-dollars a token: a dear model and a cheap one, and nothing else has a price.
fn reprice(model: &str, tokens: &Tokens) -> Option<Money> {
    let (input, cached, writes, output) = match model {
        "gpt-4o" => (2_500, 1_250, 2_500, 10_000),
        "gpt-4o-mini" => (150, 75, 150, 600),
        "claude-opus-4-1" => (15_000, 1_500, 18_750, 75_000),
        _ => return None,
    };
    let plain = tokens.input - tokens.cached_input - tokens.cache_writes;
    let read = plain * input + tokens.cached_input * cached + tokens.cache_writes * writes;
    Some(Money::from_nanos(read + tokens.output * output))
}

fn advice(settings: Value) -> Arc<Advice> {
    let config: Config = serde_json::from_value(settings).unwrap();
    Advice::new(&config, Names::default(), Arc::new(Tokenizers::new(&[]).unwrap()))
}

fn ask(tenant: &str, text: &str, more: &str) -> Arc<Ask> {
    let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}]{more}}}"#);
    Arc::new(ask_by(tenant, Sharing::Allowed, &body))
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { input, output, ..Tokens::default() }
}

fn spent<'call>(ask: &'call Arc<Ask>, model: &'call str, tokens: Tokens) -> Spent<'call> {
    let cost = reprice(model, &tokens);
    Spent { ask, model, backend: "one", tokens, cost, attempt: 1, wasted: false }
}

fn of_kind(report: &Value, kind: &str) -> Vec<Value> {
    let all = report["recommendations"].as_array().expect("a list");
    all.iter().filter(|one| one["kind"] == kind).cloned().collect()
}

fn only(report: &Value, kind: &str) -> Value {
    let mut found = of_kind(report, kind);
    assert_eq!(found.len(), 1, "one piece of advice, {kind}: {report:#}");
    found.remove(0)
}

fn dollars(nanos: u64) -> Value {
    json!(Money::from_nanos(nanos).usd())
}

/// Waits until the thread has read so many.
#[expect(clippy::disallowed_methods, reason = "the thread does not know the test's clock")]
fn settled(advice: &Advice, read: u64, cache: Cache) -> Value {
    for _ in 0..1_000 {
        let report = advice.report(&reprice, cache);
        if report["sample"]["read"] == read {
            return report;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the sample was not read: {:#}", advice.report(&reprice, cache));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_paid_again_is_told_with_what_all_but_the_first_cost() {
    let advice = advice(json!({}));
    for number in 0..50 {
        advice.note(&spent(&ask("a", "again", r#","temperature":0"#), "gpt-4o", tokens(1_000, 100 + number)));
        advice.note(&spent(&ask("a", &format!("new {number}"), ""), "gpt-4o", tokens(1_000, 100)));
        tokio::time::advance(Duration::from_secs(100)).await;
    }
    let report = advice.report(&reprice, Cache::Off);
    let told = only(&report, "repeated_prompts");
    // 49 times the input, and outputs of 101 to 149.
    let saving = 49 * 1_000 * 2_500 + (101..=149).sum::<u64>() * 10_000;
    assert_eq!(told["estimated_saving_usd"], dollars(saving), "{told:#}");
    assert_eq!(told["evidence"]["top_counts"], json!([50]));
    assert_eq!((&told["evidence"]["mean_gap_secs"], &told["confidence"]), (&json!(100.0), &json!("measured")));
    assert_eq!(told["evidence"]["why_not_from_the_cache"], "the cache is off");
    assert_eq!((&told["measured_over_secs"], &report["calls"]), (&json!(5_000.0), &json!(100)));
    let monthly = told["estimated_saving_usd_per_30_days"].as_f64().unwrap();
    assert!((monthly / (saving as f64 / 1e9) - 30.0 * 86_400.0 / 5_000.0).abs() < 1e-6, "{monthly}");
}

#[tokio::test(start_paused = true)]
async fn repeated_prompts_are_told_by_the_reason_that_the_cache_had() {
    let advice = advice(json!({}));
    let mut no_store = ask_by("a", Sharing::Allowed, r#"{"model":"gpt-4o"}"#);
    no_store.steer([(CACHE_CONTROL, "no-store".parse().unwrap())].into_iter().collect());
    let asks = [
        ask("a", "warm", r#","temperature":0.9"#),
        ask("a", "two", r#","n":2"#),
        ask("a", "plain", r#","temperature":0"#),
        Arc::new(no_store),
    ];
    for asked in asks.iter().flat_map(|asked| [asked; 9]) {
        advice.note(&spent(asked, "gpt-4o", tokens(1_000, 500)));
    }
    let told = of_kind(&advice.report(&reprice, ON), "repeated_prompts");
    let mut reasons: Vec<_> = told.iter().map(|one| one["evidence"]["why_not_from_the_cache"].clone()).collect();
    reasons.sort_by_key(Value::to_string);
    assert_eq!(
        reasons,
        [
            "no kept answer was there any more, or not yet",
            "several answers were asked for at once",
            "the client said no-store",
            "the temperature is above the cache's max_temperature",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_of_one_question_are_no_repeated_prompt_but_money_lost() {
    let advice = advice(json!({}));
    for number in 0..20 {
        let asked = ask("a", &format!("question {number}"), "");
        advice.note(&Spent { wasted: true, ..spent(&asked, "gpt-4o", tokens(1_000, 50)) });
        advice.note(&Spent { attempt: 2, backend: "two", ..spent(&asked, "gpt-4o", tokens(1_000, 100)) });
    }
    let report = advice.report(&reprice, Cache::Off);
    assert_eq!(of_kind(&report, "repeated_prompts"), Vec::<Value>::new());
    let told = only(&report, "costly_retries");
    assert_eq!(told["estimated_saving_usd"], dollars(20 * (1_000 * 2_500 + 50 * 10_000)));
    assert_eq!((&told["evidence"]["backend"], &told["evidence"]["wasted_tokens"]), (&json!("one"), &json!(20 * 1_050)));
}

#[tokio::test(start_paused = true)]
async fn a_bound_far_above_what_is_used_is_told_and_a_fitting_one_is_not() {
    let advice = advice(json!({}));
    for number in 0..200 {
        let (wide, close) = (ask("a", &format!("{number}"), r#","max_tokens":4096"#), r#","max_tokens":128"#);
        advice.note(&spent(&wide, "gpt-4o", tokens(100, 100)));
        advice.note(&spent(&ask("b", &format!("{number}"), close), "gpt-4o", tokens(100, 100)));
    }
    let told = only(&advice.report(&reprice, Cache::Off), "oversized_max_tokens");
    let evidence = &told["evidence"];
    assert_eq!(told["tenant"], Tenant::of(b"a").to_string());
    assert_eq!((&evidence["calls"], &evidence["max_tokens_median"]), (&json!(200), &json!(4096)));
    assert_eq!(evidence["held_back_tokens"], 200 * (4096 - 100));
    assert_eq!(evidence["held_back_usd"], dollars(200 * (4096 - 100) * 10_000));
    assert_eq!((&evidence["used_share_p99"], &told["estimated_saving_usd"]), (&json!(0.05), &json!(0.0)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_a_hundred_that_needs_the_bound_is_reason_to_keep_it() {
    let advice = advice(json!({}));
    for number in 0..200 {
        let asked = ask("a", &format!("{number}"), r#","max_tokens":4096"#);
        advice.note(&spent(&asked, "gpt-4o", tokens(100, if number % 50 == 0 { 4_000 } else { 10 })));
    }
    assert_eq!(of_kind(&advice.report(&reprice, Cache::Off), "oversized_max_tokens"), Vec::<Value>::new());
}

/// A chat with a long system prompt and a question of its own, every second.
async fn with_system_prompt(advice: &Advice, model: &str, calls: u64, tokens: impl Fn(u64) -> Tokens) {
    let system = "You are kind and say canaryword to nobody. ".repeat(200);
    for number in 0..calls {
        let messages = json!([{ "role": "system", "content": system }, { "role": "user", "content": number }]);
        let asked = ask_by("sk-canary", Sharing::Allowed, &json!({ "model": model, "messages": messages }).to_string());
        advice.note(&spent(&Arc::new(asked), model, tokens(number)));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_is_read_anew_is_told_with_what_the_cache_of_the_backend_would_save() {
    let advice = advice(json!({}));
    with_system_prompt(&advice, "gpt-4o", 101, |_| tokens(4_000, 500)).await;
    let told = only(&settled(&advice, 101, ON), "uncached_prefix");
    let length = told["evidence"]["longest_tokens"][0].as_u64().unwrap();
    assert!((1_500..=2_500).contains(&length), "{length} tokens");
    assert_eq!(told["estimated_saving_usd"], dollars(100 * length * (2_500 - 1_250)), "all but the first");
    assert_eq!((&told["evidence"]["calls"], &told["confidence"]), (&json!(101.0), &json!("sampled")));
}

#[tokio::test(start_paused = true)]
async fn what_it_costs_to_keep_a_beginning_is_taken_off() {
    let advice = advice(json!({}));
    with_system_prompt(&advice, "claude-opus-4-1", 21, |_| tokens(4_000, 500)).await;
    let told = only(&settled(&advice, 21, ON), "uncached_prefix");
    let length = told["evidence"]["longest_tokens"][0].as_u64().unwrap();
    assert_eq!(told["estimated_saving_usd"], dollars(length * (20 * (15_000 - 1_500) - (18_750 - 15_000))));
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_the_backend_keeps_is_not_told() {
    let advice = advice(json!({}));
    let kept = |number| Tokens { cached_input: if number == 0 { 0 } else { 1_792 }, ..tokens(4_000, 500) };
    with_system_prompt(&advice, "gpt-4o", 60, kept).await;
    assert_eq!(of_kind(&settled(&advice, 60, ON), "uncached_prefix"), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_sample_of_many_calls_stands_for_all() {
    let advice = advice(json!({}));
    let system = "You are kind and say little. ".repeat(300);
    let messages = json!([{ "role": "system", "content": system }]);
    let asked = Arc::new(ask_by("a", Sharing::Allowed, &json!({ "messages": messages }).to_string()));
    for _ in 0..60 {
        for _ in 0..200 {
            advice.note(&spent(&asked, "gpt-4o", tokens(4_000, 500)));
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        // The thread has a second for a second's sample, as it has outside of tests; the clock here is faster.
        #[expect(clippy::disallowed_methods, reason = "the thread does not know the test's clock")]
        std::thread::sleep(Duration::from_millis(60));
    }
    let seen = advice.report(&reprice, ON)["sample"].clone();
    let taken = seen["read"].as_u64().unwrap() + seen["dropped"].as_u64().unwrap();
    assert!(taken < 60 * 60 + 300, "{taken} of 12,000 were taken");
    let told = only(&advice.report(&reprice, ON), "uncached_prefix");
    let calls = told["evidence"]["calls"].as_f64().unwrap();
    assert!((calls / 12_000.0 - 1.0).abs() < 0.15, "{calls} of 12,000");
}

#[tokio::test(start_paused = true)]
async fn short_answers_of_a_dear_model_are_compared_with_the_familys_smaller_one() {
    let advice = advice(json!({}));
    for number in 0..60 {
        let asked = ask("a", &format!("{number}"), "");
        advice.note(&spent(&asked, "gpt-4o", if number < 40 { tokens(1_501, 33) } else { tokens(1_501, 900) }));
    }
    let told = only(&advice.report(&reprice, Cache::Off), "cheaper_model");
    assert_eq!(told["estimated_saving_usd"], dollars(40 * (1_501 * (2_500 - 150) + 33 * (10_000 - 600))));
    assert_eq!((&told["evidence"]["cheaper_model"], &told["confidence"]), (&json!("gpt-4o-mini"), &json!("estimated")));
    assert_eq!(told["evidence"]["short_share"], json!(40.0 / 60.0));
}

#[tokio::test(start_paused = true)]
async fn the_settings_say_which_model_is_cheaper() {
    let table = |other: &str| json!({ "cheaper_models": [{ "instead_of": ["claude-*"], "use": other }] });
    for (other, found) in [("gpt-4o-mini", 1), ("nobody-knows-its-price", 0)] {
        let advice = advice(table(other));
        for number in 0..40 {
            advice.note(&spent(&ask("a", &format!("{number}"), ""), "claude-opus-4-1", tokens(1_000, 10)));
        }
        assert_eq!(of_kind(&advice.report(&reprice, ON), "cheaper_model").len(), found, "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn clean_traffic_gets_no_advice() {
    let advice = advice(json!({}));
    for number in 0..500 {
        let asked = ask("a", &format!("question {number}"), r#","max_tokens":600"#);
        advice.note(&spent(&asked, "gpt-4o", tokens(900, 500)));
    }
    assert_eq!(advice.report(&reprice, ON)["recommendations"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn small_change_is_not_told() {
    let advice = advice(json!({ "min_saving_usd": 1.0 }));
    for _ in 0..100 {
        advice.note(&spent(&ask("a", "again", ""), "gpt-4o", tokens(1_000, 500)));
    }
    assert_eq!(advice.report(&reprice, ON)["recommendations"], json!([]), "99 times 0.0075 dollars are less");
}

#[tokio::test(start_paused = true)]
async fn a_day_later_old_savings_are_forgotten() {
    let advice = advice(json!({}));
    for _ in 0..10 {
        advice.note(&spent(&ask("a", "again", ""), "gpt-4o", tokens(4_000, 500)));
    }
    tokio::time::advance(Duration::from_secs(20 * 3_600)).await;
    assert_eq!(of_kind(&advice.report(&reprice, ON), "repeated_prompts").len(), 1);
    tokio::time::advance(Duration::from_secs(12 * 3_600)).await;
    assert_eq!(advice.report(&reprice, ON)["recommendations"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_repetition_in_the_other_half_of_the_window_counts_too() {
    let advice = advice(json!({}));
    for hours in [13, 10] {
        advice.note(&spent(&ask("a", "again", ""), "gpt-4o", tokens(4_000, 500)));
        tokio::time::advance(Duration::from_secs(hours * 3_600)).await;
    }
    let told = only(&advice.report(&reprice, ON), "repeated_prompts");
    assert_eq!(told["estimated_saving_usd"], dollars(4_000 * 2_500 + 500 * 10_000));
}

#[tokio::test(start_paused = true)]
async fn no_text_and_no_key_is_ever_told() {
    let advice = advice(json!({ "min_saving_usd": 0 }));
    with_system_prompt(&advice, "gpt-4o", 30, |_| tokens(4_000, 500)).await;
    for number in 0..120 {
        let asked = ask("sk-canary", &format!("canaryword {}", number % 3), r#","max_tokens":9999"#);
        advice.note(&Spent { wasted: number % 5 == 0, ..spent(&asked, "gpt-4o", tokens(50, 5)) });
    }
    let report = settled(&advice, 30, Cache::Off);
    let kinds = ["repeated_prompts", "uncached_prefix", "costly_retries", "oversized_max_tokens", "cheaper_model"];
    // Of 120 calls 96 are whole, which are too few to speak of bounds.
    for (kind, found) in kinds.into_iter().zip([1, 1, 1, 0, 1]) {
        assert_eq!(of_kind(&report, kind).len(), found, "{kind}: {report:#}");
    }
    let words = report.to_string();
    assert!(!words.contains("canary") && !words.contains(&Tenant::of(b"sk-canary").hex()), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_invented_names_push_out_nobody_who_pays() {
    let advice = advice(json!({}));
    let real = ask("real", "again", "");
    for number in 0..100_000 {
        let asked = ask(&format!("tenant {number}"), "x", "");
        let name = format!("invented {number}{}", "x".repeat(number % 200));
        // Every other has a price, as if a name's beginning were enough for one.
        let cost = (number % 2 == 0).then(|| Money::from_nanos(1_000));
        advice.note(&Spent { cost, wasted: number % 3 == 0, ..spent(&asked, &name, tokens(10, 10)) });
        if number % 100 == 0 {
            advice.note(&spent(&real, "gpt-4o", tokens(1_000, 1_000)));
        }
    }
    let desk = advice.desk.as_ref().unwrap();
    for half in desk.books(Instant::now()).0 {
        let counts = (half.pairs.len(), half.prompts.len(), half.wasted.len());
        assert_eq!(counts, (books::MOST_PAIRS, books::MOST_PROMPTS, books::MOST_WASTED));
    }
    let report = advice.report(&reprice, Cache::Off);
    let told = only(&report, "repeated_prompts");
    assert_eq!(told["estimated_saving_usd"], dollars(999 * 12_500_000), "the real one is exact");
    assert!(report["recommendations"].as_array().unwrap().len() <= MOST_TOLD);
    assert_eq!(report["calls"], 101_000);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_noted_where_nobody_wants_advice() {
    let advice = advice(json!({ "enabled": false }));
    advice.note(&spent(&ask("a", "again", ""), "gpt-4o", tokens(4_000, 500)));
    assert_eq!(advice.report(&reprice, ON), json!({ "enabled": false, "recommendations": [] }));
}
