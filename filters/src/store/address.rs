//! Where Redis is, parsed when the settings are read; shown without its password.

use std::fmt;

use redis::{ConnectionInfo, IntoConnectionInfo};
use serde::Deserialize;

/// A `redis://` or `rediss://` address: `redis://[user][:password@]host[:port][/database]`.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Url {
    text: String,
    parsed: ConnectionInfo,
}

/// Says nothing of the address itself: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address of the form redis://[user][:password@]host[:port][/database], or rediss:// with TLS")]
pub struct NotAnAddress;

impl Url {
    pub(super) fn parsed(&self) -> &ConnectionInfo {
        &self.parsed
    }
}

impl std::str::FromStr for Url {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if !["redis://", "rediss://", "valkey://", "valkeys://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(NotAnAddress);
        }
        let parsed = text.into_connection_info().map_err(|_| NotAnAddress)?;
        Ok(Url { text: text.to_owned(), parsed })
    }
}

impl TryFrom<String> for Url {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}

impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Url {}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.parsed.addr())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Url({self})")
    }
}
