use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ask::Sharing;
use crate::{Route, Tenant};

fn ask(route: Route, body: &serde_json::Value) -> Arc<Ask> {
    let body = Bytes::from(body.to_string());
    let target = route.path().to_owned();
    Arc::new(Ask::read(route, Tenant::anonymous(), target, HeaderMap::new(), body, Sharing::Allowed).unwrap())
}

fn tokenizers() -> Arc<Tokenizers> {
    Arc::new(Tokenizers::new(&[]).unwrap())
}

fn count(route: Route, body: &serde_json::Value) -> u64 {
    tokenizers().prompt(&ask(route, body))
}

#[test]
fn texts_have_the_tokens_that_openai_publishes() {
    let text = |model: &str, text: &str| tokenizers().text(Some(model), text);
    // OpenAI's cookbook, "How to count tokens with tiktoken".
    assert_eq!(text("gpt-4", "antidisestablishmentarianism"), 6);
    assert_eq!(text("gpt-4o", "antidisestablishmentarianism"), 6);
    assert_eq!(text("gpt-3.5-turbo", "お誕生日おめでとう"), 9);
    assert_eq!(text("gpt-4o", "お誕生日おめでとう"), 8);
    assert_eq!(text("gpt-4o", "2 + 2 = 4"), 7);
    assert_eq!(tokenizers().text(None, ""), 0);
}

#[test]
fn a_chat_has_the_tokens_that_openai_publishes() {
    // The cookbook's example and the counts that OpenAI's API gave for it.
    let messages = json!([
        {"role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
        {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
        {"role": "system", "name": "example_assistant", "content": "Things working well together will increase revenue."},
        {"role": "system", "name": "example_user", "content": "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
        {"role": "system", "name": "example_assistant", "content": "Let's talk later when we're less busy about how to do better."},
        {"role": "user", "content": "This late pivot means we don't have time to boil the ocean for the client deliverable."},
    ]);
    for (model, tokens) in [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)] {
        let body = json!({"model": model, "messages": messages});
        assert_eq!(count(Route::ChatCompletions, &body), tokens, "{model}");
    }
}

#[test]
fn prompts_and_inputs_are_texts_or_tokens_or_lists_of_them() {
    for (prompt, tokens) in [
        (json!("hello world"), 2),
        (json!(["hello world", "hello"]), 3),
        (json!([1, 2, 3]), 3),
        (json!([[1, 2], [3]]), 3),
        (json!(null), 0),
        (json!({"hello": "world"}), 0),
    ] {
        assert_eq!(count(Route::Completions, &json!({"prompt": prompt, "n": 4})), tokens, "{prompt}");
        assert_eq!(count(Route::Embeddings, &json!({"input": prompt, "dimensions": 4})), tokens, "{prompt}");
    }
}

#[test]
fn parts_of_all_apis_are_read_and_media_are_a_flat_estimate() {
    let data = "A".repeat(100_000);
    let content = |part: serde_json::Value| {
        let body = json!({"messages": [{"role": "user", "content": [part]}]});
        count(Route::ChatCompletions, &body) - PER_ONE_MESSAGE
    };
    assert_eq!(content(json!({"type": "text", "text": "hello world"})), 2);
    assert_eq!(content(json!({"type": "image_url", "image_url": {"url": data}})), 765);
    assert_eq!(content(json!({"type": "image_url", "image_url": {"url": data, "detail": "low"}})), 85);
    assert_eq!(content(json!({"type": "input_image", "image_url": data, "detail": "low"})), 85);
    assert_eq!(content(json!({"type": "input_audio", "input_audio": {"data": data}})), 765);
    assert_eq!(content(json!({"type": "file", "file": {"file_data": data, "filename": "x"}})), 765);
    assert_eq!(content(json!({"type": "image", "source": {"type": "base64", "data": data}})), 765);
    assert_eq!(content(json!({"type": "tool_result", "content": [{"type": "text", "text": "hello world"}]})), 2);
    assert_eq!(content(json!({"type": "tool_use", "name": "hello", "input": {}})), 2);
}

/// One message's own tokens, its role, and the priming of the answer.
const PER_ONE_MESSAGE: u64 = 3 + 1 + 3;

#[test]
fn responses_and_messages_count_what_stands_beside_the_messages() {
    let hello = json!([{"role": "user", "content": "hello world"}]);
    let one = PER_ONE_MESSAGE + 2;
    assert_eq!(count(Route::Responses, &json!({"input": "hello world"})), one);
    assert_eq!(count(Route::Responses, &json!({"input": hello})), one);
    assert_eq!(count(Route::Responses, &json!({"input": hello, "instructions": "hello"})), one + 1);
    assert_eq!(count(Route::Messages, &json!({"messages": hello, "system": "hello"})), one + 1);
    let system = json!([{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]);
    assert_eq!(count(Route::Messages, &json!({"messages": hello, "system": system})), one + 1);
    let tools = json!([{"name": "hello"}]);
    let written = tokenizers().text(None, &tools.to_string());
    assert_eq!(count(Route::Messages, &json!({"messages": hello, "tools": tools})), one + written);
}

#[test]
fn calls_of_tools_count_as_what_the_model_said() {
    let call =
        json!({"id": "call_123456", "type": "function", "function": {"name": "hello", "arguments": "hello world"}});
    let body = json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [call]}]});
    assert_eq!(count(Route::ChatCompletions, &body), PER_ONE_MESSAGE + 3);
}

