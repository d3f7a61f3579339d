//! Each route's answers, as JSON and as a stream, have the shape that the public SDKs read.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::Simulator;

fn content(generation: &Value, tokens: u64) -> String {
    (0..tokens).map(|index| format!("{generation}.{index} ")).collect()
}

/// The text is that of `sim.generation`, and its hash is the one told.
fn assert_numbered(text: &str, sim: &Value) {
    let tokens = sim["tokens"].as_u64().unwrap();
    assert_eq!(text, content(&sim["generation"], tokens), "numbered from 0 to {tokens}");
    assert_eq!(sim["sha256"], hex::encode(Sha256::digest(text)), "hashed");
}

fn joined<'a>(events: &'a [(String, Value)], pointer: &'a str) -> String {
    events.iter().filter_map(|(_, data)| data.pointer(pointer)?.as_str()).collect()
}

#[tokio::test]
async fn chat() {
    let simulator = Simulator::start(&["--tokens", "3"]);
    let mut request = json!({"model": "a \"b\"", "messages": [{"role": "user", "content": "hello"}]});
    let answer = simulator.post("/v1/chat/completions", &request).await;
    let json = answer.json();
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("x-sim-generation"), json["sim"]["generation"].to_string());
    assert_eq!((&json["object"], &json["model"]), (&json!("chat.completion"), &json!("a \"b\"")));
    let choice = &json["choices"][0];
    assert_eq!((&choice["message"]["role"], &choice["finish_reason"]), (&json!("assistant"), &json!("stop")));
    assert_numbered(choice["message"]["content"].as_str().unwrap(), &json["sim"]);
    assert_eq!(json["usage"]["completion_tokens"], 3);

    request["stream"] = json!(true);
    request["max_completion_tokens"] = json!(5);
    request["stream_options"] = json!({"include_usage": true});
    let answer = simulator.post("/v1/chat/completions", &request).await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "the terminator comes last");
    let events = answer.events();
    assert!(
        events.iter().all(|(_, data)| data["object"] == "chat.completion.chunk" && data["id"] == events[0].1["id"])
    );
    assert_eq!(events[0].1["choices"][0]["delta"]["role"], "assistant", "the role comes first");
    let [.., (_, finish), (_, usage)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(finish["choices"][0]["finish_reason"], "length", "the limit was reached");
    assert_numbered(&joined(&events, "/choices/0/delta/content"), &finish["sim"]);
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(5)));
    assert_eq!(events.len(), 1 + 5 + 2, "each token in an event of its own");
}

#[tokio::test]
async fn chat_with_tools() {
    let simulator = Simulator::start(&["--tokens", "3"]);
    let mut request = json!({
        "model": "sim", "messages": [{"role": "user", "content": "What is the weather?"}],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"properties": {"the \"city\"": {}}}}}],
    });
    let json = simulator.post("/v1/chat/completions", &request).await.json();
    let choice = &json["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["function"]["name"], &call["type"]), (&json!("look"), &json!("function")));
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_numbered(arguments["the \"city\""].as_str().unwrap(), &json["sim"]);

    request["stream"] = json!(true);
    let events = simulator.post("/v1/chat/completions", &request).await.events();
    let first = &events[0].1["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!((&first["index"], &first["function"]["name"]), (&json!(0), &json!("look")));
    assert!(first["id"].as_str().unwrap().starts_with("call_"), "a call has an id");
    let arguments = joined(&events, "/choices/0/delta/tool_calls/0/function/arguments");
    let arguments: Value = serde_json::from_str(&arguments).expect("the pieces make JSON");
    let finish = &events.last().unwrap().1;
    assert_eq!(finish["choices"][0]["finish_reason"], "tool_calls");
    assert_numbered(arguments["the \"city\""].as_str().unwrap(), &finish["sim"]);
}

#[tokio::test]
async fn completions() {
    let simulator = Simulator::start(&[]);
    let mut request = json!({"model": "sim", "prompt": "hello", "max_tokens": 4});
    let json = simulator.post("/v1/completions", &request).await.json();
    assert_eq!((&json["object"], &json["choices"][0]["finish_reason"]), (&json!("text_completion"), &json!("length")));
    assert_numbered(json["choices"][0]["text"].as_str().unwrap(), &json["sim"]);

    request["stream"] = json!(true);
    let events = simulator.post("/v1/completions", &request).await.events();
    assert_numbered(&joined(&events, "/choices/0/text"), &events.last().unwrap().1["sim"]);
}

#[tokio::test]
async fn responses() {
    let simulator = Simulator::start(&["--tokens", "2"]);
    let mut request = json!({"model": "sim", "input": "hello"});
    let json = simulator.post("/v1/responses", &request).await.json();
    assert_eq!((&json["object"], &json["status"]), (&json!("response"), &json!("completed")));
    assert_numbered(json["output"][0]["content"][0]["text"].as_str().unwrap(), &json["sim"]);

    request["stream"] = json!(true);
    let events = simulator.post("/v1/responses", &request).await.events();
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str().strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        names.join(" "),
        "created in_progress output_item.added content_part.added output_text.delta output_text.delta \
         output_text.done content_part.done output_item.done completed"
    );
    for (index, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(index)), "named and numbered");
    }
    let last = &events.last().unwrap().1;
    assert_numbered(&joined(&events, "/delta"), &last["sim"]);
    assert_numbered(last["response"]["output"][0]["content"][0]["text"].as_str().unwrap(), &last["sim"]);

    request["max_output_tokens"] = json!(1);
    let events = simulator.post("/v1/responses", &request).await.events();
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["response"]["status"]), ("response.incomplete", &json!("incomplete")));
}

