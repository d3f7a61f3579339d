//! The room alone: what it decides without Redis, over periods and over restarts.

use std::collections::HashMap;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use proptest::prelude::*;

use super::*;

pub(super) fn parse(text: &str) -> Vec<Budget> {
    serde_json::from_str(&format!("[{text}]")).expect("well written")
}

pub(super) fn budgets(text: &str) -> Arc<Budgets> {
    let names = Names::from_iter([("acme".to_owned(), Tenant::of(b"acme"))]);
    let budgets = Budgets::new(&parse(text), TimeZone::UTC, &names, None, &opentelemetry::global::meter("test"));
    let budgets = budgets.expect("good budgets");
    budgets.set_clock(at("2026-11-22T12:00:00Z"));
    budgets
}

pub(super) fn at(text: &str) -> Millis {
    text.parse::<Timestamp>().expect("a date").as_millisecond()
}

pub(super) fn usd(dollars: f64) -> Money {
    Money::from_usd(dollars).expect("an amount")
}

pub(super) fn who(tenant: &str) -> Demand<'static> {
    Demand { tenant: Tenant::of(tenant.as_bytes()), model: "m", tag: None }
}

/// Without Redis nothing is waited for.
pub(super) fn reserve(budgets: &Arc<Budgets>, who: &Demand<'_>, amount: Money) -> Result<Reservation, Refused> {
    futures::executor::block_on(budgets.reserve(who, amount))
}

pub(super) fn exceeded(outcome: Result<Reservation, Refused>) -> Exceeded {
    match outcome {
        Err(Refused::Exceeded(exceeded)) => exceeded,
        Err(other) => panic!("not exceeded, but {other}"),
        Ok(_) => panic!("this should have been refused"),
    }
}

pub(super) const DAY: &str = r#"{"name":"day","amount_usd":10,"period":"day"}"#;

#[test]
fn what_is_reserved_is_held_and_what_is_left_over_is_free_again() {
    let budgets = budgets(DAY);
    let first = reserve(&budgets, &who("t"), usd(6.0)).expect("room");
    let refused = exceeded(reserve(&budgets, &who("t"), usd(6.0)));
    assert_eq!((refused.spent, refused.reserved, refused.requested), (Money::ZERO, usd(6.0), usd(6.0)));
    assert_eq!(refused.ends_at().as_deref(), Some("2026-11-23T00:00:00Z"));
    reserve(&budgets, &who("other"), usd(6.0)).expect("another tenant has a budget of its own");
    first.settle(usd(1.5));
    let second = reserve(&budgets, &who("t"), usd(8.5)).expect("4.5 were given back");
    drop(second);
    let mut third = reserve(&budgets, &who("t"), usd(8.5)).expect("what is dropped is given back");
    third.spent_if_dropped = usd(8.0);
    drop(third);
    let refused = exceeded(reserve(&budgets, &who("t"), usd(0.6)));
    assert_eq!((refused.spent, refused.why), (usd(9.5), Why::Spent), "a call that was cut off is paid for");
}

#[test]
fn a_request_that_can_never_fit_is_told_so() {
    let refused = exceeded(reserve(&budgets(DAY), &who("t"), usd(10.5)));
    assert_eq!(refused.why, Why::Larger);
    let words = refused.to_string();
    assert!(words.contains("may cost $10.5, which is more than all of the budget `day`"), "{words}");
}

#[test]
fn all_budgets_hold_a_call_or_none_does() {
    let all = r#"{"name":"all","amount_usd":5,"period":"total","scope":"everyone"}"#;
    let budgets = budgets(&format!("{DAY},{all}"));
    drop(reserve(&budgets, &who("t"), usd(3.0)).map(|held| held.settle(usd(3.0))));
    let refused = exceeded(reserve(&budgets, &who("t"), usd(2.5)));
    assert_eq!((&*refused.budget, refused.ends), ("all", None));
    let report = budgets.report(None);
    let day = &report["budgets"][0]["accounts"][0];
    assert_eq!((&day["spent_usd"], &day["reserved_usd"]), (&3.0.into(), &0.0.into()), "nothing stays held of it");
}

#[test]
fn an_answer_that_outgrows_its_reservation_leaves_less_to_others() {
    let budgets = budgets(DAY);
    let mut growing = reserve(&budgets, &who("t"), usd(4.0)).expect("room");
    growing.grow(usd(9.0));
    growing.grow(usd(2.0));
    assert_eq!(growing.held(), usd(9.0), "it never holds less");
    exceeded(reserve(&budgets, &who("t"), usd(1.5)));
    growing.grow(usd(12.0));
    growing.settle(usd(11.0));
    assert_eq!(exceeded(reserve(&budgets, &who("t"), usd(0.1))).spent, usd(11.0), "it cost what it cost");
}

