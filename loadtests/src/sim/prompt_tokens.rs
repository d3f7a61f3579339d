//! The tokens of a prompt as OpenAI's models would count them, for testers who count by themselves.
//!
//! A message costs 3 tokens beside its role and its text, and the answer is primed with 3: OpenAI's cookbook, "How to
//! count tokens with tiktoken". Only texts are counted; of other content there is none here.

use serde::Deserialize;

use super::options::CountPrompts;
use super::question::{Question, Route};

#[derive(Deserialize)]
struct Message<'body> {
    role: &'body str,
    #[serde(borrow)]
    content: std::borrow::Cow<'body, str>,
}

impl CountPrompts {
    /// None where the question has a form that is not counted.
    pub fn count(self, route: Route, question: &Question<'_>) -> Option<u64> {
        match self {
            CountPrompts::Quarter => None,
            CountPrompts::O200k => counted(route, question),
        }
    }
}

fn counted(route: Route, question: &Question<'_>) -> Option<u64> {
    let tokens = |text: &str| u64::try_from(bpe_openai::o200k_base().count(text)).unwrap_or(u64::MAX);
    let text = |raw: &str| serde_json::from_str::<String>(raw).ok().map(|text| tokens(&text));
    match route {
        Route::ChatCompletions | Route::Messages => {
            let messages: Vec<Message<'_>> = serde_json::from_str(question.messages?.get()).ok()?;
            Some(messages.iter().map(|message| 3 + tokens(message.role) + tokens(&message.content)).sum::<u64>() + 3)
        }
        Route::Completions => text(question.prompt?.get()),
        Route::Embeddings => text(question.input?.get()),
        Route::Responses => text(question.input?.get()).map(|text| 3 + 1 + text + 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_counted_as_the_cookbook_says() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hello world"}]}"#;
        let question = Question::read(Route::ChatCompletions, body).expect("a good question");
        assert_eq!(CountPrompts::O200k.count(Route::ChatCompletions, &question), Some(3 + 1 + 2 + 3));
        assert_eq!(CountPrompts::Quarter.count(Route::ChatCompletions, &question), None);
        let body = br#"{"model":"m","messages":[{"role":"user","content":[]}]}"#;
        let question = Question::read(Route::ChatCompletions, body).expect("a good question");
        assert_eq!(CountPrompts::O200k.count(Route::ChatCompletions, &question), None, "no text");
    }
}
