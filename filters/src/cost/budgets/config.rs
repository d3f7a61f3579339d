//! A budget as it is written down: how much money, in what time, and whose.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::period::Period;
use crate::models::Models;
use crate::money::Money;

/// A budget of more would be none: it is a thousand million dollars, which sums in 64 bits hold nine times.
pub const MOST: Money = Money::from_nanos(1_000_000_000_000_000_000);

/// One budget, one `[[cost.budgets]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How it is called in errors, reports and metrics: letters, digits, `-` and `_`.
    pub name: Name,
    /// How much may be spent in a period, in dollars.
    pub amount_usd: Dollars,
    /// `day`, `week` (from Monday), `month`, or `total`, which never begins anew. They begin at midnight in the
    /// time zone of `cost.time_zone`.
    pub period: Period,
    /// Whose spending is counted together. Without a tag, a call comes under no budget of tags.
    #[serde(default)]
    pub scope: Scope,
    /// Whether calls beyond it are refused; otherwise they are only told of.
    #[serde(default = "yes")]
    pub hard: bool,
    /// The share of the amount at which it is told of, once in a period.
    #[serde(default)]
    pub warn_at: Share,
    /// The models that it is for, by name or by a beginning and `*`; all if absent.
    #[serde(default)]
    pub models: Vec<Models>,
    /// The tenants that it is for, by the names of `[tenants.names]`; all if absent.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// The tags that it is for; all, and calls without one, if absent.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What holds while the store that sidecars share cannot be asked.
    #[serde(default)]
    pub when_redis_lost: WhenLost,
    /// Other amounts, by the names of `[tenants.names]`: a number, or `unlimited`.
    #[serde(default)]
    pub overrides: BTreeMap<String, Amount>,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Name(text.into()));
        }
        Err(serde::de::Error::custom("a budget's name is 1 to 64 letters, digits, `-` and `_`"))
    }
}

/// An amount above nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dollars(pub Money);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let money = Money::from_usd(f64::deserialize(deserializer)?);
        money.filter(|money| (Money::from_nanos(1)..=MOST).contains(money)).map(Dollars).ok_or_else(|| {
            serde::de::Error::custom(
                "a budget is more than 0 dollars, and at most 1000000000; without one, nothing holds",
            )
        })
    }
}

/// The amount of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// It may be nothing: then the tenant may not spend at all.
    Of(Money),
    Unlimited,
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Word(String),
        }
        let words = "expected dollars, from 0 to 1000000000, or `unlimited`";
        match Written::deserialize(deserializer) {
            Ok(Written::Word(word)) if word == "unlimited" => Ok(Amount::Unlimited),
            Ok(Written::Number(dollars)) => Money::from_usd(dollars)
                .filter(|money| *money <= MOST)
                .map(Amount::Of)
                .ok_or_else(|| serde::de::Error::custom(words)),
            _ => Err(serde::de::Error::custom(words)),
        }
    }
}

/// More than nothing, and at most the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    pub fn of(self, amount: Money) -> Money {
        Money::from_nanos((amount.nanos() as f64 * self.0) as u64)
    }
}

impl Default for Share {
    fn default() -> Self {
        Share(0.8)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if share > 0.0 && share <= 1.0 {
            return Ok(Share(share));
        }
        Err(serde::de::Error::custom("a share is more than 0 and at most 1"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    #[default]
    Tenant,
    /// All tenants together, for each model.
    Model,
    TenantModel,
    /// All tenants together, for each tag.
    Tag,
    TenantTag,
    Everyone,
}

impl Scope {
    pub const fn has_tenant(self) -> bool {
        matches!(self, Scope::Tenant | Scope::TenantModel | Scope::TenantTag)
    }

    pub const fn has_model(self) -> bool {
        matches!(self, Scope::Model | Scope::TenantModel)
    }

    pub const fn has_tag(self) -> bool {
        matches!(self, Scope::Tag | Scope::TenantTag)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Scope::Tenant => "tenant",
            Scope::Model => "model",
            Scope::TenantModel => "tenant_model",
            Scope::Tag => "tag",
            Scope::TenantTag => "tenant_tag",
            Scope::Everyone => "everyone",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenLost {
    /// Each sidecar spends its share of what was left, by the number of sidecars last seen.
    #[default]
    Local,
    /// The budget does not hold.
    Open,
    /// Everything under the budget is refused.
    Closed,
}
