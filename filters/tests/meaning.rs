//! A runtime that is not there, in a process that has none loaded: an error, and not ort's panic or a hang.

use std::path::Path;

use outrigger_filters::semantic_cache::meaning::{Meaning, Settings};

#[test]
fn a_library_that_is_missing_or_none_is_an_error_each_time() {
    let folder = std::env::temp_dir().join(format!("outrigger-no-runtime-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.onnx"), "none").expect("a file");
    std::fs::write(folder.join("tokenizer.json"), "{}").expect("a file");
    let open = |runtime: Option<&Path>| {
        let settings = Settings {
            model: Some(folder.clone()),
            runtime: runtime.map(Path::to_owned),
            sessions: 1,
            ..Settings::default()
        };
        Meaning::open(&settings).err().expect("it cannot open").to_string()
    };
    for _ in 0..2 {
        let missing = open(Some(Path::new("/nowhere/libonnxruntime.so")));
        assert!(missing.contains("/nowhere/libonnxruntime.so") && missing.contains("no such file"), "{missing}");
        let none = open(Some(&folder.join("model.onnx")));
        assert!(none.contains("ONNX Runtime cannot be loaded"), "{none}");
    }
    // And the same where nobody names it and one lies beside the model.
    std::fs::write(folder.join("libonnxruntime.so"), "none").expect("a file");
    let beside = open(None);
    assert!(beside.contains("ONNX Runtime cannot be loaded") && beside.contains("libonnxruntime.so"), "{beside}");
    std::fs::remove_dir_all(&folder).expect("it goes");
}
