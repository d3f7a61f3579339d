//! What matching by meaning costs with 100,000 kept questions in one scope: the time of a hit and of a miss, and
//! the memory.
//!
//! `cargo bench -p outrigger-filters --bench meaning` prints medians and tails, all on one core but for the hop to
//! the model's thread. The texts are those of CLINC150 and BANKING77 with a few words more, so that none is twice
//! there; only the first 33,000 go through the model, and the rest are theirs with a little noise, as texts near them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_filters::semantic_cache::entry::{Hint, Id, Scope};
use outrigger_filters::semantic_cache::meaning::{Far, Meaning, Settings, Sought, Vector};
use tokio::time::Instant;

const KEPT: usize = 100_000;
const ROUNDS: usize = 400;
const SCOPE: Scope = Scope([1; 32]);
const ENDINGS: [&str; 8] =
    ["", " please", " for my sister", " if possible", " again", " for a friend", " and explain", " in short"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let model = std::env::var_os("OUTRIGGER_MODEL").map_or_else(|| root.join("models/minilm"), PathBuf::from);
    let settings = Settings {
        model: Some(model),
        sessions: 1,
        deadline: Duration::from_secs(1),
        max_entries: KEPT,
        queue: 8,
        ..Settings::default()
    };
    let before = resident();
    let meaning = Meaning::open(&settings).expect("`make model` brings the model");
    println!("model, runtime and gate: {} MB resident", (resident() - before) / 1_000_000);
    let texts = texts(&root);
    let before = resident();
    fill(&meaning, &texts).await;
    let stats = meaning.stats();
    println!(
        "{} kept questions: {} MB by count, {} MB resident more",
        stats.entries,
        stats.bytes / 1_000_000,
        resident().saturating_sub(before) / 1_000_000
    );

    let hits: Vec<String> = texts.iter().step_by(texts.len() / ROUNDS).map(|text| format!("{text} thanks")).collect();
    let near = measure(&meaning, &hits, |sought| matches!(sought, Sought::Near { .. })).await;
    report("a hit", near);
    let passed = measure(&meaning, &hits, |sought| matches!(sought, Sought::Far { why, .. } if !is_early(why))).await;
    report("a miss after the model", passed);
    let far: Vec<String> = (0..ROUNDS)
        .map(|number| {
            format!("{} zygote {}", WORDS[number % WORDS.len()], WORDS[(number * 7 + number / 8) % WORDS.len()])
        })
        .collect();
    let gated = measure(&meaning, &far, |sought| matches!(sought, Sought::Far { why: Far::Gate, .. })).await;
    report("a miss settled by the gate", gated);
    let mixed: Vec<String> = misses();
    report(
        "a miss, over 400 unlike questions",
        measure(&meaning, &mixed, |sought| matches!(sought, Sought::Far { .. })).await,
    );
    changes(&meaning, &texts[0]).await;
}

fn is_early(why: &Far) -> bool {
    matches!(why, Far::Empty | Far::Unfit(_) | Far::Gate | Far::Busy | Far::Late | Far::Failed)
}

const WORDS: [&str; 8] = ["basalt", "ligature", "sonata", "quark", "falconry", "enzyme", "glacier", "trochaic"];

/// Questions of other kinds than those that are kept.
fn misses() -> Vec<String> {
    const VERBS: [&str; 10] = [
        "explain",
        "derive",
        "classify",
        "sketch",
        "prove",
        "paraphrase",
        "annotate",
        "simulate",
        "criticise",
        "dissect",
    ];
    const THINGS: [&str; 40] = [
        "mitosis",
        "the krebs cycle",
        "fermat's theorem",
        "a sestina",
        "plate tectonics",
        "ottoman architecture",
        "bayesian inference",
        "quantum entanglement",
        "the peloponnesian war",
        "gothic cathedrals",
        "osmosis",
        "the doppler effect",
        "iambic pentameter",
        "baroque counterpoint",
        "cell membranes",
        "black holes",
        "the french revolution",
        "kantian ethics",
        "game theory",
        "photosynthesis",
        "the silk road",
        "linear regression",
        "romantic poetry",
        "nuclear fusion",
        "the immune system",
        "graph colouring",
        "impressionism",
        "supply curves",
        "sedimentary rocks",
        "the magna carta",
        "recursion",
        "glaciers",
        "etymology",
        "binary search trees",
        "coral reefs",
        "stoicism",
        "radiocarbon dating",
        "vaccines",
        "tidal forces",
        "heraldry",
    ];
    VERBS.iter().flat_map(|verb| THINGS.iter().map(move |thing| format!("{verb} {thing} in detail"))).collect()
}

