//! The process that answers, as the one that is to follow it sees it.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use outrigger_filters::cost::handover as costs;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::frames::Talk;
use super::predecessor::is_nobody;
use super::sockets::{Sockets, bind_unix, relay_path};
use super::{Answer, Ask, Given, News, Outbox, PROTOCOL, State, Turn, Whose};
use crate::insight::Insight;
use crate::serving::{Current, Serving};

/// How long a successor may take to get ready, and from the switch until it answers.
const READY: Duration = Duration::from_secs(60);
const SWITCH: Duration = Duration::from_secs(15);

/// Whoever knows something that is handed over.
#[derive(Clone)]
pub struct Knowing {
    pub current: Arc<Current>,
    pub insight: Arc<Insight>,
}

impl Knowing {
    /// Waits until what is shared with other sidecars is known.
    pub(super) async fn settled(&self, look: Duration) {
        loop {
            let serving = self.now();
            if serving.limiter.is_settled() && serving.books.is_settled() {
                return;
            }
            drop(serving);
            tokio::time::sleep(look).await;
        }
    }

    /// As the settings are now.
    pub(super) fn now(&self) -> Arc<Serving> {
        self.current.load_full()
    }
}

pub struct Incumbent {
    pub knowing: Knowing,
    pub turn: Turn,
    /// None once they are closed or given away.
    pub sockets: Mutex<Option<Sockets>>,
    /// The addresses of the settings that they are at.
    pub addresses: [String; 2],
    pub path: PathBuf,
    pub outbox: Arc<Outbox>,
    /// Told once another process has taken over.
    pub replaced: Arc<Notify>,
    /// Held shortly by news that come in, and alone by the switch: news come before or after it.
    pub moment: RwLock<()>,
    pub is_asked: AtomicBool,
    /// Whether another process was before this one, and that it knows of this one.
    pub follows: bool,
    pub confirmed: CancellationToken,
}

#[async_trait]
impl BackgroundService for Served {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let incumbent = &self.0;
        incumbent.confirmed.cancelled().await;
        let bound = incumbent.is_free().and_then(|()| bind_unix(&incumbent.path));
        let listener = match bound.and_then(tokio::net::UnixListener::from_std) {
            Ok(listener) => listener,
            Err(error) => {
                let path = incumbent.path.display();
                return tracing::error!(%error, %path, "this process cannot be upgraded: server.upgrade_socket");
            }
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = incumbent.turn.passed() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if !is_same_user(&stream, &incumbent.path) {
                tracing::warn!("somebody else's process has asked at server.upgrade_socket");
                continue;
            }
            let incumbent = incumbent.clone();
            let handle = Handle::current();
            drop(tokio::task::spawn_blocking(move || {
                let stream = stream.into_std().and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
                if let Ok(stream) = stream {
                    incumbent.talk(stream, &handle);
                }
            }));
        }
    }
}

/// The socket, as a service. It ends when another has taken over: those who talk already are heard to their end.
pub struct Served(pub Arc<Incumbent>);

fn is_same_user(stream: &tokio::net::UnixStream, path: &Path) -> bool {
    let own = path.metadata().map(|there| there.uid());
    match (stream.peer_cred(), own) {
        (Ok(peer), Ok(own)) => peer.uid() == own || peer.uid() == 0,
        _ => false,
    }
}

