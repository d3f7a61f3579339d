//! One request, read whole and parsed once, with its tenant and its key.

mod sending;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twox_hash::XxHash3_128;

use crate::Reason;
use crate::canonical::{self, Question};
pub use sending::Sending;

/// The generation endpoints: what goes through the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Route {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    /// Anthropic's Messages; its errors have Anthropic's shape.
    Messages,
}

impl Route {
    pub const ALL: [Route; 5] =
        [Route::ChatCompletions, Route::Completions, Route::Embeddings, Route::Responses, Route::Messages];

    pub const fn path(self) -> &'static str {
        match self {
            Route::ChatCompletions => "/v1/chat/completions",
            Route::Completions => "/v1/completions",
            Route::Embeddings => "/v1/embeddings",
            Route::Responses => "/v1/responses",
            Route::Messages => "/v1/messages",
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry GenAI conventions.
    pub const fn operation(self) -> &'static str {
        match self {
            Route::ChatCompletions | Route::Responses | Route::Messages => "chat",
            Route::Completions => "text_completion",
            Route::Embeddings => "embeddings",
        }
    }

    /// `gen_ai.provider.name`: whose API shape the route speaks.
    pub const fn provider(self) -> &'static str {
        match self {
            Route::Messages => "anthropic",
            _ => "openai",
        }
    }

    /// Whether answers may be drawn at random at all.
    const fn samples(self) -> bool {
        !matches!(self, Route::Embeddings)
    }
}

/// Who asks: a digest, never the credential itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tenant([u8; 32]);

impl Tenant {
    /// The tenant of everybody who shows no credential, or of all when there is but one.
    pub fn anonymous() -> Self {
        Tenant([0; 32])
    }

    /// The tenant behind a credential or a header's value.
    pub fn of(identity: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("outrigger 2026-11-21 tenant");
        hasher.update(identity);
        Tenant(*hasher.finalize().as_bytes())
    }

    pub fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    /// The tenant with this digest, in 64 hex digits.
    pub fn with_digest(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let digits = hex.as_bytes().as_chunks::<2>();
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.0) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Tenant(digest))
    }

    /// Its digest in 64 hex digits: what settings call a tenant by.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

/// Eight hex digits: enough to tell tenants apart in a log, too few to find a credential by.
impl std::fmt::Display for Tenant {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tenant({self})")
    }
}

/// 256 bits over everything that decides the answer: tenant, route, target, headers and body. Nobody
/// can make two questions that have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key(..)")
    }
}

/// A fast hash over the same: questions with different prints are different. Those with equal prints
/// are to be compared by their [`Key`], which costs several times as much and which most need never have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(u128);

/// A print is as good as random already.
impl std::hash::Hash for Print {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 as u64);
    }
}

/// Whether the client lets its request join an equal one in flight (`x-outrigger-dedup: off`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    #[default]
    Allowed,
    Refused,
}

#[derive(Debug)]
pub struct Ask {
    pub route: Route,
    pub tenant: Tenant,
    /// Path and query, as the backend will get them.
    pub target: String,
    /// The headers that the backend will get, from an allow-list: the first asker's, if many share.
    pub headers: HeaderMap,
    /// The bytes as they came; the backend gets these and no others, but for the wish to be told a stream's usage.
    pub body: Bytes,
    /// What the rooms need to know of the body.
    pub question: Question,
    pub sharing: Sharing,
    /// Headers that tell senders apart and that the backend need not see.
    pub marks: HeaderMap,
    /// What the client says of kept answers, and the backend need not see.
    steering: HeaderMap,
    pub print: Print,
    key: OnceLock<Key>,
}

/// Headers that name one request or its sender's software and never decide the answer.
const NOT_IN_THE_KEY: [&str; 6] =
    ["x-request-id", "traceparent", "tracestate", "user-agent", "idempotency-key", "accept"];

impl Ask {
    pub fn read(
        route: Route,
        tenant: Tenant,
        target: String,
        headers: HeaderMap,
        body: Bytes,
        sharing: Sharing,
    ) -> Result<Ask, Reason> {
        let (question, form) = canonical::read(&body)?;
        let mut bytes = circumstances(route, &tenant, &target, &headers);
        bytes.extend_from_slice(form.bytes());
        let print = Print(XxHash3_128::oneshot_with_seed(*SEED, &bytes));
        let (marks, steering, key) = (HeaderMap::new(), HeaderMap::new(), OnceLock::new());
        Ok(Ask { route, tenant, target, headers, body, question, sharing, marks, steering, print, key })
    }

    /// Who steers otherwise asks another question: a fresh answer is not to be had on a flight for any.
    pub fn steer(&mut self, steering: HeaderMap) {
        if steering.is_empty() {
            return;
        }
        let mut bytes = self.print.0.to_le_bytes().to_vec();
        fields(steering.iter(), &mut bytes);
        self.print = Print(XxHash3_128::oneshot_with_seed(*SEED, &bytes));
        self.steering = steering;
        self.key = OnceLock::new();
    }

