//! `outrigger-load search`: the highest rate that meets a scenario's levels.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::exit::Exit;
use super::output::{Watching, print, write};
use crate::load::drive::{Conditions, drive};
use crate::load::scenario::{Overrides, Scenario};
use crate::load::search::{Bounds, Found, Probe, search};

#[derive(Args, Clone, Debug)]
pub struct Search {
    /// An open loop with levels; each probe is a run of it, at another rate.
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Requests a second that are surely met.
    #[arg(long, value_name = "NUMBER")]
    min: f64,
    /// Requests a second that are surely too many.
    #[arg(long, value_name = "NUMBER")]
    max: f64,
    /// A search ends where the rates met and missed are this close, in percent.
    #[arg(long, default_value_t = 3.0, value_name = "PERCENT")]
    precision: f64,
    /// How often the limit is searched for; the interval comes of how much they differ.
    #[arg(long, default_value = "5", value_name = "COUNT")]
    searches: NonZeroUsize,
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    confidence: f64,
    #[arg(long, default_value = "1", value_name = "COUNT")]
    threads: NonZeroUsize,
    #[command(flatten)]
    overrides: Overrides,
    /// Write what was found, with every probe.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    watching: Watching,
}

impl Search {
    pub async fn run(&self) -> anyhow::Result<Exit> {
        let mut scenario = Scenario::read(&self.scenario)?;
        self.overrides.apply(&mut scenario)?;
        let file = self.scenario.display();
        anyhow::ensure!(!scenario.levels.is_empty(), "{file}: levels: there must be one at least to search by");
        anyhow::ensure!((0.5..1.0).contains(&self.confidence), "--confidence is a share below 1, such as 0.95");
        let bounds = Bounds {
            min: self.min,
            max: self.max,
            precision: 1.0 + self.precision / 100.0,
            searches: self.searches.get(),
            confidence: self.confidence,
        };
        let mut stopped = None;
        let found = search(bounds, async |rate| self.probe(&scenario, rate, &mut stopped).await).await;
        let found = match (found, stopped) {
            (_, Some(exit)) => return Ok(exit),
            (found, None) => found?,
        };
        print(&words(&found))?;
        if let Some(file) = &self.json {
            write(file, &(serde_json::to_string_pretty(&found)? + "\n"))?;
        }
        let passed = found.rate.is_some() && !found.limited_by_lag;
        Ok(if passed { Exit::Passed } else { Exit::Missed })
    }

    async fn probe(&self, scenario: &Scenario, rate: f64, stopped: &mut Option<Exit>) -> anyhow::Result<Probe> {
        let mut scenario = scenario.clone();
        let rate_text = format!("{rate:.1}");
        let rate_only =
            Overrides { rate: Some(rate_text.parse().map_err(anyhow::Error::msg)?), ..Overrides::default() };
        rate_only.apply(&mut scenario).context("a search needs an open loop")?;
        let conditions = Conditions { threads: self.threads, label: Some(format!("{rate_text} requests a second")) };
        let finished = drive(&scenario, &conditions, &mut self.watching.observer()?).await?;
        let exit = Exit::of(&finished);
        if !exit.goes_on() {
            *stopped = Some(exit);
            let why = finished.run.cut_short.unwrap_or_default();
            anyhow::bail!("the search ended at {rate_text} requests a second: {why}");
        }
        let probe = Probe { rate, met: exit == Exit::Passed, lagged: !finished.run.invalid.is_empty() };
        let verdict = crate::load::report::Verdict::of(&finished.run);
        print(&format!("{rate_text:>10} requests a second  {verdict}\n"))?;
        Ok(probe)
    }
}

fn words(found: &Found) -> String {
    let (Some(rate), Some(low), Some(high)) = (found.rate, found.low, found.high) else {
        return "even the least rate misses the levels; give a lower --min\n".to_owned();
    };
    let percent = found.confidence * 100.0;
    let mut words =
        format!("the levels hold up to {rate:.1} requests a second, {percent:.0} % interval {low:.1} to {high:.1}\n");
    if found.beyond {
        words += "the greatest rate was met too: the limit is beyond it; give a higher --max\n";
    }
    if found.limited_by_lag {
        words += "beyond it the load tester lagged, not the target: give it a core of its own, or --threads\n";
    }
    words
}
