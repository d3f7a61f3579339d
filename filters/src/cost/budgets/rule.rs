//! A budget ready to be asked: whose account a call belongs to, and how much may be spent from it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::{Amount, Budget, Scope, Share, WhenLost};
use super::period::Period;
use crate::Tenant;
use crate::models::Models;
use crate::money::Money;
use crate::tenants::Names;

/// Models and tags that are longer are known by a digest.
const MAX_NAME_BYTES: usize = 64;

/// What a call means to the budgets.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'ask> {
    pub tenant: Tenant,
    pub model: &'ask str,
    pub tag: Option<&'ask str>,
}

/// Who is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Who {
    Of {
        tenant: Option<Tenant>,
        model: Option<Box<str>>,
        tag: Option<Box<str>>,
    },
    /// All that came when there were too many.
    Others,
}

/// A budget, resolved.
#[derive(Debug)]
pub struct Rule {
    /// By which its accounts know it, for as long as name, period and scope are the same.
    pub id: usize,
    pub name: Arc<str>,
    pub period: Period,
    pub scope: Scope,
    pub hard: bool,
    pub warn_at: Share,
    pub when_lost: WhenLost,
    pub amount: Money,
    overrides: HashMap<Tenant, Amount>,
    models: Vec<Models>,
    tenants: HashSet<Tenant>,
    tags: Vec<String>,
}

/// The budgets, from the settings.
///
/// # Errors
/// The path of a key below `cost`, and what is wrong there.
pub fn rules(configs: &[Budget], names: &Names) -> Result<Vec<Rule>, (String, String)> {
    let rule = |(at, budget): (usize, &Budget)| {
        let wrong = |key: &str, words: String| (format!("budgets.{at}.{key}"), words);
        if configs[..at].iter().any(|other| other.name == budget.name) {
            return Err(wrong("name", format!("there are two budgets with the name `{}`", budget.name.0)));
        }
        if !budget.scope.has_tenant() && !budget.overrides.is_empty() {
            let words = "an override for one tenant has no meaning where tenants are counted together";
            return Err(wrong("overrides", words.to_owned()));
        }
        let tenant = |key: &str, name: &String| {
            names.tenant(name).ok_or_else(|| wrong(key, format!("`{name}` is not in [tenants.names]")))
        };
        let overrides = budget.overrides.iter();
        let overrides = overrides.map(|(name, amount)| tenant("overrides", name).map(|tenant| (tenant, *amount)));
        let tenants = budget.tenants.iter().map(|name| tenant("tenants", name));
        Ok(Rule {
            id: at,
            name: budget.name.0.clone(),
            period: budget.period,
            scope: budget.scope,
            hard: budget.hard,
            warn_at: budget.warn_at,
            when_lost: budget.when_redis_lost,
            amount: budget.amount_usd.0,
            overrides: overrides.collect::<Result<_, _>>()?,
            models: budget.models.clone(),
            tenants: tenants.collect::<Result<_, _>>()?,
            tags: budget.tags.clone(),
        })
    };
    configs.iter().enumerate().map(rule).collect()
}

impl Rule {
    /// How much the account may hold that a demand belongs to; none if it is not limited.
    pub fn amount(&self, tenant: &Tenant) -> Option<Money> {
        match self.overrides.get(tenant) {
            None => Some(self.amount),
            Some(Amount::Of(amount)) => Some(*amount),
            Some(Amount::Unlimited) => None,
        }
    }

    /// Whether both count the same in the same accounts, however much may be spent.
    pub fn counts_as(&self, other: &Rule) -> bool {
        self.name == other.name && self.period == other.period && self.scope == other.scope
    }

    /// Whose account a demand belongs to; none if the budget is not for it.
    pub fn who(&self, demand: &Demand<'_>) -> Option<Who> {
        let tag = demand.tag.filter(|tag| !tag.is_empty());
        let concerned = (self.models.is_empty() || self.models.iter().any(|models| models.matches(demand.model)))
            && (self.tenants.is_empty() || self.tenants.contains(&demand.tenant))
            && (self.tags.is_empty() || tag.is_some_and(|tag| self.tags.iter().any(|one| one == tag)))
            && (!self.scope.has_tag() || tag.is_some());
        concerned.then(|| Who::Of {
            tenant: self.scope.has_tenant().then_some(demand.tenant),
            model: self.scope.has_model().then(|| short(demand.model)),
            tag: tag.filter(|_| self.scope.has_tag()).map(short),
        })
    }

