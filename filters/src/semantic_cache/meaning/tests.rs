use std::sync::mpsc;

use super::*;
use embedder::Embed;

const SCOPE: Scope = Scope([1; 32]);

/// Knows a few words: texts with the same of them mean the same.
struct Words {
    /// Sleeps until this is dropped, where there is one.
    hold: Option<mpsc::Receiver<()>>,
    passes: usize,
}

impl Embed for Words {
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        self.passes += 1;
        if let Some(hold) = self.hold.as_ref().filter(|_| self.passes > 1) {
            // The test lets go of it at its end.
            let _ = hold.recv();
        }
        let of = |text: &str| -> Vec<f32> {
            ["password", "card", "refund", "travel"].map(|word| f32::from(u8::from(text.contains(word))) + 0.01).into()
        };
        Ok(texts.iter().map(|text| of(text)).collect())
    }

    fn is_too_long(&self, _: &str) -> bool {
        false
    }
}

fn start(settings: Settings, hold: Option<mpsc::Receiver<()>>) -> Arc<Meaning> {
    Meaning::start(settings, [7; 16], vec![Words { hold, passes: 0 }], None, Path::new("")).expect("it starts")
}

fn new(number: u8, text: &str) -> New {
    New { scope: SCOPE, id: Id([number; 32]), text: text.into(), until: Date::MAX, era: 0, vector: None }
}

/// Keeps it, and waits until it is.
fn keep(meaning: &Arc<Meaning>, new: New) -> Hint {
    let (sender, receiver) = mpsc::channel();
    meaning.note(new, move |hint| sender.send(hint).expect("the test waits"));
    receiver.recv().expect("it is kept")
}

fn why(sought: &Sought) -> Option<Far> {
    if let Sought::Far { why, .. } = sought { Some(*why) } else { None }
}

#[tokio::test]
async fn a_like_question_is_found_in_its_scope_only() {
    let meaning = start(Settings::default(), None);
    keep(&meaning, new(1, "how do i reset my password"));
    let near = meaning.seek(&SCOPE, "how do i reset my password please", None).await;
    assert!(matches!(near, Sought::Near { id: Id([1, ..]), .. }), "{near:?}");
    let other = meaning.seek(&Scope([2; 32]), "how do i reset my password please", None).await;
    assert_eq!(other, far(Far::Empty));
    let unlike = meaning.seek(&SCOPE, "where is my card", None).await;
    assert_eq!(why(&unlike), Some(Far::Below));
    assert!(matches!(unlike, Sought::Far { vector: Some(_), .. }), "it need not be made again");
    meaning.forget(&SCOPE, &Id([1; 32]));
    assert_eq!(meaning.seek(&SCOPE, "how do i reset my password", None).await, far(Far::Empty));
}

#[tokio::test]
async fn what_is_unfit_is_neither_sought_nor_kept() {
    let meaning = start(Settings::default(), None);
    keep(&meaning, new(1, "how do i reset my password"));
    meaning.note(new(2, "what is the weather today"), |hint| assert!(hint.vector.is_empty()));
    let sought = meaning.seek(&SCOPE, "what is the weather today", None).await;
    assert_eq!(why(&sought), Some(Far::Unfit(Unfit::Volatile)));
    assert_eq!(meaning.stats().entries, 1);
}

#[tokio::test]
async fn a_hint_from_elsewhere_is_kept_as_it_is_or_made_again() {
    let meaning = start(Settings::default(), None);
    let hint = keep(&meaning, new(1, "how do i reset my password"));
    let embedded = meaning.stats().embedded;
    let other = start(Settings::default(), None);
    other.insert(hint.clone());
    assert_eq!((other.stats().entries, other.stats().embedded), (1, 0), "the same maker's vector is good");
    let foreign = Hint { maker: [9; 16], id: Id([2; 32]), ..hint.clone() };
    meaning.insert(foreign);
    meaning.insert(Hint { until: 1, id: Id([3; 32]), ..hint });
    while meaning.stats().entries < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(meaning.stats().embedded, embedded + 1, "another maker's is made again; what is over is not kept");
}

#[tokio::test]
async fn whoever_waits_too_long_or_finds_no_room_has_a_miss() {
    let (hold, held) = mpsc::channel();
    let settings = Settings { queue: 1, batch: 1, deadline: Duration::from_millis(20), ..Settings::default() };
    let meaning = start(settings, Some(held));
    let vector = Vector::new(&[1.0, 0.0, 0.0, 0.0]);
    meaning.note(New { vector, ..new(1, "how do i reset my password") }, |_| {});
    let seek = || meaning.seek(&SCOPE, "how do i reset my password please", None);
    assert_eq!(why(&seek().await), Some(Far::Late), "the session is held");
    let (first, second) = tokio::join!(seek(), seek());
    assert_eq!((why(&first), why(&second)), (Some(Far::Late), Some(Far::Busy)));
    drop(hold);
}

#[tokio::test]
async fn answers_are_compared_by_their_beginnings() {
    let meaning = start(Settings::default(), None);
    let same = meaning.similarity("your card is blocked", "the card was blocked").await;
    let other = meaning.similarity("your card is blocked", "a refund takes days").await;
    assert!(same > Some(0.99) && other < Some(0.2), "{same:?} {other:?}");
}

#[test]
fn what_is_missing_is_an_error_in_plain_words() {
    let open = |settings: Settings| Meaning::open(&settings).err().expect("it cannot open").to_string();
    assert_eq!(open(Settings::default()), "no folder with an embedding model is named");
    let folder = open(Settings { model: Some("/nowhere".into()), ..Settings::default() });
    assert!(folder.contains("/nowhere/model.onnx"), "{folder}");
}

mod with_model;
