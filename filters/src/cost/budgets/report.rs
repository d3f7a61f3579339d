//! What an operator is shown of the budgets: spent, reserved, left, and when they begin anew.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Budgets;
use super::account::Account;
use super::period::{Millis, Span};
use super::rule::Who;
use crate::Tenant;
use crate::money::Money;

/// Accounts shown of one budget, at most: those that are nearest to their end.
const MOST: usize = 100;

impl Budgets {
    /// All budgets with their accounts of the current period; of one tenant only, where one is asked for.
    pub fn report(&self, tenant: Option<&Tenant>) -> Value {
        let now = self.now();
        let mut shown: Vec<Vec<(f64, Arc<Account>)>> = self.rules.iter().map(|_| Vec::new()).collect();
        self.accounts.each(|account| {
            if account.span.contains(now) && tenant.is_none_or(|tenant| is_of(account, tenant)) {
                let share = account.state().total() as f64 / account.limit().nanos().max(1) as f64;
                if let Some(place) = self.place(account) {
                    shown[place].push((share, account.clone()));
                }
            }
        });
        let budgets = self.rules.iter().zip(shown).map(|(rule, mut rows)| {
            rows.sort_by(|one, other| other.0.total_cmp(&one.0));
            let known = rows.len();
            rows.truncate(MOST);
            let span = self.calendar.span(rule.period, now);
            json!({
                "name": rule.name.as_ref(),
                "scope": rule.scope.name(),
                "period": rule.period.name(),
                "begins": date(span, span.begin),
                "ends": date(span, span.end),
                "hard": rule.hard,
                "amount_usd": rule.amount.usd(),
                "accounts": rows.iter().map(|(_, account)| self.row(account)).collect::<Vec<_>>(),
                "accounts_known": known,
            })
        });
        json!({ "source": self.source(), "budgets": budgets.collect::<Vec<_>>() })
    }

    /// How much of the budget that is nearest to its end is spent; none where there are no budgets.
    pub fn spent_share(&self) -> Option<f64> {
        let (now, mut most) = (self.now(), None::<f64>);
        self.accounts.each(|account| {
            if account.span.contains(now) {
                let share = account.state().total() as f64 / account.limit().nanos().max(1) as f64;
                most = Some(most.map_or(share, |most| most.max(share)));
            }
        });
        most
    }

    /// By whose word budgets are decided now.
    fn source(&self) -> &'static str {
        match &self.remote {
            Some(remote) if remote.step.is_kept(&remote.store) => "redis",
            _ => "local",
        }
    }

    fn row(&self, account: &Account) -> Value {
        let (limit, state) = (account.limit().nanos(), account.state());
        let (spent, reserved) = (state.total(), state.reserved());
        drop(state);
        let left = limit.saturating_sub(spent).saturating_sub(reserved);
        let word = match () {
            () if spent >= limit => "exhausted",
            () if spent >= account.warn_at().nanos() => "warned",
            () => "ok",
        };
        let (tenant, model, tag) = match &account.key.who {
            Who::Of { tenant, model, tag } => {
                (tenant.as_ref().map(|tenant| self.names.of(tenant)), model.as_deref(), tag.as_deref())
            }
            Who::Others => (Some("_OTHER".to_owned()), None, None),
        };
        let usd = |nanos| Money::from_nanos(nanos).usd();
        json!({
            "tenant": tenant, "model": model, "tag": tag, "state": word,
            "amount_usd": usd(limit), "spent_usd": usd(spent), "reserved_usd": usd(reserved), "left_usd": usd(left),
        })
    }
}

fn is_of(account: &Account, tenant: &Tenant) -> bool {
    matches!(&account.key.who, Who::Of { tenant: Some(of), .. } if of == tenant)
}

/// As RFC 3339 writes it; all time has no borders.
fn date(span: Span, at: Millis) -> Option<String> {
    if span == Span::ALL {
        return None;
    }
    Timestamp::from_millisecond(at).ok().map(|at| at.to_string())
}
