//! What becomes of money when budgets change while calls are in flight.

use super::super::tests::{DAY, at, budgets, exceeded, parse, reserve, usd, who};
use super::super::{Spent, Why};
use super::*;
use crate::Tenant;
use crate::money::Money;

fn renew(before: &Arc<Budgets>, text: &str) -> Arc<Budgets> {
    let names = Names::from_iter([("acme".to_owned(), Tenant::of(b"acme"))]);
    let budgets = before.renewed(&parse(text), &names).expect("good budgets");
    budgets.take_over();
    budgets
}

#[test]
fn an_amount_below_what_is_spent_refuses_at_once_and_loses_nothing() {
    let before = budgets(DAY);
    reserve(&before, &who("t"), usd(6.0)).expect("room").settle(usd(6.0));
    let in_flight = reserve(&before, &who("t"), usd(2.0)).expect("room");
    let now = renew(&before, &DAY.replace("10", "5"));
    let refused = exceeded(reserve(&now, &who("t"), usd(0.1)));
    assert_eq!((refused.amount, refused.spent, refused.reserved), (usd(5.0), usd(6.0), usd(2.0)));
    in_flight.settle(usd(1.5));
    let refused = exceeded(reserve(&now, &who("t"), usd(0.1)));
    assert_eq!((refused.spent, refused.why), (usd(7.5), Why::Spent), "a call in flight is paid from the same account");
    let again = renew(&now, &DAY.replace("10", "8"));
    reserve(&again, &who("t"), usd(0.5)).expect("half a dollar is left of the larger amount");
    exceeded(reserve(&again, &who("t"), usd(0.6)));
}

#[test]
fn a_budget_keeps_its_account_wherever_it_stands_in_the_list() {
    let before = budgets(DAY);
    reserve(&before, &who("t"), usd(9.0)).expect("room").settle(usd(9.0));
    let total = r#"{"name":"total","amount_usd":100,"period":"total"}"#;
    let now = renew(&before, &format!("{total},{DAY}"));
    let refused = exceeded(reserve(&now, &who("t"), usd(2.0)));
    assert_eq!((&*refused.budget, refused.spent), ("day", usd(9.0)));
    let now = renew(&now, total);
    let held = reserve(&now, &who("t"), usd(2.0)).expect("the day's budget is gone");
    let now = renew(&now, &format!("{DAY},{total}"));
    held.settle(usd(2.0));
    reserve(&now, &who("t"), usd(10.0))
        .expect("the day's budget is a new one, which the ledger tells of what was spent");
}

#[test]
fn a_new_budget_alone_is_told_what_was_spent_before_it() {
    let before = budgets(DAY);
    reserve(&before, &who("t"), usd(4.0)).expect("room").settle(usd(4.0));
    let week = r#"{"name":"week","amount_usd":20,"period":"week"}"#;
    let names = Names::default();
    let now = before.renewed(&parse(&format!("{DAY},{week}")), &names).expect("good budgets");
    assert!(now.has_fresh() && !before.renewed(&parse(DAY), &names).expect("good budgets").has_fresh());
    assert_eq!(now.begins().into_iter().collect::<Vec<_>>(), [at("2026-11-16T00:00:00Z")], "only of the new one");
    let spent = |amount| Spent {
        at: at("2026-11-22T01:00:00Z"),
        tenant: Tenant::of(b"t"),
        model: "m".to_owned(),
        tag: None,
        amount,
    };
    now.load([spent(usd(15.0))].into_iter());
    now.take_over();
    let refused = exceeded(reserve(&now, &who("t"), usd(5.5)));
    assert_eq!((&*refused.budget, refused.spent), ("week", usd(15.0)));
    let day = exceeded(reserve(&now, &who("t"), usd(7.0)));
    assert_eq!((&*day.budget, day.spent), ("day", usd(4.0)), "what it has spent is not told to it twice");
}

#[test]
fn who_comes_late_under_old_settings_does_not_bring_them_back() {
    let before = budgets(DAY);
    let now = renew(&before, &DAY.replace("10", "5"));
    let late = reserve(&before, &who("late"), usd(7.0)).expect("it goes by what it began with");
    drop(late);
    let refused = exceeded(reserve(&now, &who("late"), usd(6.0)));
    assert_eq!((refused.amount, refused.spent), (usd(5.0), Money::ZERO), "the account is held against today's amount");
}
