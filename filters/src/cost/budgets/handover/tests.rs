use std::sync::mpsc::{Receiver, channel};

use jiff::tz::TimeZone;

use super::*;
use crate::Tenant;
use crate::cost::budgets::{Budget, Demand};
use crate::money::Money;
use crate::tenants::Names;

fn budgets(text: &str) -> Arc<Budgets> {
    let configs: Vec<Budget> = serde_json::from_str(&format!("[{text}]")).unwrap();
    let meter = opentelemetry::global::meter("test");
    Budgets::new(&configs, TimeZone::UTC, &Names::default(), None, &meter).unwrap()
}

fn usd(dollars: f64) -> Money {
    Money::from_usd(dollars).unwrap()
}

async fn reserve(budgets: &Arc<Budgets>, dollars: f64) -> Option<super::super::Reservation> {
    let demand = Demand { tenant: Tenant::of(b"t"), model: "m", tag: None };
    budgets.reserve(&demand, usd(dollars)).await.ok()
}

fn hand_over(first: &Budgets, second: &Budgets) -> Receiver<News> {
    let (sender, news) = channel();
    let state = first.hand_over(Box::new(move |news| sender.send(news).unwrap()));
    let packed = postcard::to_allocvec(&state).unwrap();
    second.inherit(postcard::from_bytes(&packed).unwrap());
    news
}

const DAY: &str = r#"{"name":"b","amount_usd":10,"period":"day"}"#;

#[tokio::test]
async fn what_is_spent_and_held_goes_over_to_the_cent() {
    let (first, second) = (budgets(DAY), budgets(DAY));
    reserve(&first, 3.0).await.unwrap().settle(usd(3.0));
    let held = reserve(&first, 4.0).await.unwrap();
    let news = hand_over(&first, &second);
    assert!(reserve(&second, 3.01).await.is_none(), "seven of ten are spent or held");
    let own = reserve(&second, 3.0).await.expect("and three are not");
    held.settle(usd(1.0));
    news.try_iter().for_each(|news| second.hear(news));
    assert!(reserve(&second, 3.01).await.is_none());
    drop(reserve(&second, 3.0).await.expect("what was held and not spent is free again"));
    own.settle(usd(3.0));
    assert_eq!(second.spent(), [usd(7.0)]);
}

#[tokio::test]
async fn what_grows_or_begins_after_the_moment_is_told() {
    let (first, second) = (budgets(DAY), budgets(DAY));
    let mut held = reserve(&first, 4.0).await.unwrap();
    let news = hand_over(&first, &second);
    held.grow(usd(6.0));
    let late = reserve(&first, 1.0).await.unwrap();
    news.try_iter().for_each(|news| second.hear(news));
    assert!(reserve(&second, 3.01).await.is_none() && reserve(&second, 3.0).await.is_some());
    held.settle(usd(5.0));
    drop(late);
    news.try_iter().for_each(|news| second.hear(news));
    assert!(reserve(&second, 5.01).await.is_none() && reserve(&second, 5.0).await.is_some());
}

#[tokio::test]
async fn a_budget_with_another_period_begins_with_what_the_ledger_says() {
    let (first, second) = (budgets(DAY), budgets(r#"{"name":"b","amount_usd":10,"period":"total"}"#));
    reserve(&first, 3.0).await.unwrap().settle(usd(3.0));
    hand_over(&first, &second);
    assert!(reserve(&second, 10.0).await.is_some());
}
