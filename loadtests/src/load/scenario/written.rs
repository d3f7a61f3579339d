//! From a load back to its table: a result keeps the scenario as a file would say it, with every default.

use std::num::NonZeroU32;

use super::load::{Closed, Load, Open};
use super::number::Positive;
use super::table::{ModelName, ProfileName, Table};
use crate::load::arrival::Arrivals;
use crate::load::arrival::profile::{Growth, Peak, Profile, Ramp, Spike, Steady, Stress};

impl From<Load> for Table {
    fn from(load: Load) -> Table {
        match load {
            Load::Closed(Closed { profile, think }) => {
                let mut table = Table { model: ModelName::Closed, think_secs: Some(think), ..Table::default() };
                write_profile(&mut table, profile);
                table
            }
            Load::Open(Open { arrivals, profile }) => {
                let mut table = write_arrivals(arrivals);
                write_profile(&mut table, profile);
                table
            }
            Load::Trace(replay) => Table {
                model: ModelName::Trace,
                file: Some(replay.file),
                format: replay.format,
                speed: Some(replay.speed),
                from_secs: Some(replay.from_secs),
                duration_secs: replay.duration_secs,
                limit: replay.limit,
                max_input_tokens: replay.max_input_tokens,
                max_output_tokens: replay.max_output_tokens,
                ..Table::default()
            },
        }
    }
}

fn write_arrivals(arrivals: Arrivals) -> Table {
    let of = |model| Table { model, ..Table::default() };
    match arrivals {
        Arrivals::Constant => of(ModelName::Constant),
        Arrivals::Poisson => of(ModelName::Poisson),
        Arrivals::Gamma { burstiness } => Table { burstiness: Some(burstiness.get()), ..of(ModelName::Gamma) },
        Arrivals::Weibull { shape } => Table { shape: Some(shape.get()), ..of(ModelName::Weibull) },
    }
}

fn write_profile(table: &mut Table, profile: Profile) {
    table.profile = Some(match profile {
        Profile::Steady(steady) => {
            write_steady(table, steady);
            ProfileName::Steady
        }
        Profile::Endurance(steady) => {
            write_steady(table, steady);
            ProfileName::Endurance
        }
        Profile::Ramp(Ramp { from, to, curve, seconds }) => {
            (table.from, table.to, table.curve, table.duration_secs) =
                (Some(from), Some(to), Some(curve), Some(seconds));
            ProfileName::Ramp
        }
        Profile::Spike(Spike { base, times, at, length, seconds }) => {
            (table.base, table.times, table.at_secs) = (Some(base.into()), Some(times), Some(at));
            (table.for_secs, table.duration_secs) = (Some(length), Some(seconds));
            ProfileName::Spike
        }
        Profile::Stress(Stress { start, growth, step_seconds, most }) => {
            (table.start, table.step_secs, table.most) = (Some(start), Some(step_seconds), Some(most));
            match growth {
                Growth::By(step) => table.step = Some(step),
                Growth::Times(factor) => table.factor = Some(factor),
            }
            ProfileName::Stress
        }
        Profile::Peak(Peak { base, peak, up_seconds, hold_seconds, down_seconds }) => {
            (table.base, table.peak, table.up_secs) = (Some(base), Some(peak), Some(up_seconds));
            (table.hold_secs, table.down_secs) = (Some(hold_seconds), Some(down_seconds));
            ProfileName::Peak
        }
    });
}

fn write_steady(table: &mut Table, steady: Steady) {
    table.duration_secs = Some(steady.seconds);
    match table.model {
        ModelName::Closed => table.users = Some(users(steady.level)),
        _ => table.rate = Some(steady.level),
    }
}

/// As many as run.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a level is positive and at most 10^9")]
fn users(level: Positive) -> NonZeroU32 {
    NonZeroU32::new(level.get().round() as u32).unwrap_or(NonZeroU32::MIN)
}
