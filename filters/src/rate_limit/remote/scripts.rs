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

fn begin<'a>(script: &'static Script, remote: &Remote, limits: impl Iterator<Item = &'a Limit>) -> store::Call {
    let keys = keys(limits);
    let mut call = script.call(keys.iter().map(AsRef::as_ref));
    call.arg(remote.clock.load(Ordering::Relaxed)).arg(remote.store.sidecar()).arg(micros(remote.reservation));
    call
}

pub(super) fn admit(remote: &Remote, call: &Call) -> store::Call {
    let mut asked = begin(&ADMIT, remote, call.lines.iter().map(|line| &line.limit));
    asked.arg(call.lease.0).arg(call.lines.len());
    for line in &call.lines {
        admit_line(&mut asked, line);
    }
    asked
}

fn admit_line(asked: &mut store::Call, line: &Line) {
    let limit = &line.limit;
    asked.arg(limit.kind.letter()).arg(limit.amount).arg(line.cost).arg(micros(limit.window)).arg(line.known);
    let Some(restore) = &line.restore else {
        asked.arg("-");
        return;
    };
    asked.arg(restore.stored).arg(restore.charges.len());
    for (age, amount) in &restore.charges {
        asked.arg(micros(*age)).arg(*amount);
    }
    asked.arg(restore.open.len());
    for open in &restore.open {
        // Of concurrent requests each counts as one.
        let reserved = if limit.kind == Kind::Concurrent { 1 } else { open.reserved };
        asked.arg(open.lease.0).arg(reserved).arg(open.at);
    }
}

pub(super) fn settle(remote: &Remote, settle: &Settle) -> store::Call {
    let limit = &settle.limit;
    let mut asked = begin(&SETTLE, remote, std::iter::once(limit));
    asked.arg(limit.kind.letter()).arg(micros(limit.window)).arg(settle.known).arg(settle.lease.0);
    asked.arg(settle.at).arg(settle.reserved).arg(settle.actual);
    asked
}

pub(super) fn renew<'a>(remote: &Remote, limit: &Limit, leases: impl Iterator<Item = &'a String>) -> store::Call {
    let mut asked = begin(&RENEW, remote, std::iter::once(limit));
    asked.arg(limit.kind.letter()).arg(micros(limit.window));
    for lease in leases {
        asked.arg(lease);
    }
    asked
}

pub(super) fn read(remote: &Remote, limit: &Limit) -> store::Call {
    let mut asked = begin(&READ, remote, std::iter::once(limit));
    asked.arg(limit.kind.letter()).arg(limit.amount).arg(micros(limit.window));
    asked
}
