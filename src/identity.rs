//! Who asks: the tenant behind a request, from its key or a header.

use http::header::{AUTHORIZATION, HeaderMap};
use outrigger_filters::{Reason, Tenant};

use crate::config::TenantsFrom;

/// Where Anthropic's clients put their key.
pub const API_KEY: &str = "x-api-key";

pub fn tenant(from: &TenantsFrom, headers: &HeaderMap) -> Result<Tenant, Reason> {
    match from {
        TenantsFrom::None => Ok(Tenant::anonymous()),
        TenantsFrom::Bearer => {
            let credential = match single(headers, AUTHORIZATION.as_str())? {
                Some(authorization) => Some(bearer(authorization)),
                None => single(headers, API_KEY)?,
            };
            Ok(credential.map_or_else(Tenant::anonymous, Tenant::of))
        }
        TenantsFrom::Header(name) => match single(headers, name.as_str())? {
            Some(value) if !value.is_empty() => Ok(Tenant::of(value)),
            _ => Err(Reason::NoIdentity { header: name.as_str().into() }),
        },
    }
}

/// A header that says who asks must not say it twice: readers differ on which of the two counts.
fn single<'headers>(headers: &'headers HeaderMap, name: &str) -> Result<Option<&'headers [u8]>, Reason> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Reason::BadRequest("the header that says who asks stands there twice"));
    }
    Ok(first.map(|value| value.as_bytes()))
}

/// The key itself, so that a client that writes `bearer` small is the same tenant.
fn bearer(authorization: &[u8]) -> &[u8] {
    match authorization.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii(),
        _ => authorization,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn one_key_is_one_tenant_however_it_is_sent() {
        let of = |pairs: &[_]| tenant(&TenantsFrom::Bearer, &headers(pairs)).unwrap();
        let key = of(&[("authorization", "Bearer sk-1")]);
        assert_eq!(key, of(&[("authorization", "bearer  sk-1 ")]));
        assert_eq!(key, of(&[("x-api-key", "sk-1")]));
        assert_ne!(key, of(&[("authorization", "Bearer sk-2")]));
        assert_eq!(of(&[]), Tenant::anonymous());
    }

    #[test]
    fn a_header_that_names_the_tenant_must_be_there_once() {
        let from = TenantsFrom::Header("x-tenant".parse().unwrap());
        assert!(tenant(&from, &headers(&[("x-tenant", "a")])).is_ok());
        assert!(matches!(tenant(&from, &headers(&[])), Err(Reason::NoIdentity { .. })));
        assert!(matches!(tenant(&from, &headers(&[("x-tenant", "")])), Err(Reason::NoIdentity { .. })));
        let twice = headers(&[("x-tenant", "a"), ("x-tenant", "b")]);
        assert!(matches!(tenant(&from, &twice), Err(Reason::BadRequest(_))));
    }
}
