//! What became of questions and answers: counted once, for metrics and for `/api/cache/stats`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use serde_json::{Map, Value, json};

use super::entry::Made;
use super::places::Place;

/// A closed set of words, each counted.
pub trait Words: Copy + 'static {
    const ALL: &'static [Self];
    fn name(self) -> &'static str;
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$why:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$why])* $word),+ }
        impl Words for $name {
            const ALL: &'static [Self] = &[$($name::$word),+];
            fn name(self) -> &'static str {
                match self { $($name::$word => $text),+ }
            }
        }
    };
}

words! {
    /// How a kept answer was found.
    Tier {
        Exact = "exact",
        Canonical = "canonical",
        Semantic = "semantic",
    }
}

words! {
    /// Why a request has nothing to do with kept answers.
    Bypass {
        /// The mode is `off`.
        Off = "off",
        /// `Cache-Control: no-store`.
        NoStore = "no_store",
        /// Its temperature asks for variety.
        Sampled = "sampled",
        /// It asks for several answers.
        SeveralAnswers = "several_answers",
        /// It hangs on what the backend remembers.
        Stateful = "stateful",
    }
}

words! {
    /// Why nothing kept was given.
    Miss {
        /// `no-cache`, or an age that nothing has.
        Steered = "steered",
        /// Known, but not fresh any more.
        Stale = "stale",
        /// The question is one that only its very words can find, and they were not known.
        ExactOnly = "exact_only",
        /// Nothing in its scope is known.
        Empty = "empty",
        /// The text is not fit to be matched by meaning.
        Unfit = "unfit",
        /// The static model saw nothing like it.
        Gate = "gate",
        /// Nothing similar enough.
        Below = "below",
        /// Something similar, that differs in what matters.
        Vetoed = "vetoed",
        /// Something similar, that is not sure enough.
        Doubtful = "doubtful",
        /// The embedder had too much to do, or failed.
        Busy = "busy",
        Late = "late",
        Failed = "failed",
        /// It would have been given, in the mode `shadow`.
        Shadow = "shadow",
        /// Found by its text, and gone or of no use when it was fetched.
        Gone = "gone",
    }
}

words! {
    /// Why an answer was not kept.
    Unkept {
        Status = "status",
        Forbidden = "forbidden",
        TooLarge = "too_large",
        Broken = "broken",
        Unfinished = "unfinished",
    }
}

/// One counter for each word.
pub struct Counters<W>(Vec<AtomicU64>, std::marker::PhantomData<W>);

impl<W: Words + PartialEq> Default for Counters<W> {
    fn default() -> Self {
        Counters(W::ALL.iter().map(|_| AtomicU64::new(0)).collect(), std::marker::PhantomData)
    }
}

impl<W: Words + PartialEq> Counters<W> {
    pub fn add(&self, word: W) {
        let at = W::ALL.iter().position(|other| *other == word);
        if let Some(counter) = at.and_then(|at| self.0.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        W::ALL.iter().zip(&self.0).map(|(word, count)| (word.name(), count.load(Ordering::Relaxed)))
    }

    pub fn sum(&self) -> u64 {
        self.all().map(|(_, count)| count).sum()
    }

    fn json(&self) -> Value {
        self.all().map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>().into()
    }
}

#[derive(Default)]
pub struct Counts {
    tiers: Counters<Tier>,
    places: [AtomicU64; 3],
    stale: AtomicU64,
    misses: Counters<Miss>,
    bypasses: Counters<Bypass>,
    kept: AtomicU64,
    unkept: Counters<Unkept>,
    saved_input: AtomicU64,
    saved_output: AtomicU64,
    saved_millis: AtomicU64,
    /// In the mode `shadow`: answers that would have been given, and whether the backend's own were like them.
    shadow: [AtomicU64; 3],
}

/// What the mode `shadow` found out about an answer that it would have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shadow {
    /// The backend said the same, or much the same.
    Agreed,
    Differed,
    /// It could not be compared.
    Unknown,
}

const PLACES: [Place; 3] = [Place::Memory, Place::Disk, Place::Redis];
const SHADOWS: [&str; 3] = ["agreed", "differed", "unknown"];

