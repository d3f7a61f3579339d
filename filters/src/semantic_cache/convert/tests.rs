use serde_json::json;

use super::*;

/// From the plain answer to events and back.
fn there_and_back(route: Route, answer: &Value) -> Value {
    let events = to_events(route, answer.to_string().as_bytes(), true).expect("it has events");
    let whole = to_whole(route, events.iter().map(|event| &event[..])).expect("they are an answer");
    serde_json::from_slice(&whole).unwrap()
}

#[test]
fn a_plain_answer_is_the_same_after_going_as_a_stream() {
    let usage = json!({"prompt_tokens":1,"completion_tokens":2,"total_tokens":3});
    let message = json!({"role":"assistant","content":"Hello \"you\"\n","refusal":null});
    let chat = json!({"id":"c","object":"chat.completion","created":1,"model":"m","choices":[
        {"index":0,"message":message,"logprobs":null,"finish_reason":"stop"}],"usage":usage});
    assert_eq!(there_and_back(Route::ChatCompletions, &chat), chat);
    let mut tools = chat.clone();
    let call = |id: &str| json!({"id":id,"type":"function","function":{"name":"f","arguments":"{\"a\":1}"}});
    tools["choices"][0]["message"] =
        json!({"role":"assistant","content":"","refusal":null,"tool_calls":[call("1"), call("2")]});
    assert_eq!(there_and_back(Route::ChatCompletions, &tools), tools);
    let text = json!({"id":"c","object":"text_completion","created":1,"model":"m","choices":[
        {"index":0,"text":"Hello","logprobs":null,"finish_reason":"length"}],"usage":usage});
    assert_eq!(there_and_back(Route::Completions, &text), text);
    let blocks = json!([{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"Hello"},
        {"type":"tool_use","id":"t","name":"f","input":{"a":[1]}}]);
    let message = json!({"id":"m","type":"message","role":"assistant","model":"c","content":blocks,
        "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}});
    assert_eq!(there_and_back(Route::Messages, &message), message);
    let output = json!([{"type":"reasoning","id":"r","summary":[]},{"type":"message","id":"i","status":"completed",
        "role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}]}]);
    let response = json!({"id":"r","object":"response","status":"completed","error":null,"output":output,
        "usage":{"input_tokens":1,"output_tokens":2}});
    assert_eq!(there_and_back(Route::Responses, &response), response);
}

#[test]
fn usage_is_streamed_only_to_those_who_asked() {
    let chat = json!({"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}});
    let body = chat.to_string();
    let said = |usage| to_events(Route::ChatCompletions, body.as_bytes(), usage).unwrap();
    let count =
        |events: &[Bytes]| events.iter().filter(|event| memchr::memmem::find(event, b"\"usage\"").is_some()).count();
    assert_eq!((count(&said(false)), count(&said(true))), (0, 4));
    assert_eq!(said(false).last().unwrap(), "data: [DONE]\n\n");
    let without = json!({"choices":chat["choices"]}).to_string();
    assert_eq!(to_events(Route::ChatCompletions, without.as_bytes(), true), None, "what is not known is not made up");
}

#[test]
fn what_is_not_understood_has_no_other_form() {
    for body in [
        json!({"choices":[{"index":0,"message":{"role":"assistant","content":"x","audio":{"id":"a"}},"finish_reason":"stop"}]}),
        json!({"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"logprobs":{"content":[1]},"finish_reason":"stop"}]}),
        json!({"choices":[]}),
    ] {
        assert_eq!(to_events(Route::ChatCompletions, body.to_string().as_bytes(), false), None, "{body}");
    }
    let odd = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"new\":{\"x\":1}},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(to_whole(Route::ChatCompletions, [&odd[..]].into_iter()), None);
}
