//! The form of a request's head, where Pingora leaves it to us: what could mean two things is refused.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Version};
use outrigger_filters::Reason;
use pingora::http::RequestHeader;

pub fn check(head: &RequestHeader, max_bytes: usize) -> Result<(), Reason> {
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    if head.raw_path().len() + fields.sum::<usize>() > max_bytes {
        return Err(Reason::HeadTooLarge { limit: max_bytes });
    }
    target(head)?;
    host(head)
}

fn target(head: &RequestHeader) -> Result<(), Reason> {
    if !head.uri.path().starts_with('/') {
        return Err(Reason::BadRequest("its target is no path"));
    }
    let text = head.uri.path_and_query().map_or("", |target| target.as_str());
    // Pingora writes a raw NUL as %00; no API has one in its paths, and C programs end a path there.
    if text.contains("%00") {
        return Err(Reason::BadRequest("there is a NUL in its target"));
    }
    // Legal, but readers differ on where such a query begins, and no API that we speak writes it.
    if text.matches('?').count() > 1 {
        return Err(Reason::BadRequest("its target has more than one question mark"));
    }
    Ok(())
}

/// RFC 9112, section 3.2: a request of HTTP/1.1 names its host, once, and names nothing else.
fn host(head: &RequestHeader) -> Result<(), Reason> {
    let Some(host) = head.headers.get(HOST) else {
        let may_lack_it = head.version != Version::HTTP_11;
        return if may_lack_it { Ok(()) } else { Err(Reason::BadRequest("it names no host")) };
    };
    if is_authority(host) { Ok(()) } else { Err(Reason::BadRequest("its host is none")) }
}

fn is_authority(value: &HeaderValue) -> bool {
    let parsed = Authority::try_from(value.as_bytes());
    parsed.is_ok_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(target: &str, host: Option<&str>, version: Version) -> Result<(), Reason> {
        let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        head.set_version(version);
        if let Some(host) = host {
            head.insert_header("host", host).unwrap();
        }
        check(&head, 1024)
    }

    #[test]
    fn a_request_names_one_host_and_one_path() {
        let new = Version::HTTP_11;
        for host in ["localhost", "localhost:80", "127.0.0.1", "[::1]:8080", "a.example"] {
            assert_eq!(checked("/v1/models?a=b", Some(host), new), Ok(()), "{host}");
        }
        for host in ["", "a/b", "user@a", "a b", "http://a"] {
            assert!(checked("/", Some(host), new).is_err(), "{host:?}");
        }
        assert!(checked("/", None, new).is_err());
        assert_eq!(checked("/", None, Version::HTTP_10), Ok(()));
        assert_eq!(checked("/", None, Version::HTTP_2), Ok(()), "its authority is elsewhere");
        for target in ["*", "/a%00b", "/a?b?c"] {
            assert!(checked(target, Some("a"), new).is_err(), "{target}");
        }
        let long = format!("/{}", "a".repeat(2000));
        assert_eq!(checked(&long, Some("a"), new), Err(Reason::HeadTooLarge { limit: 1024 }));
    }
}
