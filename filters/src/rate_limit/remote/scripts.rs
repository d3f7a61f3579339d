//! The scripts, and how they are called.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Call, Kind, Limit, Line, Remote, Settle};
use crate::store::{self, Script};

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("common.lua"), include_str!($file))))
    };
}

static ADMIT: LazyLock<Script> = script!("admit.lua");
static SETTLE: LazyLock<Script> = script!("settle.lua");
static RENEW: LazyLock<Script> = script!("renew.lua");
static READ: LazyLock<Script> = script!("read.lua");

impl Kind {
    fn letter(self) -> &'static str {
        match self {
            Kind::Window => "w",
            Kind::Reserved => "r",
            Kind::Concurrent => "c",
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A limit's key, and that of its leases where it has any.
fn keys<'a>(limits: impl Iterator<Item = &'a Limit>) -> Vec<std::borrow::Cow<'a, str>> {
    let mut keys = Vec::with_capacity(4);
    for limit in limits {
        keys.push(limit.key.as_str().into());
        if limit.kind != Kind::Window {
            keys.push(format!("{}:open", limit.key).into());
        }
    }
    keys
}

/// Numbers as doubles, which is what Lua has: whole up to 2^53.
struct Packed(Vec<u8>);

impl Packed {
    fn head(remote: &Remote) -> Self {
        let mut packed = Packed(Vec::with_capacity(256));
        packed.numbers([remote.clock.load(Ordering::Relaxed), micros(remote.reservation)]);
        packed
    }

    fn numbers<const COUNT: usize>(&mut self, numbers: [u64; COUNT]) {
        numbers.iter().for_each(|number| self.0.extend_from_slice(&(*number as f64).to_le_bytes()));
    }

    /// Ends with a zero.
    fn text(&mut self, text: impl std::fmt::Display) {
        self.0.extend_from_slice(text.to_string().as_bytes());
        self.0.push(0);
    }

    fn line(&mut self, line: &Line) {
        let limit = &line.limit;
        self.0.extend_from_slice(limit.kind.letter().as_bytes());
        self.numbers([limit.amount, line.cost, micros(limit.window), line.known]);
        self.0.push(u8::from(line.restore.is_some()));
        let Some(restore) = &line.restore else { return };
        self.numbers([restore.stored, restore.charges.len() as u64, restore.open.len() as u64]);
        for (age, amount) in &restore.charges {
            self.numbers([micros(*age), *amount]);
        }
        for open in &restore.open {
            // Of concurrent requests each counts as one.
            self.numbers([if limit.kind == Kind::Concurrent { 1 } else { open.reserved }]);
            self.text(open.lease.0);
            self.text(open.at);
        }
    }
}

pub(super) fn admit(remote: &Remote, call: &Call) -> store::Call {
    let keys = keys(call.lines.iter().map(|line| &line.limit));
    let mut packed = Packed::head(remote);
    call.lines.iter().for_each(|line| packed.line(line));
    let mut asked = ADMIT.call(keys.iter().map(AsRef::as_ref));
    asked.arg(remote.store.sidecar()).arg(packed.0).arg(call.lease.0);
    asked
}

/// The other scripts are about one limit each, and have the rest of their arguments as they are.
fn about(script: &'static Script, remote: &Remote, limit: &Limit) -> store::Call {
    let keys = keys(std::iter::once(limit));
    let mut asked = script.call(keys.iter().map(AsRef::as_ref));
    asked.arg(remote.store.sidecar()).arg(Packed::head(remote).0).arg(limit.kind.letter());
    asked
}

pub(super) fn settle(remote: &Remote, settle: &Settle) -> store::Call {
    let mut asked = about(&SETTLE, remote, &settle.limit);
    asked.arg(micros(settle.limit.window)).arg(settle.known).arg(settle.lease.0);
    asked.arg(settle.at).arg(settle.reserved).arg(settle.actual);
    asked
}

pub(super) fn renew<'a>(remote: &Remote, limit: &Limit, leases: impl Iterator<Item = &'a String>) -> store::Call {
    let mut asked = about(&RENEW, remote, limit);
    asked.arg(micros(limit.window));
    for lease in leases {
        asked.arg(lease);
    }
    asked
}

pub(super) fn read(remote: &Remote, limit: &Limit) -> store::Call {
    let mut asked = about(&READ, remote, limit);
    asked.arg(limit.amount).arg(micros(limit.window));
    asked
}
