//! A generation request, parsed once: only the fields that matter here, borrowed from the body.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::controls::Controls;
use super::problem::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    Messages,
}

impl Route {
    pub fn from_path(path: &str) -> Option<Route> {
        match path {
            "/v1/chat/completions" => Some(Route::ChatCompletions),
            "/v1/completions" => Some(Route::Completions),
            "/v1/embeddings" => Some(Route::Embeddings),
            "/v1/responses" => Some(Route::Responses),
            "/v1/messages" => Some(Route::Messages),
            _ => None,
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Route::ChatCompletions => "/v1/chat/completions",
            Route::Completions => "/v1/completions",
            Route::Embeddings => "/v1/embeddings",
            Route::Responses => "/v1/responses",
            Route::Messages => "/v1/messages",
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Question<'a> {
    #[serde(borrow, default)]
    pub model: Cow<'a, str>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    #[serde(borrow)]
    pub messages: Option<&'a RawValue>,
    #[serde(borrow)]
    pub prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tool_choice: Option<&'a RawValue>,
    pub dimensions: Option<usize>,
    pub encoding_format: Option<Encoding>,
    #[serde(default)]
    pub sim: Option<Controls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Float,
    Base64,
}

impl<'a> Question<'a> {
    pub fn read(route: Route, body: &'a [u8]) -> Result<Question<'a>, Problem> {
        let question: Question<'a> = serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("The request body could not be read: {error}.")))?;
        if question.model.is_empty() {
            return Err(Problem::missing("model"));
        }
        match route {
            Route::ChatCompletions | Route::Messages if question.messages.is_none() => {
                Err(Problem::missing("messages"))
            }
            Route::Embeddings if question.input.is_none() => Err(Problem::missing("input")),
            _ if question.limit() == Some(0) => Err(Problem::bad_request("A token limit must be at least 1.")),
            _ => Ok(question),
        }
    }

    /// Embeddings have no stream form, whatever the request says.
    pub fn streams(&self, route: Route) -> bool {
        self.stream == Some(true) && route != Route::Embeddings
    }

    pub fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// The most tokens that the client wants: each API has its own name for it, chat has two.
    pub fn limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens).or(self.max_output_tokens)
    }

    /// A quarter of the prompt's bytes as written: steady, and near what tokenizers make of English.
    pub fn prompt_tokens(&self) -> u64 {
        let bytes = [self.messages, self.prompt, self.input].into_iter().flatten().map(|raw| raw.get().len()).sum();
        usize::div_ceil(bytes, 4).try_into().unwrap_or(u64::MAX)
    }
}
