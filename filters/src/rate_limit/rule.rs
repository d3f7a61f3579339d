//! A limit ready to be asked: whose account a request belongs to, what it costs there, how much may be in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::limit::{Amount, Config, Limit, MOST, Scope, Unit, WhenLost};
use super::log::Nanos;
use super::remote::Kind;
use crate::ask::Tenant;
use crate::tenants::Names;

/// What a request means to the limits.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'ask> {
    pub tenant: Tenant,
    /// None for a request that is passed on unread: it has no model, and counts as a request only.
    pub generation: Option<Generation<'ask>>,
    pub headers: &'ask HeaderMap,
}

#[derive(Clone, Copy, Debug)]
pub struct Generation<'ask> {
    pub model: Option<&'ask str>,
    pub user: Option<&'ask str>,
    pub input: u64,
    pub output: Output,
}

/// The tokens that an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The client's own bound.
    Asked(u64),
    /// What answers like it took: no reason to refuse one for ever.
    Expected(u64),
}

/// A limit, resolved.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    pub unit: Unit,
    pub scope: Scope,
    pub amount: u64,
    /// Zero for concurrent requests.
    pub window: Nanos,
    pub when_lost: WhenLost,
    overrides: HashMap<[u8; 32], Amount>,
    /// The beginning of its accounts' keys, up to the tag that keeps one request's keys together.
    prefix: String,
    /// All tenants share one tag: some limit counts them together, and one step must see all of a request's keys.
    one_tag: bool,
}

/// The limits, from the settings.
///
/// # Errors
/// The path of a key below `rate_limit`, and what is wrong there.
pub fn rules(config: &Config, names: &Names, prefix: Option<&str>) -> Result<Vec<Arc<Rule>>, (String, String)> {
    // Without a store nobody parts the accounts, and their keys shall not hang on what other limits there are.
    let one_tag = prefix.is_none() || config.spans_tenants();
    let prefix = prefix.unwrap_or("outrigger");
    let rule = |(at, limit): (usize, &Limit)| {
        let known = |(name, amount): (&String, &Amount)| match names.tenant(name) {
            Some(tenant) => Ok((*tenant.digest(), *amount)),
            None => Err((format!("limits.{at}.overrides"), format!("`{name}` is not in [tenants.names]"))),
        };
        let overrides = limit.overrides.iter().map(known);
        Ok(Arc::new(Rule {
            name: limit.name.0.clone(),
            unit: limit.unit,
            scope: limit.scope.clone(),
            amount: limit.amount,
            window: limit.window.map_or(0, |window| u64::try_from(window.0.as_nanos()).unwrap_or(Nanos::MAX / 4)),
            when_lost: limit.when_redis_lost,
            overrides: overrides.collect::<Result<_, _>>()?,
            prefix: prefix.to_owned(),
            one_tag,
        }))
    };
    config.limits.iter().enumerate().map(rule).collect()
}

impl Rule {
    /// How the ledger and the store count it: what costs tokens is reserved before it is known.
    pub const fn kind(&self) -> Kind {
        match self.unit {
            Unit::Requests => Kind::Window,
            Unit::Tokens | Unit::InputTokens | Unit::OutputTokens => Kind::Reserved,
            Unit::Concurrent => Kind::Concurrent,
        }
    }

    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.window)
    }

    /// Whether both count the same in the same accounts, whatever may be in them.
    pub fn counts_as(&self, other: &Rule) -> bool {
        self.name == other.name && self.unit == other.unit && self.window == other.window && self.scope == other.scope
    }

    /// How much may be in the tenant's account; none if it is not limited.
    pub fn amount(&self, tenant: &Tenant) -> Option<u64> {
        match self.overrides.get(tenant.digest()) {
            None => Some(self.amount),
            Some(Amount::Of(amount)) => Some(*amount),
            Some(Amount::Unlimited) => None,
        }
    }

    /// Whether a request comes under it at all.
    pub fn concerns(&self, demand: &Demand<'_>) -> bool {
        let whole = !matches!(self.unit, Unit::Tokens | Unit::InputTokens | Unit::OutputTokens)
            && !matches!(self.scope, Scope::Model | Scope::TenantModel | Scope::User);
        demand.generation.is_some() || whole
    }

    /// What it takes of an account that holds `amount`.
    pub fn cost(&self, demand: &Demand<'_>, amount: u64) -> u64 {
        let Some(Generation { input, output, .. }) = demand.generation else { return 1 };
        let output = |room: u64| match output {
            Output::Asked(output) => output,
            Output::Expected(output) => output.min(room.max(1)),
        };
        let cost = match self.unit {
            Unit::Requests | Unit::Concurrent => 1,
            Unit::Tokens => input.saturating_add(output(amount.saturating_sub(input))),
            Unit::InputTokens => input,
            Unit::OutputTokens => output(amount),
        };
        cost.min(MOST)
    }

    /// Who is counted together, as it may be shown, beside the tenant.
    pub fn part(&self, demand: &Demand<'_>) -> Option<String> {
        let generation = demand.generation.as_ref();
        match &self.scope {
            Scope::Tenant | Scope::Everyone => None,
            Scope::Model | Scope::TenantModel => Some(plain(generation?.model.unwrap_or("-"))),
            Scope::User => Some(digest(generation?.user.unwrap_or_default().as_bytes())),
            Scope::Header(name) => Some(digest(demand.headers.get(name).map_or(&[], |value| value.as_bytes()))),
        }
    }

    /// The account's key. Its tag, in braces, is what Redis's cluster places keys by.
    pub fn key(&self, tenant: &Tenant, part: Option<&str>) -> String {
        let Rule { name, prefix, .. } = self;
        // Half of a digest: nobody meets another's by chance or by trying.
        let who = &tenant.hex()[..32];
        let tag = if self.one_tag { "all" } else { who };
        let owner = if self.scope.spans_tenants() { "all" } else { who };
        let (unit, millis) = (self.unit.name(), self.window / 1_000_000);
        let part = part.unwrap_or_default();
        format!("{prefix}:{{{tag}}}:{name}:{unit}:{millis}:{owner}:{part}")
    }
}