#[test]
fn a_day_that_begins_has_all_of_its_money_and_what_ran_over_midnight_belongs_to_the_old_one() {
    let budgets = budgets(DAY);
    budgets.set_clock(at("2026-11-22T23:59:59.999Z"));
    let late = reserve(&budgets, &who("t"), usd(7.0)).expect("room");
    exceeded(reserve(&budgets, &who("t"), usd(7.0)));
    budgets.set_clock(at("2026-11-23T00:00:00Z"));
    let next = reserve(&budgets, &who("t"), usd(10.0)).expect("a new day");
    late.settle(usd(7.0));
    next.settle(usd(9.0));
    let account = &budgets.report(None)["budgets"][0];
    assert_eq!(account["accounts"][0]["spent_usd"], 9.0, "{account}");
    assert_eq!(
        (&account["begins"], &account["ends"]),
        (&"2026-11-23T00:00:00Z".into(), &"2026-11-24T00:00:00Z".into())
    );
}

#[test]
fn old_accounts_are_forgotten_and_those_that_hold_something_are_not() {
    let budgets = budgets(DAY);
    let open = reserve(&budgets, &who("open"), usd(1.0)).expect("room");
    reserve(&budgets, &who("spent"), usd(1.0)).expect("room").settle(usd(1.0));
    drop(reserve(&budgets, &who("idle"), usd(1.0)).expect("room"));
    budgets.accounts.forget(budgets.now() + 61_000);
    assert_eq!(budgets.accounts.len(), 2, "only where nobody spent anything it goes within its period");
    budgets.accounts.forget(at("2026-11-23T01:00:00Z"));
    assert_eq!(budgets.accounts.len(), 1, "what is held is still there");
    open.settle(usd(1.0));
    budgets.accounts.forget(at("2026-11-23T01:00:00Z"));
    assert_eq!(budgets.accounts.len(), 0);
}

#[test]
fn invented_tenants_share_one_account_when_there_are_too_many() {
    let budgets = budgets(DAY);
    budgets.accounts.at_most(100);
    for number in 0..10_000 {
        let _ = reserve(&budgets, &who(&number.to_string()), usd(0.01)).map(|held| held.settle(usd(0.01)));
    }
    assert!(budgets.accounts.len() <= 101, "{} accounts", budgets.accounts.len());
    exceeded(reserve(&budgets, &who("one more"), usd(0.1)));
    reserve(&budgets, &who("7"), usd(9.0)).expect("who came before has an account of its own");
}

#[test]
fn the_ledger_of_before_counts_where_its_period_still_lasts() {
    let total = r#"{"name":"total","amount_usd":100,"period":"total","scope":"model"}"#;
    let week = r#"{"name":"week","amount_usd":20,"period":"week"}"#;
    let day_and_week = budgets(&format!("{DAY},{week}"));
    assert_eq!(day_and_week.begins().first(), Some(&at("2026-11-16T00:00:00Z")));
    let budgets = budgets(&format!("{DAY},{total}"));
    assert_eq!(budgets.begins().first(), Some(&0), "all counts for a total");
    let spent = |when: &str, dollars: f64| {
        let (tenant, model) = (Tenant::of(b"t"), "m".to_owned());
        Spent { at: at(when), tenant, model, tag: None, amount: usd(dollars) }
    };
    let ledger =
        [spent("2026-11-21T23:59:59Z", 5.0), spent("2026-11-22T00:00:00Z", 3.0), spent("2026-11-22T08:00:00Z", 1.0)];
    budgets.load(ledger.into_iter());
    assert_eq!(exceeded(reserve(&budgets, &who("t"), usd(6.5))).spent, usd(4.0), "yesterday's is not today's");
    let report = budgets.report(None);
    assert_eq!(report["budgets"][1]["accounts"][0]["spent_usd"], 9.0, "{report}");
}

#[test]
fn reports_show_tenants_by_name_the_nearest_to_its_end_first() {
    let budgets = budgets(r#"{"name":"day","amount_usd":10,"period":"day","overrides":{"acme":2}}"#);
    for (tenant, cost) in [("acme", 1.9), ("b", 5.0), ("c", 10.0)] {
        reserve(&budgets, &who(tenant), usd(cost)).expect("room").settle(usd(cost));
    }
    let report = budgets.report(None);
    assert_eq!(report["source"], "local");
    let rows = report["budgets"][0]["accounts"].as_array().expect("rows").clone();
    let told: Vec<_> = rows.iter().map(|row| row["state"].as_str().expect("a word")).collect();
    assert_eq!(told, ["exhausted", "warned", "ok"], "{report}");
    assert_eq!((&rows[1]["tenant"], &rows[1]["amount_usd"]), (&"acme".into(), &2.0.into()));
    let one = budgets.report(Some(&Tenant::of(b"b")));
    assert_eq!(one["budgets"][0]["accounts_known"], 1, "only the one that was asked for");
}

fn sums(exporter: &InMemoryMetricExporter) -> HashMap<String, f64> {
    let mut found = HashMap::new();
    for resource in exporter.get_finished_metrics().expect("metrics") {
        for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
            let value = match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().map(|point| point.value() as f64).sum()
                }
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                    gauge.data_points().map(|point| point.value()).sum()
                }
                _ => continue,
            };
            found.insert(metric.name().to_owned(), value);
        }
    }
    found
}