    /// The same question to another model: its name is another, and no other byte.
    pub fn for_model(&self, name: &str) -> Option<Ask> {
        #[derive(Deserialize)]
        struct Named<'body> {
            #[serde(borrow)]
            model: &'body RawValue,
        }
        let named: Named<'_> = serde_json::from_slice(&self.body).ok()?;
        let (old, new) = (named.model.get(), serde_json::to_vec(name).ok()?);
        let start = (old.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize)?;
        let body = [self.body.get(..start)?, &new, self.body.get(start + old.len()..)?].concat();
        let mut question = Question { model: Some(name.into()), ..self.question.clone() };
        // What stands behind the name has moved.
        let moved = |at: usize| if at > start { at - old.len() + new.len() } else { at };
        question.stream_options = question.stream_options.map(|place| moved(place.start)..moved(place.end));
        Some(Ask {
            route: self.route,
            tenant: self.tenant,
            target: self.target.clone(),
            headers: self.headers.clone(),
            body: body.into(),
            question,
            sharing: self.sharing,
            marks: self.marks.clone(),
            steering: self.steering.clone(),
            print: self.print,
            key: OnceLock::new(),
        })
    }

    pub fn steering(&self) -> &HeaderMap {
        &self.steering
    }

    pub fn key(&self) -> &Key {
        self.key.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.circumstances());
            hasher.update(&canonical::digest(&self.body));
            if !self.steering.is_empty() {
                let mut steering = Vec::new();
                fields(self.steering.iter(), &mut steering);
                hasher.update(&steering);
            }
            Key(*hasher.finalize().as_bytes())
        })
    }

    /// All that decides the answer beside the body: the first of it is the tenant.
    pub fn circumstances(&self) -> Vec<u8> {
        circumstances(self.route, &self.tenant, &self.target, &self.headers)
    }

    /// Whether the answer may differ from one draw to the next: neither greedy nor seeded.
    ///
    /// OpenAI's default temperature is 1, so a request that names none is sampled too.
    pub fn is_sampled(&self) -> bool {
        self.route.samples() && self.question.temperature != Some(0.0) && !self.question.seeded
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Another in each process, so that nobody can prepare questions with equal prints.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

/// All that decides the answer beside the body, each part behind its length.
fn circumstances(route: Route, tenant: &Tenant, target: &str, headers: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&tenant.0);
    part(route.path().as_bytes(), &mut out);
    part(target.as_bytes(), &mut out);
    fields(headers.iter().filter(|(name, _)| !NOT_IN_THE_KEY.contains(&name.as_str())), &mut out);
    out
}

/// Headers in the order of their names and values, each behind its length.
fn fields<'h>(headers: impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)>, out: &mut Vec<u8>) {
    let mut named: Vec<_> = headers.collect();
    named.sort_by(|left, right| left.0.as_str().cmp(right.0.as_str()).then(left.1.as_bytes().cmp(right.1.as_bytes())));
    part(&(named.len() as u64).to_le_bytes(), out);
    for (name, value) in named {
        part(name.as_str().as_bytes(), out);
        part(value.as_bytes(), out);
    }
}

fn part(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(tenant: &str, headers: &[(&'static str, &str)], body: &str) -> Ask {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let route = Route::ChatCompletions;
        let body = Bytes::copy_from_slice(body.as_bytes());
        Ask::read(route, Tenant::of(tenant.as_bytes()), route.path().into(), headers, body, Sharing::Allowed).unwrap()
    }

    #[test]
    fn equal_questions_of_one_tenant_have_one_key_and_nobody_elses() {
        let body = r#"{"model":"m","messages":[]}"#;
        let same = |left: &Ask, right: &Ask| {
            assert_eq!(left.key() == right.key(), left.print == right.print, "key and print agree");
            left.key() == right.key()
        };
        let asked = ask("a", &[("x-request-id", "1")], body);
        assert!(same(&asked, &ask("a", &[("x-request-id", "2")], body)), "a request id does not change the answer");
        assert!(!same(&asked, &ask("b", &[], body)), "another tenant must never share");
        assert!(!same(&asked, &ask("a", &[("openai-project", "p")], body)), "the backend sees this header");
        assert!(
            same(
                &ask("a", &[("authorization", "k"), ("openai-project", "p")], body),
                &ask("a", &[("openai-project", "p"), ("authorization", "k")], body)
            ),
            "the order of headers says nothing"
        );
    }

    #[test]
    fn another_models_name_changes_no_other_byte() {
        let body = r#"{ "messages":[{"model":"m"}], "mod\u0065l" : "m\u00e9" ,"n":1.0}"#;
        let other = ask("a", &[], body).for_model("new \"one\"").unwrap();
        assert_eq!(other.body, r#"{ "messages":[{"model":"m"}], "mod\u0065l" : "new \"one\"" ,"n":1.0}"#);
        assert_eq!(other.question.model.as_deref(), Some("new \"one\""));
        assert!(ask("a", &[], r#"{"n":1}"#).for_model("m").is_none(), "there is no name to change");
    }

    #[test]
    fn only_greedy_or_seeded_requests_are_not_sampled() {
        assert!(ask("a", &[], r#"{"model":"m"}"#).is_sampled(), "the default temperature is 1");
        assert!(ask("a", &[], r#"{"temperature":0.7}"#).is_sampled());
        assert!(!ask("a", &[], r#"{"temperature":0}"#).is_sampled());
        assert!(!ask("a", &[], r#"{"temperature":1,"seed":7}"#).is_sampled());
        assert!(ask("a", &[], r#"{"seed":null}"#).is_sampled(), "a null seed is no seed");
    }

    #[test]
    fn a_tenant_is_found_by_its_digest() {
        let tenant = Tenant::of(b"sk-secret");
        assert_eq!(Tenant::with_digest(&tenant.hex()), Some(tenant));
        assert_eq!(Tenant::with_digest("abcd"), None);
        assert_eq!(Tenant::with_digest(&"é".repeat(32)), None);
    }

    #[test]
    fn a_tenant_never_shows_more_than_eight_digits_of_its_digest() {
        assert_eq!(Tenant::of(b"sk-secret").to_string().len(), 8);
        assert!(!format!("{:?}", Tenant::of(b"sk-secret")).contains("secret"));
    }
}
