//! Results as they lie in files.

use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::result::{FORMAT, Run};

/// The run in a file. Errors name the file, and the key where there is one.
pub fn read_run(path: &Path) -> anyhow::Result<Run> {
    let run = parse(&read(path)?).with_context(|| format!("{} is no result of a load test", path.display()))?;
    checked(run).with_context(|| path.display().to_string())
}

pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

pub fn parse<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A run of the form that this version reads.
pub fn checked(run: Run) -> anyhow::Result<Run> {
    anyhow::ensure!(
        run.format == FORMAT,
        "format: {:?} is not {FORMAT:?}; read it with the version that wrote it, {}",
        run.format,
        run.tool
    );
    Ok(run)
}

/// Written beside it first and then moved, so that a file is never half written.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::synthetic::Builder;

    #[test]
    fn a_run_comes_back_and_an_error_names_the_key() {
        let run = Builder::new("seconds").slice(1.0, &[5.0, 6.0]).build().unwrap();
        let mut value = serde_json::to_value(&run).unwrap();
        let back: Run = parse(&value.to_string()).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), value);
        value["counts"]["sent"] = "many".into();
        let error = parse::<Run>(&value.to_string()).unwrap_err().to_string();
        assert!(error.starts_with("counts.sent: invalid type"), "{error}");
    }

    #[test]
    fn another_format_is_refused() {
        let mut run = Builder::new("seconds").slice(1.0, &[5.0]).build().unwrap();
        run.format = "outrigger-load/9".to_owned();
        let error = checked(run).unwrap_err().to_string();
        assert!(error.contains("outrigger-load/9"), "{error}");
    }
}
