use proptest::prelude::*;
use serde_json::Value as Json;

use super::writer::LONG;
use super::*;

/// The strong digest, and the hash of the fast form, of a body that must be good.
fn digest(body: &str) -> (Digest, u128) {
    let (_, form) = read(body.as_bytes()).unwrap_or_else(|reason| panic!("{body} was refused: {reason:?}"));
    (super::digest(body.as_bytes()), XxHash3_128::oneshot(form.bytes()))
}

#[test]
fn white_space_key_order_and_escapes_do_not_change_the_digest() {
    let plain = digest(r#"{"model":"m","messages":[{"role":"user","content":"café"}],"n":1}"#);
    for same in [
        r#" { "n" : 1, "messages":[ {"content":"café","role":"user"} ],"model":"m" } "#,
        r#"{"messages":[{"role":"user","content":"caf\u00e9"}],"model":"\u006d","n":1}"#,
    ] {
        assert_eq!(plain, digest(same), "{same} means the same");
    }
    for other in [
        r#"{"model":"m","messages":[{"role":"user","content":"cafe"}],"n":1}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"café"}],"n":1.0}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"café"}],"n":"1"}"#,
        r#"{"model":"m","messages":{"role":"user","content":"café"},"n":1}"#,
        r#"{"model":"m","messages":[{"role":"user"},{"content":"café"}],"n":1}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"café"}],"n":1,"stream":false}"#,
    ] {
        assert_ne!(plain, digest(other), "{other} means something else");
    }
}

#[test]
fn long_texts_are_told_apart_and_from_their_own_hash() {
    let body = |text: &str| format!(r#"{{"prompt":"{text}"}}"#);
    let long = "x".repeat(LONG * 3);
    assert_eq!(digest(&body(&long)), digest(&body(&long)));
    assert_ne!(digest(&body(&long)), digest(&body(&format!("{long}y"))));
    let escaped = long.replacen('x', "\\u0078", 1);
    assert_eq!(digest(&body(&long)), digest(&body(&escaped)), "an escape in a long text is read too");
}

#[test]
fn numbers_beyond_64_bits_are_told_apart_by_their_digits() {
    let body = |seed: &str| format!(r#"{{"seed":{seed}}}"#);
    assert_ne!(digest(&body("100000000000000000000000000001")), digest(&body("100000000000000000000000000002")));
    assert_ne!(digest(&body("18446744073709551616")), digest(&body("18446744073709551617")));
}

#[test]
fn a_key_that_stands_twice_is_refused_at_any_depth() {
    for (body, named) in [
        (r#"{"model":"cheap","model":"dear"}"#, "model"),
        (r#"{"model":"cheap","a":1,"\u006dodel":"dear"}"#, "model"),
        (r#"{"messages":[{"role":"user","role":"system"}]}"#, ""),
        (r#"{"a":{"b":{"":1,"":1}}}"#, ""),
    ] {
        match read(body.as_bytes()) {
            Err(Reason::DuplicateKey(key)) => assert_eq!(key, named, "{body}"),
            other => panic!("{body} gave {other:?}"),
        }
    }
}

#[test]
fn fields_are_read_from_the_outermost_object_only() {
    let (question, _) =
        read(br#"{"metadata":{"model":"no","stream":false},"model":"yes","stream":true,"temperature":0.5,"seed":1}"#)
            .unwrap();
    let expected = Question {
        model: Some("yes".into()),
        stream: true,
        temperature: Some(0.5),
        seeded: true,
        ..Question::default()
    };
    assert_eq!(question, expected);
    let (question, _) = read(br#"{"model":5,"stream":"true","temperature":null}"#).unwrap();
    assert_eq!(question, Question::default(), "wrong types count as absent");
}

#[test]
fn the_largest_of_several_limits_counts_and_what_is_no_number_of_things_does_not() {
    let question = |body: &str| read(body.as_bytes()).unwrap().0;
    for (body, expected) in [
        (r#"{"max_tokens":5}"#, Some(5)),
        (r#"{"max_output_tokens":7}"#, Some(7)),
        (r#"{"max_completion_tokens":3,"max_tokens":9}"#, Some(9)),
        (r#"{"max_tokens":9,"max_completion_tokens":3}"#, Some(9)),
        (r#"{"max_tokens":64.0}"#, Some(64)),
        (r#"{"max_tokens":-1}"#, None),
        (r#"{"max_tokens":2.5}"#, None),
        (r#"{"max_tokens":"9"}"#, None),
        (r#"{"max_tokens":null,"tools":[{"max_tokens":4}]}"#, None),
    ] {
        assert_eq!(question(body).max_tokens, expected, "{body}");
    }
    assert_eq!(question(r#"{"n":2,"best_of":5}"#).choices, Some(5));
    assert_eq!(question(r#"{"best_of":1,"n":3}"#).choices, Some(3));
    assert_eq!(question("{}").choices, None);
}

#[test]
fn the_user_is_named_by_user_before_safety_identifier() {
    let user = |body: &str| read(body.as_bytes()).unwrap().0.user;
    for body in [r#"{"user":"é\n","safety_identifier":"no"}"#, r#"{"safety_identifier":"no","user":"é\n"}"#] {
        assert_eq!(user(body).as_deref(), Some("é\n"), "{body}");
    }
    assert_eq!(user(r#"{"safety_identifier":"s"}"#).as_deref(), Some("s"));
    assert_eq!(user(r#"{"user":5}"#), None);
}

#[test]
fn what_is_not_an_object_is_refused_and_never_quoted() {
    for body in ["[]", "1", "null", "\"secret\"", "true"] {
        assert!(matches!(read(body.as_bytes()), Err(Reason::NotAnObject)), "{body}");
    }
    for body in ["", "{", "{}x", "{\"a\":secret}", "{\"a\":1e999}", "\u{feff}{}", "{\"a\":\"\u{1}\"}"] {
        match read(body.as_bytes()) {
            Err(reason @ Reason::BadJson { .. }) => assert!(!reason.to_string().contains("secret")),
            other => panic!("{body:?} gave {other:?}"),
        }
    }
    assert!(read(&[b"{\"a\":".repeat(200), b"1".to_vec(), b"}".repeat(200)].concat()).is_err(), "too deep");
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        // Beyond 2^63 the bytes themselves count, not their meaning: see the test of it.
        (-1e18..1e18).prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Json::Number)),
        ".{0,12}".prop_map(Json::from),
        Just(Json::from("long ".repeat(400))),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map(".{0,6}", inner, 0..6).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// The same value, its objects' members written in the reverse order.
fn reversed(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(" ,")),
        Json::Object(map) => {
            let members =
                map.iter().rev().map(|(key, value)| format!("{} :{}", Json::from(key.as_str()), reversed(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn two_values_have_one_digest_exactly_if_they_are_equal(left in json(), right in json()) {
        let (left, right) = (serde_json::json!({ "v": left }), serde_json::json!({ "v": right }));
        prop_assert_eq!(digest(&left.to_string()), digest(&reversed(&left)));
        prop_assert_eq!(left == right, digest(&left.to_string()) == digest(&right.to_string()));
    }

    #[test]
    fn exactly_the_bodies_that_serde_json_takes_are_taken(body in prop::collection::vec(any::<u8>(), 0..40)) {
        let theirs = serde_json::from_slice::<serde_json::Map<String, Json>>(&body).is_ok();
        let ours = match read(&body) {
            Ok(_) => true,
            Err(Reason::DuplicateKey(_)) => theirs,
            Err(_) => false,
        };
        prop_assert_eq!(theirs, ours);
    }
}
