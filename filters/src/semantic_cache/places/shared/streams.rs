//! Hints in streams of Redis or Valkey: one per scope, and one log of news for all.
//!
//! A scope's answers and its stream lie in one slot of a cluster, the log and its state in another. The state numbers
//! the news, so that a gap shows, and names a generation, so that a server that has forgotten shows, too.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use redis::{FromRedisValue, Value};

use super::{Away, Item, News, Position, SharedIndex, Start};
use crate::semantic_cache::entry::{Hint, Id, Scope, now, wire};
use crate::semantic_cache::places::rules::{Purge, Rule, hex};
use crate::store::{Call, Script, Store};

macro_rules! of_the_log {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("state.lua"), "\n", include_str!($file))))
    };
}

static BEGIN: LazyLock<Script> = of_the_log!("begin.lua");
static NEWS: LazyLock<Script> = of_the_log!("news.lua");
static TELL: LazyLock<Script> = of_the_log!("tell.lua");
static PURGE: LazyLock<Script> = of_the_log!("purge.lua");
static RESTORE: LazyLock<Script> = of_the_log!("restore.lua");
static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("publish.lua")));
static WITHDRAW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("withdraw.lua")));
static SCOPE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scope.lua")));

/// News, or hints of a scope, that are read at a time: few enough that nobody else waits long for their turn.
const PAGE: usize = 500;
/// Rules that are restored at a time.
const RULES: usize = 500;

pub struct Streams {
    store: Arc<Store>,
    /// The state and the log.
    keys: [String; 2],
    max_hints: usize,
}

impl Streams {
    /// Keeps about `max_hints` of each scope.
    pub fn new(store: Arc<Store>, max_hints: usize) -> Self {
        let prefix = store.prefix();
        let keys = [format!("{prefix}:cache:{{log}}:state"), format!("{prefix}:cache:{{log}}")];
        Streams { store, keys, max_hints }
    }

    fn call(&self, script: &'static Script, era: u64) -> Call {
        let mut call = script.call(self.keys.iter().map(String::as_str));
        call.arg(format!("{}-{}", self.store.sidecar(), now())).arg(era);
        call
    }

    async fn ask<T: FromRedisValue>(&self, call: Call) -> Result<T, Away> {
        let value = self.store.call_patiently(call).await.map_err(|_| Away)?;
        redis::from_redis_value(value).map_err(|error| {
            tracing::warn!(%error, "Redis answered in another form than the one that was meant");
            Away
        })
    }

    /// The stream of a scope; its answers lie beside it.
    fn stream(&self, scope: &Scope) -> String {
        format!("{}:cache:{{{}}}:hints", self.store.prefix(), hex(&scope.0))
    }

    async fn tell(&self, kind: &str, news: &[u8]) -> Result<(), Away> {
        let mut call = self.call(&TELL, 0);
        call.arg(self.store.sidecar()).arg(kind).arg(news);
        self.ask::<()>(call).await
    }
}

/// Where an answer lies.
pub(super) fn answer(store: &Store, scope: &Scope, id: &Id) -> String {
    format!("{}:cache:{{{}}}:e:{}", store.prefix(), hex(&scope.0), hex(&id.0))
}

#[async_trait]
impl SharedIndex for Streams {
    async fn begin(&self, era: u64) -> Result<Start, Away> {
        let (generation, born, number, rules): (String, u64, u64, Vec<String>) =
            self.ask(self.call(&BEGIN, era)).await?;
        let rules = rules.as_chunks::<3>().0.iter();
        Ok(Start {
            position: Position { generation, number },
            born,
            rules: rules.filter_map(|[what, era, until]| rule(era, until, what)).collect(),
        })
    }

