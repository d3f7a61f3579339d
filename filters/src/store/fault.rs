//! What can be wrong with Redis, in a closed set of words.

use redis::{ErrorKind, RedisError, ServerErrorKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was tried yet.
    NotTried,
    /// No connection could be made.
    Refused,
    /// The connection broke.
    Cut,
    Slow,
    Loading,
    ReadOnly,
    OutOfMemory,
    /// It wants another password, or does not let this user do what is needed.
    Denied,
    /// A cluster that has no node for a key, or can't tell where it is.
    Cluster,
    /// It takes no writes: it can't save, has too few replicas, or is busy with somebody's script.
    Unwilling,
    /// It answers, but no longer knows what it was told: flushed, or another server.
    Forgot,
    /// Anything else; it concerns one call.
    Other,
}

impl Fault {
    pub const ALL: [Fault; 12] = [
        Fault::NotTried,
        Fault::Refused,
        Fault::Cut,
        Fault::Slow,
        Fault::Loading,
        Fault::ReadOnly,
        Fault::OutOfMemory,
        Fault::Denied,
        Fault::Cluster,
        Fault::Unwilling,
        Fault::Forgot,
        Fault::Other,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Fault::NotTried => "not_tried",
            Fault::Refused => "refused",
            Fault::Cut => "cut",
            Fault::Slow => "slow",
            Fault::Loading => "loading",
            Fault::ReadOnly => "read_only",
            Fault::OutOfMemory => "out_of_memory",
            Fault::Denied => "denied",
            Fault::Cluster => "cluster",
            Fault::Unwilling => "unwilling",
            Fault::Forgot => "forgot",
            Fault::Other => "other",
        }
    }

    /// Whether every other call would meet it, too.
    pub const fn is_general(self) -> bool {
        !matches!(self, Fault::Other)
    }

    /// Whether the server may have done what it was told all the same.
    pub const fn is_ambiguous(self) -> bool {
        matches!(self, Fault::Cut | Fault::Slow)
    }

    pub(super) fn of(error: &RedisError) -> Fault {
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Fault::Slow,
            ErrorKind::Io if error.is_connection_refusal() => Fault::Refused,
            ErrorKind::Io | ErrorKind::Parse => Fault::Cut,
            ErrorKind::AuthenticationFailed => Fault::Denied,
            ErrorKind::ClusterConnectionNotFound => Fault::Cluster,
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                // Before version 7 what a script's command answered is wrapped into the script's own error.
                error.detail().map_or(Fault::Other, |detail| {
                    detail.split_whitespace().find_map(|word| word.strip_prefix('-')).map_or(Fault::Other, Fault::coded)
                })
            }
            _ => error.code().map_or(Fault::Other, Fault::coded),
        }
    }

    fn coded(code: &str) -> Fault {
        match code {
            "LOADING" => Fault::Loading,
            "READONLY" => Fault::ReadOnly,
            "OOM" => Fault::OutOfMemory,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Fault::Denied,
            "CLUSTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" => Fault::Cluster,
            "MASTERDOWN" | "MISCONF" | "NOREPLICAS" | "BUSY" | "UNKILLABLE" => Fault::Unwilling,
            _ => Fault::Other,
        }
    }
}
