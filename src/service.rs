//! The process: its listeners, its threads, its end.

mod doors;
mod drain;
mod parts;
mod readiness;
mod signals;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use opentelemetry::InstrumentationScope;
use outrigger_filters as filters;
use outrigger_filters::breaker::Fleet;
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::backend::Backends;
use crate::config::{Backend, Config, Loaded};
use crate::ending::Ending;
use crate::events::Events;
use crate::gpu::{self, Gpu};
use crate::guard::{Connections, Guard};
use crate::insight::{self, Insight, Watching};
use crate::machine::Machine;
use crate::proxy::{Active, Proxy};
use crate::reload::{self, Reload};
use crate::scaling::{Looking, Scales};
use crate::serving::{self, Current, Serving};
use crate::telemetry::spans::Server as Spoken;
use crate::telemetry::{self, Clerk, Desk, Metrics, Orders, Otlp, ServerMetrics, Telling, start_logging};
use crate::tls::Certificates;
use crate::upgrade::{Incumbent, Knowing, Served, Succession, Turn};
use doors::{Doors, next_process, predecessor, sockets};
use drain::{Drain, LastWords};
use parts::{Kept, Limits, Spending, Watched};
pub use readiness::{Readiness, reachable};
use signals::Signals;

/// After the time to drain: the ledger, what others hold for us, and the last words to a collector that may be slow.
const LAST_SECS: u64 = 10;
/// Pingora's own bound on draining, since a reload may give it a longer time than the start did.
const LONGEST_DRAIN: u64 = 3_600;