/// Every word of the vocabulary is a token, and so is every other.
fn word_level() -> (tempfile::Config, tempfile::File) {
    tempfile::word_level()
}

mod tempfile {
    //! A tokenizer's file that goes away with its test.
    use std::path::PathBuf;

    pub use super::super::Config;

    pub struct File(PathBuf);

    impl File {
        pub fn new(name: &str, content: &str) -> Self {
            let path = std::env::temp_dir().join(format!("outrigger-{}-{name}.json", std::process::id()));
            std::fs::write(&path, content).unwrap();
            File(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    pub fn config(models: &str, file: &File) -> Config {
        serde_json::from_value(serde_json::json!({"models": [models], "file": file.0})).unwrap()
    }

    pub fn word_level() -> (Config, File) {
        let content = serde_json::json!({
            "version": "1.0",
            "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "padding": {"strategy": {"Fixed": 3}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                        "pad_type_id": 0, "pad_token": "[UNK]"},
            "added_tokens": [], "normalizer": null, "post_processor": null, "decoder": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1, "world": 2}, "unk_token": "[UNK]"},
        });
        let file = File::new("words", &content.to_string());
        (config("words-*", &file), file)
    }
}

/// A folder with a tokenizer of words, and these files beside it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("outrigger-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let word = |id: u64, special: bool, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": special})
        };
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
            "added_tokens": [word(3, true, "<s>"), word(4, true, "<end>"), word(5, false, "<user>")],
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing", "pair": [],
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1, "world": 2, "<s>": 3, "<end>": 4, "<user>": 5}, "unk_token": "[UNK]"},
        });
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(folder.join(name), content).unwrap());
        Folder(folder)
    }

    fn tokenizers(&self, template: Option<&str>) -> Result<Tokenizers, Error> {
        let (file, chat_template) = (self.0.join("tokenizer.json"), template.map(|name| self.0.join(name)));
        Tokenizers::new(&[Config { models: Models::all(), file, chat_template }])
    }

    fn count(&self, route: Route, body: &serde_json::Value) -> u64 {
        self.tokenizers(None).unwrap().prompt(&ask(route, body))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{% if m.role != 'user' %}{{ raise_exception('users only') }}{% endif %}<user>{{ m.content }}{{ eos_token }}{% endfor %}";

fn said(role: &str, content: serde_json::Value) -> serde_json::Value {
    json!({"messages": [{"role": role, "content": content}]})
}

#[test]
fn a_chat_is_counted_as_its_models_template_writes_it() {
    let tokens = r#""bos_token": {"content": "<s>"}, "eos_token": "<end>""#;
    let config = format!("{{{tokens}, \"chat_template\": \"{TEMPLATE}\"}}");
    let named = format!("{{{tokens}, \"chat_template\": [{{\"name\": \"default\", \"template\": \"{TEMPLATE}\"}}]}}");
    let bare = format!("{{{tokens}}}");
    for (name, files) in [
        ("config", vec![("tokenizer_config.json", config.as_str())]),
        ("named", vec![("tokenizer_config.json", named.as_str())]),
        ("jinja", vec![("tokenizer_config.json", bare.as_str()), ("chat_template.jinja", TEMPLATE)]),
    ] {
        let folder = Folder::new(name, &files);
        let hello = said("user", json!("hello world"));
        assert_eq!(folder.count(Route::ChatCompletions, &hello), 5, "{name}: <s> <user> hello world <end>");
        let part = json!({"type": "image_url", "image_url": {"url": "data:", "detail": "low"}});
        let image = said("user", json!([{"type": "text", "text": "hello"}, part]));
        assert_eq!(folder.count(Route::ChatCompletions, &image), 4 + 85, "{name}: its image is a flat estimate");
    }
}

#[test]
fn a_prompt_that_a_template_does_not_take_is_counted_without() {
    let folder = Folder::new("refusing", &[("chat_template.jinja", TEMPLATE)]);
    let refused = said("system", json!("hello world"));
    assert_eq!(folder.count(Route::ChatCompletions, &refused), PER_ONE_MESSAGE + 2);
    assert_eq!(folder.count(Route::ChatCompletions, &json!({"messages": 5})), 0, "there is nothing to render");
}

#[test]
fn each_text_has_the_tokens_that_its_tokenizer_puts_around_it() {
    let folder = Folder::new("around", &[]);
    assert_eq!(folder.count(Route::Completions, &json!({"prompt": "hello world"})), 3);
    assert_eq!(folder.count(Route::Embeddings, &json!({"input": ["hello", "hello world"]})), 5);
    assert_eq!(folder.count(Route::Completions, &json!({"prompt": [1, 2]})), 2, "tokens are what they are");
}

#[test]
fn a_template_that_the_settings_name_must_be_one() {
    let folder = Folder::new(
        "named-template",
        &[("good", TEMPLATE), ("bad", "{% for %}"), ("chat_template.jinja", "{% for %}")],
    );
    assert!(folder.tokenizers(Some("good")).is_ok());
    assert!(folder.tokenizers(None).is_ok(), "one that was only found is passed over");
    for name in ["bad", "missing"] {
        let error = folder.tokenizers(Some(name)).err().unwrap().to_string();
        assert!(error.contains("chat_template") && error.contains(name), "{error}");
    }
}

#[test]
fn a_long_chat_is_counted_up_to_a_bound_and_the_rest_is_like_it() {
    let folder = Folder::new("long", &[("chat_template.jinja", TEMPLATE)]);
    let text = "a ".repeat(120_000);
    let counted = folder.count(Route::ChatCompletions, &said("user", json!(text)));
    assert!(counted.abs_diff(120_000) < 100, "{counted} for 120000 words");
}

#[tokio::test]
async fn a_models_own_tokenizer_counts_for_it_and_for_no_other() {
    let (config, _file) = word_level();
    let tokenizers = Arc::new(Tokenizers::new(&[config]).unwrap());
    let text = "hello antidisestablishmentarianism world hello";
    assert_eq!(tokenizers.text(Some("words-7b"), text), 4, "neither cut off nor filled up, as for training");
    assert_eq!(tokenizers.text(Some("words-7b"), ""), 0);
    assert_eq!(tokenizers.text(Some("gpt-4o"), text), 9);
    let body = json!({"model": "words-7b", "prompt": [text, [1, 2]]});
    assert_eq!(tokenizers.count_prompt(&ask(Route::Completions, &body)).await, 6);
}

#[test]
fn a_file_that_is_no_tokenizer_is_named_with_what_is_wrong() {
    let file = tempfile::File::new("broken", "{\"model\": 5}");
    let error = Tokenizers::new(&[tempfile::config("*", &file)]).err().unwrap().to_string();
    assert!(error.contains("broken.json") && error.contains("tokenizer"), "{error}");
    let missing: Config = serde_json::from_value(json!({"models": ["*"], "file": "/nowhere/t.json"})).unwrap();
    let error = Tokenizers::new(&[missing]).err().unwrap().to_string();
    assert!(error.contains("/nowhere/t.json") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_long_prompt_has_the_same_count_on_another_thread() {
    let text = "hello world ".repeat(10_000);
    let asked = ask(Route::ChatCompletions, &json!({"messages": [{"role": "user", "content": text}]}));
    let tokenizers = tokenizers();
    assert_eq!(tokenizers.count_prompt(&asked).await, tokenizers.prompt(&asked));
    assert_eq!(tokenizers.prompt(&asked), PER_ONE_MESSAGE + 20_001);
}

#[test]
fn what_is_beyond_the_bound_is_taken_to_be_like_the_rest() {
    let text = "hello wörld ".repeat(300_000);
    let body = json!({"prompt": [text, text]});
    let exact = 2 * tokenizers().text(None, &text);
    let counted = count(Route::Completions, &body);
    assert!(counted.abs_diff(exact) < exact / 1000, "{counted} for {exact}");
    let cheap = " ".repeat(2 << 20);
    let hidden = json!({"prompt": [cheap, text]});
    assert!(count(Route::Completions, &hidden) > text.len() as u64 / 4, "a cheap beginning hides no more than this");
}

pub fn body() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![
        Just("messages"),
        Just("content"),
        Just("prompt"),
        Just("input"),
        Just("tools"),
        Just("role"),
        Just("name"),
        Just("image_url"),
        Just("detail"),
        Just("tool_calls"),
        Just("text"),
        Just("system"),
        Just("x\"\n"),
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        ".{0,20}".prop_map(|value| json!(value)),
        Just(json!("low")),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| json!(items)),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
    .prop_map(
        |value| if value.is_object() { value } else { json!({"messages": value, "prompt": value, "input": value}) },
    )
}

proptest! {
    #[test]
    fn any_body_has_a_count_that_its_white_space_does_not_change(body in body()) {
        for route in Route::ALL {
            let mut plain = body.clone();
            if let Some(members) = plain.as_object_mut() {
                members.retain(|key, _| key != "tools");
            }
            let spaced = serde_json::to_string_pretty(&plain).unwrap();
            let target = route.path().to_owned();
            let spaced = Ask::read(route, Tenant::anonymous(), target, HeaderMap::new(), spaced.into(), Sharing::Allowed);
            let _ = count(route, &body);
            let same = count(route, &plain);
            if !plain.to_string().contains("\"input\"") {
                prop_assert_eq!(tokenizers().prompt(&spaced.unwrap()), same);
            }
        }
    }
}
