//! What a command line says otherwise than the file.

use anyhow::bail;
use clap::Args;

use super::number::Positive;
use super::{Load, Scenario};

#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Instead of what the scenario says")]
pub struct Overrides {
    /// Where the requests go: http://host:port or https://host.
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// Requests a second: of a steady load, the base of a spike, the start of a stress, the top of a ramp or a peak.
    /// The rest of the profile keeps its ratio to it.
    #[arg(long, value_name = "NUMBER")]
    pub rate: Option<Positive>,
    /// How long the load lasts, without the warm-up; every part of its profile is stretched alike. Of a trace, where
    /// it is cut off.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<Positive>,
    /// Users of a closed loop, as --rate.
    #[arg(long, value_name = "COUNT")]
    pub users: Option<std::num::NonZeroU32>,
    /// The target's process on this machine, which is measured, and stopped by a fault script.
    #[arg(long)]
    pub pid: Option<u32>,
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many times as fast a trace is replayed.
    #[arg(long, value_name = "FACTOR")]
    pub speed: Option<Positive>,
    /// Where the simulator behind the target is: http://host:port.
    #[arg(long, value_name = "URL")]
    pub simulator: Option<String>,
}

impl Overrides {
    /// Refuses what has no meaning for the scenario's kind of load: a flag that is ignored misleads.
    pub fn apply(&self, scenario: &mut Scenario) -> anyhow::Result<()> {
        if let Some(url) = &self.target {
            scenario.target.url.clone_from(url);
        }
        if let Some(url) = &self.simulator {
            scenario.simulator = Some(super::Simulator { url: url.clone() });
        }
        scenario.target.pid = self.pid.or(scenario.target.pid);
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        self.apply_level(&mut scenario.load)?;
        self.apply_time(&mut scenario.load)?;
        scenario.check()
    }

    fn apply_level(&self, load: &mut Load) -> anyhow::Result<()> {
        let level = match (load, self.rate, self.users) {
            (_, None, None) => return Ok(()),
            (Load::Open(open), Some(rate), None) => (&mut open.profile, rate.get()),
            (Load::Closed(closed), None, Some(users)) => (&mut closed.profile, f64::from(users.get())),
            (Load::Open(_), _, Some(_)) => bail!("--users is for a closed loop; this scenario's load has --rate"),
            (Load::Closed(_), Some(_), _) => bail!("--rate is for an open loop; this scenario's load has --users"),
            (Load::Trace(_), _, _) => bail!("a trace has its own rate; --speed changes it"),
        };
        let (profile, level) = level;
        *profile = profile.times_level(level / profile.level());
        Ok(())
    }

    fn apply_time(&self, load: &mut Load) -> anyhow::Result<()> {
        match (&mut *load, self.speed) {
            (Load::Trace(replay), speed) => {
                replay.speed = speed.unwrap_or(replay.speed);
                replay.duration_secs = self.seconds.or(replay.duration_secs);
                return Ok(());
            }
            (_, Some(_)) => bail!("--speed is for a trace; this scenario's load has a rate or users of its own"),
            (_, None) => {}
        }
        if let (Some(seconds), Some(profile)) = (self.seconds, load.profile_mut()) {
            *profile = profile.times_seconds(seconds.get() / profile.course().seconds());
        }
        Ok(())
    }
}
