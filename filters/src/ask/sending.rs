//! The body as a backend gets it: as it came, or with the wish to be told at a stream's end what it used.
//!
//! A prompt may be long, so nothing of it is copied: the wish stands in pieces between what came.

use std::ops::Range;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Ask, Route};

/// A body in pieces, to be written one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending(pub [Bytes; 3]);

impl Sending {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ask {
    /// Whether its answer will not say what it used unless that is asked for.
    pub fn hides_usage(&self) -> bool {
        let only_if_asked = matches!(self.route, Route::ChatCompletions | Route::Completions);
        only_if_asked && self.question.stream && !self.question.include_usage
    }

    pub fn as_it_came(&self) -> Sending {
        Sending([self.body.clone(), Bytes::new(), Bytes::new()])
    }

    /// The body with `stream_options.include_usage`. Where that cannot be put, it is as it came: the backend is the one to
    /// complain.
    pub fn asking_for_usage(&self) -> Sending {
        match &self.question.stream_options {
            Some(place) => self.with_options(place),
            None => self.with_member(),
        }
    }

    fn with_member(&self) -> Sending {
        let Some(end) = memchr::memrchr(b'}', &self.body) else { return self.as_it_came() };
        let before = self.body[..end].trim_ascii_end();
        let comma = if before.ends_with(b"{") { "" } else { "," };
        let wish = format!(r#"{comma}"stream_options":{{"include_usage":true}}"#);
        Sending([self.body.slice(..before.len()), wish.into(), self.body.slice(end..)])
    }

    fn with_options(&self, place: &Range<usize>) -> Sending {
        let mut options = match serde_json::from_slice(&self.body[place.clone()]) {
            Ok(Value::Object(options)) => options,
            Ok(Value::Null) => Map::new(),
            _ => return self.as_it_came(),
        };
        options.insert("include_usage".to_owned(), Value::Bool(true));
        let options = Value::Object(options).to_string();
        Sending([self.body.slice(..place.start), options.into(), self.body.slice(place.end..)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::ask;

    fn sent(body: &str) -> String {
        let parts = ask(body).asking_for_usage().0;
        String::from_utf8(parts.concat()).unwrap()
    }

    #[test]
    fn the_wish_is_put_in_and_no_other_byte_is_changed() {
        for (body, expected) in [
            (r#"{ "stream":true } "#, r#"{ "stream":true,"stream_options":{"include_usage":true}} "#),
            (r#"{}"#, r#"{"stream_options":{"include_usage":true}}"#),
            (r#"{"stream_options": null ,"n":1.0}"#, r#"{"stream_options":{"include_usage":true} ,"n":1.0}"#),
            (
                r#"{"a":1,"stream_options":{"include_usage":false,"x":[2]}}"#,
                r#"{"a":1,"stream_options":{"include_usage":true,"x":[2]}}"#,
            ),
            (r#"{"stream_options":"x"}"#, r#"{"stream_options":"x"}"#),
            (
                r#"{"a":{"stream_options":null}}"#,
                r#"{"a":{"stream_options":null},"stream_options":{"include_usage":true}}"#,
            ),
        ] {
            assert_eq!(sent(body), expected, "{body}");
        }
    }

    #[test]
    fn only_a_stream_that_would_not_say_its_usage_hides_it() {
        assert!(ask(r#"{"stream":true}"#).hides_usage());
        assert!(ask(r#"{"stream":true,"stream_options":{}}"#).hides_usage());
        assert!(!ask(r#"{"stream":false}"#).hides_usage());
        assert!(!ask(r#"{"stream":true,"stream_options":{"include_usage":true}}"#).hides_usage());
    }

    #[test]
    fn another_models_name_moves_the_place_of_the_wish() {
        for body in [
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream_options":{"include_usage":false},"model":"m","stream":true}"#,
        ] {
            let other = ask(body).for_model("a-much-longer-name").unwrap();
            let sent = String::from_utf8(other.asking_for_usage().0.concat()).unwrap();
            let expected = body.replace("false", "true").replace("\"m\"", "\"a-much-longer-name\"");
            assert_eq!(sent, expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_body_the_wish_is_heard(
            before in "[a-z]{0,9}", spaces in "[ \n\t]{0,5}", has_options in any::<bool>(),
        ) {
            let options = if has_options { r#""stream_options":{"x":{"y":[1]}},"# } else { "" };
            let body = format!(r#"{{{spaces}{options}"a":"{before}}}"{spaces}}}{spaces}"#);
            let ours = crate::testing::ask(&sent(&body));
            prop_assert!(ours.question.include_usage, "{}", sent(&body));
        }
    }
}
