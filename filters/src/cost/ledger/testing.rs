//! Records for tests.

use super::record::{Ended, Kind, Measured, Record, Series};
use crate::money::Money;
use crate::usage::{Service, Tokens};
use crate::{Route, Tenant};

pub fn series(tenant: &str, model: &str) -> Series {
    let tenant = Tenant::of(tenant.as_bytes());
    Series { tenant, model: model.into(), backend: "backend".into(), route: Route::ChatCompletions, tag: None }
}

pub fn record(at: i64, nanos: u64) -> Record {
    Record {
        at,
        kind: Kind::Call,
        series: series("tenant", "model"),
        measured: Measured::Measured,
        end: Ended::Complete,
        tokens: Tokens { input: 100, output: 10, ..Tokens::default() },
        service: Service::Standard,
        cost: Some(Money::from_nanos(nanos)),
        took_ms: 1_000,
        first_token_ms: Some(200),
        attempt: 1,
        request_id: None,
    }
}
