//! Anthropic's Messages and OpenAI's Responses as the chats that engines make of them.

use minijinja::value::Value;

use super::{joined, list, member};

/// Anthropic's messages, its system's text first. What a message says of a tool's result is a message of the tool.
pub fn messages(system: &Value, messages: &Value) -> Vec<Value> {
    let mut chat: Vec<Value> = beginning(system).into_iter().collect();
    for message in list(messages) {
        let role = message.get_attr("role").unwrap_or_default();
        let content = message.get_attr("content").unwrap_or_default();
        let blocks = list(&content);
        let named = |name: &str| blocks.iter().filter(|block| is(block, name)).cloned().collect::<Vec<_>>();
        let (results, calls) = (named("tool_result"), named("tool_use"));
        chat.extend(results.iter().map(result));
        let rest: Value = blocks.iter().filter(|block| !is(block, "tool_result") && !is(block, "tool_use")).collect();
        let only_results = !results.is_empty() && rest.len() == Some(0);
        if only_results {
            continue;
        }
        let mut members = vec![("role", role), ("content", if blocks.is_empty() { content } else { rest })];
        if !calls.is_empty() {
            members.push(("tool_calls", calls.iter().map(|used| call(used, "input")).collect()));
        }
        chat.push(Value::from_pairs(members));
    }
    chat
}

/// The items of a response's input, its instructions first.
pub fn items(instructions: &Value, input: &Value) -> Vec<Value> {
    let mut chat: Vec<Value> = beginning(instructions).into_iter().collect();
    if input.as_str().is_some() {
        chat.push(Value::from_pairs([("role", Value::from("user")), ("content", input.clone())]));
    }
    for item in list(input) {
        if is(&item, "function_call") {
            let calls = Value::from(vec![call(&item, "arguments")]);
            chat.push(Value::from_pairs([("role", Value::from("assistant")), ("tool_calls", calls)]));
        } else if is(&item, "function_call_output") {
            let output = item.get_attr("output").unwrap_or_default();
            chat.push(Value::from_pairs([("role", Value::from("tool")), ("content", output)]));
        } else if member(&item, "role").is_some() {
            chat.push(item);
        }
    }
    chat
}

/// The tools of both in the form of Chat Completions.
pub fn tools(given: &Value) -> Value {
    let tool = |tool: &Value| {
        if member(tool, "function").is_some() {
            return tool.clone();
        }
        let of = |key: &str| member(tool, key).map(|value| (key.to_owned(), value));
        let parameters = member(tool, "parameters").or_else(|| member(tool, "input_schema"));
        let parameters = parameters.map(|parameters| ("parameters".to_owned(), parameters));
        let function = Value::from_pairs([of("name"), of("description"), parameters].into_iter().flatten());
        Value::from_pairs([("type", Value::from("function")), ("function", function)])
    };
    list(given).iter().map(tool).collect()
}

fn beginning(text: &Value) -> Option<Value> {
    let text = match text.as_str() {
        Some(text) => text.to_owned(),
        None => joined(text),
    };
    let system = |text: String| Value::from_pairs([("role", Value::from("system")), ("content", Value::from(text))]);
    (!text.is_empty()).then(|| system(text))
}

fn is(item: &Value, kind: &str) -> bool {
    member(item, "type").is_some_and(|found| found.as_str() == Some(kind))
}

fn result(block: &Value) -> Value {
    let content = block.get_attr("content").unwrap_or_default();
    let id = block.get_attr("tool_use_id").unwrap_or_default();
    Value::from_pairs([("role", Value::from("tool")), ("content", content), ("tool_call_id", id)])
}

fn call(made: &Value, arguments: &str) -> Value {
    let of = |key: &str| made.get_attr(key).unwrap_or_default();
    let function = Value::from_pairs([("name", of("name")), ("arguments", of(arguments))]);
    Value::from_pairs([("id", of("id")), ("type", Value::from("function")), ("function", function)])
}
