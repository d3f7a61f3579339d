//! Whether a chat request is answered with a tool call, and with which.
//!
//! It is when `tool_choice` says so, and, where the choice is free, when the last user message speaks
//! of the weather and the last message is not already a tool's answer: agents must come to an end.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::question::Question;

/// The call's arguments are one JSON object with one string: the content tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolCall {
    pub function: String,
    pub parameter: String,
}

#[derive(Deserialize)]
struct Tool {
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    properties: Map<String, Value>,
    required: Vec<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    role: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

enum Choice {
    Free,
    Required,
    Named(String),
}

impl ToolCall {
    /// Tools that cannot be understood are as good as none: the simulator judges no schemas.
    pub fn wanted(question: &Question<'_>) -> Option<ToolCall> {
        let tools: Vec<Tool> = serde_json::from_str(question.tools?.get()).ok()?;
        let mut functions = tools.into_iter().filter_map(|tool| tool.function);
        let function = match choice(question.tool_choice)? {
            Choice::Required => functions.next(),
            Choice::Named(name) => functions.find(|function| function.name == name),
            Choice::Free if asks_for_weather(question) => functions.next(),
            Choice::Free => None,
        }?;
        let Parameters { properties, required } = function.parameters;
        let parameter = required.into_iter().next().or_else(|| properties.into_iter().next().map(|(name, _)| name));
        Some(ToolCall { function: function.name, parameter: parameter.unwrap_or_else(|| "location".to_owned()) })
    }

    /// The arguments' text before and after the tokens.
    pub fn around_tokens(&self) -> (String, &'static str) {
        (format!("{{{}:\"", super::json_text::quoted(&self.parameter)), "\"}")
    }
}

fn choice(tool_choice: Option<&RawValue>) -> Option<Choice> {
    match tool_choice.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) {
        Some(Value::String(text)) if text == "none" => None,
        Some(Value::String(text)) if text == "required" => Some(Choice::Required),
        Some(Value::Object(object)) => object
            .get("function")
            .and_then(|function| function.get("name"))
            .and_then(Value::as_str)
            .map(|name| Choice::Named(name.to_owned())),
        _ => Some(Choice::Free),
    }
}

fn asks_for_weather(question: &Question<'_>) -> bool {
    let messages: Vec<Message<'_>> =
        question.messages.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let answered = messages.last().is_some_and(|message| message.role == "tool");
    let asked = messages.iter().rev().find(|message| message.role == "user").and_then(|message| message.content);
    !answered && asked.is_some_and(|content| content.get().to_lowercase().contains("weather"))
}

#[cfg(test)]
mod tests {
    use super::{Question, ToolCall};
    use crate::sim::question::Route;

    fn wanted(choice: &str, last_message: &str) -> Option<String> {
        let body = format!(
            r#"{{"model":"sim","messages":[{{"role":"user","content":"What is the Weather?"}}{last_message}],"tools":[
                {{"type":"function","function":{{"name":"first","parameters":{{"properties":{{"city":{{}}}}}}}}}},
                {{"type":"function","function":{{"name":"second"}}}}]{choice}}}"#
        );
        let question = Question::read(Route::ChatCompletions, body.as_bytes()).unwrap();
        ToolCall::wanted(&question).map(|call| format!("{}({})", call.function, call.parameter))
    }

    #[test]
    fn the_choice_is_obeyed() {
        let hello = r#",{"role":"user","content":"hello"}"#;
        assert_eq!(wanted("", "").as_deref(), Some("first(city)"), "the weather is asked for");
        assert_eq!(wanted("", hello), None, "the last question is not about the weather");
        assert_eq!(wanted(r#","tool_choice":"required""#, hello).as_deref(), Some("first(city)"), "required");
        assert_eq!(wanted(r#","tool_choice":"none""#, ""), None, "forbidden");
        let named = r#","tool_choice":{"type":"function","function":{"name":"second"}}"#;
        assert_eq!(wanted(named, hello).as_deref(), Some("second(location)"), "named");
    }

    #[test]
    fn an_answered_call_is_not_made_again() {
        assert_eq!(wanted("", r#",{"role":"tool","tool_call_id":"a","content":"rain"}"#), None, "agents end");
    }
}
