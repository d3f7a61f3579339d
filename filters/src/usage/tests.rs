use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::sse::Splitter;

fn tally(route: Route) -> Tally {
    Tally::new(route, Arc::new(Tokenizers::new(&[]).unwrap()), None)
}

/// Feeds a stream as it would come from a backend, its end of line after each event put in.
fn streamed(route: Route, events: &[&str]) -> Tally {
    let (mut tally, mut splitter, mut split) = (tally(route), Splitter::default(), Vec::new());
    for event in events {
        splitter.push(Bytes::from(format!("data: {event}\n\n")), &mut split);
    }
    split.iter().for_each(|event| tally.event(event));
    tally
}

fn whole(route: Route, pieces: &[&[u8]]) -> Tally {
    let mut tally = tally(route);
    for piece in pieces {
        tally.event(&Event { bytes: Bytes::copy_from_slice(piece), kind: Kind::Bytes });
    }
    tally
}

const CHAT_USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}}}"#;

fn chat_usage() -> Usage {
    Usage {
        input: Some(19),
        output: Some(10),
        cached_input: Some(4),
        reasoning: Some(3),
        audio_input: Some(0),
        audio_output: Some(0),
        ..Usage::default()
    }
}

#[test]
fn a_chat_streams_its_usage_in_its_last_chunk() {
    let chunk = |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}],"usage":null}}"#);
    let [hello, world] = [chunk("Hello"), chunk(" world")];
    let tally = streamed(Route::ChatCompletions, &[&chunk(""), &hello, &world]);
    assert_eq!((tally.usage(), tally.output_so_far()), (None, 2), "before the backend has said it");
    let tally = streamed(Route::ChatCompletions, &[&hello, &world, CHAT_USAGE, "[DONE]"]);
    assert_eq!(tally.usage(), Some(chat_usage()));
}

#[test]
fn whole_answers_of_all_apis_say_their_usage() {
    let tally = |route, body: &str| whole(route, &[body.as_bytes()]).usage();
    assert_eq!(tally(Route::ChatCompletions, CHAT_USAGE), Some(chat_usage()));
    let body = r#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(tally(Route::Embeddings, body), Some(Usage { input: Some(8), ..Usage::default() }));
    let body = r#"{"output":[],"usage": { "input_tokens":36,"input_tokens_details":{"cached_tokens":1},"output_tokens":87,
        "output_tokens_details":{"reasoning_tokens":2},"total_tokens":123},"user":null}"#;
    let expected =
        Usage { input: Some(36), output: Some(87), cached_input: Some(1), reasoning: Some(2), ..Usage::default() };
    assert_eq!(tally(Route::Responses, body), Some(expected));
    assert_eq!(tally(Route::ChatCompletions, r#"{"usage":{"prompt_tokens":"many"}}"#), None);
    assert_eq!(tally(Route::ChatCompletions, r#"{"error":{"message":"no"}}"#), None);
}

#[test]
fn anthropic_says_its_input_first_and_its_output_last_and_counts_the_cache_beside() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":7,"output_tokens":1}}}"#;
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#;
    let json =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"usage\""}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let until = streamed(Route::Messages, &[start, text, json]);
    let expected = Usage { input: Some(132), cached_input: Some(7), cache_writes: Some(100), ..Usage::default() };
    assert_eq!(until.usage(), Some(expected), "its first word on the output is none");
    assert_eq!(until.output_so_far(), 2);
    let usage = streamed(Route::Messages, &[start, text, end]).usage();
    assert_eq!(usage, Some(Usage { output: Some(15), ..expected }));
}

#[test]
fn every_kind_of_token_and_the_class_of_service_is_told_apart() {
    let body = r#"{"service_tier":"flex","usage":{"prompt_tokens":90,"completion_tokens":50,
        "prompt_tokens_details":{"cached_tokens":40,"audio_tokens":20,"image_tokens":10},
        "completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":6,"image_tokens":7}}}"#;
    let usage = whole(Route::ChatCompletions, &[body.as_bytes()]).usage().unwrap();
    assert_eq!(usage.service, Some(Service::Flex));
    let expected = Tokens {
        input: 90,
        cached_input: 40,
        audio_input: 20,
        image_input: 10,
        output: 50,
        reasoning: 5,
        audio_output: 6,
        image_output: 7,
        ..Tokens::default()
    };
    assert_eq!(usage.tokens(1, 1), expected);
    let body = r#"{"usage":{"input_tokens":1,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":4,
        "ephemeral_1h_input_tokens":5},"output_tokens":2,"service_tier":"priority"}}"#;
    let usage = whole(Route::Messages, &[body.as_bytes()]).usage().unwrap();
    let told = usage.tokens(0, 0);
    assert_eq!(
        (usage.service, told.input, told.cache_writes, told.cache_writes_1h),
        (Some(Service::Priority), 10, 9, 5)
    );
    assert_eq!(Usage::default().tokens(3, 4), Tokens { input: 3, output: 4, ..Tokens::default() }, "counted, not said");
}

