//! What a process that has handed over still has to tell: in order, to whoever answers now, until it was taken.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_filters::cost::Books;
use outrigger_filters::cost::handover as costs;
use tokio::time::Instant;

use super::frames::Talk;
use super::{Answer, Ask, News};

/// More would be more than was ever in flight. What comes beyond is let go, and said.
const MOST: usize = 1_000_000;
const TOGETHER: usize = 512;
/// How long one taking may take, and how long it is tried, since the one that answers may itself be handing over.
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    news: VecDeque<Item>,
    /// Taken and not acknowledged yet.
    on_the_way: usize,
    lost: u64,
}

struct Item {
    news: News,
    /// It holds here already, and is only to be told.
    holds_here: bool,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, news: News, holds_here: bool) {
        let mut queue = self.lock();
        if queue.news.len() < MOST {
            queue.news.push_back(Item { news, holds_here });
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// What does not hold here, where the other has failed and all is to go on here.
    pub(super) fn take_back(&self) -> Vec<News> {
        let mut queue = self.lock();
        queue.news.drain(..).filter(|item| !item.holds_here).map(|item| item.news).collect()
    }

    /// Waits until all is told, but not for longer than that. Blocks.
    pub fn finish(&self, most: Duration) {
        let waits = |queue: &mut Queue| !queue.news.is_empty() || queue.on_the_way > 0;
        let waited = self.changed.wait_timeout_while(self.lock(), most, waits);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let untold = queue.news.len() + queue.on_the_way;
        if untold > 0 || queue.lost > 0 {
            tracing::error!(untold, lost = queue.lost, "not all that was in flight could be told to the next process");
        }
    }

    /// Tells, for as long as the process lives.
    pub(super) fn send(self: &Arc<Self>, path: PathBuf, books: Arc<Books>) -> std::io::Result<()> {
        let outbox = self.clone();
        let telling = move || {
            let mut line = None;
            loop {
                let batch = outbox.next();
                let ask = Ask::News(batch);
                if !tell(&mut line, &path, &ask)
                    && let Ask::News(batch) = ask
                {
                    keep(&books, batch);
                }
                outbox.lock().on_the_way = 0;
                outbox.changed.notify_all();
            }
        };
        std::thread::Builder::new().name("upgrade-news".to_owned()).spawn(telling).map(drop)
    }

    fn next(&self) -> Vec<News> {
        let waited = self.changed.wait_while(self.lock(), |queue| queue.news.is_empty());
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let count = queue.news.len().min(TOGETHER);
        queue.on_the_way = count;
        queue.news.drain(..count).map(|item| item.news).collect()
    }
}

/// Whether it was taken, by whoever listens there by then.
fn tell(line: &mut Option<Talk>, path: &Path, ask: &Ask) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < TRIES {
        let mut talk = match line.take().map_or_else(|| connect(path), Ok) {
            Ok(talk) => talk,
            Err(_) => {
                pause();
                continue;
            }
        };
        if talk.say(ask, &[]).is_ok() && matches!(talk.hear::<Answer>(), Ok((Answer::Done, _))) {
            *line = Some(talk);
            return true;
        }
        pause();
    }
    false
}

fn connect(path: &Path) -> std::io::Result<Talk> {
    let talk = Talk::over(UnixStream::connect(path)?);
    talk.patience(PATIENCE)?;
    Ok(talk)
}

fn pause() {
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, which nobody waits for")]
    std::thread::sleep(AGAIN);
}

/// Nobody answers any more: what was paid is at least written down, if there is a file for it.
fn keep(books: &Books, batch: Vec<News>) {
    tracing::error!(
        news = batch.len(),
        "no process takes what was still in flight: what was paid is written down here"
    );
    books.take_back();
    for news in batch {
        if let News::Costs(news @ costs::News::Ledger(_)) = news {
            books.hear(news);
        }
    }
}
