//! A simulator that is killed and started again where it was.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::wire::simulator::{Counts, Simulator};
use crate::wire::target::Target;

const PATIENCE: Duration = Duration::from_secs(10);

/// `NAME=URL,PID` of a simulator that runs; or without the process, one that is started there at once.
#[derive(Clone, Debug)]
pub struct Place(pub Target);

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Place> {
        Ok(Place(text.parse()?))
    }
}

/// Killed when it is dropped, where it was started here.
pub struct Backend {
    place: Place,
    binary: PathBuf,
    /// Of whoever started it first.
    process: Option<Pid>,
    child: Option<Child>,
}

impl Backend {
    /// Takes over the one that runs there, or starts one.
    pub async fn new(place: Place, binary: PathBuf) -> anyhow::Result<Backend> {
        let process = place.0.process.and_then(|process| Pid::from_raw(i32::try_from(process).ok()?));
        let mut backend = Backend { place, binary, process, child: None };
        if backend.process.is_none() {
            backend.start().await?;
        }
        Ok(backend)
    }

    pub fn name(&self) -> &str {
        &self.place.0.name
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let listen = self.place.0.address.to_string();
        let mut command = Command::new(&self.binary);
        command.args(["--listen", &listen]).stdout(Stdio::null());
        self.child = Some(command.spawn().with_context(|| format!("{} cannot be started", self.binary.display()))?);
        let start = Instant::now();
        while self.counts().await.is_err() {
            anyhow::ensure!(start.elapsed() < PATIENCE, "the simulator at {listen} does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Without warning, as a process dies that runs out of memory.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            return kill_process(process, Signal::KILL).context("the simulator is gone already");
        }
        let mut child = self.child.take().context("the simulator does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    pub async fn counts(&self) -> anyhow::Result<Counts> {
        Simulator::connect(self.place.0.address).await?.counts().await
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may be gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