#[test]
fn a_response_says_all_of_its_text_again_and_it_counts_once() {
    let created = r#"{"type":"response.created","response":{"usage":null,"output":[]}}"#;
    let delta = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;
    let done = r#"{"type":"response.output_text.done","text":"HiHi"}"#;
    let end = r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"HiHi"}]}],"usage":{"input_tokens":3,"output_tokens":11}}}"#;
    let tally = streamed(Route::Responses, &[created, delta, delta, done, end]);
    assert_eq!(tally.usage(), Some(Usage { input: Some(3), output: Some(11), ..Usage::default() }));
    assert_eq!(tally.output_so_far(), 2);
}

#[test]
fn reasoning_that_is_sent_by_two_names_counts_once() {
    let event = r#"{"choices":[{"delta":{"reasoning":"a","reasoning_content":"a"}}]}"#;
    assert_eq!(streamed(Route::ChatCompletions, &[event, event]).output_so_far(), 2);
    let event = r#"{"choices":[{"delta":{"reasoning_content":"a"}}]}"#;
    assert_eq!(streamed(Route::ChatCompletions, &[event, event]).output_so_far(), 2);
}

#[test]
fn long_pieces_and_calls_of_tools_are_counted_as_tokens() {
    let long = "hello world ".repeat(4000);
    let event = format!(r#"{{"choices":[{{"delta":{{"content":"{long}"}}}}]}}"#);
    let counted = streamed(Route::ChatCompletions, &[&event]).output_so_far();
    assert!((7_900..8_100).contains(&counted), "{counted} for 8000 words");
    let event = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":\"Paris\",\"unit\":\"celsius\"}"}}]}}]}"#;
    let counted = streamed(Route::ChatCompletions, &[event]).output_so_far();
    assert!((7..16).contains(&counted), "{counted}");
}

#[test]
fn a_whole_answer_without_usage_is_estimated_from_its_text() {
    let body =
        format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":"{}"}}}}]}}"#, "hello world ".repeat(4000));
    let tally = whole(Route::ChatCompletions, &[body.as_bytes()]);
    assert_eq!(tally.usage(), None);
    assert!((7_900..8_100).contains(&tally.output_so_far()));
}