    /// What tells an account from all others of a period, wherever it is kept.
    pub fn digest(&self, who: &Who) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("outrigger 2026-11-22 budget account");
        hasher.update(self.scope.name().as_bytes());
        match who {
            Who::Others => drop(hasher.update(b"\0others")),
            Who::Of { tenant, model, tag } => {
                let tenant = tenant.as_ref().map(|tenant| &tenant.digest()[..]);
                let parts = [tenant, model.as_deref().map(str::as_bytes), tag.as_deref().map(str::as_bytes)];
                for part in parts {
                    hasher.update(&[u8::from(part.is_some())]);
                    hasher.update(&(part.map_or(0, <[u8]>::len) as u64).to_le_bytes());
                    hasher.update(part.unwrap_or_default());
                }
            }
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

fn short(name: &str) -> Box<str> {
    if name.len() <= MAX_NAME_BYTES {
        return name.into();
    }
    format!("#{}", &blake3::hash(name.as_bytes()).to_hex()[..24]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Rule>, (String, String)> {
        let budgets: Vec<Budget> = serde_json::from_str(&format!("[{text}]")).expect("well written");
        rules(&budgets, &Names::from_iter([("acme".to_owned(), Tenant::of(b"acme"))]))
    }

    fn one(text: &str) -> Rule {
        parse(text).expect("a good budget").remove(0)
    }

    fn demand<'ask>(model: &'ask str, tag: Option<&'ask str>) -> Demand<'ask> {
        Demand { tenant: Tenant::of(b"acme"), model, tag }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let wrong = |text: &str| parse(text).expect_err("a mistake").0;
        let day = r#"{"name":"a","amount_usd":1,"period":"day""#;
        assert_eq!(wrong(&format!("{day}}},{day}}}")), "budgets.1.name");
        assert_eq!(wrong(&format!(r#"{day},"overrides":{{"nobody":1}}}}"#)), "budgets.0.overrides");
        assert_eq!(wrong(&format!(r#"{day},"tenants":["nobody"]}}"#)), "budgets.0.tenants");
        assert_eq!(wrong(&format!(r#"{day},"scope":"model","overrides":{{"acme":1}}}}"#)), "budgets.0.overrides");
        for bad in ["-1", "0", "1e-12", "2e9", "\"1\""] {
            let text = format!(r#"{{"name":"a","amount_usd":{bad},"period":"day"}}"#);
            assert!(serde_json::from_str::<Budget>(&text).is_err(), "{text}");
        }
        for bad in [r#""warn_at":0"#, r#""warn_at":1.1"#, r#""soft":true"#, r#""overrides":{"acme":"free"}"#] {
            assert!(serde_json::from_str::<Budget>(&format!("{day},{bad}}}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_budget_counts_those_together_whom_its_scope_says() {
        let who = |scope: &str, demand: &Demand<'_>| {
            one(&format!(r#"{{"name":"a","amount_usd":1,"period":"day","scope":"{scope}"}}"#)).who(demand)
        };
        let other = Demand { tenant: Tenant::of(b"other"), ..demand("m", Some("t")) };
        for (scope, by_tenant, by_model, by_tag) in [
            ("tenant", true, false, false),
            ("model", false, true, false),
            ("tenant_model", true, true, false),
            ("tag", false, false, true),
            ("tenant_tag", true, false, true),
            ("everyone", false, false, false),
        ] {
            let first = who(scope, &demand("m", Some("t")));
            assert_eq!(first != who(scope, &other), by_tenant, "{scope}");
            assert_eq!(first != who(scope, &demand("n", Some("t"))), by_model, "{scope}");
            assert_eq!(first != who(scope, &demand("m", Some("u"))), by_tag, "{scope}");
            assert_eq!(who(scope, &demand("m", None)).is_none(), by_tag, "without a tag, {scope}");
        }
    }

    #[test]
    fn a_budget_is_for_those_that_it_names() {
        let some =
            one(r#"{"name":"a","amount_usd":1,"period":"day","models":["gpt-*"],"tenants":["acme"],"tags":["ci"]}"#);
        assert!(some.who(&demand("gpt-5", Some("ci"))).is_some());
        assert!(some.who(&demand("llama", Some("ci"))).is_none());
        assert!(some.who(&demand("gpt-5", Some("web"))).is_none() && some.who(&demand("gpt-5", None)).is_none());
        assert!(some.who(&Demand { tenant: Tenant::of(b"x"), ..demand("gpt-5", Some("ci")) }).is_none());
    }

    #[test]
    fn a_named_tenant_has_its_own_amount() {
        let own = one(r#"{"name":"a","amount_usd":1,"period":"day","overrides":{"acme":2.5}}"#);
        assert_eq!(own.amount(&Tenant::of(b"acme")), Money::from_usd(2.5));
        assert_eq!(own.amount(&Tenant::of(b"x")), Money::from_usd(1.0));
        let free = one(r#"{"name":"a","amount_usd":1,"period":"day","overrides":{"acme":"unlimited"}}"#);
        assert_eq!(free.amount(&Tenant::of(b"acme")), None);
    }

    #[test]
    fn a_long_name_is_kept_short_and_is_still_its_own() {
        let tags = one(r#"{"name":"a","amount_usd":1,"period":"day","scope":"tag"}"#);
        let (long, other) = ("x".repeat(100_000), "x".repeat(100_001));
        let who = tags.who(&demand("m", Some(&long))).expect("concerned");
        assert!(matches!(&who, Who::Of { tag: Some(tag), .. } if tag.len() == 25), "{who:?}");
        let other = tags.who(&demand("m", Some(&other))).expect("concerned");
        assert_ne!(tags.digest(&who), tags.digest(&other));
    }
}
