use sha2::{Digest, Sha256};

use super::{StreamCheck, Verdict};

/// The stream of generation 7 with five tokens, one event an item.
fn events() -> Vec<String> {
    let mut events = vec![delta("")];
    let tokens: Vec<String> = (0..5).map(|index| format!("7.{index} ")).collect();
    events.extend(tokens.iter().map(|token| delta(token)));
    let sha256 = hex::encode(Sha256::digest(tokens.concat()));
    events.push(format!(
        r#"data: {{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],"sim":{{"generation":7,"tokens":5,"sha256":"{sha256}"}}}}"#
    ));
    events.push(r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#.to_owned());
    events.push("data: [DONE]".to_owned());
    events
}

fn delta(content: &str) -> String {
    format!(r#"data: {{"choices":[{{"index":0,"delta":{{"content":"{content}"}},"finish_reason":null}}]}}"#)
}

fn verdict_in_chunks(events: &[String], chunk: usize) -> Verdict {
    let bytes = events.iter().map(|event| format!("{event}\n\n")).collect::<String>().into_bytes();
    let mut check = StreamCheck::new();
    bytes.chunks(chunk).for_each(|part| check.feed(part));
    check.verdict()
}

fn verdict(events: &[String]) -> Verdict {
    verdict_in_chunks(events, 7)
}

#[test]
fn a_whole_stream_is_whole_in_any_chunking() {
    for chunk in 1..200 {
        let verdict = verdict_in_chunks(&events(), chunk);
        assert_eq!(verdict, Verdict::Whole { generation: 7, tokens: 5 }, "in chunks of {chunk}");
    }
}

#[test]
fn tokens_may_share_chunks_and_chunks_share_tokens() {
    let mut events = events();
    events.splice(1..6, [delta("7.0 7."), delta("1 7.2 "), delta("7.3 7.4 ")]);
    assert_eq!(verdict(&events), Verdict::Whole { generation: 7, tokens: 5 }, "the text is the same");
}

#[test]
fn comments_and_carriage_returns_are_no_fault() {
    let text = events().iter().map(|event| format!(": alive\r\n{event}\r\n\r\n")).collect::<String>();
    let mut check = StreamCheck::new();
    check.feed(text.as_bytes());
    assert_eq!(check.verdict(), Verdict::Whole { generation: 7, tokens: 5 });
}

#[test]
fn a_lost_token_is_told() {
    for index in 0..5 {
        let mut events = events();
        events.remove(1 + index);
        assert_eq!(verdict(&events), Verdict::Lost { first: index as u64 }, "also the last one");
    }
}

#[test]
fn a_repeated_token_is_told() {
    let mut twice = events();
    twice.insert(3, twice[2].clone());
    assert_eq!(verdict(&twice), Verdict::Repeated { index: 1 });
    let mut again = events();
    let copy = again[1..6].to_vec();
    again.splice(6..6, copy);
    assert_eq!(verdict(&again), Verdict::Repeated { index: 0 }, "a whole answer twice");
}

#[test]
fn reordered_tokens_are_told() {
    let mut events = events();
    events.swap(2, 4);
    assert_eq!(verdict(&events), Verdict::Reordered { index: 2 }, "token 2 came after token 3");
}

#[test]
fn a_token_of_another_generation_is_told() {
    let mut events = events();
    events[3] = delta("8.2 ");
    assert_eq!(verdict(&events), Verdict::Crossed { expected: 7, found: 8 });
    let mut other = self::events();
    other[6] = other[6].replace("\"generation\":7", "\"generation\":9");
    assert_eq!(verdict(&other), Verdict::Crossed { expected: 7, found: 9 }, "the finish chunk is another's");
}

#[test]
fn an_early_end_is_told() {
    let events = events();
    for length in 0..events.len() {
        let tokens = length.saturating_sub(1).min(5) as u64;
        assert_eq!(verdict(&events[..length]), Verdict::Truncated { tokens }, "after {length} events");
    }
}

#[test]
fn a_changed_text_is_told() {
    let mut events = events();
    events[6] = events[6].replace("\"sha256\":\"", "\"sha256\":\"0");
    assert!(matches!(verdict(&events), Verdict::HashMismatch { .. }), "{:?}", verdict(&events));
    events[2] = delta("7.01 ");
    assert!(matches!(verdict(&events), Verdict::HashMismatch { .. }), "another way to write the number");
    events[2] = delta("seven ");
    assert!(matches!(verdict(&events), Verdict::Malformed { .. }), "no token at all");
}

#[test]
fn an_error_event_is_told() {
    let mut events = events();
    events.truncate(3);
    events.push(r#"data: {"error":{"message":"backend died","type":"server_error"}}"#.to_owned());
    events.push("data: [DONE]".to_owned());
    let Verdict::ErrorEvent { message } = verdict(&events) else { panic!("{:?}", verdict(&events)) };
    assert!(message.contains("backend died"), "the message is kept: {message}");
}

#[test]
fn what_is_no_event_is_told() {
    for wrong in ["garbage", "data: {\"choices\":[", "data: [1]"] {
        let mut events = events();
        events.insert(2, wrong.to_owned());
        assert!(matches!(verdict(&events), Verdict::Malformed { .. }), "{wrong}: {:?}", verdict(&events));
    }
    let mut late = events();
    late.push(delta("7.5 "));
    assert!(matches!(verdict(&late), Verdict::Malformed { .. }), "nothing follows [DONE]");
}
