//! In what manner a question was asked, as far as that decides whether a kept answer may do.

use http::header::CACHE_CONTROL;

use super::Cache;
use crate::{Ask, Route};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    NoStore,
    SeveralAnswers,
    NoCache,
    /// At this temperature, without a seed.
    Sampled(f64),
    Plain,
}

/// Why a kept answer was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    NoStore,
    SeveralAnswers,
    NoCache,
    Temperature,
    CacheIsOff,
    NotKept,
}

impl Manner {
    pub fn of(ask: &Ask) -> Self {
        let says = |word: &str| {
            let said = ask.steering().get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
            let mut directives = said.flat_map(|value| value.split(','));
            directives.any(|directive| directive.trim().eq_ignore_ascii_case(word))
        };
        let question = &ask.question;
        let temperature = question.temperature.filter(|_| !question.seeded && ask.route != Route::Embeddings);
        match temperature {
            _ if says("no-store") => Manner::NoStore,
            _ if question.choices.is_some_and(|choices| choices > 1) => Manner::SeveralAnswers,
            _ if says("no-cache") => Manner::NoCache,
            Some(temperature) if temperature > 0.0 => Manner::Sampled(temperature),
            _ => Manner::Plain,
        }
    }

    /// What the client said comes first: a cache that is turned on would not change that.
    pub fn why(self, cache: Cache) -> Why {
        match (self, cache) {
            (Manner::NoStore, _) => Why::NoStore,
            (Manner::SeveralAnswers, _) => Why::SeveralAnswers,
            (Manner::NoCache, _) => Why::NoCache,
            (_, Cache::Off) => Why::CacheIsOff,
            (Manner::Sampled(temperature), Cache::On { max_temperature }) if temperature > max_temperature => {
                Why::Temperature
            }
            (Manner::Sampled(_) | Manner::Plain, Cache::On { .. }) => Why::NotKept,
        }
    }
}

impl Why {
    pub const fn words(self) -> &'static str {
        match self {
            Why::NoStore => "the client said no-store",
            Why::SeveralAnswers => "several answers were asked for at once",
            Why::NoCache => "the client said no-cache",
            Why::Temperature => "the temperature is above the cache's max_temperature",
            Why::CacheIsOff => "the cache is off",
            Why::NotKept => "no kept answer was there any more, or not yet",
        }
    }

    pub const fn what_to_do(self) -> &'static str {
        match self {
            Why::NoStore => "Let the client send no-store only where an answer must not be kept.",
            Why::SeveralAnswers => "Ask for one answer at a time where one will do: only those are kept.",
            Why::NoCache => "Let the client send max-age in place of no-cache where an answer of some age will do.",
            Why::Temperature => {
                "Ask with temperature 0 or with a seed, or raise semantic_cache.max_temperature, where the same \
                 answer to the same question will do."
            }
            Why::CacheIsOff => "Turn the cache on: semantic_cache.mode = \"exact\" answers only equal questions.",
            Why::NotKept => {
                "Compare the mean gap with semantic_cache.ttl_secs, and the size of answers with max_entry_bytes."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::testing::ask;

    fn manner(body: &str, control: Option<&str>) -> Manner {
        let mut asked = ask(body);
        asked.steer(control.map(|value| (CACHE_CONTROL, value.parse().unwrap())).into_iter().collect::<HeaderMap>());
        Manner::of(&asked)
    }

    #[test]
    fn the_reason_is_the_one_that_the_cache_would_give() {
        let on = Cache::On { max_temperature: 0.3 };
        for (body, control, cache, why) in [
            ("{}", None, Cache::Off, Why::CacheIsOff),
            ("{}", None, on, Why::NotKept),
            ("{}", Some("max-age=5, No-Store"), Cache::Off, Why::NoStore),
            (r#"{"temperature":1}"#, Some("no-cache"), on, Why::NoCache),
            (r#"{"temperature":1}"#, None, on, Why::Temperature),
            (r#"{"temperature":1,"seed":3}"#, None, on, Why::NotKept),
            (r#"{"temperature":0.2}"#, None, on, Why::NotKept),
            (r#"{"temperature":1}"#, None, Cache::Off, Why::CacheIsOff),
            (r#"{"n":2}"#, None, on, Why::SeveralAnswers),
        ] {
            assert_eq!(manner(body, control).why(cache), why, "{body} {control:?} {cache:?}");
        }
    }
}