#[tokio::test]
async fn messages() {
    let simulator = Simulator::start(&[]);
    let mut request = json!({"model": "sim", "max_tokens": 2, "messages": [{"role": "user", "content": "hello"}]});
    let json = simulator.post("/v1/messages", &request).await.json();
    assert_eq!((&json["type"], &json["stop_reason"]), (&json!("message"), &json!("max_tokens")));
    assert_eq!(json["usage"]["output_tokens"], 2);
    assert_numbered(json["content"][0]["text"].as_str().unwrap(), &json["sim"]);

    request["stream"] = json!(true);
    let events = simulator.post("/v1/messages", &request).await.events();
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "message_start content_block_start ping content_block_delta content_block_delta content_block_stop \
         message_delta message_stop"
    );
    assert!(events.iter().all(|(name, data)| data["type"] == *name), "the data names its event: {events:?}");
    let delta = &events[events.len() - 2].1;
    assert_numbered(&joined(&events, "/delta/text"), &delta["sim"]);
}

#[tokio::test]
async fn embeddings() {
    let simulator = Simulator::start(&[]);
    let floats = json!({"model": "sim", "input": ["a", "b", "a"], "dimensions": 20});
    let json = simulator.post("/v1/embeddings", &floats).await.json();
    let vector = |index: usize| json["data"][index]["embedding"].as_array().unwrap();
    assert_eq!((vector(0).len(), &json["data"][2]["index"]), (20, &json!(2)));
    assert_eq!(vector(0), vector(2), "the same input gives the same vector");
    assert_ne!(vector(0), vector(1), "another input gives another");
    let length: f64 = vector(0).iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-5, "vectors have unit length");

    let base64 = json!({"model": "sim", "input": "a", "dimensions": 20, "encoding_format": "base64"});
    let json_base64 = simulator.post("/v1/embeddings", &base64).await.json();
    let text = json_base64["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    let values: Vec<_> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let expected: Vec<_> = vector(0).iter().map(|value| value.as_f64().unwrap() as f32).collect();
    assert_eq!(values, expected, "both encodings tell the same vector");

    for (input, count) in [(json!([1, 2]), 1), (json!([[1, 2], [3]]), 2)] {
        let json = simulator.post("/v1/embeddings", &json!({"model": "sim", "input": input})).await.json();
        assert_eq!(json["data"].as_array().unwrap().len(), count, "token lists count as inputs");
        assert_eq!(json["data"][0]["embedding"].as_array().unwrap().len(), 8, "eight dimensions by default");
    }
}

#[tokio::test]
async fn models() {
    let simulator = Simulator::start(&["--model", "first", "--model", "team/second"]);
    let list = simulator.get("/v1/models").await.json();
    assert_eq!((&list["object"], &list["data"][1]["id"]), (&json!("list"), &json!("team/second")));
    for path in ["/v1/models/team/second", "/v1/models/team%2Fsecond"] {
        assert_eq!(simulator.get(path).await.json()["id"], "team/second", "{path}");
    }
    let missing = simulator.get("/v1/models/third").await;
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("model_not_found")));
    for path in ["/", "/health"] {
        assert_eq!(simulator.get(path).await.status, 200, "{path}");
    }
}
