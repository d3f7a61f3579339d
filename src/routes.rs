//! What becomes of a request by its method and path: held, passed on, or refused. Deny by default.

use std::borrow::Cow;

use http::Method;
use outrigger_filters::{Reason, Route};
use percent_encoding::percent_decode_str;

use crate::config::Passed;

#[derive(Debug, PartialEq, Eq)]
pub enum Fate<'settings> {
    /// Goes through the chain.
    Held(Route),
    /// Goes through without the chain, as this says.
    Passed(&'settings Passed),
}

pub fn fate<'settings>(method: &Method, path: &str, passed: &'settings [Passed]) -> Result<Fate<'settings>, Reason> {
    let held = Route::ALL.into_iter().find(|route| route.path() == path);
    if let Some(route) = held
        && method == Method::POST
    {
        return Ok(Fate::Held(route));
    }
    if is_devious(path) {
        return Err(Reason::NoSuchRoute);
    }
    if let Some(pattern) = passed.iter().find(|pattern| pattern.matches(method, path)) {
        return Ok(Fate::Passed(pattern));
    }
    match held {
        Some(_) => Err(Reason::MethodNotAllowed { method: name(method), allow: "POST" }),
        None => Err(Reason::NoSuchRoute),
    }
}

/// Whether a backend might take this path for another than we do: dot segments, or a held route in
/// other words (`//`, `%63hat`, a slash at its end), by which the chain could be walked around.
fn is_devious(path: &str) -> bool {
    let decoded: Cow<'_, str> = percent_decode_str(path).decode_utf8_lossy();
    if decoded.contains('\\') || decoded.split('/').any(|segment| matches!(segment, "." | "..")) {
        return true;
    }
    let plain = || decoded.split('/').filter(|segment| !segment.is_empty());
    Route::ALL.into_iter().any(|route| {
        route.path() != path
            && plain().map(str::to_ascii_lowercase).eq(route.path().split('/').skip(1).map(str::to_owned))
    })
}

fn name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "use that method",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The route of what is held, nothing for what passes.
    fn of(method: &str, path: &str, passed: &[&str]) -> Result<Option<Route>, Reason> {
        let passed: Vec<Passed> = passed.iter().map(|pattern| pattern.parse().unwrap()).collect();
        fate(&method.parse().unwrap(), path, &passed).map(|fate| match fate {
            Fate::Held(route) => Some(route),
            Fate::Passed(_) => None,
        })
    }

    #[test]
    fn generation_is_held_whatever_is_passed() {
        for route in Route::ALL {
            assert_eq!(of("POST", route.path(), &["* /*"]), Ok(Some(route)));
        }
    }

    #[test]
    fn no_other_spelling_walks_around_the_chain() {
        for path in [
            "/v1//chat/completions",
            "/v1/chat/completions/",
            "/v1/./chat/completions",
            "/v1/x/../chat/completions",
            "/v1/x/%2e%2E/chat/completions",
            "/v1/%63hat/completions",
            "/v1/chat%2Fcompletions",
            "/V1/Chat/Completions",
            "/v1\\chat\\completions",
            "/v1/models/%5c",
        ] {
            assert_eq!(of("POST", path, &["* /*"]), Err(Reason::NoSuchRoute), "{path}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        assert_eq!(of("GET", "/v1/models", &["GET /v1/models"]), Ok(None));
        assert_eq!(of("GET", "/v1/models/meta%2Fllama", &["GET /v1/models/*"]), Ok(None));
        assert_eq!(of("GET", "/v1/files", &["GET /v1/models"]), Err(Reason::NoSuchRoute));
        assert_eq!(of("GET", "/v1/chat/completions", &["GET /v1/chat/completions"]), Ok(None));
        let refused = of("GET", "/v1/chat/completions", &[]);
        assert_eq!(refused, Err(Reason::MethodNotAllowed { method: "GET", allow: "POST" }));
    }
}
