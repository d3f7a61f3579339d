//! A run in one line while it lasts: redrawn in a terminal, a plain line now and then elsewhere.
//!
//! It goes to standard error, so that standard output has the report alone, and it goes away before the report comes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::live::{Observer, Snapshot};
use super::report::figure::{count, figure, time};

/// Between lines where nobody sees them redrawn: a log of an hour's run stays readable.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

pub struct Progress(Form);

enum Form {
    Bar(ProgressBar),
    Plain { output: Box<dyn Write + Send>, next: Duration },
}

impl Progress {
    /// To standard error, in the form that suits it.
    pub fn stderr() -> anyhow::Result<Progress> {
        if !io::stderr().is_terminal() {
            return Ok(Progress::plain(Box::new(io::stderr())));
        }
        // `wide_msg` is cut at the terminal's edge: a line that wraps would not be redrawn in its place.
        let style = ProgressStyle::with_template("{bar:16} {wide_msg}")?.progress_chars("━━─");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Ok(Progress(Form::Bar(bar.with_style(style))))
    }

    /// Whole lines, one every ten seconds.
    pub fn plain(output: Box<dyn Write + Send>) -> Progress {
        Progress(Form::Plain { output, next: Duration::ZERO })
    }
}

impl Observer for Progress {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        match &mut self.0 {
            Form::Bar(bar) => {
                if let Some(planned) = snapshot.planned {
                    bar.set_length(milliseconds(planned));
                    bar.set_position(milliseconds(snapshot.elapsed.min(planned)));
                }
                bar.set_message(line(snapshot));
            }
            Form::Plain { output, next } if snapshot.elapsed >= *next => {
                *next = snapshot.elapsed + PLAIN_EVERY;
                // A log that cannot be written to must not end the run.
                let _ = writeln!(output, "{}", line(snapshot));
            }
            Form::Plain { .. } => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What must be seen comes first, since a narrow terminal cuts the rest.
fn line(snapshot: &Snapshot) -> String {
    let planned = snapshot.planned.map_or(String::new(), |planned| format!(" of {}", whole(planned)));
    let mut parts = vec![
        format!("{}{planned}", whole(snapshot.elapsed)),
        format!("{} requests/s", figure(snapshot.requests_per_second)),
        format!("p50 {} p99 {} ms", figure(snapshot.p50_ms), figure(snapshot.p99_ms)),
        format!("{} in flight", count(snapshot.in_flight)),
        format!("{} failed{}", count(snapshot.failed), commonest(snapshot)),
        format!("lag {} ms", figure(snapshot.lag_p99_ms)),
    ];
    if let Some(ttft) = snapshot.ttft_p50_ms {
        let tokens = figure(snapshot.output_tokens_per_second);
        parts.push(format!("TTFT p50 {} ms, {tokens} tokens/s", figure(ttft)));
    }
    parts.join(" · ")
}

fn whole(duration: Duration) -> String {
    time(duration.as_secs_f64().round())
}

/// The kind of error that came most often.
fn commonest(snapshot: &Snapshot) -> String {
    let commonest = snapshot.errors.iter().max_by_key(|(_, times)| **times);
    commonest.map_or(String::new(), |(kind, _)| format!(", most by {kind}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn snapshot(seconds: u64) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(seconds),
            planned: Some(Duration::from_secs(60)),
            failed: 7,
            in_flight: 1_234,
            requests_per_second: 512.4,
            p50_ms: 3.21,
            p99_ms: 45.6,
            lag_p99_ms: 0.12,
            errors: [("reset".to_owned(), 2), ("timeout".to_owned(), 5)].into(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn where_nobody_watches_a_line_comes_every_ten_seconds() {
        let output = Shared::default();
        let mut progress = Progress::plain(Box::new(output.clone()));
        (1..=25).for_each(|second| progress.snapshot(&snapshot(second)));
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let begins: Vec<&str> = text.lines().filter_map(|line| line.split(" of").next()).collect();
        assert_eq!(begins, ["1 s", "11 s", "21 s"], "{text}");
    }

    #[test]
    fn a_line_says_what_matters_while_a_run_lasts() {
        let line = line(&snapshot(12));
        let parts = [
            "12 s of 60 s",
            "512 requests/s",
            "p50 3.21 p99 45.6 ms",
            "1,234 in flight",
            "7 failed, most by timeout",
            "lag 0.120 ms",
        ];
        assert_eq!(line, parts.join(" · "), "streams are not named where there are none");
        let streams = Snapshot { ttft_p50_ms: Some(20.0), output_tokens_per_second: 900.0, ..snapshot(12) };
        assert!(super::line(&streams).ends_with("TTFT p50 20.0 ms, 900 tokens/s"), "{}", super::line(&streams));
    }

    #[test]
    fn a_run_without_a_planned_end_is_told_without_one() {
        let line = line(&Snapshot { planned: None, ..snapshot(300) });
        assert!(line.starts_with("5 min 00 s · "), "{line}");
    }
}
