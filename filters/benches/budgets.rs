//! What a budget costs a call: `cargo bench -p outrigger-filters --bench budgets`.
//!
//! One call reserves in three hard budgets and settles them, without Redis, on one thread and on two at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use outrigger_filters::Tenant;
use outrigger_filters::cost::budgets::{Budget, Budgets, Demand};
use outrigger_filters::money::Money;
use outrigger_filters::tenants::Names;
use tokio::time::Instant;

const THREE: &str = r#"[
    {"name":"tenant","amount_usd":1000000,"period":"day"},
    {"name":"model","amount_usd":1000000,"period":"month","scope":"tenant_model"},
    {"name":"all","amount_usd":1000000,"period":"total","scope":"everyone"}]"#;
const CALLS: usize = 200_000;
const TENANTS: u64 = 100;

fn main() {
    let budgets: Vec<Budget> = serde_json::from_str(THREE).expect("well written");
    let meter = opentelemetry::global::meter("bench");
    let budgets = Budgets::new(&budgets, TimeZone::UTC, &Names::default(), None, &meter).expect("good budgets");
    calls(&budgets);
    let mut clock: Vec<Duration> = (0..CALLS).map(|_| Instant::now().elapsed()).collect();
    say("reading the clock", &mut clock);
    say("reserve and settle, 3 budgets, 1 thread", &mut calls(&budgets));
    let mut times = std::thread::scope(|scope| {
        let other = scope.spawn(|| calls(&budgets));
        let mut times = calls(&budgets);
        times.append(&mut other.join().expect("no panic"));
        times
    });
    say("reserve and settle, 3 budgets, 2 threads", &mut times);
}

fn calls(budgets: &Arc<Budgets>) -> Vec<Duration> {
    let tenants: Vec<Tenant> = (0..TENANTS).map(|number| Tenant::of(&number.to_le_bytes())).collect();
    let call = |number: usize| {
        let tenant = tenants[number % tenants.len()];
        let begun = Instant::now();
        let demand = Demand { tenant, model: "gpt-5-mini", tag: Some("checkout") };
        let held = futures::executor::block_on(budgets.reserve(&demand, Money::from_nanos(1_000)));
        held.expect("room").settle(Money::from_nanos(700));
        begun.elapsed()
    };
    (0..CALLS).map(call).collect()
}

fn say(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:?}, p99 {:?}", at(0.5), at(0.99));
}
