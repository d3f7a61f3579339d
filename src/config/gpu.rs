//! The settings of the GPU probe.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Backend, Millis};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// `auto` reads what is there and is off where nothing is; `nvidia` and `amd` read only these, and say that they
    /// miss them; `off`.
    pub mode: Mode,
    /// How often they are read. Nothing waits for it.
    pub interval_ms: Millis,
    /// After what time a driver that is not there, or fails, is looked for again.
    pub retry_secs: NonZeroU64,
    /// NVIDIA's library; empty: the system's `libnvidia-ml.so.1`.
    pub nvml_path: PathBuf,
    /// Where the kernel shows AMD's cards.
    pub sysfs_path: PathBuf,
    /// The cards that count, by their number or by their UUID; empty: all.
    pub devices: Vec<Which>,
    /// Which backends run on which cards, by their names: `{ one = [0], two = ["GPU-…"] }`, where `[]` is all that
    /// count. Empty: every backend whose address is this machine's own (`localhost`, 127.0.0.1, ::1) runs on all.
    pub backends: BTreeMap<String, Vec<Which>>,
    /// From this share of its memory on a card is critical.
    pub memory_share: f64,
    /// From this temperature on a card is critical.
    pub temperature_c: f64,
    /// It is critical until it is so far below again, ...
    pub hysteresis_share: f64,
    pub hysteresis_c: f64,
    /// ... and has been for so long. Who is refused is told to come again after this time.
    pub hold_secs: NonZeroU64,
    /// What becomes of requests for the backends on a critical card: `ignore`; `prefer_other` asks others of their pool
    /// as long as one has room; `shed` refuses them (503), or lets others take them. vLLM takes nine tenths of the
    /// memory by design: set `memory_share` above what is usual.
    pub when_critical: WhenCritical,
}