/// A model's name as it is, if it is short and plain.
fn plain(name: &str) -> String {
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b'@' | b'+');
    if name.len() <= 64 && name.bytes().all(good) { name.to_owned() } else { format!("#{}", digest(name.as_bytes())) }
}

/// What a client says of its users belongs to nobody else: only a digest of it is kept.
fn digest(value: &[u8]) -> String {
    if value.is_empty() { "-".to_owned() } else { blake3::hash(value).to_hex()[..24].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Arc<Rule> {
        let config: Config = serde_json::from_str(&format!(r#"{{"limits":[{text}]}}"#)).unwrap();
        let names = Names::from_iter([("acme".to_owned(), Tenant::of(b"acme"))]);
        rules(&config, &names, Some("outrigger")).unwrap().remove(0)
    }

    fn demand<'ask>(headers: &'ask HeaderMap, model: &'ask str, output: Output) -> Demand<'ask> {
        let generation = Generation { model: Some(model), user: None, input: 100, output };
        Demand { tenant: Tenant::of(b"t"), generation: Some(generation), headers }
    }

    #[test]
    fn a_tenants_accounts_lie_together_unless_tenants_are_counted_together() {
        let (one, other) = (Tenant::of(b"1"), Tenant::of(b"2"));
        let tenants = rule(r#"{"name":"rpm","amount":1,"window":"1m"}"#);
        assert_ne!(tenants.key(&one, None), tenants.key(&other, None));
        assert!(tenants.key(&one, None).starts_with("outrigger:{"), "{}", tenants.key(&one, None));
        let model = rule(r#"{"name":"rpm","amount":1,"window":"1m","scope":"model"}"#);
        assert_eq!(model.key(&one, Some("m")), model.key(&other, Some("m")));
        assert_eq!(model.key(&one, Some("m")), "outrigger:{all}:rpm:requests:60000:all:m");
    }

    #[test]
    fn an_expectation_is_never_a_reason_to_refuse_for_ever() {
        let tokens = rule(r#"{"name":"tpm","unit":"tokens","amount":500,"window":"1m"}"#);
        let headers = HeaderMap::new();
        assert_eq!(tokens.cost(&demand(&headers, "m", Output::Expected(900)), 500), 500);
        assert_eq!(
            tokens.cost(&demand(&headers, "m", Output::Asked(900)), 500),
            1000,
            "what is asked for counts whole"
        );
    }

    #[test]
    fn a_named_tenant_has_its_own_amount() {
        let own = rule(r#"{"name":"rpm","amount":1,"window":"1m","overrides":{"acme":50}}"#);
        assert_eq!((own.amount(&Tenant::of(b"acme")), own.amount(&Tenant::of(b"x"))), (Some(50), Some(1)));
        let free = rule(r#"{"name":"rpm","amount":1,"window":"1m","overrides":{"acme":"unlimited"}}"#);
        assert_eq!(free.amount(&Tenant::of(b"acme")), None);
    }

    #[test]
    fn what_a_client_says_of_its_users_is_in_no_key() {
        let header = rule(r#"{"name":"team","amount":1,"window":"1m","scope":"header:x-team"}"#);
        let headers = HeaderMap::from_iter([("x-team".parse().unwrap(), "anna@example.org".parse().unwrap())]);
        let part = header.part(&demand(&headers, "m", Output::Asked(1))).unwrap();
        assert!(!part.contains("anna"), "{part}");
    }
}
