use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn with(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("outrigger-config-{}-{number}.toml", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let loaded = load(Some(&path), &environment);
    std::fs::remove_file(&path).unwrap();
    loaded
        .map(|loaded| loaded.config)
        .map_err(|problem| problem.to_string().replace(&path.display().to_string(), "FILE"))
}

const BACKEND: &str = "[[backends]]\nurl = \"http://127.0.0.1:8000\"\n";

#[test]
fn every_example_file_is_read() {
    for name in ["outrigger.toml", "local.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let loaded = load(Some(&path), &BTreeMap::new());
        assert!(loaded.is_ok(), "{}", loaded.err().unwrap());
    }
}

#[test]
fn the_example_with_every_key_shows_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/outrigger.toml");
    let shown = load(Some(&path), &BTreeMap::new()).unwrap().config;
    let defaults = with(BACKEND, &[]).unwrap();
    assert_eq!(format!("{shown:#?}"), format!("{defaults:#?}"));
}

#[test]
fn one_variable_is_a_complete_setup() {
    let environment = BTreeMap::from([("OUTRIGGER_BACKEND".to_owned(), "http://127.0.0.1:8000".to_owned())]);
    let config = load(None, &environment).unwrap().config;
    assert_eq!(config.backends[0].url.port, 8000);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
}

#[test]
fn every_key_can_be_set_by_the_environment() {
    let config = with(
        BACKEND,
        &[
            ("OUTRIGGER__SERVER__LISTEN", "127.0.0.1:1"),
            ("OUTRIGGER__SERVER__THREADS", "3"),
            ("OUTRIGGER__SERVER__PASSED", "[\"* /v1/*\"]"),
            ("OUTRIGGER__BACKENDS__0__NAME", "other"),
            ("OUTRIGGER__TENANTS__FROM", "header:x-tenant"),
            ("OUTRIGGER__DEDUP__ENABLED", "false"),
        ],
    )
    .unwrap();
    assert_eq!((config.server.listen.port(), config.server.threads, config.server.passed.len()), (1, 3, 1));
    assert_eq!(config.backends[0].name, "other");
    assert_eq!(config.tenants.from, TenantsFrom::Header("x-tenant".parse().unwrap()));
    assert!(!config.dedup.enabled);
}

#[test]
fn an_error_names_file_line_and_key() {
    for (file, expected) in [
        ("[server]\nlisten = \"nonsense\"\n", "FILE:2: server.listen: "),
        ("[server]\n\nlissten = 1\n", "FILE:3: server.lissten: unknown field"),
        ("[nonsense]\n", "FILE:1: nonsense: unknown field"),
        ("[server]\nmax_body_bytes = 0\n", "FILE:2: server.max_body_bytes: "),
        ("[[backends]]\nurl = \"ftp://x\"\n", "FILE:2: backends.0.url: expected a URL"),
        ("[[backends]]\nname = \"x\"\n", "FILE:1: backends.0: missing field `url`"),
        ("[server]\npassed = [\"v1/models\"]\n", "FILE:2: server.passed.0: `v1/models`: "),
        ("[dedup]\nwhen_abandoned = \"maybe\"\n", "FILE:2: dedup.when_abandoned: unknown variant"),
        ("[gpu]\nmode = \"intel\"\n", "FILE:2: gpu.mode: unknown variant"),
        ("[gpu]\nmemory = 1\n", "FILE:2: gpu.memory: unknown field"),
        ("[gpu]\ninterval_ms = 0\n", "FILE:2: gpu.interval_ms: "),
        ("[gpu]\ndevices = [-1]\n", "FILE:2: gpu.devices.0: expected a card's number or its UUID"),
        ("[tenants]\nfrom = \"cookie\"\n", "FILE:2: tenants.from: expected `bearer`"),
        ("[breaker]\nsuccess_ratio = 2\n", "FILE:2: breaker.success_ratio: a ratio"),
        ("[breaker]\nbalance = \"best\"\n", "FILE:2: breaker.balance: unknown variant"),
        ("[[backends]]\nurl = \"http://x\"\nweight = 0\n", "FILE:3: backends.0.weight: a weight"),
        (
            "[[backends]]\nurl = \"http://x\"\n[[backends]]\nurl = \"http://y\"\nname = \"local\"\n",
            "FILE:5: backends.1.name: another",
        ),
        (
            "[[backends]]\nurl = \"http://x\"\n[[breaker.fallbacks]]\nmodel = \"m\"\nto = []\n",
            "FILE:5: breaker.fallbacks.0.to: ",
        ),
        ("[server\n", "FILE:1: "),
        ("[server]\nthreads = 1\n", "FILE: backends: no backend is configured"),
        ("[server]\ntls_cert = \"/none.pem\"\n[[backends]]\nurl = \"http://x\"\n", "FILE:2: server.tls_cert: "),
    ] {
        let problem = with(file, &[]).expect_err(file);
        assert!(problem.starts_with(expected), "{file:?} gave {problem:?}, expected {expected:?}");
    }
}

