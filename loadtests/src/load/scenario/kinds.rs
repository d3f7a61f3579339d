//! From the table of a load to what it means.

use super::load::{Closed, Load, Open};
use super::number::Positive;
use super::table::{ModelName, ProfileName, Table};
use crate::load::arrival::gaps::Shape;
use crate::load::arrival::profile::{Growth, Peak, Profile, Ramp, Spike, Steady, Stress};
use crate::load::arrival::{Arrivals, course::Curve};
use crate::load::trace::Replay;

/// A closed loop with more is another machine's work; each user is a task and a connection.
const MOST_USERS: f64 = 100_000.0;

impl TryFrom<Table> for Load {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Load, String> {
        let load = match table.model {
            ModelName::Closed => closed(&mut table)?,
            ModelName::Trace => Load::Trace(replay(&mut table)?),
            model => {
                let arrivals = arrivals(model, &mut table)?;
                Load::Open(Open { arrivals, profile: profile(&mut table)? })
            }
        };
        table.nothing_left()?;
        Ok(load)
    }
}

fn arrivals(model: ModelName, table: &mut Table) -> Result<Arrivals, String> {
    let shape = |key: &str, value: f64| Shape::try_from(value).map_err(|error| format!("`{key}`: {error}"));
    Ok(match model {
        ModelName::Gamma => {
            let burstiness = table.need("burstiness", |table| table.burstiness.take())?;
            Arrivals::Gamma { burstiness: shape("burstiness", burstiness)? }
        }
        ModelName::Weibull => {
            let value = table.need("shape", |table| table.shape.take())?;
            Arrivals::Weibull { shape: shape("shape", value)? }
        }
        ModelName::Constant => Arrivals::Constant,
        _ => Arrivals::Poisson,
    })
}

fn closed(table: &mut Table) -> Result<Load, String> {
    let think = table.think_secs.take().unwrap_or_default();
    let profile = profile(table)?;
    let most = profile.course().segments().iter().map(|segment| segment.from.max(segment.to)).fold(0.0, f64::max);
    if most > MOST_USERS {
        return Err(format!("{most} users are too many: a closed loop has at most {MOST_USERS}"));
    }
    Ok(Load::Closed(Closed { profile, think }))
}

fn profile(table: &mut Table) -> Result<Profile, String> {
    match table.profile.unwrap_or_default() {
        ProfileName::Steady => Ok(Profile::Steady(steady(table)?)),
        ProfileName::Endurance => Ok(Profile::Endurance(steady(table)?)),
        ProfileName::Ramp => ramp(table),
        ProfileName::Spike => spike(table),
        ProfileName::Stress => stress(table),
        ProfileName::Peak => Ok(Profile::Peak(Peak {
            base: table.need("base", |table| table.base.take())?,
            peak: table.need("peak", |table| table.peak.take())?,
            up_seconds: table.need("up_secs", |table| table.up_secs.take())?,
            hold_seconds: table.need("hold_secs", |table| table.hold_secs.take())?,
            down_seconds: table.need("down_secs", |table| table.down_secs.take())?,
        })),
    }
}

fn steady(table: &mut Table) -> Result<Steady, String> {
    let level = match table.model {
        ModelName::Closed => {
            table.need("users", |table| table.users.take()).and_then(|users| f64::from(users.get()).try_into())?
        }
        _ => table.need("rate", |table| table.rate.take())?,
    };
    Ok(Steady { level, seconds: duration(table)? })
}

fn duration(table: &mut Table) -> Result<Positive, String> {
    table.need("duration_secs", |table| table.duration_secs.take())
}

fn ramp(table: &mut Table) -> Result<Profile, String> {
    let ramp = Ramp {
        from: table.need("from", |table| table.from.take())?,
        to: table.need("to", |table| table.to.take())?,
        curve: table.curve.take().unwrap_or_default(),
        seconds: duration(table)?,
    };
    let (least, most) = (ramp.from.get().min(ramp.to.get()), ramp.from.get().max(ramp.to.get()));
    if most == 0.0 {
        return Err("`from` and `to` are both 0, so that nothing would be sent".to_owned());
    }
    if ramp.curve == Curve::Exponential && least == 0.0 {
        return Err("an exponential ramp never gets to or from 0: `from` and `to` must be above it".to_owned());
    }
    Ok(Profile::Ramp(ramp))
}

fn spike(table: &mut Table) -> Result<Profile, String> {
    let base = table.need("base", |table| table.base.take())?;
    let spike = Spike {
        base: Positive::try_from(base.get()).map_err(|error| format!("`base`: {error}"))?,
        times: table.times.take().unwrap_or(Positive::ONE.scaled(4.0)),
        at: table.need("at_secs", |table| table.at_secs.take())?,
        length: table.need("for_secs", |table| table.for_secs.take())?,
        seconds: duration(table)?,
    };
    if spike.at.get() + spike.length.get() > spike.seconds.get() {
        return Err("the spike ends after the load: `at_secs` and `for_secs` exceed `duration_secs`".to_owned());
    }
    Ok(Profile::Spike(spike))
}

fn stress(table: &mut Table) -> Result<Profile, String> {
    let growth = match (table.step.take(), table.factor.take()) {
        (Some(step), None) => Growth::By(step),
        (None, Some(factor)) if factor.get() > 1.0 => Growth::Times(factor),
        (None, Some(factor)) => return Err(format!("`factor` must be above 1 for the steps to rise, and is {factor}")),
        _ => return Err("a stress rises by `step` or by `factor`: give one of them".to_owned()),
    };
    let stress = Stress {
        start: table.need("start", |table| table.start.take())?,
        growth,
        step_seconds: table.need("step_secs", |table| table.step_secs.take())?,
        most: table.need("most", |table| table.most.take())?,
    };
    match stress.levels().take(Stress::MOST_STEPS + 1).count() {
        0 => Err("`most` is below `start`".to_owned()),
        steps if steps > Stress::MOST_STEPS => {
            Err(format!("more than {} steps lead from `start` to `most`: make them larger", Stress::MOST_STEPS))
        }
        _ => Ok(Profile::Stress(stress)),
    }
}

fn replay(table: &mut Table) -> Result<Replay, String> {
    if table.profile.is_some() {
        return Err("`profile` has no meaning for a trace, which has its own rate; `speed` changes it".to_owned());
    }
    Ok(Replay {
        file: table.need("file", |table| table.file.take())?,
        format: table.format.take(),
        speed: table.speed.take().unwrap_or(Positive::ONE),
        from_secs: table.from_secs.take().unwrap_or_default(),
        duration_secs: table.duration_secs.take(),
        limit: table.limit.take(),
        max_input_tokens: table.max_input_tokens.take(),
        max_output_tokens: table.max_output_tokens.take(),
    })
}
