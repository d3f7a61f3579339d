//! From a file to a scenario; whatever is wrong is said with file, line and key.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Load, Scenario};
use crate::load::arrival::Mix;

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {}{message}", .path.display(), .line.map(|line| format!(":{line}")).unwrap_or_default(), before(.key))]
pub struct ScenarioError {
    pub path: PathBuf,
    pub line: Option<usize>,
    /// `requests.0.weight`; empty where it is the file as a whole.
    pub key: String,
    pub message: String,
}

impl Scenario {
    /// Files that it names are found from its own folder.
    pub fn read(path: &Path) -> Result<Scenario, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError {
            path: path.to_owned(),
            line: None,
            key: String::new(),
            message: format!("cannot be read: {error}"),
        })?;
        let mut scenario = Scenario::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        if let Load::Trace(replay) = &mut scenario.load {
            replay.file = folder.join(&replay.file);
        }
        scenario.target.ca_file = scenario.target.ca_file.map(|file| folder.join(file));
        Ok(scenario)
    }

    /// The text of a file; the path is for the errors alone.
    pub fn parse(text: &str, path: &Path) -> Result<Scenario, ScenarioError> {
        let problem = |line, key, message| ScenarioError { path: path.to_owned(), line, key, message };
        let at = |error: &toml::de::Error| error.span().map(|span| line(text, span.start));
        let deserializer = toml::Deserializer::parse(text)
            .map_err(|error| problem(at(&error), String::new(), error.message().to_owned()))?;
        let scenario: Scenario = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let key = dotted(&error.path().to_string());
            let inner = error.into_inner();
            problem(line_of(text, &key).or(at(&inner)), key, inner.message().to_owned())
        })?;
        match scenario.contradiction() {
            Some((key, message)) => Err(problem(line_of(text, &key), key, message)),
            None => Ok(scenario),
        }
    }

    /// The same of a scenario that was changed after it was read.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.contradiction() {
            Some((key, message)) => Err(anyhow::anyhow!("{key}: {message}")),
            None => Ok(()),
        }
    }

    /// What its parts say against each other, with the key to blame.
    fn contradiction(&self) -> Option<(String, String)> {
        let own = |key: &str, message: String| Some((key.to_owned(), message));
        if let Err(message) = Mix::new(&self.requests, self.seed) {
            return own("requests", message);
        }
        for (place, kind) in self.requests.iter().enumerate() {
            if let Some((key, message)) = kind.contradiction() {
                return Some((format!("requests.{place}.{key}"), message));
            }
        }
        if matches!(self.load, Load::Closed(_))
            && let Some(place) = self.levels.iter().position(|level| level.measure().is_of_the_schedule())
        {
            let message = "a closed loop has no schedule that it could lag behind".to_owned();
            return Some((format!("levels.{place}"), message));
        }
        if !["http://", "https://"].iter().any(|scheme| self.target.url.starts_with(scheme)) {
            return own("target.url", format!("`{}` begins neither with http:// nor with https://", self.target.url));
        }
        match &self.simulator {
            Some(simulator) if !simulator.url.starts_with("http://") => {
                own("simulator.url", format!("`{}` does not begin with http://", simulator.url))
            }
            _ => self.fault_contradiction(),
        }
    }
}

fn before(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// serde_path_to_error writes `.` for the root and `requests[0].weight` for places in lists.
fn dotted(path: &str) -> String {
    if path == "." { String::new() } else { path.replace('[', ".").replace(']', "") }
}

/// The line on which a key stands; its table's, where it is not there.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut parts = key.split('.');
    let (name, mut value) = document.get_ref().get_key_value(parts.next()?)?;
    let mut at = name.span().start;
    for part in parts {
        let Some((start, inner)) = step(value.get_ref(), part) else { break };
        (at, value) = (start, inner);
    }
    Some(line(text, at))
}

type Spanned<'a> = toml::Spanned<DeValue<'a>>;

fn step<'a, 'text>(value: &'a DeValue<'text>, part: &str) -> Option<(usize, &'a Spanned<'text>)> {
    match value {
        DeValue::Table(table) => table.get_key_value(part).map(|(name, value)| (name.span().start, value)),
        DeValue::Array(array) => {
            let value = array.get(part.parse::<usize>().ok()?)?;
            Some((value.span().start, value))
        }
        _ => None,
    }
}
