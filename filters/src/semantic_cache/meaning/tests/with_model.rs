//! With the real model, which `make model` brings into `models/minilm`.

use super::*;

fn folder() -> PathBuf {
    let named = std::env::var_os("OUTRIGGER_MODEL").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/minilm"));
    assert!(
        folder.join("model.onnx").exists(),
        "no model in {}: `make model` brings it, or OUTRIGGER_MODEL names its folder",
        folder.display()
    );
    folder
}

fn settings() -> Settings {
    // A busy machine may be slow, and this is not about time.
    Settings { model: Some(folder()), sessions: 1, deadline: Duration::from_secs(30), ..Settings::default() }
}

#[tokio::test]
async fn the_model_knows_what_is_alike() {
    let meaning = Meaning::open(&settings()).expect("it opens");
    keep(&meaning, new(1, "how do i reset my password"));
    keep(&meaning, new(2, "what is the best way to cook rice"));
    let near = meaning.seek(&SCOPE, "How can I reset my password?", None).await;
    assert!(matches!(&near, Sought::Near { id: Id([1, ..]), similarity, .. } if *similarity > 0.9), "{near:?}");
    let far = meaning.seek(&SCOPE, "where do penguins live in winter", None).await;
    assert!(matches!(far, Sought::Far { .. }), "{far:?}");
    assert_eq!(meaning.fingerprint(), Meaning::open(&settings()).expect("it opens").fingerprint());
}

#[tokio::test]
async fn a_text_has_one_vector_alone_or_in_a_batch() {
    let folder = folder();
    let environment = runtime::load(None, &folder).expect("the runtime");
    let mut session = Files::read(&folder).expect("files").open(&folder, &environment).expect("a session");
    let long = "tell me all that there is to know about the history of the city and its people ".repeat(2);
    let texts = ["how do i reset my password", &long, "what is up"];
    let together = session.embed(&texts).expect("vectors");
    for (text, vector) in texts.iter().zip(&together) {
        let alone = Vector::new(&session.embed(&[text]).expect("a vector")[0]).expect("a direction");
        let cosine = alone.cosine(&Vector::new(vector).expect("a direction"));
        assert!(cosine > 0.999, "{text}: {cosine}");
    }
    assert!(session.is_too_long(&"word ".repeat(130)) && !session.is_too_long(&long));
}

#[test]
fn a_runtime_that_is_missing_or_none_is_an_error() {
    let missing = Settings { runtime: Some("/nowhere/libonnxruntime.so".into()), ..settings() };
    let error = Meaning::open(&missing).err().expect("no runtime there").to_string();
    assert!(error.contains("/nowhere/libonnxruntime.so") && error.contains("no such file"), "{error}");
}

#[test]
fn files_that_are_no_model_are_an_error() {
    let folder = std::env::temp_dir().join(format!("outrigger-no-model-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.onnx"), "none").expect("a file");
    std::fs::write(folder.join("tokenizer.json"), "{}").expect("a file");
    let runtime = Some(self::folder().join("libonnxruntime.so")).filter(|file| file.exists());
    let error = Meaning::open(&Settings { model: Some(folder.clone()), runtime, ..settings() }).err();
    std::fs::remove_dir_all(&folder).expect("it goes");
    assert!(error.expect("no model").to_string().contains("cannot be used as an embedding model"));
}
