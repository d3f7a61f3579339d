//! How long it takes to find a price among three thousand, and to charge a call by it.
//!
//! `cargo bench -p outrigger-filters --bench prices`

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use outrigger_filters::cost::prices::{Date, Prices, Use, read};
use outrigger_filters::usage::{Service, Tokens};
use tokio::time::Instant;

const NAMES: usize = 2_700;
const BEGINNINGS: usize = 300;
const ROUNDS: u32 = 1_000_000;

fn main() {
    let mut table = String::new();
    for name in 0..NAMES {
        _ = writeln!(table, "[[prices]]\nmodel = \"maker-{name}/model-{name}-large\"\ninput = 1\noutput = 4");
    }
    for beginning in 0..BEGINNINGS {
        _ = writeln!(table, "[[prices]]\nmodel = \"family-{beginning}*\"\nbackends = [\"gpu\"]\ninput = 1\noutput = 4");
    }
    let prices = read(&table).and_then(|entries| Prices::new(&[&entries])).expect("a good table");
    let day = Date::constant(2026, 1, 1);
    for (what, model) in [
        ("a whole name", "maker-1234/model-1234-large"),
        ("a beginning", "family-123-instruct"),
        ("a name that no price is for", "router/nobody/knows-this-model-at-all"),
    ] {
        time(&format!("finding {what}"), || prices.find(black_box(model), "gpu", day).is_some());
    }
    let price = prices.find("maker-1/model-1-large", "gpu", day).expect("it is in the table");
    let tokens = Tokens { input: 12_345, cached_input: 1_000, output: 678, ..Tokens::default() };
    let used = Use { tokens, service: Service::Standard, busy: Duration::from_millis(5) };
    time("charging a call", || price.cost(black_box(&used)));
}

fn time<T>(what: &str, step: impl Fn() -> T) {
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(step());
    }
    println!("{what}: {} ns", (begun.elapsed() / ROUNDS).as_nanos());
}
