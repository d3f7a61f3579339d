//! What is measured of the ledger.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Counter, Meter};
use rusqlite::ErrorCode;

use super::pending::Pending;

/// From a tenth of a millisecond to what a disk that is about to fail takes.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 5.0];

pub(super) struct Meters {
    pub(super) records: Counter<u64>,
    pub(super) commit: BoundHistogram<f64>,
    pub(super) others: Counter<u64>,
    errors: Counter<u64>,
}

impl Meters {
    pub(super) fn new(meter: &Meter) -> Self {
        Meters {
            records: meter
                .u64_counter("outrigger_ledger_records")
                .with_description("Records that are written, one by one or added up.")
                .build(),
            commit: meter
                .f64_histogram("outrigger_ledger_commit_duration")
                .with_unit("s")
                .with_description("Time of one commit, of up to ten thousand records.")
                .with_boundaries(SECONDS.to_vec())
                .build()
                .bind(&[]),
            others: meter
                .u64_counter("outrigger_ledger_others")
                .with_description("Records whose series was counted with others, since the day had too many new ones.")
                .build(),
            errors: meter
                .u64_counter("outrigger_ledger_write_errors")
                .with_description("Commits that failed and are tried again, by kind.")
                .build(),
        }
    }

    pub(super) fn error(&self, error: &rusqlite::Error) {
        self.errors.add(1, &[KeyValue::new("kind", kind(error))]);
    }
}

pub(super) fn kind(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "full",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "busy",
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => "io",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "damaged",
        _ => "other",
    }
}

pub(super) fn observe(meter: &Meter, pending: &Arc<Pending>) {
    let read = Arc::downgrade(pending);
    meter
        .u64_observable_gauge("outrigger_ledger_pending")
        .with_description("Records that are appended and not written yet.")
        .with_callback(move |observer| {
            if let Some(pending) = read.upgrade() {
                observer.observe(pending.waiting(), &[]);
            }
        })
        .build();
    let read = Arc::downgrade(pending);
    meter
        .u64_observable_counter("outrigger_ledger_added_up")
        .with_description("Records of which only sums are kept, since too many waited for the disk.")
        .with_callback(move |observer| {
            if let Some(pending) = read.upgrade() {
                observer.observe(pending.added_up(), &[]);
            }
        })
        .build();
}
