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
