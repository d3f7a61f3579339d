//! One sidecar's places, with the background on a thread of its own as in the proxy.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use outrigger_filters::semantic_cache::entry::{Entry, Form, Hint, Id, Made, Scope, now};
use outrigger_filters::semantic_cache::places::{Listener, Places, Settings};
use outrigger_filters::store::{Config, Store};
use outrigger_filters::{Route, Tenant};
use tokio::sync::oneshot;

/// Notes what it hears.
#[derive(Default)]
pub struct Ear {
    pub hints: Mutex<Vec<Hint>>,
    pub gone: Mutex<Vec<Id>>,
}

impl Listener for Ear {
    fn hint(&self, hint: Hint) {
        self.hints.lock().expect("no panic").push(hint);
    }

    fn gone(&self, _: &Scope, id: &Id) {
        self.gone.lock().expect("no panic").push(*id);
    }
}

impl Ear {
    pub fn heard(&self, number: u32) -> bool {
        self.hints.lock().expect("no panic").iter().any(|hint| hint.id == id(number))
    }

    pub fn lost(&self, number: u32) -> bool {
        self.gone.lock().expect("no panic").contains(&id(number))
    }

    pub fn forget(&self) {
        self.hints.lock().expect("no panic").clear();
    }
}

pub struct Side {
    pub store: Arc<Store>,
    pub places: Arc<Places>,
    pub ear: Arc<Ear>,
    end: Option<oneshot::Sender<()>>,
    background: Option<std::thread::JoinHandle<()>>,
}

impl Side {
    pub async fn new(url: &str) -> Self {
        let side = Self::with(url, settings(None));
        until("Redis is up", || side.store.health().is_up()).await;
        side.ready().await;
        side
    }

    pub fn with(url: &str, settings: Settings) -> Self {
        let meter = opentelemetry::global::meter("test");
        // Generous, since machines that run tests are busy.
        let config = Config { url: Some(url.parse().expect("an address")), timeout_ms: 1_000, ..Config::default() };
        let store = Store::new(&config, &meter).expect("settings");
        let ear = Arc::new(Ear::default());
        let places = Places::new(&settings, Some(store.clone()), ear.clone(), &meter).expect("settings");
        let (end, ended) = oneshot::channel::<()>();
        let (running, also_running) = (store.clone(), places.clone());
        let background = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = running.run() => {}
                    () = also_running.run() => {}
                    _ = ended => {}
                }
            });
        });
        Side { store, places, ear, end: Some(end), background: Some(background) }
    }

    /// Waits until Redis takes what is put: all its purges are known then.
    pub async fn ready(&self) {
        until_async("Redis takes answers", async || {
            let before = self.places.stats().redis.written;
            let probe = Entry { era: self.places.era(), scope: Scope([0xEE; 32]), ..entry(u32::MAX) };
            self.places.put(Arc::new(probe));
            self.places.finish().await;
            self.places.stats().redis.written > before
        })
        .await;
    }

    /// Puts an answer and its hint, and waits until both are kept.
    pub async fn keep(&self, number: u32) {
        self.places.put(Arc::new(Entry { era: self.places.era(), ..entry(number) }));
        self.places.learn(hint(number));
        self.places.finish().await;
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(background) = self.background.take() {
            let _ = background.join();
        }
    }
}

const PATIENCE: u32 = 12_000;

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    until_async(what, async || is_so()).await;
}

pub async fn until_async(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..PATIENCE {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited a minute in vain: {what}");
}

pub fn settings(folder: Option<&Path>) -> Settings {
    Settings {
        memory_bytes: 8 << 20,
        disk_path: folder.map(Path::to_path_buf),
        disk_bytes: 64 << 20,
        max_entry_bytes: 256 << 10,
        redis: true,
        max_hints: 10_000,
        load_wait: Duration::from_secs(30),
    }
}

pub const SCOPE: Scope = Scope([5; 32]);

pub fn id(number: u32) -> Id {
    let mut id = [0x5A; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    // Spread, as a digest's are.
    id[4..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9).to_le_bytes());
    Id(id)
}

/// What the answer of a number says, of a length of its own.
pub fn body(number: u32) -> String {
    format!("answer {number} ").repeat(50 + number as usize % 800)
}

pub fn entry(number: u32) -> Entry {
    Entry {
        id: id(number),
        scope: SCOPE,
        tenant: Tenant::of(b"somebody"),
        route: Route::ChatCompletions,
        model: "model".into(),
        tags: vec!["tag".into()],
        text: Some(format!("question {number}").into()),
        era: 0,
        stored: now(),
        fresh: Duration::from_secs(60),
        kept: Duration::from_secs(3600),
        made: Made::default(),
        form: Form::Whole,
        status: 200,
        headers: vec![("content-type".into(), Bytes::from_static(b"application/json"))],
        body: body(number).into(),
    }
}

pub fn hint(number: u32) -> Hint {
    Hint {
        scope: SCOPE,
        id: id(number),
        text: format!("question {number}").into(),
        vector: vec![number as u8; 384].into(),
        maker: [1; 16],
        until: now() + 3_600_000,
        era: 0,
    }
}
