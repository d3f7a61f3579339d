use std::time::Duration;

use tokio::time::Instant;

use super::Stream;
use crate::load::record::outcome::Failure;

/// Reads the body in parts of this length, a millisecond apart.
fn read(body: &str, part: usize) -> (Stream, Vec<u64>, Instant) {
    let (mut stream, mut gaps, start) = (Stream::default(), Vec::new(), Instant::now());
    let mut end = 0;
    for number in 1.. {
        if end == body.len() {
            break;
        }
        end = (end + part).min(body.len());
        stream.read(&body.as_bytes()[..end], start + Duration::from_millis(number), &mut gaps);
    }
    (stream, gaps, start)
}

fn events(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const TEXT: &str = r#"{"choices":[{"delta":{"content":"a \"b\""},"finish_reason":null}]}"#;
const FINISH: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":40}}"#;

#[test]
fn content_is_timed_however_it_comes() {
    let body = events(&[ROLE, TEXT, TEXT, FINISH, "[DONE]"]);
    for part in 1..=body.len() {
        let (stream, gaps, _) = read(&body, part);
        assert_eq!((stream.failure(), stream.output_tokens(), gaps.len()), (None, 2, 1), "in parts of {part}");
    }
    let (stream, gaps, start) = read(&body, events(&[TEXT]).len());
    assert!(stream.first.unwrap() > start + Duration::from_millis(1), "the role is no content");
    assert_eq!(gaps, [1_000_000], "a millisecond between the two");
}

#[test]
fn the_servers_own_count_of_tokens_goes_first() {
    let (stream, _, _) = read(&events(&[TEXT, FINISH, USAGE, "[DONE]"]), 50);
    assert_eq!((stream.input_tokens(), stream.output_tokens()), (9, 40));
}

#[test]
fn thoughts_calls_and_plain_completions_are_content() {
    for delta in [
        r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
        r#"{"choices":[{"delta":{"content":null,"tool_calls":[{"index":0}]}}]}"#,
        r#"{"choices":[{"text":"once"}]}"#,
    ] {
        assert_eq!(read(&events(&[delta, "[DONE]"]), 64).0.output_tokens(), 1, "{delta}");
    }
    let empty = r#"{"choices":[{"delta":{"content":null,"tool_calls":[]},"text":""}]}"#;
    assert_eq!(read(&events(&[empty, "[DONE]"]), 64).0.output_tokens(), 0);
}

#[test]
fn an_end_must_be_said() {
    assert_eq!(read(&events(&[TEXT, TEXT]), 64).0.failure(), Some(Failure::Truncated));
    assert_eq!(read("", 64).0.failure(), Some(Failure::Truncated), "an empty body is no stream");
    assert_eq!(read(&events(&[TEXT, FINISH]), 64).0.failure(), None, "a finish reason is an end too");
}

#[test]
fn what_is_wrong_is_told_by_its_kind() {
    let error = r#"{"error":{"message":"the backend died"}}"#;
    assert_eq!(read(&events(&[TEXT, error, "[DONE]"]), 64).0.failure(), Some(Failure::ErrorEvent));
    for wrong in ["{\"choices\":[", "[1]", "nonsense"] {
        assert_eq!(read(&events(&[TEXT, wrong, "[DONE]"]), 64).0.failure(), Some(Failure::Malformed), "{wrong}");
    }
    assert_eq!(read("{\"id\":1}\n", 64).0.failure(), Some(Failure::Malformed), "JSON where a stream was asked for");
    let comments = format!(": alive\r\nevent: message\r\nid: 1\r\n{}", events(&[TEXT, FINISH]).replace('\n', "\r\n"));
    assert_eq!(read(&comments, 64).0.failure(), None);
}

#[test]
fn what_was_read_may_go() {
    let (first, second) = (events(&[TEXT]) + "data: {\"cho", "ices\":[{\"text\":\"x\"}]}\n\ndata: [DONE]\n\n");
    let (mut stream, mut gaps, now) = (Stream::default(), Vec::new(), Instant::now());
    let mut body = first.into_bytes();
    stream.read(&body, now, &mut gaps);
    body.drain(..stream.release());
    body.extend_from_slice(second.as_bytes());
    stream.read(&body, now, &mut gaps);
    assert_eq!((stream.output_tokens(), stream.failure()), (2, None));
}

#[test]
fn the_simulators_word_is_seen() {
    assert!(!read(&events(&[TEXT, FINISH]), 64).0.simulated);
    let finish = FINISH.replace("]}", r#"],"sim":{"generation":1,"tokens":1,"sha256":""}}"#);
    assert!(read(&events(&[TEXT, &finish]), 64).0.simulated);
}
