//! What a trace is written in.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// No header is longer.
const LONGEST_HEADER: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Azure's public LLM inference traces: CSV of `TIMESTAMP,ContextTokens,GeneratedTokens`.
    Azure,
    /// Mooncake's: a JSON object a line, with `timestamp` in milliseconds, lengths, and the prompt's blocks.
    Mooncake,
    /// Alibaba's ServeGen: clients by their rate and burstiness, with the distributions of their lengths.
    Servegen,
    /// BurstGPT: CSV with `Timestamp`, `Request tokens` and `Response tokens` among its columns.
    Burstgpt,
}

impl Format {
    /// By the first line; a folder is ServeGen's.
    pub fn of(path: &Path) -> anyhow::Result<Format> {
        let context = || format!("the trace {} cannot be read", path.display());
        if path.is_dir() {
            return Ok(Format::Servegen);
        }
        let file = File::open(path).with_context(context)?;
        let mut first = String::new();
        BufReader::new(file.take(LONGEST_HEADER)).read_line(&mut first).with_context(context)?;
        match Format::of_line(&first) {
            Some(format) => Ok(format),
            None => bail!(
                "what the trace {} is written in cannot be told from its first line: say load.format, one of `azure`, \
                 `mooncake`, `servegen`, `burstgpt`",
                path.display()
            ),
        }
    }

    fn of_line(line: &str) -> Option<Format> {
        let fields: Vec<&str> = line.trim_start_matches('\u{feff}').trim().split(',').map(str::trim).collect();
        if fields.contains(&"ContextTokens") {
            Some(Format::Azure)
        } else if fields.contains(&"Request tokens") {
            Some(Format::Burstgpt)
        } else if fields.first()?.starts_with('{') {
            Some(Format::Mooncake)
        } else if fields.len() == 6 && fields.first()?.parse::<f64>().is_ok() {
            Some(Format::Servegen)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn the_first_line_tells_the_format() {
        let of = Format::of_line;
        assert_eq!(of("\u{feff}TIMESTAMP,ContextTokens,GeneratedTokens\r\n"), Some(Format::Azure));
        let burst = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
        assert_eq!(of(burst), Some(Format::Burstgpt));
        assert_eq!(of("{\"timestamp\": 0, \"input_length\": 6758}"), Some(Format::Mooncake));
        assert_eq!(of("0,0,0,,0,0\n"), Some(Format::Servegen));
        assert_eq!(of("time,tokens\n"), None);
        assert_eq!(of(""), None);
    }
}
