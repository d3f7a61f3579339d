//! Another process takes this one's place while requests are answered, and nobody notices.
//!
//! The one that runs listens at `server.upgrade_socket`; the one that is to follow is started with `--upgrade` and asks there:
//!
//! 1. *Prepare*: it is given the listening sockets and the locks of what both will have open, and gets ready while the one
//!    before it answers on.
//! 2. *Switch*: the one before it holds new requests back and says what it alone knows: charges, breakers, budgets, the ledger.
//! 3. *Serving*: the new one answers. What was held back is relayed to it, as is what still comes on old connections; what
//!    was in flight before ends where it is, and what it comes to is told on as news.
//!
//! A successor that fails before the third step has changed nothing: the one before it goes on as if nobody had asked. That
//! is why Pingora's own hand-over is not used: it gives the sockets away and ends, whoever took them.

mod frames;
mod incumbent;
mod news;
mod predecessor;
mod sockets;
mod succession;
mod turn;

use outrigger_filters::breaker::handover as backends;
use outrigger_filters::cost::handover as costs;
use outrigger_filters::rate_limit::handover as limits;
use serde::{Deserialize, Serialize};

pub use incumbent::{Incumbent, Knowing, Served};
pub use news::Outbox;
pub use predecessor::Predecessor;
pub use sockets::{Gated, Sockets, put, relay_path};
pub use succession::Succession;
pub use turn::{Turn, Whose};

/// Raised when an older process could not understand a newer one. What is only added is ignored by the one that does not know
/// it, and has its default for the one that misses it.
const PROTOCOL: u32 = 1;

/// What the successor, or a process before, asks.
#[derive(Serialize, Deserialize)]
enum Ask {
    Prepare { protocol: u32, version: String, process: u32 },
    Switch,
    Serving,
    News(Vec<News>),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    /// With a file for each, in this order.
    Prepared {
        given: Vec<Given>,
    },
    Switched(Box<State>),
    Done,
    Refused(String),
}

/// What a file is that is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    /// Where clients come in, at this address.
    Clients(String),
    Admin(String),
    LedgerLock,
    CacheLock,
}

/// What a process knows alone.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    limits: limits::State,
    backends: backends::State,
    costs: costs::State,
}

/// What has become of something that was in flight when the other took over.
#[derive(Debug, Serialize, Deserialize)]
enum News {
    Limits(limits::News),
    Costs(costs::News),
}
