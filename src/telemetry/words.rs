//! An error in words that hold nothing of what was sent: Pingora's own quote the bytes that they stumbled over.

use pingora::{Error, ErrorSource};

/// What failed, on which side, and the system's word for why.
pub fn of_error(error: &Error) -> String {
    let side = match error.esource() {
        ErrorSource::Upstream => " (backend)",
        ErrorSource::Downstream => " (client)",
        ErrorSource::Internal | ErrorSource::Unset => "",
    };
    let mut words = format!("{}{side}", error.etype().as_str());
    let mut cause = error.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static));
    // As deep as errors are wrapped here, with room to spare.
    for _ in 0..8 {
        let Some(this) = cause else { break };
        if let Some(inner) = this.downcast_ref::<Box<Error>>() {
            words += &format!(": {}", inner.etype().as_str());
        } else if let Some(io) = this.downcast_ref::<std::io::Error>() {
            words += &format!(": {}", io.kind());
        }
        cause = this.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use pingora::{Error, ErrorType, OrErr};

    use super::*;

    #[test]
    fn nothing_of_what_was_sent_is_said() {
        let canary = "sk-canary";
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let inner = Err::<(), _>(refused).or_err_with(ErrorType::ConnectError, || format!("to {canary}")).unwrap_err();
        let words = of_error(&inner.into_up());
        assert_eq!(words, "ConnectError (backend): connection refused");
        let quoting: Box<Error> = Error::explain(ErrorType::InvalidHTTPHeader, format!("buf: {canary}"));
        assert!(quoting.to_string().contains(canary), "it is why this is here");
        assert_eq!(of_error(&quoting), "InvalidHTTPHeader");
        let wrapped = Error::because(ErrorType::ReadError, canary.to_owned(), quoting);
        assert_eq!(of_error(&wrapped), "ReadError: InvalidHTTPHeader");
    }
}
