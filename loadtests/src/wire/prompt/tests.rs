use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Form, Prompt, Shape};

#[test]
fn every_body_is_unique_and_json() {
    let mut prompts = [Prompt::new(&Shape::default()), Prompt::new(&Shape::default())];
    let mut seen = HashSet::new();
    for _ in 0..500 {
        for prompt in &mut prompts {
            prompt.fresh();
            serde_json::from_slice::<Value>(prompt.body()).expect("JSON");
            assert!(seen.insert(prompt.body().to_vec()), "a body came twice");
        }
    }
}

#[test]
fn a_body_has_about_the_size_asked_for() {
    for size in [512, 1024, 32 * 1024, 256 * 1024] {
        let mut prompt = Prompt::new(&Shape { size, ..Shape::default() });
        let request = String::from_utf8(prompt.fresh().to_vec()).expect("text");
        let length = prompt.body().len();
        assert!(length.abs_diff(size) <= 16.max(size / 50), "{length} for {size}");
        assert!(request.contains(&format!("content-length: {length}\r\n\r\n{{")), "the head tells the length");
        assert!(request.contains("\\n") && request.contains("\\\""), "escapes are in it");
    }
}

#[test]
fn controls_travel_in_the_body() {
    let mut prompt = Prompt::new(&Shape { sim: json!({"tokens": 3}), ..Shape::default() });
    prompt.fresh();
    let body: Value = serde_json::from_slice(prompt.body()).unwrap();
    assert_eq!(body["sim"]["tokens"], 3);
}

#[test]
fn every_form_has_its_own_body() {
    let body = |form| {
        let shape = Shape { form, stream: true, usage: true, output_tokens: Some(7), ..Shape::default() };
        let mut prompt = Prompt::under("POST / HTTP/1.1\r\ncontent-length: ", &shape);
        prompt.fresh();
        String::from_utf8(prompt.body().to_vec()).expect("text")
    };
    let read = |form| serde_json::from_str::<Value>(&body(form)).expect("JSON");
    let (chat, completions, embeddings) = (read(Form::Chat), read(Form::Completions), read(Form::Embeddings));
    assert!(chat["messages"].is_array() && chat["max_tokens"] == 7, "{chat}");
    assert_eq!(chat["stream_options"]["include_usage"], true);
    assert!(completions["prompt"].is_string() && completions["stream"] == true, "{completions}");
    assert!(embeddings["input"].is_string() && embeddings["max_tokens"].is_null(), "{embeddings}");
    let malformed = body(Form::Malformed);
    assert!(serde_json::from_str::<Value>(&malformed).is_err(), "{malformed}");
}
