//! What a newcomer types first, and what it says to mistakes.

use crate::support::command;

fn file(text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("outrigger-check-{}-{}.toml", std::process::id(), text.len()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn check_takes_the_examples() {
    for name in ["config/outrigger.toml", "config/local.toml"] {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let (code, out, error) = command(&["check", "--config", &path], &[]);
        assert_eq!((code, out.as_str(), error.as_str()), (0, "The settings are good.\n", ""), "{name}");
    }
}

#[test]
fn check_names_file_line_and_key() {
    let path = file("[server]\nlisten = \"127.0.0.1:8080\"\nmax_body = 1\n");
    let (code, _, error) = command(&["check", "--config", path.to_str().unwrap()], &[]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, 1);
    assert!(error.starts_with(&format!("outrigger: {}:3: server.max_body: unknown field", path.display())), "{error}");
}

#[test]
fn without_a_backend_it_says_how_to_name_one() {
    let (code, _, error) = command(&["check"], &[]);
    assert_eq!(code, 1);
    assert!(error.contains("OUTRIGGER_BACKEND"), "{error}");
    let (code, _, _) = command(&["check"], &[("OUTRIGGER_BACKEND", "http://127.0.0.1:8000")]);
    assert_eq!(code, 0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, error) = command(&["--config", "/none.toml"], &[]);
    assert_eq!(code, 1);
    assert!(error.contains("/none.toml"), "{error}");
}

#[test]
fn help_says_how_to_begin() {
    let (code, help, _) = command(&["--help"], &[]);
    assert_eq!(code, 0);
    for word in ["OUTRIGGER_BACKEND=", "--config", "check", "OUTRIGGER__SERVER__LISTEN"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}
