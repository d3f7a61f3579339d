//! A model's own chat template: what its engine makes of the messages before it counts their tokens.
//!
//! Templates are Jinja, written for Python. They are rendered with `minijinja`, Python's methods on texts beside
//! it, and the names that Hugging Face gives them. A template is the operator's, but what it is rendered
//! with is a client's: its steps and depth have bounds. Where it fails, and some fail by intention, the
//! prompt is counted without it.

mod json;
pub mod messages;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

/// Steps of one rendering. A message takes 20 to 100 of them.
const MOST_STEPS: u64 = 2_000_000;
const MOST_DEPTH: usize = 100;
const NAME: &str = "chat_template";

pub struct Template {
    environment: Environment<'static>,
    pub contents: Contents,
    begin: Value,
    end: Value,
    failed: AtomicBool,
}

/// What a template takes for the content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A text: parts are joined by ends of lines, as vLLM and llama.cpp join them.
    Texts,
    /// A text or a list of parts.
    TextsAndParts,
    /// A list of parts and nothing else.
    Parts,
}

/// A rendered prompt, up to a bound.
pub struct Rendered {
    pub text: String,
    /// Bytes beyond it.
    pub left_out: usize,
}

impl Template {
    /// Compiles a template, and finds out by trying which contents it takes.
    pub fn new(source: &str, begin: Option<&str>, end: Option<&str>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_syntax(syntax()?);
        environment.set_fuel(Some(MOST_STEPS));
        environment.set_recursion_limit(MOST_DEPTH);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", json::tojson);
        // Marks what is learned from in training, and means nothing here.
        let source = ["{% generation %}", "{%- generation %}", "{%- generation -%}", "{% generation -%}"]
            .iter()
            .fold(source.to_owned(), |source, tag| source.replace(tag, ""));
        let source = ["{% endgeneration %}", "{%- endgeneration %}", "{%- endgeneration -%}", "{% endgeneration -%}"]
            .iter()
            .fold(source, |source, tag| source.replace(tag, ""));
        environment.add_template_owned(NAME, source)?;
        let token = |token: Option<&str>| Value::from(token.unwrap_or_default());
        let (begin, end, failed) = (token(begin), token(end), AtomicBool::new(false));
        let mut template = Template { environment, contents: Contents::Texts, begin, end, failed };
        template.contents = template.contents();
        Ok(template)
    }

    fn contents(&self) -> Contents {
        const NEEDLE: &str = "needle";
        let shows = |content: Value| {
            let message = Value::from_pairs([("role", Value::from("user")), ("content", content)]);
            let rendered = self.render([("messages".to_owned(), Value::from(vec![message]))].into(), 1 << 16);
            // A template that knows no parts may print them as a list.
            rendered.is_ok_and(|rendered| rendered.text.contains(NEEDLE) && !rendered.text.contains("'type'"))
        };
        let part = Value::from_pairs([("type", "text"), ("text", NEEDLE)]);
        match (shows(Value::from(NEEDLE)), shows(Value::from(vec![part]))) {
            (true, true) => Contents::TextsAndParts,
            (false, true) => Contents::Parts,
            (_, false) => Contents::Texts,
        }
    }

    /// Renders a prompt: `messages`, and whatever else the client gives its template.
    pub fn render(&self, mut names: BTreeMap<String, Value>, most_bytes: usize) -> Result<Rendered, Error> {
        names.insert("bos_token".to_owned(), self.begin.clone());
        names.insert("eos_token".to_owned(), self.end.clone());
        names.entry("add_generation_prompt".to_owned()).or_insert_with(|| Value::from(true));
        let mut kept = Kept { bytes: Vec::new(), left_out: 0, most_bytes };
        self.environment.get_template(NAME)?.render_captured_to(Value::from(names), &mut kept)?;
        let text = String::from_utf8(kept.bytes).unwrap_or_else(|cut| {
            let whole = cut.utf8_error().valid_up_to();
            String::from_utf8_lossy(&cut.as_bytes()[..whole]).into_owned()
        });
        Ok(Rendered { text, left_out: kept.left_out })
    }

    /// Says so, once: there may be thousands of prompts that a template does not take.
    pub fn tell_of(&self, failure: &Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %failure, "a chat template does not take a prompt; it, and others like it, are counted without");
        }
    }
}

/// Holds what is to be counted of a prompt and no more.
struct Kept {
    bytes: Vec<u8>,
    left_out: usize,
    most_bytes: usize,
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let kept = bytes.len().min(self.most_bytes - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.left_out += bytes.len() - kept;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn raise_exception(reason: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, reason))
}

/// As Hugging Face's library sets Jinja.
fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()
}

/// Some templates tell the model which day it is.
fn strftime_now(format: &str) -> Result<String, Error> {
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    jiff::fmt::strtime::format(format, &jiff::Zoned::now()).map_err(wrong)
}

#[cfg(test)]
mod tests;