#[test]
fn a_soft_budget_refuses_nothing_and_is_told_of_once_in_a_period() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let text = r#"{"name":"soft","amount_usd":10,"period":"day","hard":false,"warn_at":0.5}"#;
    let soft = Budgets::new(&parse(text), TimeZone::UTC, &Names::default(), None, &provider.meter("test"));
    let soft = soft.expect("a good budget");
    assert!(!soft.has_hard() && !soft.is_empty());
    soft.set_clock(at("2026-11-22T12:00:00Z"));
    let spend = |count: usize| {
        for _ in 0..count {
            reserve(&soft, &who("t"), usd(4.0)).expect("soft budgets refuse nothing").settle(usd(4.0));
        }
        provider.force_flush().expect("flushed");
        let sums = sums(&exporter);
        (sums["outrigger_budget_spent_usd"], sums.get("outrigger_budget_warned").copied().unwrap_or_default())
    };
    assert_eq!(spend(1), (4.0, 0.0));
    assert_eq!(spend(9), (40.0, 1.0), "four times its amount");
    soft.set_clock(at("2026-11-23T12:00:00Z"));
    assert_eq!(spend(2), (8.0, 2.0), "and once on the next day");
    assert_eq!(sums(&exporter)["outrigger_budget_limit_usd"], 10.0);
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        tenant: u8,
        amount: u64,
    },
    /// One of the open reservations, by a part of what it held, in hundredths.
    Settle {
        which: usize,
        part: u64,
    },
    Drop {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..3, 1u64..4_000).prop_map(|(tenant, amount)| Step::Reserve { tenant, amount }),
        2 => (any::<usize>(), 0u64..=100).prop_map(|(which, part)| Step::Settle { which, part }),
        1 => any::<usize>().prop_map(|which| Step::Drop { which }),
    ]
}

proptest! {
    #[test]
    fn a_hard_budget_is_never_overshot_and_no_money_is_lost(steps in prop::collection::vec(step(), 1..300)) {
        let budgets = budgets(
            r#"{"name":"each","amount_usd":0.00001,"period":"day"},
               {"name":"all","amount_usd":0.000015,"period":"month","scope":"everyone"},
               {"name":"soft","amount_usd":0.000001,"period":"day","scope":"model","hard":false}"#,
        );
        let (mut open, mut spent) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Reserve { tenant, amount } => {
                    let held: u64 = open.iter().map(|(_, one): &(u8, Reservation)| one.held).sum();
                    let fits = spent + held + amount <= 15_000;
                    match reserve(&budgets, &who(&tenant.to_string()), Money::from_nanos(amount)) {
                        Ok(reservation) => {
                            prop_assert!(fits, "let in with {spent} spent and {held} held");
                            open.push((tenant, reservation));
                        }
                        Err(Refused::Exceeded(one)) => {
                            let room = one.amount.nanos().checked_sub(one.spent.nanos() + one.reserved.nanos());
                            prop_assert!(room.expect("never over") < amount, "refused with room: {one}");
                        }
                        Err(other) => prop_assert!(false, "{other}"),
                    }
                }
                Step::Settle { which, part } if !open.is_empty() => {
                    let (_, reservation) = open.swap_remove(which % open.len());
                    let actual = reservation.held * part / 100;
                    spent += actual;
                    reservation.settle(Money::from_nanos(actual));
                }
                Step::Drop { which } if !open.is_empty() => drop(open.swap_remove(which % open.len())),
                Step::Settle { .. } | Step::Drop { .. } => {}
            }
        }
        let held: u64 = open.iter().map(|(_, one)| one.held).sum();
        budgets.accounts.each(|account| {
            let state = account.state();
            assert!(!account.hard() || state.spent + state.held <= account.limit().nanos(), "over its limit");
        });
        for rule in 0..3 {
            let (mut all_spent, mut all_held) = (0, 0);
            budgets.accounts.each(|account| if account.key.rule == rule {
                let state = account.state();
                (all_spent, all_held) = (all_spent + state.spent, all_held + state.held);
            });
            prop_assert_eq!((all_spent, all_held), (spent, held), "every budget has seen every call");
        }
    }
}

#[test]
fn two_hundred_threads_at_once_spend_all_of_a_budget_and_never_more() {
    let budgets = budgets(
        r#"{"name":"each","amount_usd":0.001,"period":"day"},
           {"name":"all","amount_usd":0.003,"period":"month","scope":"everyone"}"#,
    );
    std::thread::scope(|scope| {
        for thread in 0..200_u64 {
            let budgets = &budgets;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                for _ in 0..300 {
                    let amount = random.u64(1..2_000);
                    if let Ok(held) = reserve(budgets, &who(&(thread % 5).to_string()), Money::from_nanos(amount)) {
                        std::thread::yield_now();
                        held.settle(Money::from_nanos(random.u64(0..=amount)));
                    }
                }
            });
        }
    });
    let all = budgets.spent();
    assert!(all[1] <= usd(0.003) && all[1] >= usd(0.00297), "{} of 0.003 were spent", all[1]);
    assert_eq!(all[0], all[1], "both have seen the same");
}
