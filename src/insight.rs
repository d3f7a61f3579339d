//! What is seen of the whole: the profile of requests, what has become slower, alerts; and who is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use outrigger_filters::alerts::{self, Alerts, Level, Metric, Rule};
use outrigger_filters::breaker::Fleet;
use outrigger_filters::cost::Books;
use outrigger_filters::latency::Config;
use outrigger_filters::latency::profile::{Digest, Of, Profile, Reading};
use outrigger_filters::latency::regression::{self, Class, Regressions, Snapshot};
use outrigger_filters::latency::report::{self, Dependencies, Disk, Embedder, Engine, Redis};
use outrigger_filters::latency::slow::Slow;
use outrigger_filters::semantic_cache::Cache;
use outrigger_filters::store::Store;
use outrigger_filters::trace::Record;
use outrigger_filters::windows::Window;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::events::Events;
use crate::gpu::Gpu;
use crate::machine::Machine;
use crate::webhook::{Address, Webhook};

/// What it looks at beside the requests.
#[derive(Clone)]
pub struct Sources {
    pub fleet: Arc<Fleet>,
    pub books: Arc<Books>,
    pub cache: Arc<Cache>,
    pub store: Option<Arc<Store>>,
    pub machine: Arc<Machine>,
    pub gpu: Arc<Gpu>,
    pub events: Arc<Events>,
}

pub struct Insight {
    config: ArcSwap<Config>,
    profile: Profile,
    regressions: Regressions,
    slow: Slow,
    alerts: Mutex<Alerts>,
    webhook: Webhook,
    writing: Mutex<()>,
    /// Another process keeps what is usual from now on.
    is_followed: AtomicBool,
    sources: ArcSwap<Sources>,
}

/// What a reload changes of it; made before anything is changed.
pub struct Renewal {
    pub latency: Config,
    pub alerts: alerts::Config,
    pub webhook: Option<Arc<Address>>,
    /// The names that backends have or had, by their places.
    pub backends: Vec<String>,
    pub fleet: Arc<Fleet>,
    pub books: Arc<Books>,
    pub cache: Arc<Cache>,
}

impl Insight {
    /// Reads what was learned before.
    ///
    /// # Errors
    /// If the webhook's address or key is not one.
    pub fn new(
        config: &Config,
        alerts: &alerts::Config,
        backends: &[String],
        sources: Sources,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let webhook = Webhook::new(Address::of(alerts).context("alerts.webhook_url")?);
        Ok(Insight {
            config: ArcSwap::from_pointee(config.clone()),
            profile: Profile::new(config, backends, now),
            regressions: Regressions::open(config, backends, now),
            slow: Slow::new(config, backends),
            alerts: Mutex::new(Alerts::new(alerts, now, date())),
            webhook,
            writing: Mutex::default(),
            is_followed: AtomicBool::new(false),
            sources: ArcSwap::from_pointee(sources),
        })
    }

