//! What the admin port shows of kept answers, and does to them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cache::Cache;
use super::entry::{self, Entry, Form};
use super::headers;
use super::places::{Place, Purge};
use super::shadow;
use crate::Tenant;

/// What is to be invalidated: one of these, or everything. A tag may be that of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    pub all: bool,
    pub tenant: Option<String>,
    pub model: Option<String>,
    pub tag: Option<String>,
    pub key: Option<String>,
}

/// Why nothing was invalidated.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    #[error("Say what is to go: one of `key`, `tag`, `model`, `tenant`, or `\"all\": true`.")]
    Nothing,
    #[error("Say one of `key`, `tag`, `model`, `tenant` and `all`; only a `tag` may be with a `tenant`.")]
    TooMuch,
    #[error("`tenant` is neither a name in [tenants.names] nor a digest, as `outrigger tenant` prints it.")]
    NoSuchTenant,
    #[error("A `key` is 64 hex digits, as `Cache-Status` gives it.")]
    NoKey,
}

impl Cache {
    pub fn stats(&self) -> Value {
        let mut stats = match self.counts.json() {
            Value::Object(stats) => stats,
            _ => Map::new(),
        };
        stats.insert("places".into(), serde_json::to_value(self.places.stats()).unwrap_or_default());
        stats.insert("semantic".into(), self.semantic());
        stats.into()
    }

    fn semantic(&self) -> Value {
        match (self.matching.meaning(), self.matching.without_meaning()) {
            (Some(meaning), _) => serde_json::to_value(meaning.stats()).unwrap_or_default(),
            (None, Some(why)) => json!({ "status": "off", "reason": why }),
            (None, None) => json!({ "status": "the model is being read" }),
        }
    }

    /// What is known of one answer; what it says only if that is allowed.
    pub async fn look(&self, key: &str) -> Option<Value> {
        let id = headers::id(key)?;
        let (entry, place) = match self.places.get(&id) {
            Some(entry) => (entry, Place::Memory),
            None => self.places.look(&id).await?,
        };
        Some(self.describe(&entry, place))
    }

    fn describe(&self, entry: &Entry, place: Place) -> Value {
        let now = entry::now();
        let seconds = |span: std::time::Duration| span.as_secs();
        let mut shown = json!({
            "key": headers::key(&entry.id),
            "place": place.name(),
            "tenant": self.names.of(&entry.tenant),
            "route": entry.route.path(),
            "model": entry.model,
            "tags": entry.tags,
            "age_secs": seconds(entry.age(now)),
            "fresh_secs": seconds(entry.fresh),
            "kept_secs": seconds(entry.kept),
            "is_fresh": entry.is_fresh(now),
            "form": match &entry.form { Form::Whole => "whole", Form::Events { .. } => "events" },
            "events": match &entry.form { Form::Whole => 0, Form::Events { ends, .. } => ends.len() },
            "body_bytes": entry.body.len(),
            "found_by_meaning": entry.text.is_some(),
            "input_tokens": entry.made.input_tokens,
            "output_tokens": entry.made.output_tokens,
            "made_in_ms": entry.made.millis,
        });
        if self.show_text {
            shown["question"] = entry.text.as_deref().into();
            shown["answer"] = shadow::kept_text(entry).into();
        }
        shown
    }

    /// Makes answers invisible, here and in every sidecar that shares the Redis.
    pub async fn purge(&self, request: &Request) -> Result<Value, Unclear> {
        let purged = self.places.purge(self.what(request)?).await;
        Ok(json!({ "purged_here": purged.here, "everywhere": purged.everywhere, "lasting": purged.lasting }))
    }

    fn what(&self, request: &Request) -> Result<Purge, Unclear> {
        let tenant =
            |name: &str| self.names.tenant(name).or_else(|| Tenant::with_digest(name)).ok_or(Unclear::NoSuchTenant);
        let Request { all, tenant: who, model, tag, key } = request;
        match (all, who.as_deref(), model.as_deref(), tag.as_deref(), key.as_deref()) {
            (true, None, None, None, None) => Ok(Purge::All),
            (false, Some(who), None, None, None) => Ok(Purge::Tenant(tenant(who)?)),
            (false, None, Some(model), None, None) => Ok(Purge::Model(model.into())),
            (false, who, None, Some(tag), None) => Ok(Purge::Tag(who.map(tenant).transpose()?, tag.into())),
            (false, None, None, None, Some(key)) => Ok(Purge::Id(headers::id(key).ok_or(Unclear::NoKey)?)),
            (false, None, None, None, None) => Err(Unclear::Nothing),
            _ => Err(Unclear::TooMuch),
        }
    }
}
