//! What is measured of budgets. Labels are their names, which are as many as the settings say.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

use super::Budgets;
use super::rule::Rule;

pub struct Meters {
    refused: Counter<u64>,
    warned: Counter<u64>,
}

impl Meters {
    pub fn new(meter: &Meter) -> Self {
        let refused = meter
            .u64_counter("outrigger_budget_refused")
            .with_description("Calls that a budget had no room for, by budget.")
            .build();
        let warned = meter
            .u64_counter("outrigger_budget_warned")
            .with_description("Accounts of a budget that reached the share at which it is told of, by budget.")
            .build();
        Meters { refused, warned }
    }

    pub fn refused(&self, budget: &str) {
        self.refused.add(1, &[KeyValue::new("budget", budget.to_owned())]);
    }

    pub fn warned(&self, budget: &str) {
        self.warned.add(1, &[KeyValue::new("budget", budget.to_owned())]);
    }

    /// Lets the meter read what is spent.
    pub fn observe(budgets: &Arc<Budgets>, meter: &Meter) {
        let read = budgets.newest.clone();
        meter
            .f64_observable_gauge("outrigger_budget_spent_usd")
            .with_description(
                "Dollars spent in the current period, over all accounts of a budget that this sidecar knows.",
            )
            .with_callback(move |observer| {
                let Some(budgets) = read.get() else { return };
                for (rule, spent) in budgets.rules.iter().zip(budgets.spent()) {
                    observer.observe(spent.usd(), &[name(rule)]);
                }
            })
            .build();
        let read = budgets.newest.clone();
        meter
            .f64_observable_gauge("outrigger_budget_limit_usd")
            .with_description("Dollars that each account of a budget may spend in a period.")
            .with_callback(move |observer| {
                let Some(budgets) = read.get() else { return };
                for rule in &budgets.rules {
                    observer.observe(rule.amount.usd(), &[name(rule)]);
                }
            })
            .build();
    }
}

fn name(rule: &Rule) -> KeyValue {
    KeyValue::new("budget", rule.name.to_string())
}