#[test]
fn a_tool_that_is_called_usage_is_none() {
    let body =
        r#"{"tools":[{"usage":{"type":"object"}},{"usage":"x"},"usage",{"usage":[1]}],"usage":{"input_tokens":1}}"#;
    assert_eq!(whole(Route::Responses, &[body.as_bytes()]).usage().unwrap().input, Some(1));
    let endless =
        format!(r#"{{"a":{{"usage":{{"input_tokens":7,"b":"{}"}}}},"usage":{{"input_tokens":1}}}}"#, "x".repeat(9999));
    assert_eq!(whole(Route::Responses, &[endless.as_bytes()]).usage().unwrap().input, Some(1));
}

/// A tokenizer by bytes, of a few tokens: `ab`, ` ab`, and two ends of lines in one.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-{}-{name}.json", std::process::id()));
        let bytes = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
        let tokenizer = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
            "post_processor": null, "pre_tokenizer": bytes, "decoder": bytes,
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "Ċ": 3, "ab": 4, "Ġab": 5, "ĊĊ": 6},
                      "merges": ["a b", "Ġ ab", "Ċ Ċ"]},
        });
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        File(path)
    }

    fn tokenizers(&self) -> Arc<Tokenizers> {
        let config = serde_json::json!({"models": ["*"], "file": self.0});
        Arc::new(Tokenizers::new(&[serde_json::from_value(config).unwrap()]).unwrap())
    }

    fn tally(&self, route: Route, stream: bool, limit: u64) -> Tally {
        let body = serde_json::json!({"model": "m", "stream": stream, "max_tokens": limit}).to_string();
        let (tenant, headers) = (crate::Tenant::anonymous(), http::HeaderMap::new());
        let sharing = crate::ask::Sharing::Allowed;
        let ask = Ask::read(route, tenant, route.path().to_owned(), headers, body.into(), sharing).unwrap();
        Tally::of(&ask, self.tokenizers())
    }

    /// What is counted of a chat's stream: these texts, and why it ended, if it did.
    fn streamed(&self, texts: &[&str], finish: Option<&str>, limit: u64) -> Tally {
        let (mut tally, mut splitter, mut split) =
            (self.tally(Route::ChatCompletions, true, limit), Splitter::default(), Vec::new());
        let deltas = texts.iter().map(|text| (serde_json::json!({"content": text}), None));
        let first = (serde_json::json!({"role": "assistant", "content": null}), None);
        let last = finish.map(|finish| (serde_json::json!({}), Some(finish)));
        for (delta, finish) in [first].into_iter().chain(deltas).chain(last) {
            let chunk = serde_json::json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
            splitter.push(Bytes::from(format!("data: {chunk}\n\n")), &mut split);
        }
        split.iter().for_each(|event| tally.event(event));
        tally
    }

    fn whole(&self, route: Route, body: &serde_json::Value, limit: u64) -> u64 {
        let mut tally = self.tally(route, false, limit);
        tally.event(&Event { bytes: Bytes::from(body.to_string()), kind: Kind::Bytes });
        tally.output_so_far()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_token_that_ends_a_turn_is_counted_and_an_abandoned_answer_has_none() {
    let file = File::new("ends");
    let count = |finish| file.streamed(&["ab", " ab", "\n"], finish, 100).output_so_far();
    assert_eq!((count(None), count(Some("stop"))), (3, 4));
    assert_eq!((count(Some("tool_calls")), count(Some("content_filter"))), (4, 3));
    let body =
        |finish: &str| serde_json::json!({"choices": [{"message": {"content": "ab ab\n"}, "finish_reason": finish}]});
    assert_eq!(file.whole(Route::ChatCompletions, &body("stop"), 100), 4);
    assert_eq!(file.whole(Route::ChatCompletions, &body("content_filter"), 100), 3);
    let body = serde_json::json!({"content": [{"type": "text", "text": "ab ab"}], "stop_reason": "end_turn"});
    assert_eq!(file.whole(Route::Messages, &body, 100), 3);
    let item = serde_json::json!({"type": "message", "status": "completed", "content": [{"type": "output_text", "text": "ab ab"}]});
    let body = serde_json::json!({"status": "completed", "output": [item]});
    assert_eq!(file.whole(Route::Responses, &body, 100), 3, "it ended once");
}

#[test]
fn events_end_with_tokens_wherever_the_text_would_have_others() {
    let file = File::new("events");
    let count = |texts: &[&str]| file.streamed(texts, None, 100).output_so_far();
    assert_eq!(count(&["ab\n\n"]), 2, "two ends of lines in one token");
    assert_eq!(count(&["ab", "\n", "\n"]), 3, "two ends of lines, made one by one");
    assert_eq!(count(&["ab\n\n", " ab ab"]), 4, "several tokens in one event");
    let letters: Vec<_> = "ab ".repeat(40).chars().map(String::from).collect();
    let letters: Vec<_> = letters.iter().map(String::as_str).collect();
    let counted = file.streamed(&letters, None, 1000).output_so_far();
    assert_eq!(counted, 41, "a backend that sends letters made no token of each");
}

#[test]
fn what_was_cut_off_at_the_limit_has_all_its_tokens() {
    let file = File::new("limits");
    let count = |limit| file.streamed(&["ab", " ab"], Some("length"), limit).output_so_far();
    assert_eq!(count(4), 4, "two of them were half a character");
    assert_eq!(count(1000), 2, "here it was the context that ended");
    let choice = serde_json::json!({"message": {"content": "ab"}, "finish_reason": "length"});
    let body = serde_json::json!({"choices": [choice, choice]});
    assert_eq!(file.whole(Route::ChatCompletions, &body, 3), 6, "each of them");
    assert_eq!(file.streamed(&["ab"], None, 3).output_so_far(), 1, "who left before the end had what went by");
}

#[tokio::test]
async fn a_long_answer_is_kept_up_to_a_bound_and_the_rest_is_like_it() {
    let file = File::new("bound");
    let text = " ab ab ab ab".repeat(10);
    let tally = file.streamed(&vec![text.as_str(); 1000], None, 1 << 20);
    let counted = tally.count_output().await;
    assert!(counted.abs_diff(40_000) < 400, "{counted} for 40000 tokens");
    let at_once = tally.output_so_far();
    assert!(at_once.abs_diff(40_000) < 800, "{at_once} by the beginning alone");
    let changing = [vec!["ab ab ab ab "; 2000], vec!["b"; 2000]].concat();
    let tally = file.streamed(&changing, None, 1 << 20);
    let [exact, at_once] = [tally.count_output().await, tally.output_so_far()];
    assert!(exact.abs_diff(2000 * 5 + 2000) < 10, "{exact}: all of it is read where there is time");
    assert!(at_once < exact, "{at_once}: what comes later is taken to be like the beginning");
}

/// Cuts a text at these places.
fn cut<'text>(text: &'text str, cuts: &[usize]) -> Vec<&'text [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([text.len()]);
    starts.zip(ends).map(|(start, end)| &text.as_bytes()[start..end]).collect()
}