/// Serves until told to stop. The settings may be read again from `file`; with `upgrade` it takes another's place.
pub fn run(loaded: Loaded, file: Option<PathBuf>, upgrade: bool) -> anyhow::Result<()> {
    let Loaded { mut config, table } = loaded;
    let logs = start_logging(&config.telemetry).context("telemetry.log_level")?;
    let mut predecessor = if upgrade { predecessor(&config)? } else { None };
    let follows = predecessor.is_some();
    let sockets = sockets(&mut config, predecessor.as_mut())?;
    let otlp = Otlp::new(&config.telemetry)?;
    let metrics = Metrics::new(&config.telemetry, otlp.as_ref()).context("setting up the metrics")?;
    let metrics = Arc::new(metrics);
    logs.observe(&metrics.meter);
    let limits = Limits::new(&config, &metrics)?;
    let locks = predecessor.as_mut().map(|before| (before.ledger_lock(), before.cache_lock())).unwrap_or_default();
    let cache = Kept::new(&config, &metrics, &limits, locks.1)?;
    let backends = Fleet::new(
        &config.breaker,
        &config.backends.iter().map(Backend::for_breaker).collect::<Vec<_>>(),
        &metrics.meter,
    );
    let backends = Arc::new(Backends::new(&config, backends)?);
    let events = Events::new();
    let told = events.clone();
    backends.fleet().on_change(move |change| told.say("backend", change));
    let books = Spending::new(&config, &metrics, &limits, locks.0)?;
    let machine = machine(&config, &metrics).context("a thread that looks at the machine")?;
    let gpu = Gpu::new(&config.gpu, &config.backends, &metrics.meter);
    gpu.observe(&metrics.meter);
    gpu.watch().context("a thread that reads GPUs")?;
    let sources = insight::Sources {
        fleet: backends.fleet().clone(),
        books: books.0.clone(),
        cache: cache.0.clone(),
        store: limits.store.clone(),
        machine: machine.clone(),
        gpu: gpu.clone(),
        events: events.clone(),
    };
    let names: Vec<_> = config.backends.iter().map(|backend| backend.name.clone()).collect();
    let insight = Arc::new(Insight::new(&config.latency, &config.alerts, &names, sources)?);
    insight.observe(&metrics.meter);
    let orders = Arc::new(Orders {
        access_log: AtomicBool::new(config.telemetry.access_log),
        servers: ArcSwap::from_pointee(config.backends.iter().map(spoken).collect()),
    });
    let desk = telling(&config, &metrics, otlp.as_ref(), insight.clone(), orders.clone())?;
    let active = Active::default();
    let connections = Connections::default();
    let ending = Ending::default();
    let certificates = match (&config.server.tls_cert, &config.server.tls_key) {
        (Some(chain), Some(key)) => Some(Certificates::read(chain, key).context("server.tls_cert")?),
        _ => None,
    };

    let lasting = filters::Lasting::new(&metrics.meter);
    let parts = serving::Parts {
        limiter: limits.limiter.clone(),
        tokenizers: limits.tokenizers.clone(),
        cache: cache.0.clone(),
        books: books.0.clone(),
        backends: backends.clone(),
        telling: Telling::new(&config.telemetry, desk.clone()),
    };
    let current = Arc::new(Current::new(Serving::new(config.clone(), parts, &lasting)));
    let reload = Arc::new(Reload::new(
        reload::Lasting {
            current: current.clone(),
            rooms: lasting,
            tokenizers: limits.tokenizers.clone(),
            insight: insight.clone(),
            desk: desk.clone(),
            orders,
            verbosity: logs.verbosity(),
            certificates: certificates.clone(),
            events: events.clone(),
        },
        reload::Source { file, table },
        &metrics.meter,
    ));

    reload::hear_hangups().context("SIGHUP")?;
    let conf = Arc::new(server_conf(&config));
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let knowing = Knowing { current: current.clone(), insight: insight.clone() };
    let turn = Turn::default();
    let doors = Doors::new(&config, &sockets, turn.clone())?;
    let (replaced, confirmed) = (Arc::<Notify>::default(), CancellationToken::new());
    let incumbent = Arc::new(Incumbent {
        knowing: knowing.clone(),
        turn: turn.clone(),
        addresses: [config.server.listen.to_string(), config.server.admin.to_string()],
        path: config.server.upgrade_socket.clone().unwrap_or_default(),
        outbox: Arc::default(),
        replaced: replaced.clone(),
        moment: RwLock::default(),
        is_asked: AtomicBool::new(false),
        follows,
        confirmed: confirmed.clone(),
        sockets: Mutex::new(None),
    });
    let succession = Succession {
        predecessor: Mutex::new(predecessor),
        knowing,
        turn: turn.clone(),
        confirmed,
        upgrade_socket: config.server.upgrade_socket.clone(),
        relayed: doors.relayed.clone(),
    };
    let proxy = Proxy {
        current: current.clone(),
        metrics: ServerMetrics::new(&metrics.meter),
        active: active.clone(),
        ending: ending.clone(),
        turn: turn.clone(),
        next: config.server.upgrade_socket.as_deref().map(next_process).transpose()?,
    };
    let guard = guard(&config, &conf, proxy, connections.clone());
    for service in doors.services(&config, guard, certificates)? {
        server.add_service(service);
    }
    server.add_service(background_service("succession", succession));
    if config.server.upgrade_socket.is_some() {
        server.add_service(background_service("upgrade", Served(incumbent.clone())));
    }
    let scales = Scales::new(current.clone(), limits.store.clone(), events.clone(), &metrics.meter);
    let readiness = Readiness { listen: config.server.listen, ending: ending.clone(), current: current.clone() };
    let admin = Admin {
        metrics: metrics.clone(),
        readiness,
        store: limits.store.clone(),
        current: current.clone(),
        events: events.clone(),
        insight: insight.clone(),
        scales: scales.clone(),
        machine,
        gpu: gpu.clone(),
        reload: reload.clone(),
    };
    let listener = sockets.admin.try_clone().context("server.admin")?;
    let admin = admin::Service { admin: Arc::new(admin), listener, turn: turn.clone() };
    incumbent.holds(sockets);
    server.add_service(background_service("admin", admin));
    let watching = gpu::Watching { gpu, current: current.clone(), events: events.clone() };
    server.add_service(background_service("gpu", watching));
    server.add_service(background_service("reload", reload::Hangups(reload)));
    server.add_service(background_service(
        "backends",
        Watched(Mutex::new(Some(backends.fleet().clone())), current.clone()),
    ));
    drop(backends);
    let limiter = limits.limiter.clone();
    server.add_service(background_service("limits", limits));
    let kept = cache.0.clone();
    server.add_service(background_service("semantic cache", cache));
    server.add_service(background_service("insight", Watching(insight.clone())));
    server.add_service(background_service("scaling", Looking(scales)));
    let spent = books.0.clone();
    server.add_service(background_service("costs", books));
    let last_words = Mutex::new(Some(LastWords { desk, insight, metrics, held: (otlp, logs) }));
    let drain =
        Drain { ending, active, connections, turn, incumbent, limiter, kept, spent, events, last_words, current };
    server.add_service(background_service("drain", drain));

    tracing::info!(
        listen = %config.server.listen,
        admin = %config.server.admin,
        backend = %config.backends.iter().map(|backend| backend.url.authority.as_str()).collect::<Vec<_>>().join(","),
        version = env!("CARGO_PKG_VERSION"),
        "outrigger listens"
    );
    server.run(RunArgs { shutdown_signal: Box::new(Signals { replaced }) });
    Ok(())
}