#[test]
fn an_error_from_the_environment_names_its_variable() {
    for (variable, value, expected) in [
        ("OUTRIGGER__SERVER__LISTEN", "x", "environment variable OUTRIGGER__SERVER__LISTEN: server.listen: "),
        ("OUTRIGGER__SERVER__NONE", "x", "environment variable OUTRIGGER__SERVER__NONE: server.none: unknown field"),
        ("OUTRIGGER_BACKEND", "x", "environment variable OUTRIGGER_BACKEND: "),
        ("OUTRIGGER__BACKENDS__5__URL", "http://x", "environment variable OUTRIGGER__BACKENDS__5__URL: "),
    ] {
        let problem = with(BACKEND, &[(variable, value)]).expect_err(variable);
        assert!(problem.starts_with(expected), "{variable} gave {problem:?}");
    }
}

#[test]
fn a_backends_url_is_taken_apart() {
    for (url, tls, host, port, prefix) in [
        ("http://127.0.0.1:8000", false, "127.0.0.1", 8000, ""),
        ("http://127.0.0.1:8000/v1", false, "127.0.0.1", 8000, ""),
        ("http://127.0.0.1:8000/v1/", false, "127.0.0.1", 8000, ""),
        ("https://api.example.com", true, "api.example.com", 443, ""),
        ("https://api.example.com/openai/v1", true, "api.example.com", 443, "/openai"),
        ("http://[::1]:9", false, "::1", 9, ""),
    ] {
        let parsed: BackendUrl = url.parse().unwrap();
        assert_eq!((parsed.tls, parsed.host.as_str(), parsed.port, parsed.prefix.as_str()), (tls, host, port, prefix));
    }
    for url in ["127.0.0.1:8000", "http://", "http://user:key@host", "http://host/v1?key=1", "ftp://host"] {
        assert!(url.parse::<BackendUrl>().is_err(), "{url}");
    }
}

#[test]
fn a_pattern_matches_whole_paths_only() {
    for (pattern, method, path, expected) in [
        ("GET /v1/models", "GET", "/v1/models", true),
        ("GET /v1/models", "POST", "/v1/models", false),
        ("GET /v1/models", "GET", "/v1/models/", false),
        ("GET /v1/models", "GET", "/v1/modelsx", false),
        ("GET /v1/models/*", "GET", "/v1/models/meta/llama", true),
        ("GET /v1/models/*", "GET", "/v1/models", false),
        ("* /v1/files/*/content", "DELETE", "/v1/files/a/content", true),
        ("* /v1/files/*/content", "GET", "/v1/files/a/b/content", false),
        ("* /v1/files/*/content", "GET", "/v1/files//content", false),
        ("* /*", "PATCH", "/anything/at/all", true),
        ("* /*", "GET", "/", true),
        ("GET /", "GET", "/", true),
    ] {
        let pattern: Passed = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&method.parse().unwrap(), path), expected, "{pattern:?} {method} {path}");
    }
    for bad in ["/v1/models", "get /v1", "GET v1", "GET /v1/mod*"] {
        assert!(bad.parse::<Passed>().is_err(), "{bad}");
    }
}