impl Counts {
    pub fn hit(&self, tier: Tier, place: Place, stale: bool, made: &Made) {
        self.tiers.add(tier);
        self.places[place as usize].fetch_add(1, Ordering::Relaxed);
        if stale {
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
        self.saved_input.fetch_add(made.input_tokens.unwrap_or(0), Ordering::Relaxed);
        self.saved_output.fetch_add(made.output_tokens.unwrap_or(0), Ordering::Relaxed);
        self.saved_millis.fetch_add(made.millis, Ordering::Relaxed);
    }

    pub fn miss(&self, why: Miss) {
        self.misses.add(why);
    }

    pub fn bypass(&self, why: Bypass) {
        self.bypasses.add(why);
    }

    pub fn kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    pub fn unkept(&self, why: Unkept) {
        self.unkept.add(why);
    }

    pub fn shadow(&self, outcome: Shadow) {
        self.shadow[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn json(&self) -> Value {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = (self.tiers.sum(), self.misses.sum());
        let asked = hits + misses;
        let rate = if asked == 0 { 0.0 } else { hits as f64 / asked as f64 };
        let places = PLACES.iter().zip(&self.places).map(|(place, count)| (place.name().to_owned(), get(count).into()));
        json!({
            "hits": hits,
            "misses": misses,
            "bypassed": self.bypasses.sum(),
            "hit_rate": (rate * 10_000.0).round() / 10_000.0,
            "hits_by_tier": self.tiers.json(),
            "hits_by_place": places.collect::<Map<_, _>>(),
            "stale_hits": get(&self.stale),
            "misses_by_reason": self.misses.json(),
            "bypasses_by_reason": self.bypasses.json(),
            "kept": get(&self.kept),
            "not_kept_by_reason": self.unkept.json(),
            "saved": {
                "input_tokens": get(&self.saved_input),
                "output_tokens": get(&self.saved_output),
                "seconds": get(&self.saved_millis) as f64 / 1000.0,
            },
            "shadow": SHADOWS.iter().zip(&self.shadow)
                .map(|(name, count)| ((*name).to_owned(), get(count).into())).collect::<Map<String, Value>>(),
        })
    }

    /// The same as metrics.
    pub fn observe(self: &Arc<Self>, meter: &Meter) {
        self.by_label(
            meter,
            "outrigger_cache_hits",
            "Answers given from memory, by how they were found.",
            "tier",
            |counts| counts.tiers.all().collect(),
        );
        self.by_label(
            meter,
            "outrigger_cache_hits_by_place",
            "Answers given from memory, by where they lay.",
            "place",
            |counts| {
                PLACES
                    .iter()
                    .zip(&counts.places)
                    .map(|(place, count)| (place.name(), count.load(Ordering::Relaxed)))
                    .collect()
            },
        );
        self.by_label(
            meter,
            "outrigger_cache_misses",
            "Questions that nothing kept answered, by why.",
            "reason",
            |counts| counts.misses.all().collect(),
        );
        self.by_label(
            meter,
            "outrigger_cache_bypasses",
            "Requests that kept answers are not for, by why.",
            "reason",
            |counts| counts.bypasses.all().collect(),
        );
        self.by_label(
            meter,
            "outrigger_cache_unkept_answers",
            "Answers that were not kept, by why.",
            "reason",
            |counts| counts.unkept.all().collect(),
        );
        self.by_label(meter, "outrigger_cache_saved_tokens", "Tokens that kept answers saved.", "type", |counts| {
            let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            vec![("input", get(&counts.saved_input)), ("output", get(&counts.saved_output))]
        });
        self.by_label(
            meter,
            "outrigger_cache_shadow_answers",
            "What the mode `shadow` would have given, by whether the backend said the same.",
            "outcome",
            |counts| {
                SHADOWS.iter().copied().zip(counts.shadow.iter().map(|count| count.load(Ordering::Relaxed))).collect()
            },
        );
        for (name, description, read) in [
            (
                "outrigger_cache_stale_hits",
                "Answers given although they were not fresh.",
                (|counts| &counts.stale) as fn(&Counts) -> &AtomicU64,
            ),
            ("outrigger_cache_kept_answers", "Answers that were kept.", |counts| &counts.kept),
        ] {
            let counts = self.clone();
            meter
                .u64_observable_counter(name)
                .with_description(description)
                .with_callback(move |observer| observer.observe(read(&counts).load(Ordering::Relaxed), &[]))
                .build();
        }
        let counts = self.clone();
        meter
            .f64_observable_counter("outrigger_cache_saved_duration")
            .with_unit("s")
            .with_description("Time that the backend once took for the answers that were given again.")
            .with_callback(move |observer| {
                observer.observe(counts.saved_millis.load(Ordering::Relaxed) as f64 / 1000.0, &[]);
            })
            .build();
    }

    fn by_label(
        self: &Arc<Self>,
        meter: &Meter,
        name: &'static str,
        description: &'static str,
        label: &'static str,
        read: fn(&Counts) -> Vec<(&'static str, u64)>,
    ) {
        let counts = self.clone();
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| {
                for (word, count) in read(&counts) {
                    observer.observe(count, &[KeyValue::new(label, word)]);
                }
            })
            .build();
    }
}
