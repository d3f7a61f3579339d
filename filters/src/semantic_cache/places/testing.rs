//! What the tests of places share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{Listener, Places, Settings};
use crate::Route;
use crate::ask::Tenant;
use crate::semantic_cache::entry::{Entry, Form, Hint, Id, Made, Scope, now};

/// A folder of its own for each, removed with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("outrigger-places-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder to work in");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Notes what it hears.
#[derive(Default)]
pub(crate) struct Ear {
    pub(crate) hints: Mutex<Vec<Hint>>,
    pub(crate) gone: Mutex<Vec<Id>>,
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
    pub(crate) fn has_lost(&self, id: &Id) -> bool {
        self.gone.lock().expect("no panic").contains(id)
    }

    pub(crate) fn count(&self) -> usize {
        self.hints.lock().expect("no panic").len()
    }
}

pub(crate) fn settings(folder: Option<&Folder>) -> Settings {
    Settings {
        memory_bytes: 8 << 20,
        disk_path: folder.map(|folder| folder.0.clone()),
        disk_bytes: 64 << 20,
        max_entry_bytes: 256 << 10,
        redis: false,
        max_hints: 10_000,
        load_wait: Duration::from_millis(200),
    }
}

pub(crate) fn open(settings: &Settings) -> (Arc<Places>, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let places = Places::new(settings, None, ear.clone(), &opentelemetry::global::meter("test"));
    (places.expect("good settings"), ear)
}

pub(crate) fn id(number: u32) -> Id {
    Id(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

pub(crate) const SCOPE: Scope = Scope([5; 32]);

pub(crate) fn entry(number: u32) -> Entry {
    let body = format!("answer {number} ").repeat(100 + number as usize % 300);
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
        kept: Duration::from_secs(600),
        made: Made::default(),
        form: Form::Whole,
        status: 200,
        headers: vec![("content-type".into(), Bytes::from_static(b"application/json"))],
        body: body.into(),
    }
}

pub(crate) fn hint(number: u32) -> Hint {
    Hint {
        scope: SCOPE,
        id: id(number),
        text: format!("question {number}").into(),
        vector: vec![number as u8; 64].into(),
        maker: [1; 16],
        until: now() + 600_000,
        era: 0,
    }
}