impl Incumbent {
    /// A process that this one does not follow must not be cut off from its own successor.
    fn is_free(&self) -> io::Result<()> {
        match UnixStream::connect(&self.path) {
            Ok(_) if !self.follows => Err(io::Error::other("another process listens there")),
            Err(error) if !is_nobody(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// With one that asks, until it goes. Blocks.
    fn talk(&self, stream: UnixStream, handle: &Handle) {
        let mut talk = Talk::over(stream);
        let mut attempt = None;
        while let Ok((ask, _)) = talk.hear::<Ask>() {
            let answered = match ask {
                Ask::Prepare { protocol, version, process } => {
                    tracing::info!(version, process, "another process is to take this one's place");
                    match Attempt::begin(self, protocol) {
                        Ok(begun) => {
                            attempt = Some(begun);
                            let _ = talk.patience(READY);
                            self.prepare(&mut talk, handle)
                        }
                        Err(why) => talk.say(&Answer::Refused(why.to_owned()), &[]),
                    }
                }
                Ask::Switch if attempt.is_some() => {
                    let _ = talk.patience(SWITCH);
                    match self.switch() {
                        Ok(state) => talk.say(&Answer::Switched(Box::new(state)), &[]),
                        Err(why) => talk.say(&Answer::Refused(why), &[]),
                    }
                }
                Ask::Serving if self.turn.whose() == Whose::Between => {
                    if let Some(attempt) = attempt.take() {
                        attempt.succeeds();
                    }
                    talk.say(&Answer::Done, &[])
                }
                Ask::News(news) => {
                    news.into_iter().for_each(|news| self.hear(news));
                    talk.say(&Answer::Done, &[])
                }
                Ask::Switch | Ask::Serving => talk.say(&Answer::Refused("it is not the time for that".to_owned()), &[]),
            };
            if answered.is_err() {
                break;
            }
        }
    }

    fn prepare(&self, talk: &mut Talk, handle: &Handle) -> io::Result<()> {
        let serving = self.knowing.now();
        handle.block_on(serving.cache.rest());
        self.knowing.insight.keep();
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sockets) = &*sockets else {
            return talk.say(&Answer::Refused("it is being stopped".to_owned()), &[]);
        };
        let [clients, admin] = self.addresses.clone();
        let mut given = vec![Given::Clients(clients), Given::Admin(admin)];
        let mut files: Vec<BorrowedFd<'_>> = sockets.files().to_vec();
        for (what, lock) in
            [(Given::LedgerLock, serving.books.lock_file()), (Given::CacheLock, serving.cache.lock_file())]
        {
            if let Some(lock) = lock {
                given.push(what);
                files.push(lock);
            }
        }
        talk.say(&Answer::Prepared { given }, &files)
    }

    /// Holds new requests back, and says what is known here alone as of this moment.
    fn switch(&self) -> Result<State, String> {
        let _moment = self.moment.write().unwrap_or_else(PoisonError::into_inner);
        self.turn.becomes(Whose::Between);
        let (of_limits, of_costs) = (self.outbox.clone(), self.outbox.clone());
        let tell: costs::Tell = Arc::new(move |news| {
            // What is paid is not written down here any more.
            let holds_here = matches!(news, costs::News::Budgets(_));
            of_costs.push(News::Costs(news), holds_here);
        });
        let serving = self.knowing.now();
        let costs = serving.books.hand_over(&tell);
        Ok(State {
            limits: serving.limiter.hand_over(Box::new(move |news| of_limits.push(News::Limits(news), true))),
            backends: serving.fleet().hand_over(),
            costs: costs.map_err(|error| error.to_string())?,
        })
    }

    /// What a process before this one tells. While another takes over, it is for that one.
    fn hear(&self, news: News) {
        let _moment = self.moment.read().unwrap_or_else(PoisonError::into_inner);
        match (self.turn.whose(), news) {
            (Whose::Between | Whose::Theirs, news) => self.outbox.push(news, false),
            (_, News::Limits(news)) => self.knowing.now().limiter.hear(news),
            (_, News::Costs(news)) => self.knowing.now().books.hear(news),
        }
    }

    /// The other has failed before it answered anybody.
    fn take_back(&self) {
        let _moment = self.moment.write().unwrap_or_else(PoisonError::into_inner);
        let serving = self.knowing.now();
        serving.cache.wake();
        if self.turn.whose() == Whose::Between {
            serving.limiter.take_back();
            serving.books.take_back();
            for news in self.outbox.take_back() {
                match news {
                    News::Limits(news) => serving.limiter.hear(news),
                    News::Costs(news) => serving.books.hear(news),
                }
            }
            self.turn.becomes(Whose::Ours);
        }
    }

    /// What it may have to hand over, or to close.
    pub fn holds(&self, sockets: Sockets) {
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = Some(sockets);
    }

    /// Takes no more connections.
    pub fn close(&self) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Nobody is to find a process there that has ended.
    pub fn remove_socket(&self) {
        if self.confirmed.is_cancelled() && !self.path.as_os_str().is_empty() {
            for path in [self.path.clone(), relay_path(&self.path)] {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn pass_on(&self) {
        self.close();
        self.turn.becomes(Whose::Theirs);
        self.knowing.insight.is_followed();
        if let Err(error) = self.outbox.send(self.path.clone(), self.knowing.now().books.clone()) {
            tracing::error!(%error, "what is still in flight cannot be told to the next process");
        }
        tracing::info!("another process has taken this one's place; what is in flight ends here");
        self.replaced.notify_one();
    }
}

/// One successor at a time. One that goes before it serves has failed.
struct Attempt<'incumbent> {
    incumbent: &'incumbent Incumbent,
    has_succeeded: bool,
}

impl<'incumbent> Attempt<'incumbent> {
    fn begin(incumbent: &'incumbent Incumbent, protocol: u32) -> Result<Self, &'static str> {
        if protocol != PROTOCOL {
            return Err("it is of a version that hands over in another way: it has to be stopped and started");
        }
        if incumbent.turn.whose() != Whose::Ours || incumbent.is_asked.swap(true, Ordering::AcqRel) {
            return Err("another process is taking over already");
        }
        Ok(Attempt { incumbent, has_succeeded: false })
    }

    fn succeeds(mut self) {
        self.incumbent.pass_on();
        self.has_succeeded = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.has_succeeded {
            return;
        }
        tracing::error!("the process that was to take over has failed: this one goes on");
        self.incumbent.take_back();
        self.incumbent.is_asked.store(false, Ordering::Release);
    }
}
