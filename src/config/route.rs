//! Which requests are handed through: a method and a path pattern, matched whole.

use http::Method;
use serde::Deserialize;

/// `GET /v1/models/*`: a method or `*`, and a path whose `*` stands for one segment, at its end for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// As the settings write it.
    pub text: Box<str>,
    method: Option<Method>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Exactly(String),
    Any,
}

impl Passed {
    pub fn defaults() -> Vec<Passed> {
        ["GET /v1/models", "GET /v1/models/*"].into_iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub fn matches(&self, method: &Method, path: &str) -> bool {
        if self.method.as_ref().is_some_and(|allowed| allowed != method) {
            return false;
        }
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut rest = path.split('/');
        for (index, segment) in self.segments.iter().enumerate() {
            let last = index + 1 == self.segments.len();
            match (segment, rest.next()) {
                (Segment::Any, Some(_)) if last => return true,
                (Segment::Any, Some(part)) if !part.is_empty() => {}
                (Segment::Exactly(text), Some(part)) if text == part => {}
                _ => return false,
            }
        }
        rest.next().is_none()
    }
}

impl std::str::FromStr for Passed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (method, path) = text.split_once(' ').ok_or("expected `METHOD /path`, as in `GET /v1/models`")?;
        let method = match method {
            "*" => None,
            name if name.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                Some(Method::from_bytes(name.as_bytes()).map_err(|_| "not an HTTP method")?)
            }
            _ => return Err("the method is written in capitals, or `*` for any"),
        };
        let path = path.trim().strip_prefix('/').ok_or("the path must begin with `/`")?;
        let segments = path
            .split('/')
            .map(|part| match part {
                "*" => Ok(Segment::Any),
                part if part.contains('*') => Err("`*` stands for a whole segment"),
                part => Ok(Segment::Exactly(part.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Passed { text: text.into(), method, segments })
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("`{text}`: {error}")))
    }
}