fn texts(root: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for name in ["clinc150_train", "clinc150_test", "banking77_train", "banking77_test"] {
        let file = root.join("tests/data/semantic").join(name).with_extension("jsonl");
        let lines = std::fs::read_to_string(&file).expect("the texts");
        let text = |line: &str| -> Option<String> {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["text"].as_str().map(str::to_owned)
        };
        texts.extend(lines.lines().filter_map(text));
    }
    texts
}

/// The first ones as the model has them, kept in a file between runs; the others beside them.
async fn fill(meaning: &Arc<Meaning>, texts: &[String]) {
    let mut seed: u64 = 1;
    let vectors = vectors(meaning, texts).await;
    for number in 0..KEPT * 2 {
        if number % 1_000 == 0 && meaning.stats().entries >= KEPT {
            break;
        }
        let (base, round) = (number % texts.len(), number / texts.len());
        let vector = if round == 0 { vectors[base].clone() } else { jitter(&vectors[base], &mut seed) };
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let text = format!("{}{}", texts[base], ENDINGS[round % ENDINGS.len()]).into();
        meaning.insert(Hint {
            scope: SCOPE,
            id: Id(id),
            text,
            vector: vector.to_bytes(),
            maker: meaning.fingerprint(),
            until: u64::MAX,
            era: 0,
        });
    }
}

async fn vectors(meaning: &Arc<Meaning>, texts: &[String]) -> Vec<Vector> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-meaning.vectors");
    let size = 388;
    if let Ok(bytes) = std::fs::read(&file) {
        let kept: Vec<Vector> = bytes.chunks(size).filter_map(|bytes| Vector::from_bytes(bytes, 384)).collect();
        if kept.len() == texts.len() {
            return kept;
        }
    }
    let mut made = Vec::new();
    for text in texts {
        made.push(meaning.vector(text).await.expect("a vector"));
    }
    let bytes: Vec<u8> = made.iter().flat_map(|vector| vector.to_bytes().into_vec()).collect();
    // It only saves time.
    let _ = std::fs::write(&file, bytes);
    made
}

fn jitter(vector: &Vector, seed: &mut u64) -> Vector {
    let numbers: Vec<f32> = vector
        .to_bytes()
        .iter()
        .skip(4)
        .map(|byte| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f32::from(byte.cast_signed()) + ((*seed >> 40) as f32 / 16_777_216.0 - 0.5) * 40.0
        })
        .collect();
    Vector::new(&numbers).expect("a direction")
}

async fn measure(meaning: &Arc<Meaning>, texts: &[String], counts: impl Fn(&Sought) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    for text in texts {
        let start = Instant::now();
        let sought = meaning.seek(&SCOPE, text, None).await;
        let took = start.elapsed();
        if counts(&sought) {
            times.push(took);
        }
    }
    times.sort();
    times
}

fn report(what: &str, times: Vec<Duration>) {
    if times.is_empty() {
        println!("{what}: none");
        return;
    }
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{what}: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, of {}", at(50), at(90), at(99), times.len());
}

async fn changes(meaning: &Arc<Meaning>, text: &str) {
    let vector = meaning.vector(text).await.expect("a vector").to_bytes();
    let (mut inserts, mut removals) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS as u64 {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let hint = Hint {
            scope: SCOPE,
            id: Id(id),
            text: text.into(),
            vector: vector.clone(),
            maker: meaning.fingerprint(),
            until: u64::MAX,
            era: 0,
        };
        let start = Instant::now();
        meaning.insert(hint);
        inserts.push(start.elapsed());
        let start = Instant::now();
        meaning.forget(&SCOPE, &Id(id));
        removals.push(start.elapsed());
    }
    inserts.sort();
    removals.sort();
    report("to keep one more", inserts);
    report("to forget one", removals);
}

/// What the process holds in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * 4_096)
}
