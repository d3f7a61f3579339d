//! The texts of a body that the model reads, in the order in which an engine puts them into its template: the
//! system's first, then the messages with their roles.
//!
//! - What is not text of theirs is left out, for it changes from turn to turn: the marks of `cache_control`, for one,
//!   stand always in the newest message.
//! - Tools are left out too. Nearly all clients write them behind the messages, so that finding them would cost a walk
//!   over the whole body, and they are the application's, as its system prompt is.
//! - Most clients of the Messages and the Responses API write the system prompt behind the messages. There the
//!   messages are stepped over first: without the system prompt in front, each conversation of an application would
//!   be a stranger to the others, and every backend would have to keep every application's system prompt.

use std::borrow::Cow;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::blocks::Cut;
use crate::Route;

/// The members of the body's outermost object.
pub(super) struct Root<'cut> {
    pub(super) route: Route,
    pub(super) cut: &'cut mut Cut,
}

impl Root<'_> {
    /// The key of what comes first in the template, and the key of the rest.
    fn keys(&self) -> (Option<&'static str>, &'static str, Place) {
        match self.route {
            Route::ChatCompletions => (None, "messages", Place::Messages),
            Route::Messages => (Some("system"), "messages", Place::Messages),
            Route::Responses => (Some("instructions"), "input", Place::Messages),
            Route::Completions => (None, "prompt", Place::Content),
            Route::Embeddings => (None, "input", Place::Content),
        }
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (first, rest, place) = self.keys();
        let (mut first_is_due, mut put_off) = (first.is_some(), None);
        while let Some(Key(key)) = members.next_key()? {
            if first == Some(&*key) {
                members.next_value_seed(Walk { place: Place::Content, cut: self.cut })?;
                first_is_due = false;
            } else if key != rest {
                members.next_value::<IgnoredAny>()?;
            } else if first_is_due {
                put_off = Some(members.next_value::<&RawValue>()?);
            } else {
                members.next_value_seed(Walk { place, cut: self.cut })?;
            }
        }
        if let Some(put_off) = put_off {
            let mut rest = serde_json::Deserializer::from_str(put_off.get());
            Walk { place, cut: self.cut }.deserialize(&mut rest).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Where in the body a value stands, which says whether the model reads it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// A message or a list of them.
    Messages,
    Role,
    /// Texts, their parts, and tokens as numbers.
    Content,
    /// Read as it is written.
    Json,
    Nothing,
}

impl Place {
    fn under(self, key: &str) -> Place {
        match (self, key) {
            (Place::Messages, "role") => Place::Role,
            (Place::Messages | Place::Content, "content" | "text" | "name" | "refusal" | "summary") => Place::Content,
            (Place::Messages | Place::Content, "tool_calls" | "function_call" | "function") => Place::Content,
            (Place::Messages | Place::Content, "arguments" | "output") => Place::Content,
            (Place::Messages | Place::Content, "input" | "image_url" | "source" | "input_audio") => Place::Json,
            (Place::Messages | Place::Content, "audio_url" | "video_url" | "file" | "file_id") => Place::Json,
            (Place::Messages | Place::Content, "file_data" | "file_url") => Place::Json,
            _ => Place::Nothing,
        }
    }
}

/// Reads a value, and says whether it is the role of the user.
struct Walk<'cut> {
    place: Place,
    cut: &'cut mut Cut,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        match self.place {
            Place::Nothing => IgnoredAny::deserialize(deserializer).map(|_| false),
            Place::Json => {
                self.cut.text(<&RawValue>::deserialize(deserializer)?.get().as_bytes());
                Ok(false)
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        self.cut.text(text.as_bytes());
        if self.place == Place::Messages {
            // A text in place of messages is one message of the user.
            self.cut.end_opening();
        }
        if self.cut.is_full() { Err(E::custom("enough")) } else { Ok(self.place == Place::Role && text == "user") }
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<bool, E> {
        // A token stands for about four bytes of text.
        self.cut.text(&(token as u32).to_le_bytes());
        if self.cut.is_full() { Err(E::custom("enough")) } else { Ok(false) }
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element_seed(Walk { place: self.place, cut: self.cut })?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let mut by_user = false;
        while let Some(Key(key)) = members.next_key()? {
            by_user |= members.next_value_seed(Walk { place: self.place.under(&key), cut: self.cut })?;
        }
        if by_user {
            self.cut.end_opening();
        }
        if self.cut.is_full() { Err(A::Error::custom("enough")) } else { Ok(false) }
    }
}

/// A key, copied only where it holds escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'body>(#[serde(borrow)] Cow<'body, str>);
