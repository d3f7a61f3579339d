//! A kept answer as bytes, for disk and Redis. What comes back is the entry as it went in, or nothing.
//!
//! Version (1 byte), length of the whole (4), length of the metadata (4), checksum of all other bytes (16), the
//! metadata as postcard, the body. Numbers are little-endian. The body and the headers' values are slices of what was
//! read: nothing is copied.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::{Date, Entry, Form, Hint, Id, Made, Scope};
use crate::Route;
use crate::ask::Tenant;

const VERSION: u8 = 1;
const CHECKSUM: std::ops::Range<usize> = 9..25;
/// What stands before the metadata.
pub const HEAD: usize = CHECKSUM.end;

const HINT_HEAD: usize = 17;

/// What makes bytes no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    #[error("of a version that this one does not read")]
    Version,
    #[error("of another length than it says")]
    Length,
    #[error("its checksum is another")]
    Checksum,
    #[error("its metadata can't be read")]
    Metadata,
    #[error("another entry than the one asked for")]
    Other,
}

#[derive(Serialize, Deserialize)]
struct Metadata<'a> {
    id: Id,
    scope: Scope,
    tenant: [u8; 32],
    route: &'a str,
    model: &'a str,
    tags: Vec<&'a str>,
    text: Option<&'a str>,
    era: u64,
    stored: Date,
    fresh: Duration,
    kept: Duration,
    made: Made,
    form: Form,
    status: u16,
    headers: Vec<(&'a str, &'a [u8])>,
}

/// Whole, or nothing where it is too long for its own format, which no entry within its cap is.
pub fn encode(entry: &Entry) -> Option<Vec<u8>> {
    let metadata = Metadata {
        id: entry.id,
        scope: entry.scope,
        tenant: *entry.tenant.digest(),
        route: entry.route.path(),
        model: &entry.model,
        tags: entry.tags.iter().map(AsRef::as_ref).collect(),
        text: entry.text.as_deref(),
        era: entry.era,
        stored: entry.stored,
        fresh: entry.fresh,
        kept: entry.kept,
        made: entry.made,
        form: entry.form.clone(),
        status: entry.status,
        headers: entry.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect(),
    };
    let mut bytes = Vec::with_capacity(HEAD + 512 + entry.body.len());
    bytes.resize(HEAD, 0);
    bytes = postcard::to_extend(&metadata, bytes).ok()?;
    let metadata = u32::try_from(bytes.len() - HEAD).ok()?;
    bytes.extend_from_slice(&entry.body);
    let length = u32::try_from(bytes.len()).ok()?;
    bytes[0] = VERSION;
    bytes[1..5].copy_from_slice(&length.to_le_bytes());
    bytes[5..9].copy_from_slice(&metadata.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[CHECKSUM].copy_from_slice(&checksum);
    Some(bytes)
}

/// How long the whole is, by its first [`HEAD`] bytes.
pub fn length(head: &[u8; HEAD]) -> Result<usize, Corrupt> {
    if head[0] != VERSION {
        return Err(Corrupt::Version);
    }
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length < HEAD { Err(Corrupt::Length) } else { Ok(length) }
}

/// The entry of this id, if these bytes are it and nothing else.
pub fn decode(bytes: &Bytes, id: &Id) -> Result<Entry, Corrupt> {
    let head = bytes.first_chunk::<HEAD>().ok_or(Corrupt::Length)?;
    if length(head)? != bytes.len() {
        return Err(Corrupt::Length);
    }
    if bytes[CHECKSUM] != checksum(bytes) {
        return Err(Corrupt::Checksum);
    }
    let metadata = u32::from_le_bytes([head[5], head[6], head[7], head[8]]) as usize;
    let end = HEAD.checked_add(metadata).filter(|end| *end <= bytes.len()).ok_or(Corrupt::Length)?;
    let (metadata, rest): (Metadata<'_>, _) =
        postcard::take_from_bytes(&bytes[HEAD..end]).map_err(|_| Corrupt::Metadata)?;
    if !rest.is_empty() {
        return Err(Corrupt::Metadata);
    }
    if metadata.id != *id {
        return Err(Corrupt::Other);
    }
    entry(metadata, bytes, bytes.slice(end..)).ok_or(Corrupt::Metadata)
}

fn entry(metadata: Metadata<'_>, bytes: &Bytes, body: Bytes) -> Option<Entry> {
    if let Form::Events { ends, .. } = &metadata.form
        && !(ends.is_sorted() && ends.last().is_none_or(|end| *end as usize <= body.len()))
    {
        return None;
    }
    let header = |(name, value): (&str, &[u8])| {
        // An empty slice may lie anywhere, also outside.
        let value = if value.is_empty() { Bytes::new() } else { bytes.slice_ref(value) };
        (name.into(), value)
    };
    Some(Entry {
        id: metadata.id,
        scope: metadata.scope,
        tenant: Tenant::with_digest(&blake3::Hash::from_bytes(metadata.tenant).to_hex())?,
        route: Route::ALL.into_iter().find(|route| route.path() == metadata.route)?,
        model: metadata.model.into(),
        tags: metadata.tags.into_iter().map(Into::into).collect(),
        text: metadata.text.map(Into::into),
        era: metadata.era,
        stored: metadata.stored,
        fresh: metadata.fresh,
        kept: metadata.kept,
        made: metadata.made,
        form: metadata.form,
        status: metadata.status,
        headers: metadata.headers.into_iter().map(header).collect(),
        body,
    })
}

/// A hint as bytes: version (1 byte), checksum of the rest (16), postcard.
pub fn encode_hint(hint: &Hint) -> Option<Vec<u8>> {
    let mut bytes = postcard::to_extend(hint, vec![0; HINT_HEAD]).ok()?;
    bytes[0] = VERSION;
    let checksum = XxHash3_128::oneshot(&bytes[HINT_HEAD..]).to_le_bytes();
    bytes[1..HINT_HEAD].copy_from_slice(&checksum);
    Some(bytes)
}

pub fn decode_hint(bytes: &[u8]) -> Result<Hint, Corrupt> {
    let (head, rest) = bytes.split_first_chunk::<HINT_HEAD>().ok_or(Corrupt::Length)?;
    if head[0] != VERSION {
        return Err(Corrupt::Version);
    }
    if head[1..] != XxHash3_128::oneshot(rest).to_le_bytes() {
        return Err(Corrupt::Checksum);
    }
    match postcard::take_from_bytes(rest) {
        Ok((hint, [])) => Ok(hint),
        _ => Err(Corrupt::Metadata),
    }
}

/// Over all bytes but its own.
fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut hasher = XxHash3_128::new();
    hasher.write(&bytes[..CHECKSUM.start]);
    hasher.write(&bytes[CHECKSUM.end..]);
    hasher.finish_128().to_le_bytes()
}

#[cfg(test)]
mod tests;
