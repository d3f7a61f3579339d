use std::path::Path;

use serde_json::Value;

use super::Requests;
use crate::load::plan::Planned;
use crate::load::scenario::Scenario;
use crate::wire::endpoint::Endpoint;

fn requests(kinds: &str) -> Requests {
    let load = "[load]\nmodel = \"closed\"\nusers = 1\nduration_secs = 1";
    let text = format!("name = \"test\"\n[target]\nurl = \"http://127.0.0.1:1/base\"\n{load}\n{kinds}");
    let scenario = Scenario::parse(&text, Path::new("test.toml")).expect("a scenario");
    Requests::new(&scenario, &Endpoint::new(&scenario.target.url, None).unwrap(), 1)
}

fn planned(kind: usize) -> Planned {
    Planned { kind, ..Planned::default() }
}

fn written(requests: &mut Requests, planned: &Planned) -> (String, Value) {
    let mut request = Vec::new();
    requests.write(planned, &mut request).expect("a kind");
    let request = String::from_utf8(request).expect("text");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), serde_json::from_str(body).expect("JSON"))
}

#[test]
fn a_kind_is_written_as_it_says() {
    let mut requests = requests("[[requests]]\nroute = \"completions\"\nstream = true\noutput_tokens = 5");
    let (head, body) = written(&mut requests, &planned(0));
    assert!(head.starts_with("POST /base/v1/completions HTTP/1.1\r\n"), "{head}");
    assert_eq!((&body["stream"], &body["max_tokens"]), (&Value::from(true), &Value::from(5)));
}

#[test]
fn a_trace_goes_before_the_kind() {
    let mut requests = requests("[[requests]]\noutput_tokens = 5\ninput_tokens = 50");
    let long = Planned { input_tokens: Some(2000), output_tokens: Some(77), blocks: vec![1, 2], ..planned(0) };
    let (_, body) = written(&mut requests, &long);
    let text = body["messages"][0]["content"].as_str().expect("a text");
    assert!(text.len() > 7800 && body["max_tokens"] == 77, "{} bytes, {}", text.len(), body["max_tokens"]);
    let (_, body) = written(&mut requests, &planned(0));
    assert_eq!(body["max_tokens"], 5, "without a trace the kind's own holds");
}

#[test]
fn equal_bodies_are_equal_and_others_are_not() {
    for length in ["body_bytes = 400", "input_tokens = 100"] {
        let mut requests = requests(&format!("[[requests]]\n{length}\n[[requests]]\nunique = false\n{length}"));
        let unique = [written(&mut requests, &planned(0)), written(&mut requests, &planned(0))];
        assert_ne!(unique[0], unique[1], "{length}");
        let equal = [written(&mut requests, &planned(1)), written(&mut requests, &planned(1))];
        assert_eq!(equal[0], equal[1], "{length}");
    }
}

#[test]
fn kinds_are_drawn_by_their_weights() {
    let mut requests = requests("[[requests]]\nweight = 3.0\n[[requests]]\nweight = 0.0\n[[requests]]\nweight = 1.0");
    let mut drawn = [0; 3];
    (0..4000).for_each(|_| drawn[requests.draw().kind] += 1);
    assert!((2800..3200).contains(&drawn[0]) && drawn[1] == 0, "three to none to one: {drawn:?}");
}
