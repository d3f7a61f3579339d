//! What one generation says, settled before its first byte: `"n.0 "`, `"n.1 "`, and so on.

use sha2::{Digest, Sha256};

use super::json_text::JsonText;
use super::question::Route;
use super::tools::ToolCall;

/// More in one generation would only take memory; a request for more is refused.
pub const MOST_TOKENS: u64 = 10_000_000;

#[derive(Debug)]
pub struct Script {
    pub number: u64,
    pub route: Route,
    /// The model's name as a JSON string, quotes included.
    pub model: String,
    pub created: u64,
    pub tokens: u64,
    pub finish: Finish,
    pub prompt_tokens: u64,
    pub include_usage: bool,
    pub tool: Option<ToolCall>,
    /// More members for the `sim` object, each with a comma before it.
    pub echo: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    ToolCalls,
}

impl Finish {
    /// As chat and completions word it.
    pub fn reason(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
        }
    }
}

impl Script {
    /// Writes all content tokens, and gives the hash of what it wrote.
    pub fn write_content(&self, out: &mut JsonText) -> String {
        let start = out.len();
        for index in 0..self.tokens {
            write_token(self.number, index, out);
        }
        hex::encode(Sha256::digest(out.since(start)))
    }

    /// Writes `,"sim":{…}`, the member by which a tester checks the whole.
    pub fn write_sim(&self, sha256: &str, out: &mut JsonText) {
        out.raw(r#","sim":{"generation":"#).number(self.number).raw(r#","tokens":"#).number(self.tokens);
        out.raw(r#","sha256":""#).raw(sha256).raw("\"");
        out.raw(self.echo.as_deref().unwrap_or_default()).raw("}");
    }

    /// Writes the `usage` object of chat and completions.
    pub fn write_usage(&self, out: &mut JsonText) {
        out.raw(r#"{"prompt_tokens":"#).number(self.prompt_tokens);
        out.raw(r#","completion_tokens":"#).number(self.tokens);
        out.raw(r#","total_tokens":"#).number(self.prompt_tokens + self.tokens).raw("}");
    }
}

/// Writes token `index` of generation `number`; it needs no escaping in JSON.
pub fn write_token(number: u64, index: u64, out: &mut JsonText) {
    out.number(number).raw(".").number(index).raw(" ");
}

/// As many tokens of generation `number` as make about `bytes` of content, and at least one.
pub fn tokens_in_bytes(number: u64, bytes: u64) -> u64 {
    let fixed = digits(number) + 2;
    let (mut tokens, mut left, mut width, mut of_this_width) = (0, bytes, 1, 10);
    loop {
        let fitting = left / (fixed + width);
        if fitting < of_this_width {
            return (tokens + fitting).max(1);
        }
        tokens += of_this_width;
        left -= of_this_width * (fixed + width);
        width += 1;
        of_this_width = 9 * 10_u64.pow(u32::try_from(width - 1).unwrap_or(1));
    }
}

fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}

#[cfg(test)]
mod tests {
    use super::{JsonText, tokens_in_bytes, write_token};

    #[test]
    fn the_content_has_about_the_bytes_asked_for() {
        for bytes in [0, 5, 100, 1_000, 65_536, 1_000_000] {
            let (number, mut out) = (123, JsonText::default());
            for index in 0..tokens_in_bytes(number, bytes) {
                write_token(number, index, &mut out);
            }
            let written = u64::try_from(out.len()).unwrap();
            assert!(written.abs_diff(bytes) <= 12, "{written} bytes for {bytes}");
        }
    }
}
