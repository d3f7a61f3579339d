//! What a request says of kept answers: Cache-Control (RFC 9111, section 5.2.1, and RFC 5861), and its tags.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

/// The tags that an answer is kept under: it can be invalidated by each.
pub const TAGS: HeaderName = HeaderName::from_static("x-outrigger-cache-tags");

/// The headers that steer.
pub const HEADERS: [HeaderName; 2] = [header::CACHE_CONTROL, TAGS];

const MOST_TAGS: usize = 16;
const LONGEST_TAG: usize = 128;

/// A request's wishes. Directives that are not known, or whose number is none, count as absent, as the RFC says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// How stale an answer may be; the longest span where the directive has no number.
    pub max_stale: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub tags: Vec<Box<str>>,
}

impl Wishes {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Wishes::default();
        if headers.is_empty() {
            return wishes;
        }
        for value in headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()) {
            value.split(',').for_each(|directive| wishes.directive(directive.trim()));
        }
        let tags = headers.get_all(TAGS).iter().filter_map(|value| value.to_str().ok());
        let tags = tags.flat_map(|value| value.split(',')).map(str::trim);
        wishes.tags =
            tags.filter(|tag| (1..=LONGEST_TAG).contains(&tag.len())).take(MOST_TAGS).map(Into::into).collect();
        wishes.tags.sort_unstable();
        wishes.tags.dedup();
        wishes
    }

    fn directive(&mut self, directive: &str) {
        let (name, argument) = directive.split_once('=').map_or((directive, None), |(name, value)| (name, Some(value)));
        let span = || {
            let digits = argument?.trim().trim_matches('"');
            // A number too large to be read is a very long time (RFC 9111, section 1.2.2).
            let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX))))
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => self.max_age = span(),
            "min-fresh" => self.min_fresh = span(),
            "max-stale" => self.max_stale = Some(span().unwrap_or(Duration::MAX)),
            "stale-if-error" => self.stale_if_error = span(),
            "stale-while-revalidate" => self.stale_while_revalidate = span(),
            _ => {}
        }
    }

    /// Whether the client itself says that a kept answer will do.
    pub fn welcome_kept(&self) -> bool {
        self.only_if_cached || self.max_age.is_some_and(|age| age > Duration::ZERO) || self.max_stale.is_some()
    }
}

/// Whether an answer's own headers forbid to keep it.
pub fn forbids_keeping(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(control: &str, tags: &str) -> Wishes {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, control.parse().unwrap());
        headers.insert(TAGS, tags.parse().unwrap());
        Wishes::of(&headers)
    }

    #[test]
    fn directives_are_read_in_any_spelling_and_nonsense_is_none() {
        let read = wishes("No-Store, max-age=5 , max-stale, only-if-cached, foo=\"b\", stale-if-error=\"60\"", "");
        assert!(read.no_store && read.only_if_cached && !read.no_cache);
        assert_eq!((read.max_age, read.max_stale), (Some(Duration::from_secs(5)), Some(Duration::MAX)));
        assert_eq!(read.stale_if_error, Some(Duration::from_secs(60)));
        assert_eq!(wishes("max-age=-1, min-fresh=x", "").max_age, None);
        assert_eq!(wishes("max-age=99999999999999999999", "").max_age, Some(Duration::from_secs(u64::from(u32::MAX))));
    }

    #[test]
    fn tags_are_bounded_in_number_and_length() {
        assert_eq!(wishes("", "b, a,,a").tags, [Box::<str>::from("a"), "b".into()]);
        let many: Vec<_> = (0..100).map(|tag| format!("t{tag}")).chain(["x".repeat(200)]).collect();
        assert_eq!(wishes("", &many.join(",")).tags.len(), MOST_TAGS);
    }
}
