//! The tenants that the operator has given names.

use std::collections::BTreeMap;

use crate::Tenant;

/// Names of tenants: for limits of their own, and to be asked for by.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, Tenant>);

impl Names {
    pub fn tenant(&self, name: &str) -> Option<Tenant> {
        self.0.get(name).copied()
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &Tenant)> {
        self.0.iter()
    }

    /// The tenant's name, or the beginning of its digest.
    pub fn of(&self, tenant: &Tenant) -> String {
        let named = self.0.iter().find(|(_, other)| *other == tenant);
        named.map_or_else(|| tenant.to_string(), |(name, _)| name.clone())
    }
}

impl FromIterator<(String, Tenant)> for Names {
    fn from_iter<I: IntoIterator<Item = (String, Tenant)>>(names: I) -> Self {
        Names(names.into_iter().collect())
    }
}