/// The desk that records of requests are left on, with whoever tells of them.
fn telling(
    config: &Config,
    metrics: &Metrics,
    otlp: Option<&Otlp>,
    insight: Arc<Insight>,
    orders: Arc<Orders>,
) -> anyhow::Result<Arc<Desk>> {
    let desk = Arc::new(Desk::new(telemetry::PLACES));
    desk.observe(&metrics.meter);
    let resource = telemetry::resource(&config.telemetry);
    let collector = otlp.map(|otlp| otlp.spans(&resource)).transpose().context("telemetry.otlp_endpoint")?;
    if let Some(otlp) = otlp {
        otlp.observe(&metrics.meter);
    }
    let clerk = Clerk {
        insight,
        orders,
        exemplars: metrics.exemplars.clone(),
        collector,
        scope: InstrumentationScope::builder("outrigger").with_version(env!("CARGO_PKG_VERSION")).build(),
    };
    desk.open(clerk).context("a thread for telemetry")?;
    Ok(desk)
}

/// The machine, with the folders that we write to.
fn machine(config: &Config, metrics: &Metrics) -> std::io::Result<Arc<Machine>> {
    let always = [&config.cost.ledger_path, &config.latency.baseline_path];
    let written =
        always.into_iter().chain(&config.semantic_cache.disk_path).filter(|path| !path.as_os_str().is_empty());
    let machine = Arc::new(Machine::new(written.cloned()));
    machine.observe(&metrics.meter);
    machine.watch()?;
    Ok(machine)
}

/// A backend as it is told of.
pub fn spoken(backend: &Backend) -> Spoken {
    let url = &backend.url;
    let (address, port) = (url.host.as_str().into(), url.port);
    Spoken { name: backend.name.as_str().into(), address, port }
}

/// What each connection of a client comes into.
fn guard(config: &Config, conf: &Arc<ServerConf>, proxy: Proxy, connections: Connections) -> Guard<HttpProxy<Proxy>> {
    let current = proxy.current.clone();
    let mut app = http_proxy(conf, proxy);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(Duration::from_secs(config.server.idle_timeout_secs.get()));
    app.server_options = Some(options);
    app.h2_options = Some(h2_options(config));
    Guard { app: Arc::new(app), current, connections }
}

fn h2_options(config: &Config) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_header_list_size(u32::try_from(config.server.max_head_bytes.get()).unwrap_or(u32::MAX))
        .max_concurrent_streams(config.server.max_streams)
        // A prompt of a megabyte need not wait for a round trip every 64 KiB.
        .initial_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    options
}

fn server_conf(config: &Config) -> ServerConf {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    ServerConf {
        threads: if config.server.threads == 0 { cores() } else { config.server.threads },
        // Each worker keeps to its own connections. Measured with one worker, where the simpler scheduler
        // took a tenth off a short request and a fifth off a streamed event.
        work_stealing: false,
        // A bound behind our own: see Drain.
        grace_period_seconds: Some(
            config.server.drain_secs.max(config.server.upgrade_drain_secs).max(LONGEST_DRAIN).saturating_add(LAST_SECS),
        ),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: 256,
        // For what is passed on: of the first backend that needs any.
        ca_file: config
            .backends
            .iter()
            .find(|backend| backend.url.tls)
            .or(config.backends.first())
            .and_then(Backend::authorities),
        ..ServerConf::default()
    }
}
