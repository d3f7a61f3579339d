//! The library that runs the model, found when the process runs.
//!
//! `ort` looks for it at its first use and panics where it finds none. So it is always told first where the library
//! lies, which is the one way that answers with an error.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::Error;

/// A process has one, whatever is opened in it.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The library that the settings name, or else one beside the model, in `ORT_DYLIB_PATH`, or where the system keeps
/// its libraries. Only the first that is loaded counts: the others asked for later are not looked at.
pub fn load(named: Option<&Path>, model: &Path) -> Result<Environment, Error> {
    let library = choose(named, model)?;
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let failed = |reason: String| Error::Runtime { file: library.clone(), reason };
    let builder = ort::init_from(&library).map_err(|error| failed(error.to_string()))?;
    let made = builder.with_name("outrigger").with_telemetry(false).build();
    let made = made.map_err(|error| failed(error.to_string()))?;
    *environment = Some(made.clone());
    Ok(made)
}

fn choose(named: Option<&Path>, model: &Path) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        let missing = || Error::Runtime { file: named.to_owned(), reason: "there is no such file".into() };
        // Absolute: relative paths are first looked for beside the executable.
        return named.canonicalize().map_err(|_| missing());
    }
    if let Ok(beside) = model.join("libonnxruntime.so").canonicalize() {
        return Ok(beside);
    }
    let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    Ok(variable.map_or_else(|| PathBuf::from("libonnxruntime.so"), PathBuf::from))
}
