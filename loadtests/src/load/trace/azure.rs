//! Azure's public traces of LLM inference, of 2023 and of 2024.

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::Recorded;
use super::recording::{Input, Lines};

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "TIMESTAMP")]
    time: String,
    #[serde(rename = "ContextTokens")]
    input_tokens: u32,
    #[serde(rename = "GeneratedTokens")]
    output_tokens: u32,
}

pub fn read(input: Input) -> Lines {
    let rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input).into_deserialize::<Row>();
    // The header is line 1, and no field spans lines.
    Box::new(rows.zip(2_u64..).map(|(row, line)| {
        let row = row?;
        let at = nanosecond(&row.time).with_context(|| format!("line {line}: {:?} is no time", row.time))?;
        let (input_tokens, output_tokens) = (Some(row.input_tokens), Some(row.output_tokens));
        Ok(Recorded { at, input_tokens, output_tokens, blocks: Box::default() })
    }))
}

/// Since 1970. The trace of 2024 says its offset from UTC, that of 2023 says none and means it.
fn nanosecond(text: &str) -> anyhow::Result<i64> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => text.parse::<DateTime>()?.to_zoned(TimeZone::UTC)?.timestamp(),
    };
    Ok(i64::try_from(moment.as_nanosecond())?)
}

#[cfg(test)]
mod tests {
    use super::nanosecond;

    #[test]
    fn both_years_write_times_in_their_own_way() {
        let first = nanosecond("2023-11-16 18:15:46.6805900").unwrap();
        assert_eq!(nanosecond("2023-11-16 18:15:50.9951690").unwrap() - first, 4_314_579_000, "to 100 ns");
        assert_eq!(nanosecond("2023-11-16 18:15:46.680590+00:00").unwrap(), first, "with an offset");
        assert!(nanosecond("half past two").is_err());
    }
}
