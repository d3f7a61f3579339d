//! What a purge is about.

use crate::ask::Tenant;
use crate::semantic_cache::entry::{Entry, Id};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purge {
    All,
    Tenant(Tenant),
    Model(Box<str>),
    /// What bears a tag, of one tenant or of all.
    Tag(Option<Tenant>, Box<str>),
    Id(Id),
}

impl Purge {
    /// All that an entry could be purged by.
    pub(super) fn all_of(entry: &Entry) -> impl Iterator<Item = Purge> {
        let tags = entry
            .tags
            .iter()
            .flat_map(|tag| [Purge::Tag(None, tag.clone()), Purge::Tag(Some(entry.tenant), tag.clone())]);
        [Purge::All, Purge::Tenant(entry.tenant), Purge::Model(entry.model.clone()), Purge::Id(entry.id)]
            .into_iter()
            .chain(tags)
    }

    /// As text, for disk and Redis.
    pub(in super::super) fn name(&self) -> String {
        match self {
            Purge::All => "all".to_owned(),
            Purge::Tenant(tenant) => format!("tenant {}", tenant.hex()),
            Purge::Model(model) => format!("model {model}"),
            Purge::Tag(None, tag) => format!("tag * {tag}"),
            Purge::Tag(Some(tenant), tag) => format!("tag {} {tag}", tenant.hex()),
            Purge::Id(id) => format!("id {}", hex(&id.0)),
        }
    }

    pub(in super::super) fn named(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once(' ').unwrap_or((name, ""));
        match kind {
            "all" => Some(Purge::All),
            "tenant" => Tenant::with_digest(rest).map(Purge::Tenant),
            "model" => Some(Purge::Model(rest.into())),
            "tag" => match rest.split_once(' ')? {
                ("*", tag) => Some(Purge::Tag(None, tag.into())),
                (tenant, tag) => Some(Purge::Tag(Some(Tenant::with_digest(tenant)?), tag.into())),
            },
            // A tenant's digest has the same form.
            "id" => Tenant::with_digest(rest).map(|digits| Purge::Id(Id(*digits.digest()))),
            _ => None,
        }
    }
}

/// 64 hex digits.
pub(in super::super) fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}