    async fn news(&self, position: &Position, era: u64) -> Result<News, Away> {
        let mut call = self.call(&NEWS, era);
        call.arg(&position.generation).arg(position.number).arg(PAGE);
        let Some((number, items)): Option<(u64, Vec<Value>)> = self.ask(call).await? else { return Ok(News::Lost) };
        let mut news = Vec::new();
        for [sender, kind, item] in items.as_chunks::<3>().0 {
            let (Value::BulkString(sender), Value::BulkString(kind), Value::BulkString(item)) = (sender, kind, item)
            else {
                continue;
            };
            if sender != self.store.sidecar().as_bytes() {
                news.extend(read(kind, item));
            }
        }
        let more = items.len() >= 3 * PAGE;
        Ok(News::Items { items: news, position: Position { generation: position.generation.clone(), number }, more })
    }

    async fn scope(&self, scope: &Scope) -> Result<Vec<Hint>, Away> {
        let (stream, mut hints, mut after) = (self.stream(scope), Vec::<Hint>::new(), String::new());
        loop {
            let mut call = SCOPE.call([stream.as_str()]);
            call.arg(&after).arg(PAGE);
            let (last, items): (String, Vec<Value>) = self.ask(call).await?;
            let date = now();
            for [kind, item] in items.as_chunks::<2>().0 {
                let (Value::BulkString(kind), Value::BulkString(item)) = (kind, item) else { continue };
                match (kind.as_slice(), wire::decode_hint(item)) {
                    (b"h", Ok(hint)) if hint.scope == *scope && hint.until > date => hints.push(hint),
                    (b"g", _) => hints.retain(|hint| hint.id.0 != item.as_slice()),
                    _ => {}
                }
            }
            if items.len() < 2 * PAGE {
                return Ok(hints);
            }
            after = last;
        }
    }

    async fn publish(&self, hint: &Hint) -> Result<(), Away> {
        let bytes = wire::encode_hint(hint).ok_or(Away)?;
        let mut call = PUBLISH.call([self.stream(&hint.scope).as_str()]);
        call.arg(self.max_hints).arg(hint.until.saturating_sub(now()).max(1)).arg("h").arg(&bytes);
        self.ask::<()>(call).await?;
        self.tell("h", &bytes).await
    }

    async fn withdraw(&self, scope: &Scope, id: &Id) -> Result<(), Away> {
        let keys = [answer(&self.store, scope, id), self.stream(scope)];
        let mut call = WITHDRAW.call(keys.iter().map(String::as_str));
        call.arg(&id.0);
        self.ask::<()>(call).await?;
        self.tell("g", &[scope.0, id.0].concat()).await
    }

    async fn purge(&self, rule: &Rule) -> Result<Rule, Away> {
        let mut call = self.call(&PURGE, rule.era);
        call.arg(self.store.sidecar()).arg(rule.what.name()).arg(rule.until);
        let era = self.ask::<u64>(call).await?;
        Ok(Rule { era, ..rule.clone() })
    }

    async fn restore(&self, rules: &[Rule]) -> Result<(), Away> {
        for rules in rules.chunks(RULES) {
            let latest = rules.iter().map(|rule| rule.era).max().unwrap_or(0);
            let mut call = self.call(&RESTORE, latest);
            call.arg(self.store.sidecar());
            for rule in rules {
                call.arg(rule.what.name()).arg(rule.era).arg(rule.until);
            }
            self.ask::<()>(call).await?;
        }
        Ok(())
    }
}

fn rule(era: &str, until: &str, what: &str) -> Option<Rule> {
    Some(Rule { what: Purge::named(what)?, era: era.parse().ok()?, until: until.parse().ok()? })
}

/// One piece of news. What can't be read is of a newer version, which tells its own.
fn read(kind: &[u8], item: &[u8]) -> Option<Item> {
    match kind {
        b"h" => wire::decode_hint(item).ok().map(Item::Hint),
        b"g" => {
            let (scope, id) = item.split_first_chunk::<32>()?;
            Some(Item::Gone(Scope(*scope), Id(id.try_into().ok()?)))
        }
        b"r" => {
            let mut words = std::str::from_utf8(item).ok()?.splitn(3, ' ');
            rule(words.next()?, words.next()?, words.next()?).map(Item::Rule)
        }
        _ => None,
    }
}