proptest! {
    #[test]
    fn where_a_body_is_cut_does_not_change_what_it_says(
        text in prop_oneof![r#"[a-z"\\é ]{0,40}"#, Just("long words ".repeat(900))],
        cuts in prop::collection::vec(any::<usize>(), 0..40),
        route in prop::sample::select(Route::ALL.to_vec()),
    ) {
        let message = serde_json::json!({"content": text, "text": text, "a": {"usage": 5, "b": ["usage", "arguments"]}});
        let body = format!(r#"{{"choices":[{message}], "usage" : {{"prompt_tokens":7,"completion_tokens":9}} }}"#);
        let (at_once, in_pieces) = (whole(route, &[body.as_bytes()]), whole(route, &cut(&body, &cuts)));
        prop_assert_eq!(at_once.usage(), in_pieces.usage());
        prop_assert_eq!(at_once.usage().unwrap().output, Some(9));
        prop_assert_eq!(at_once.output_so_far(), in_pieces.output_so_far());
    }

    #[test]
    fn any_bytes_are_borne(
        pieces in prop::collection::vec(("(\"usage\"|:|\\{|\"content\"|\"|\\\\|a|é|[0-9]){0,20}", any::<bool>()), 0..20),
    ) {
        for route in Route::ALL {
            let mut tally = tally(route);
            for (bytes, data) in &pieces {
                let kind = if *data { Kind::Data } else { Kind::Bytes };
                tally.event(&Event { bytes: Bytes::copy_from_slice(bytes.as_bytes()), kind });
            }
            let _ = (tally.usage(), tally.output_so_far());
        }
    }
}
