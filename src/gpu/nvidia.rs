//! NVIDIA's cards, by NVIDIA's library, which is loaded while we run.
//!
//! The library stays open while at least one card answers. Where none does, or where one has not for a while, it is
//! closed and opened anew: it knows nothing of what has changed since.

mod events;
mod instances;
mod read;

use std::path::Path;
use std::sync::Arc;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use tokio::time::Instant;

use super::card::{self, Card, Identity, Reading, Standing, Vendor};
use super::reader::{Nothing, Reader, SELDOM};
use super::slot::Versions;
use events::{Listening, Xids};
use instances::Instances;
use read::Asked;

pub fn run(reader: &Reader, path: &Path) {
    let xids = Arc::<Xids>::default();
    while reader.goes_on() {
        let begun = reader.begin();
        let nothing = match open(path) {
            Ok(nvml) => session(reader, &Arc::new(nvml), path, &xids, begun),
            Err(error) => Some((begun, nothing(&error))),
        };
        // A session that ends without a word is opened anew at once.
        if let Some((begun, nothing)) = nothing {
            reader.missed(begun, nothing);
            reader.wait(reader.retry);
        }
    }
}

/// The free memory of the card that has most of it; none without a card. Asks the driver, and waits for it.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let nvml = open(path).ok()?;
    let free = |index| Some(nvml.device_by_index(index).ok()?.memory_info().ok()?.free);
    (0..nvml.device_count().ok()?).filter_map(free).max()
}

fn open(path: &Path) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(library(path).as_os_str()).init()
}

/// The one that is named, or the one that every driver installs.
fn library(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new("libnvidia-ml.so.1") } else { path }
}

fn nothing(error: &NvmlError) -> Nothing {
    match error {
        NvmlError::LibloadingError(error) => Nothing::Absent(format!("NVIDIA's library is not there: {error}")),
        NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => Nothing::Absent(error.to_string()),
        error => Nothing::Fails(error.to_string()),
    }
}

/// A card with what is known of it.
struct Known<'nvml> {
    index: u32,
    device: Result<Device<'nvml>, String>,
    is: Identity,
    standing: Standing,
    parts: Vec<Part<'nvml>>,
}

/// A part of a card.
struct Part<'nvml> {
    device: Device<'nvml>,
    is: Identity,
    standing: Standing,
}

/// Looks as long as there is something to see; gives why there is not, or nothing where it is to be opened anew.
fn session(
    reader: &Reader,
    nvml: &Arc<Nvml>,
    path: &Path,
    xids: &Arc<Xids>,
    opened: Instant,
) -> Option<(Instant, Nothing)> {
    let count = match nvml.device_count() {
        Ok(0) => return Some((opened, Nothing::Absent("NVIDIA's driver finds no GPU".to_owned()))),
        Ok(count) => count,
        Err(error) => return Some((opened, nothing(&error))),
    };
    let mut cards: Vec<_> = (0..count.min(card::MOST as u32)).map(|index| Known::find(nvml, index)).collect();
    let instances = Instances::open(path);
    let listening = Listening::begin(nvml, xids, count);
    let (mut begun, mut ill_since, mut looks) = (opened, None, 0);
    let versions = Versions { driver: nvml.sys_driver_version().ok(), library: nvml.sys_nvml_version().ok() };
    while reader.goes_on() {
        let seldom = looks % SELDOM == 0;
        looks += 1;
        let seen: Vec<_> = cards.iter_mut().flat_map(|card| card.look(seldom, &instances, xids)).collect();
        let whole = || seen.iter().filter(|card| card.is.instance.is_none());
        if let Some(why) = whole().all(|card| card.reading == Reading::default()).then(|| problem_of(whole())) {
            return Some((begun, Nothing::Fails(why)));
        }
        ill_since = seen.iter().any(|card| card.problem.is_some()).then(|| ill_since.unwrap_or(begun));
        reader.found(begun, seen, &versions);
        if ill_since.is_some_and(|since: Instant| since.elapsed() >= reader.retry) {
            break;
        }
        reader.wait(reader.every);
        begun = reader.begin();
    }
    drop(listening);
    None
}

fn problem_of<'cards>(mut cards: impl Iterator<Item = &'cards Card>) -> String {
    cards.find_map(|card| card.problem.clone()).unwrap_or_else(|| "no GPU says anything".to_owned())
}

impl<'nvml> Known<'nvml> {
    fn find(nvml: &'nvml Nvml, index: u32) -> Self {
        let device = nvml.device_by_index(index).map_err(|error| error.to_string());
        let is = device.as_ref().map(read::identity).unwrap_or_default();
        Known { index, device, is, standing: Standing::default(), parts: Vec::new() }
    }

    /// The card, and its parts.
    fn look(&mut self, seldom: bool, instances: &Instances, xids: &Xids) -> Vec<Card> {
        let device = match &self.device {
            Ok(device) => device,
            Err(problem) => return vec![self.card(&self.is, Reading::default(), Some(problem.clone()))],
        };
        let mut asked = Asked::default();
        let mut now = asked.now(device);
        if seldom {
            self.standing = asked.standing(device);
            let mig = self.standing.mig_enabled == Some(true);
            self.parts = if mig { asked.parts(device, instances) } else { Vec::new() };
        }
        if let Some(problem) = asked.lost {
            return vec![self.card(&self.is, Reading::default(), Some(problem))];
        }
        now.xid_errors = xids.of(self.index);
        let card = self.card(&self.is, Reading { now, standing: self.standing.clone() }, asked.problem);
        let parts = self.parts.iter().map(|part| {
            let mut asked = Asked::default();
            let now = asked.now(&part.device);
            let reading = Reading { now, standing: part.standing.clone() };
            match asked.lost {
                None => self.card(&part.is, reading, asked.problem),
                lost => self.card(&part.is, Reading::default(), lost),
            }
        });
        std::iter::once(card).chain(parts).collect()
    }

    fn card(&self, is: &Identity, reading: Reading, problem: Option<String>) -> Card {
        let device = format!("nvidia{}", self.index);
        Card { vendor: Vendor::Nvidia, index: self.index, device, is: is.clone(), reading, problem }
    }
}
