//! Which keys differ between two settings, by the paths that a person would name them by.
//!
//! What is compared is what was written, with the documented defaults in place of what was left out: so a key that is written
//! down with its default has not changed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use toml::{Table, Value};

/// Every key with its default.
static DEFAULTS: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(include_str!("../../config/outrigger.toml")).unwrap_or_default());

/// The paths at which two settings differ.
pub fn changed(before: &Table, after: &Table) -> Vec<String> {
    let (before, after) = (leaves(before), leaves(after));
    let paths = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    let mut paths: Vec<_> = paths.filter(|path| before.get(*path) != after.get(*path)).cloned().collect();
    paths.sort_unstable();
    paths
}

/// Puts what stood at a path before where it is to stand after.
pub fn restore(path: &str, before: &Table, after: &mut Table) {
    let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut old = Some(before);
    let mut new = after;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        old = old.and_then(|table| table.get(parent)?.as_table());
        let slot = new.entry(parent).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(table) = slot else { return };
        new = table;
    }
    match old.and_then(|table| table.get(name)) {
        Some(value) => drop(new.insert(name.to_owned(), value.clone())),
        None => drop(new.remove(name)),
    }
}

fn leaves(table: &Table) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    let mut written = table.clone();
    for (name, defaults) in DEFAULTS.iter() {
        fill(&mut written, name, defaults);
    }
    take(&written, "", &mut leaves);
    leaves
}

/// Puts a default where nothing is written. The parts of a list have none: what is left out there is left out.
fn fill(table: &mut Table, name: &str, default: &Value) {
    match (table.get_mut(name), default) {
        (Some(Value::Table(written)), Value::Table(defaults)) => {
            for (name, default) in defaults {
                fill(written, name, default);
            }
        }
        (Some(_), _) => {}
        (None, default) => drop(table.insert(name.to_owned(), default.clone())),
    }
}

fn take(table: &Table, above: &str, leaves: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Table(table) => take(table, &path, leaves),
            Value::Array(list) => match named(list) {
                Some(parts) => {
                    // Which there are, and in what order.
                    let names = parts.iter().map(|(name, _)| Value::String((*name).to_owned()));
                    leaves.insert(path.clone(), Value::Array(names.collect()));
                    parts.into_iter().for_each(|(name, part)| take(part, &format!("{path}.{name}"), leaves));
                }
                None => drop(leaves.insert(path, value.clone())),
            },
            value => drop(leaves.insert(path, plain(value))),
        }
    }
}

/// A whole number is the same as a fraction that is one.
fn plain(value: &Value) -> Value {
    match value {
        Value::Integer(number) => Value::Float(*number as f64),
        value => value.clone(),
    }
}

/// The tables of a list by their names, if all have one of their own.
fn named(list: &[Value]) -> Option<Vec<(&str, &Table)>> {
    let part = |part| {
        let table = Value::as_table(part)?;
        Some((table.get("name")?.as_str()?, table))
    };
    let parts: Vec<_> = list.iter().map(part).collect::<Option<_>>()?;
    if parts.is_empty() {
        return None;
    }
    let twice = (1..parts.len()).any(|place| parts[..place].iter().any(|(name, _)| *name == parts[place].0));
    (!twice).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(before: &str, after: &str) -> Vec<String> {
        changed(&before.parse().unwrap(), &after.parse().unwrap())
    }

    #[test]
    fn a_key_that_is_written_with_its_default_has_not_changed() {
        assert_eq!(paths("", "[server]\nthreads = 0\n[breaker]\nopen_ms = 1000"), Vec::<String>::new());
        assert_eq!(paths("", "[server]\nthreads = 2"), ["server.threads"]);
        assert_eq!(paths("[server]\nthreads = 2", ""), ["server.threads"]);
    }

    #[test]
    fn parts_of_lists_are_named_by_their_names() {
        let two = "[[backends]]\nname = 'a'\nurl = 'x'\n[[backends]]\nname = 'b'\nurl = 'y'\n";
        assert_eq!(paths(two, &two.replace("'y'", "'z'")), ["backends.b.url"]);
        assert_eq!(
            paths(two, "[[backends]]\nname = 'a'\nurl = 'x'\n"),
            ["backends", "backends.b.name", "backends.b.url"]
        );
        assert_eq!(
            paths("[[breaker.models]]\nmodels = ['a']", "[[breaker.models]]\nmodels = ['b']"),
            ["breaker.models"]
        );
    }

    #[test]
    fn what_is_restored_has_not_changed() {
        for (before, after) in [
            ("[server]\nthreads = 2", "[server]\nthreads = 3\ndrain_secs = 5"),
            ("", "[server]\nthreads = 3\ndrain_secs = 5"),
            ("[server]\nthreads = 2", "[server]\ndrain_secs = 5"),
        ] {
            let (before, mut after): (Table, Table) = (before.parse().unwrap(), after.parse().unwrap());
            restore("server.threads", &before, &mut after);
            assert_eq!(changed(&before, &after), ["server.drain_secs"], "{before:?}");
        }
    }
}
