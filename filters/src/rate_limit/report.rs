//! What an operator is shown of the limits: used, reserved, left, and when it resets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::{Account, Line, Standing};
use super::limiter::Limiter;
use super::remote::Seen;
use super::rule::Rule;
use crate::ask::Tenant;

/// Accounts shown at most.
const MOST: usize = 1_000;

impl Limiter {
    /// All limits, and the accounts that this process knows; or only those of one tenant, by its name, its whole
    /// digest, or the digits that logs show. None if nothing is known of that tenant.
    pub async fn report(&self, tenant: Option<&str>) -> Option<Value> {
        let named = tenant.and_then(|name| self.names.tenant(name));
        let wanted = |of: &Tenant| match (tenant, named) {
            (None, _) => true,
            (_, Some(named)) => *of == named,
            (Some(digits), None) => digits.len() >= 8 && of.hex().starts_with(&digits.to_ascii_lowercase()),
        };
        let mut accounts = self.ledger.accounts();
        accounts.retain(|account| wanted(&account.tenant) && self.spans_no_tenants(account, tenant));
        // One whose limit has just been taken away is nobody's.
        accounts.retain(|account| self.line(account).is_some());
        if tenant.is_some() && named.is_none() && accounts.is_empty() {
            return None;
        }
        let all = accounts.len();
        accounts.truncate(MOST);
        let (standings, shared) = self.standings(&accounts).await;
        let mut shown: Vec<(f64, Value)> =
            accounts.iter().zip(standings).filter_map(|(account, standing)| self.row(account, standing)).collect();
        shown.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mode = match (self.remote.as_ref().filter(|_| self.has_limits()), shared) {
            (None, _) => "local",
            (Some(_), true) => "redis",
            (Some(_), false) => "degraded",
        };
        let accounts: Vec<Value> = shown.into_iter().map(|(_, row)| row).collect();
        let limits: Vec<Value> = self.rules.iter().map(|rule| about(rule, named.as_ref())).collect();
        Some(json!({ "mode": mode, "limits": limits, "accounts": accounts, "accounts_known": all }))
    }

    fn spans_no_tenants(&self, account: &Account, tenant: Option<&str>) -> bool {
        tenant.is_none() || !account.rule.scope.spans_tenants()
    }

    /// By the store if it answers, by this process's own ledger otherwise.
    async fn standings(&self, accounts: &[Arc<Account>]) -> (Vec<Standing>, bool) {
        if let Some(remote) = &self.remote {
            let limits: Vec<_> = accounts.iter().filter_map(|account| Some(self.line(account)?.limit())).collect();
            if let Ok(seen) = remote.read(&limits).await {
                let standing = |seen: &Seen| Standing {
                    used: seen.used,
                    reserved: seen.reserved,
                    resets: seen.oldest.zip(seen.newest),
                    ..Standing::default()
                };
                return (seen.iter().map(standing).collect(), true);
            }
        }
        let own = |account: &Arc<Account>| {
            let line = self.line(account)?;
            Some(self.ledger.standing(&line))
        };
        (accounts.iter().map(|account| own(account).unwrap_or_default()).collect(), false)
    }

    /// A line that asks for nothing.
    pub(super) fn line(&self, account: &Arc<Account>) -> Option<Line> {
        let at = self.rules.iter().position(|rule| rule.counts_as(&account.rule))?;
        let rule = &self.rules[at];
        let (amount, window) = (rule.amount(&account.tenant).unwrap_or(u64::MAX), rule.window);
        let kind = rule.kind();
        Some(Line { account: account.clone(), rule: at, kind, window, amount, cost: 0 })
    }

    fn row(&self, account: &Account, standing: Standing) -> Option<(f64, Value)> {
        let rule = self.rules.iter().find(|rule| rule.counts_as(&account.rule))?;
        let amount = rule.amount(&account.tenant)?;
        let shared = rule.scope.spans_tenants();
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let row = json!({
            "limit": rule.name.as_ref(),
            "tenant": if shared { Value::Null } else { self.names.of(&account.tenant).into() },
            "part": account.part,
            "amount": amount,
            "used": standing.used,
            "reserved": standing.reserved,
            "remaining": amount.saturating_sub(standing.used),
            "next_reset_ms": standing.resets.map(|(some, _)| millis(some)),
            "reset_ms": standing.resets.map_or(0, |(_, all)| millis(all)),
        });
        Some((standing.used as f64 / amount.max(1) as f64, row))
    }
}

fn about(rule: &Rule, tenant: Option<&Tenant>) -> Value {
    let amount = tenant.map_or(Some(rule.amount), |tenant| rule.amount(tenant));
    json!({
        "name": rule.name.as_ref(),
        "unit": rule.unit.name(),
        "amount": amount.map_or_else(|| "unlimited".into(), Value::from),
        "window_ms": if rule.window == 0 { Value::Null } else { (rule.window / 1_000_000).into() },
        "scope": rule.scope.name(),
    })
}