impl Default for Gpu {
    fn default() -> Self {
        Gpu {
            mode: Mode::Auto,
            interval_ms: Millis::of(1_000),
            retry_secs: const { NonZeroU64::new(30).unwrap() },
            nvml_path: PathBuf::new(),
            sysfs_path: PathBuf::from("/sys"),
            devices: Vec::new(),
            backends: BTreeMap::new(),
            memory_share: 0.98,
            temperature_c: 90.0,
            hysteresis_share: 0.02,
            hysteresis_c: 5.0,
            hold_secs: const { NonZeroU64::new(10).unwrap() },
            when_critical: WhenCritical::Ignore,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Auto,
    Nvidia,
    Amd,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenCritical {
    Ignore,
    PreferOther,
    Shed,
}

impl WhenCritical {
    pub const fn name(self) -> &'static str {
        match self {
            WhenCritical::Ignore => "ignore",
            WhenCritical::PreferOther => "prefer_other",
            WhenCritical::Shed => "shed",
        }
    }
}

/// A card, by its number or by its UUID.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a card's number or its UUID")]
pub enum Which {
    Number(u32),
    Uuid(String),
}

impl Gpu {
    /// How old what is read may be until it is stale: a look may take a while, and two may be missed.
    pub fn fresh_for(&self) -> Duration {
        (self.interval_ms.duration() * 3).max(Duration::from_secs(3))
    }

    pub const fn hold(&self) -> Duration {
        Duration::from_secs(self.hold_secs.get())
    }

    /// The backends that run on these cards, each with its cards; none named are all.
    pub fn tenants_of(&self, backends: &[Backend]) -> Vec<(String, Vec<Which>)> {
        if !self.backends.is_empty() {
            return self.backends.iter().map(|(name, on)| (name.clone(), on.clone())).collect();
        }
        let here = backends.iter().filter(|backend| is_this_machine(&backend.url.host));
        here.map(|backend| (backend.name.clone(), Vec::new())).collect()
    }

    /// What no single key can say: the key, below `gpu`, and what is wrong.
    pub(super) fn contradiction(&self, backends: &[Backend]) -> Option<(String, String)> {
        let wrong = |key: &str, words: &str| Some((key.to_owned(), words.to_owned()));
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        if !is_share(self.memory_share) {
            return wrong("memory_share", "more than 0 and at most 1 is expected");
        }
        if !(self.temperature_c > 0.0 && self.temperature_c <= 200.0) {
            return wrong("temperature_c", "more than 0 and at most 200 is expected");
        }
        if !(self.hysteresis_share >= 0.0 && self.hysteresis_share < self.memory_share) {
            return wrong("hysteresis_share", "at least 0 and less than memory_share is expected");
        }
        if !(self.hysteresis_c >= 0.0 && self.hysteresis_c < self.temperature_c) {
            return wrong("hysteresis_c", "at least 0 and less than temperature_c is expected");
        }
        if self.interval_ms.duration() < Duration::from_millis(10) {
            return wrong("interval_ms", "at least 10 is expected");
        }
        if let Some(name) = self.backends.keys().find(|name| !backends.iter().any(|backend| backend.name == **name)) {
            return Some((format!("backends.{name}"), format!("no backend is called `{name}`")));
        }
        let acts = self.when_critical != WhenCritical::Ignore && self.mode != Mode::Off;
        if acts && self.tenants_of(backends).is_empty() {
            return wrong(
                "when_critical",
                "no backend's address is this machine's own: name those on its cards in gpu.backends",
            );
        }
        None
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, url: &str) -> Backend {
        toml::from_str(&format!("name = \"{name}\"\nurl = \"{url}\"")).unwrap()
    }

    #[test]
    fn backends_on_this_machine_run_on_its_cards_unless_they_are_named() {
        let backends = [
            at("near", "http://127.0.0.2:8000"),
            at("six", "http://[::1]:8000"),
            at("named", "http://LocalHost:8000"),
            at("far", "http://10.0.0.1:8000"),
            at("odd", "http://localhost.example:8000"),
        ];
        let names = |gpu: &Gpu| gpu.tenants_of(&backends).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&Gpu::default()), ["near", "six", "named"]);
        let named = Gpu { backends: BTreeMap::from([("far".to_owned(), vec![Which::Number(1)])]), ..Gpu::default() };
        assert_eq!(named.tenants_of(&backends), [("far".to_owned(), vec![Which::Number(1)])]);
    }

    #[test]
    fn what_cannot_be_meant_so_is_said_with_its_key() {
        let near = [at("near", "http://localhost:1")];
        let far = [at("far", "http://10.0.0.1:1")];
        let usual = Gpu::default;
        let nobodys = BTreeMap::from([("nobody".to_owned(), Vec::new())]);
        for (gpu, key) in [
            (Gpu { memory_share: 0.0, ..usual() }, "memory_share"),
            (Gpu { memory_share: f64::NAN, ..usual() }, "memory_share"),
            (Gpu { temperature_c: 201.0, ..usual() }, "temperature_c"),
            (Gpu { hysteresis_share: 0.98, ..usual() }, "hysteresis_share"),
            (Gpu { hysteresis_c: -1.0, ..usual() }, "hysteresis_c"),
            (Gpu { interval_ms: Millis::of(9), ..usual() }, "interval_ms"),
            (Gpu { backends: nobodys, ..usual() }, "backends.nobody"),
        ] {
            assert_eq!(gpu.contradiction(&near).map(|(key, _)| key).as_deref(), Some(key));
        }
        let sheds = || Gpu { when_critical: WhenCritical::Shed, ..usual() };
        assert_eq!(sheds().contradiction(&far).map(|(key, _)| key).as_deref(), Some("when_critical"));
        assert_eq!(sheds().contradiction(&near), None);
        assert_eq!(Gpu { mode: Mode::Off, ..sheds() }.contradiction(&far), None, "what is off acts on nobody");
        assert_eq!(usual().contradiction(&far), None);
    }
}
