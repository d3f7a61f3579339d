//! File and environment into settings; whatever is wrong is said with file, line and key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::{Backend, BackendUrl, Config};

/// What is wrong with the settings, and where.
#[derive(Debug)]
pub struct Problem {
    pub place: Place,
    pub key: String,
    pub message: String,
}

#[derive(Debug)]
pub enum Place {
    File { path: PathBuf, line: Option<usize> },
    Environment(String),
    Defaults,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, line: Some(line) } => write!(out, "{}:{line}: ", path.display())?,
            Place::File { path, line: None } => write!(out, "{}: ", path.display())?,
            Place::Environment(variable) => write!(out, "environment variable {variable}: ")?,
            Place::Defaults => {}
        }
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// The settings as they were read, and as they are meant.
pub struct Loaded {
    pub config: Config,
    /// What file and environment say, key by key; what they leave out is not there.
    pub table: Table,
}

/// The whole of the settings' story: the file if there is one, then the environment over it.
pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Loaded, Problem> {
    let source = file.map(Source::read).transpose()?;
    let mut table = source.as_ref().map(|source| source.table.clone()).unwrap_or_default();
    overlay(&mut table, environment)?;
    if let Some(url) = environment.get("OUTRIGGER_BACKEND") {
        let _: BackendUrl = url.parse().map_err(|error: &str| Problem {
            place: Place::Environment("OUTRIGGER_BACKEND".to_owned()),
            key: String::new(),
            message: error.to_owned(),
        })?;
        let backend = Table::from_iter([("url".to_owned(), Value::String(url.clone()))]);
        table.insert("backends".to_owned(), Value::Array(vec![Value::Table(backend)]));
    }
    let wrong = |(key, message): (String, String)| place(&key, message, source.as_ref(), environment);
    let config = meant(table.clone()).map_err(wrong)?;
    Ok(Loaded { config, table })
}

/// What such settings mean.
///
/// # Errors
/// The path of the key that is wrong, and why.
pub fn meant(table: Table) -> Result<Config, (String, String)> {
    let mut config = deserialize(table)?;
    for (number, backend) in config.backends.iter_mut().enumerate() {
        if backend.name.is_empty() {
            backend.name = Backend::name_at(number);
        }
    }
    config.contradiction().map_or(Ok(config), Err)
}

struct Source {
    path: PathBuf,
    text: String,
    table: Table,
}

impl Source {
    /// The file on its own first: its errors have lines.
    fn read(path: &Path) -> Result<Source, Problem> {
        let problem =
            |line, key: String, message| Problem { place: Place::File { path: path.to_owned(), line }, key, message };
        let text = std::fs::read_to_string(path).map_err(|error| problem(None, String::new(), error.to_string()))?;
        let line_of = |span: Option<std::ops::Range<usize>>| span.map(|span| line(&text, span.start));
        let deserializer = toml::Deserializer::parse(&text)
            .map_err(|error| problem(line_of(error.span()), String::new(), error.message().to_owned()))?;
        serde_path_to_error::deserialize::<_, Config>(deserializer).map_err(|error| {
            let key = error.path().to_string();
            let inner = error.into_inner();
            problem(line_of(inner.span()), named(key), inner.message().to_owned())
        })?;
        let table = text.parse().map_err(|error: toml::de::Error| {
            problem(line_of(error.span()), String::new(), error.message().to_owned())
        })?;
        Ok(Source { path: path.to_owned(), text, table })
    }

    /// The line on which a key stands, or its table.
    fn line_of(&self, key: &str) -> Option<usize> {
        let document = toml::de::DeTable::parse(&self.text).ok()?;
        let mut parts = key.split('.');
        let (name, mut value) = document.get_ref().get_key_value(parts.next()?)?;
        let mut at = name.span().start;
        for part in parts {
            value = match value.get_ref() {
                toml::de::DeValue::Table(table) => {
                    let Some((name, value)) = table.get_key_value(part) else { break };
                    at = name.span().start;
                    value
                }
                toml::de::DeValue::Array(array) => {
                    let Some(value) = part.parse::<usize>().ok().and_then(|index| array.get(index)) else { break };
                    at = value.span().start;
                    value
                }
                _ => break,
            };
        }
        Some(line(&self.text, at))
    }
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// serde_path_to_error writes `.` for the root and `backends[0].url` for places in lists.
fn named(path: String) -> String {
    if path == "." { String::new() } else { path.replace('[', ".").replace(']', "") }
}

fn deserialize(table: Table) -> Result<Config, (String, String)> {
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| (named(error.path().to_string()), error.into_inner().message().to_owned()))
}

/// Whoever said the key last is the one to name: the environment, else the file.
fn place(key: &str, message: String, source: Option<&Source>, environment: &BTreeMap<String, String>) -> Problem {
    let parts: Vec<_> = key.split('.').collect();
    let variable = environment.keys().find(|variable| {
        path_of(variable).is_some_and(|path| path.iter().zip(&parts).all(|(own, asked)| own == asked))
    });
    let place = match (variable, source) {
        (Some(variable), _) => Place::Environment(variable.clone()),
        (None, Some(source)) => Place::File { path: source.path.clone(), line: source.line_of(key) },
        (None, None) => Place::Defaults,
    };
    Problem { place, key: key.to_owned(), message }
}

/// `OUTRIGGER__SERVER__LISTEN` names `server.listen`.
fn path_of(variable: &str) -> Option<Vec<String>> {
    Some(variable.strip_prefix("OUTRIGGER__")?.split("__").map(str::to_lowercase).collect())
}

fn overlay(table: &mut Table, environment: &BTreeMap<String, String>) -> Result<(), Problem> {
    for (variable, text) in environment {
        let Some(path) = path_of(variable) else { continue };
        let problem = |message: &str| Problem {
            place: Place::Environment(variable.clone()),
            key: path.join("."),
            message: message.to_owned(),
        };
        let (name, parents) = path.split_last().ok_or_else(|| problem("names no key"))?;
        let mut here = &mut *table;
        let mut parents = parents.iter().peekable();
        while let Some(parent) = parents.next() {
            let index = parents.peek().and_then(|next| next.parse::<usize>().ok());
            let slot = here.entry(parent.as_str()).or_insert_with(|| match index {
                Some(_) => Value::Array(Vec::new()),
                None => Value::Table(Table::new()),
            });
            here = match (slot, index) {
                (Value::Table(table), _) => table,
                (Value::Array(items), Some(index)) if index <= items.len() => {
                    parents.next();
                    if index == items.len() {
                        items.push(Value::Table(Table::new()));
                    }
                    items[index].as_table_mut().ok_or_else(|| problem("is not a table"))?
                }
                (Value::Array(_), Some(_)) => return Err(problem("leaves a gap in the list")),
                _ => return Err(problem("is not a table")),
            };
        }
        here.insert(name.clone(), value(text));
    }
    Ok(())
}

/// A value as TOML would read it; what is none is a string, so that nobody needs to quote.
fn value(text: &str) -> Value {
    Value::deserialize(match toml::de::ValueDeserializer::parse(text) {
        Ok(deserializer) => deserializer,
        Err(_) => return Value::String(text.to_owned()),
    })
    .unwrap_or_else(|_| Value::String(text.to_owned()))
}
