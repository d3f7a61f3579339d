use super::*;

fn parse(text: &str) -> Result<Config, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn a_password_is_never_shown() {
    let config = parse(r#"{"url":"rediss://someone:hush@redis.example:7000/3"}"#).expect("an address");
    let shown = format!("{config:?} {}", config.url.as_ref().expect("set"));
    assert!(shown.contains("redis.example:7000"), "the address should be shown: {shown}");
    assert!(!shown.contains("hush"), "a password was shown: {shown}");
    let error = parse(r#"{"url":"http://someone:hush@redis.example"}"#).expect_err("not Redis's scheme").to_string();
    assert!(!error.contains("hush") && error.contains("redis://"), "the error should teach and be discreet: {error}");
}

#[test]
fn unknown_keys_are_errors() {
    assert!(parse(r#"{"uri":"redis://localhost"}"#).is_err(), "a misspelt key was taken");
    assert_eq!(parse("{}").expect("nothing set"), Config::default());
}
