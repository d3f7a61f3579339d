//! What a client says of costs: what to book a request under, and whether a stream is to say what it cost.

use http::{HeaderMap, HeaderName};

use crate::Reason;

/// What the request is booked under: a team, a feature, a customer.
pub const TAG: HeaderName = HeaderName::from_static("x-outrigger-budget-tag");
/// `on`: a stream says at its end, in a comment, what it cost. Plain answers always say it, in a header.
pub const COST: HeaderName = HeaderName::from_static("x-outrigger-cost");

pub const HEADERS: [HeaderName; 2] = [TAG, COST];

const LONGEST_TAG: usize = 64;

/// # Errors
/// What is wrong with them.
pub fn check(headers: &HeaderMap) -> Result<(), Reason> {
    let mut tags = headers.get_all(TAG).iter();
    let plain =
        |tag: &[u8]| (1..=LONGEST_TAG).contains(&tag.len()) && tag.iter().all(|byte| (0x20..0x7f).contains(byte));
    if tags.next().is_some_and(|tag| !plain(tag.as_bytes())) || tags.next().is_some() {
        return Err(Reason::BadRequest(
            "the header `x-outrigger-budget-tag` is to be one tag of at most 64 plain characters",
        ));
    }
    match headers.get(COST).map(|value| value.as_bytes()) {
        None | Some(b"on" | b"off") => Ok(()),
        Some(_) => Err(Reason::BadRequest("the header `x-outrigger-cost` is neither `on` nor `off`")),
    }
}

pub fn tag(headers: &HeaderMap) -> Option<&str> {
    headers.get(TAG).and_then(|tag| tag.to_str().ok())
}

pub fn asks_cost(headers: &HeaderMap) -> bool {
    headers.get(COST).is_some_and(|value| value == "on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_tag_is_one_and_short_and_plain() {
        for good in ["team-a", "a b", &"x".repeat(64)] {
            let headers = headers(&[(TAG, good)]);
            assert_eq!((check(&headers), tag(&headers)), (Ok(()), Some(good)));
        }
        for bad in ["", "é", &"x".repeat(65)] {
            assert!(check(&headers(&[(TAG, bad)])).is_err(), "{bad:?}");
        }
        let mut two = headers(&[(TAG, "a")]);
        two.append(TAG, "b".parse().unwrap());
        assert!(check(&two).is_err(), "two tags");
        assert_eq!((check(&HeaderMap::new()), tag(&HeaderMap::new())), (Ok(()), None));
    }

    #[test]
    fn the_cost_is_asked_for_by_on() {
        assert!(asks_cost(&headers(&[(COST, "on")])));
        assert!(!asks_cost(&headers(&[(COST, "off")])));
        assert!(check(&headers(&[(COST, "yes")])).is_err());
    }
}
