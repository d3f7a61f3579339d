//! The process before this one, as this one sees it.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::frames::Talk;
use super::{Answer, Ask, Given, PROTOCOL, State};

/// How long it may take for each step: the ledger's disk may be slow.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Predecessor {
    talk: Talk,
    path: PathBuf,
    process: i32,
    given: Vec<(Given, OwnedFd)>,
}

/// What came of asking for the turn.
pub(super) enum Switched {
    Given(Box<State>),
    /// It has died: there is nobody to wait for, and nothing to take over.
    Died,
}

impl Predecessor {
    /// Asks whoever listens there to prepare; none where nobody does.
    ///
    /// # Errors
    /// It does not want to, or cannot.
    pub fn meet(path: &Path) -> anyhow::Result<Option<Self>> {
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let process = getsockopt(&stream, PeerCredentials)?.pid();
        let mut talk = Talk::over(stream);
        talk.patience(PATIENCE)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        talk.say(&Ask::Prepare { protocol: PROTOCOL, version, process: std::process::id() }, &[])?;
        match talk.hear().context("the process that runs does not answer")? {
            (Answer::Prepared { given }, files) if given.len() == files.len() => {
                let given = given.into_iter().zip(files).collect();
                Ok(Some(Predecessor { talk, path: path.to_owned(), process, given }))
            }
            (Answer::Refused(why), _) => bail!("the process that runs does not hand over: {why}"),
            _ => bail!("the process that runs gives an answer that is not understood"),
        }
    }

    fn take(&mut self, wanted: &Given) -> Option<OwnedFd> {
        let place = self.given.iter().position(|(given, _)| given == wanted)?;
        Some(self.given.swap_remove(place).1)
    }

    /// The socket at an address of the settings, if it listened there, too.
    pub fn listener(&mut self, wanted: &Given) -> Option<TcpListener> {
        self.take(wanted).map(TcpListener::from)
    }

    pub fn ledger_lock(&mut self) -> Option<OwnedFd> {
        self.take(&Given::LedgerLock)
    }

    pub fn cache_lock(&mut self) -> Option<OwnedFd> {
        self.take(&Given::CacheLock)
    }

    /// Asks for the turn. Blocks.
    pub(super) fn switch(&mut self) -> anyhow::Result<Switched> {
        let asked = self.talk.say(&Ask::Switch, &[]).and_then(|()| self.talk.hear());
        match asked {
            Ok((Answer::Switched(state), _)) => Ok(Switched::Given(state)),
            Ok((Answer::Refused(why), _)) => bail!("the process that runs does not hand over: {why}"),
            Ok(_) => bail!("the process that runs gives an answer that is not understood"),
            Err(_) if UnixStream::connect(&self.path).is_err_and(|error| is_nobody(&error)) => Ok(Switched::Died),
            Err(error) => Err(error).context("the process that runs does not answer, and answers on"),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        Path::new("/proc").join(self.process.to_string()).exists()
    }

    /// Says that requests are answered here from now on. Blocks.
    pub(super) fn serving(&mut self) -> io::Result<()> {
        self.talk.say(&Ask::Serving, &[])?;
        match self.talk.hear()? {
            (Answer::Done, _) => Ok(()),
            _ => Err(io::Error::other("it does not confirm")),
        }
    }
}

pub(super) fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