    /// Other settings from now on. What was seen and learned stays.
    pub fn renew(&self, renewal: Renewal) {
        let Renewal { latency, alerts, webhook, backends, fleet, books, cache } = renewal;
        self.profile.renew(&latency, &backends);
        self.regressions.renew(&latency, &backends);
        self.slow.renew(&latency, &backends);
        self.config.store(Arc::new(latency));
        self.sources.rcu(|sources| Sources {
            fleet: fleet.clone(),
            books: books.clone(),
            cache: cache.clone(),
            ..Sources::clone(sources)
        });
        self.webhook.aim(webhook);
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).renew(&alerts, Instant::now(), date());
    }

    /// Takes a request that is over; on the thread of telemetry.
    pub fn take(&self, record: &Record) {
        let now = Instant::now();
        let digest = Digest::of(record);
        self.profile.count(now, &digest);
        self.regressions.count(now, &digest);
        if self.config.load().profile {
            self.slow.take(now, record);
        }
    }

    /// What `GET /api/performance/metrics` answers. It takes milliseconds: not on a worker.
    pub fn metrics(&self) -> Value {
        let now = Instant::now();
        let mut metrics = self.profile.metrics(now);
        metrics["regressions"] = self.regressions.report(now);
        metrics
    }

    /// What `GET /api/performance/report` answers. Not on a worker.
    pub fn report(&self) -> Value {
        report::report(Instant::now(), &self.config.load(), &self.profile, &self.regressions, &self.dependencies())
    }

    pub fn slow(&self) -> Value {
        self.slow.report(Instant::now())
    }

    pub fn alerts(&self) -> Value {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).report()
    }

    /// The share of requests that failed by no fault of their clients, and how many there were to tell by.
    pub fn error_share(&self, window: Window) -> Option<(f64, u64)> {
        self.profile.errors(Instant::now(), window)
    }

    fn dependencies(&self) -> Dependencies {
        let sources = self.sources.load();
        let Sources { fleet, cache, store, .. } = &**sources;
        let redis = store.as_ref().map(|store| {
            let waited = store.waited(Window::Five);
            Redis {
                calls: waited.calls,
                timeout_ms: store.timeout().as_secs_f64() * 1e3,
                timeouts: waited.timeouts,
                errors: waited.errors,
            }
        });
        let embedder = cache.embedder(Window::Five).map(|busy| Embedder {
            waiting: busy.waiting,
            queue_limit: busy.queue,
            wait: busy.wait,
            run: busy.run,
            refused_share: busy.refused_share,
        });
        let engines = fleet.engines().map(|(backend, engine)| Engine {
            backend: backend.to_owned(),
            waiting: Some(engine.waiting as f64),
            running: Some(engine.running as f64),
            kv_usage: engine.kv_usage,
        });
        let disk = cache.disk_took(Window::Five).map(|calls| Disk { calls: Some(calls) });
        Dependencies { redis, embedder, disk, engines: engines.collect() }
    }

    /// What a rule reads. What nobody measures here is none.
    fn read(&self, rule: &Rule, now: Instant) -> Option<f64> {
        let sources = self.sources.load();
        let Sources { fleet, books, store, machine, gpu, .. } = &**sources;
        let of = Of { backend: rule.backend.as_deref(), model: rule.model.as_deref() };
        let seen = |reading| self.profile.reading(now, reading, rule.window, of);
        let millis = |reading| seen(reading).map(|seconds| seconds * 1e3);
        match rule.metric {
            Metric::FirstTokenMs => millis(Reading::FirstTokenP95),
            Metric::LatencyMs => millis(Reading::DurationP95),
            Metric::PerTokenMs => millis(Reading::PerTokenP95),
            Metric::ErrorRate => seen(Reading::ErrorShare),
            Metric::CacheHitRate => seen(Reading::CacheHitShare),
            Metric::MemoryShare => machine.seen().memory.map(|memory| memory.share.share()),
            Metric::CpuShare => machine.seen().cpu,
            Metric::DiskShare => machine.seen().disk.map(|disk| disk.share.share()),
            Metric::Queue => Some(fleet.waiting(of.backend) as f64),
            Metric::BudgetShare => books.spent_share(),
            Metric::Regression => {
                let class = self.regressions.class(of.backend, of.model);
                Some(f64::from(class as u8))
            }
            Metric::BackendsDown => Some(fleet.down().0 as f64),
            Metric::RedisDown => store.as_ref().map(|store| f64::from(u8::from(!store.health().is_up()))),
            Metric::GpuMemoryShare => gpu.memory_share(),
            Metric::GpuTemperatureC => gpu.temperature_c(),
            Metric::GpuUtilizationShare => gpu.utilization_share(),
        }
    }

    fn look(&self) {
        let now = Instant::now();
        for change in self.regressions.tick(now) {
            self.regressed(&change);
        }
        let changes =
            self.alerts.lock().unwrap_or_else(PoisonError::into_inner).tick(now, date(), |rule| self.read(rule, now));
        for change in changes {
            self.alerted(&change);
        }
    }

    fn regressed(&self, change: &regression::Change) {
        let told = json!(change);
        let (backend, model, measure) = (&*change.backend, &*change.model, change.measure.name());
        let (class, was) = (change.class.name(), change.was.name());
        let ratio = change.ratio.map(|ratio| (ratio * 100.0).round() / 100.0);
        match change.class {
            Class::Normal => tracing::info!(backend, model, measure, was, ratio, "as fast as usual again"),
            _ => tracing::warn!(backend, model, measure, class, was, ratio, "slower than usual"),
        }
        self.sources.load().events.say("regression", told);
    }

    fn alerted(&self, change: &alerts::Change) {
        let told = json!(change);
        let (rule, metric, value, threshold) =
            (change.rule.as_str(), change.metric.name(), change.value, change.threshold);
        match change.level {
            Level::Ok => tracing::info!(rule, metric, value, threshold, "alert is over"),
            Level::Warning => tracing::warn!(rule, metric, value, threshold, level = "warning", "alert"),
            Level::Critical => tracing::error!(rule, metric, value, threshold, level = "critical", "alert"),
        }
        self.webhook.tell(json!({ "kind": "alert", "data": told }));
        self.sources.load().events.say("alert", told);
    }

    pub fn observe(self: &Arc<Self>, meter: &Meter) {
        let insight = Arc::downgrade(self);
        meter
            .u64_observable_gauge("outrigger_regression")
            .with_description(
                "How much slower than usual a backend is for a model: 0 not, 1 minor, 2 moderate, 3 severe.",
            )
            .with_callback(move |observer| {
                let Some(insight) = insight.upgrade() else { return };
                for seen in insight.regressions.list(Instant::now()) {
                    let labels = [
                        KeyValue::new("backend", seen.backend.to_string()),
                        KeyValue::new("gen_ai.request.model", seen.model.to_string()),
                        KeyValue::new("measure", seen.measure.name()),
                    ];
                    observer.observe(seen.class as u64, &labels);
                }
            })
            .build();
        let insight = Arc::downgrade(self);
        meter
            .u64_observable_gauge("outrigger_alert")
            .with_description("What a rule of alerts says: 0 ok, 1 warning, 2 critical; not there while it is unknown.")
            .with_callback(move |observer| {
                let Some(insight) = insight.upgrade() else { return };
                for (rule, level) in insight.alerts.lock().unwrap_or_else(PoisonError::into_inner).levels() {
                    observer.observe(level as u64, &[KeyValue::new("rule", rule.to_owned())]);
                }
            })
            .build();
    }

    /// Keeps what was learned now, for another process to read.
    pub fn keep(&self) {
        self.write(self.regressions.snapshot());
    }

    /// Another process has read it, and goes on with it.
    pub fn is_followed(&self) {
        self.is_followed.store(true, Ordering::Release);
    }

    /// Keeps what was learned, at the end, and lets what is to be posted go out.
    pub fn finish(&self) {
        self.write(self.regressions.snapshot());
        self.webhook.finish();
    }

    fn write(&self, snapshot: Option<Snapshot>) {
        // One at a time: the last may be written while the end comes.
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_followed.load(Ordering::Acquire) {
            return;
        }
        if let Some(Err(error)) = snapshot.map(|snapshot| snapshot.write()) {
            tracing::warn!(%error, "what is usual of backends could not be kept: latency.baseline_path");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a date for people to read")]
fn date() -> SystemTime {
    SystemTime::now()
}

/// Looks, again and again.
pub struct Watching(pub Arc<Insight>);

#[async_trait]
impl BackgroundService for Watching {
    /// Never told to stop: requests in flight go on.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let looking = async {
            let mut ticks = tokio::time::interval(regression::EVERY);
            loop {
                ticks.tick().await;
                let insight = self.0.clone();
                // Summing up takes milliseconds, and what was learned goes to a disk.
                let look = move || {
                    insight.look();
                    insight.write(insight.regressions.due(Instant::now()));
                };
                if tokio::task::spawn_blocking(look).await.is_err() {
                    tracing::error!("looking at what is slow or alarming failed");
                }
            }
        };
        tokio::join!(looking, self.0.webhook.run());
    }
}
