//! What an answer says of where it came from: Cache-Status (RFC 9211), Age, and the words that clients know.

use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cache::{Cache, Found, Question};
use super::counts::{Bypass, Tier, Words};
use super::entry::Id;
use crate::reply::kept;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SIMILARITY: HeaderName = HeaderName::from_static("x-cache-similarity");

pub fn kept(headers: &mut HeaderMap, cache: &Cache, question: &Question<'_>, found: &Found, stale: bool) {
    let word = match (stale, found.tier) {
        (true, _) => kept::STALE,
        (false, Tier::Semantic) => kept::SEMANTIC,
        (false, _) => kept::HIT,
    };
    headers.insert(kept::HEADER, HeaderValue::from_static(word));
    let age = found.entry.age(question.now).as_secs();
    headers.insert(AGE, HeaderValue::from(age));
    let fresh = cache.freshness(&found.entry, question.rule).as_secs();
    let ttl = i64::try_from(fresh).unwrap_or(i64::MAX).saturating_sub_unsigned(age);
    let (key, tier, place) = (key(&found.entry.id), found.tier.name(), found.place.name());
    status(headers, &format!("outrigger; hit; ttl={ttl}; key=\"{key}\"; detail=\"{tier} {place}\""));
    if let Some(similarity) = found.similarity.filter(|_| cache.similarity_header)
        && let Ok(value) = HeaderValue::try_from(format!("{similarity:.4}"))
    {
        headers.insert(SIMILARITY, value);
    }
}

pub fn missed(headers: &mut HeaderMap, question: &Question<'_>, stale: bool) {
    headers.insert(kept::HEADER, HeaderValue::from_static(kept::MISS));
    let why = match (question.wishes.no_cache, stale) {
        (true, _) => "request",
        (false, true) => "stale",
        (false, false) => "uri-miss",
    };
    status(headers, &format!("outrigger; fwd={why}; key=\"{}\"", key(&question.id)));
}

pub fn bypassed(headers: &mut HeaderMap, why: Bypass) {
    headers.insert(kept::HEADER, HeaderValue::from_static(kept::BYPASS));
    status(headers, &format!("outrigger; fwd=bypass; detail={}", why.name()));
}

/// A cache nearer to the client comes behind those further away: the backend's own word stays.
fn status(headers: &mut HeaderMap, words: &str) {
    if let Ok(value) = HeaderValue::try_from(words) {
        headers.append(CACHE_STATUS, value);
    }
}

/// An answer's name: what it can be looked at and invalidated by.
pub fn key(id: &Id) -> String {
    blake3::Hash::from_bytes(id.0).to_hex().to_string()
}

/// The answer of this name.
pub fn id(key: &str) -> Option<Id> {
    blake3::Hash::from_hex(key.trim()).ok().map(|hash| Id(*hash.as_bytes()))
}
