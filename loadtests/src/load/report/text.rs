//! What a person reads in the terminal after a run: the verdict first, then the figures, 100 columns wide.

use std::fmt::{self, Display, Formatter};

use super::figure::{count, figure, or_dash, share, time};
use super::verdict::{Verdict, kinds};
use crate::load::result::{Distribution, Process, Run};

const COLUMNS: usize = 100;
/// Of a section's name, to the left of its figures.
const NAME: usize = 14;

pub struct Text<'a>(pub &'a Run);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let run = self.0;
        wrapped(formatter, "", &Verdict::of(run).to_string())?;
        head(formatter, run)?;
        volumes(formatter, run)?;
        latencies(formatter, run)?;
        errors(formatter, run)?;
        integrity(formatter, run)?;
        process(formatter, run)?;
        marks(formatter, run)?;
        levels(formatter, run)
    }
}

fn head(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    let label = run.label.as_ref().map_or(String::new(), |label| format!(" ({label})"));
    wrapped(formatter, "scenario", &format!("{}{label}", run.name))?;
    wrapped(formatter, "target", &run.target)?;
    let (measured, planned) = (time(run.measured_seconds), time(run.planned_seconds));
    wrapped(formatter, "measured", &format!("{measured} of {planned} planned, from {}", run.started_at))?;
    wrapped(formatter, "machine", &format!("{}; {}", run.machine.class, run.tool))
}

fn volumes(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    let (counts, rates) = (&run.counts, &run.rates);
    let failed = format!("{} failed ({})", count(counts.failed), share(counts.failed, counts.sent));
    let (sent, answered) = (count(counts.sent), count(counts.answered));
    let most = count(counts.most_in_flight);
    let requests = format!("{sent} sent, {answered} answered, {failed}, {most} in flight at most");
    wrapped(formatter, "requests", &requests)?;
    let (requests, good) = (figure(rates.requests), figure(rates.goodput));
    wrapped(formatter, "rates", &format!("{requests} requests/s, goodput {good} requests/s"))?;
    if counts.streams == 0 {
        return Ok(());
    }
    let (tokens, mib) = (count(counts.output_tokens), figure(rates.stream_bytes / 1024.0 / 1024.0));
    let (streams, rate) = (count(counts.streams), figure(rates.output_tokens));
    wrapped(formatter, "streams", &format!("{streams} with {tokens} output tokens, {rate} tokens/s, {mib} MiB/s"))
}

fn latencies(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    if run.latencies.is_empty() {
        return wrapped(formatter, "latencies", "nothing was measured");
    }
    let names = ["count", "p50", "p90", "p95", "p99", "p99.9", "max", "mean"].map(str::to_owned);
    row(formatter, "milliseconds", &names)?;
    for (metric, of) in &run.latencies {
        row(formatter, metric.title(), &columns(of))?;
    }
    Ok(())
}

fn columns(of: &Distribution) -> [String; 8] {
    let figures = [of.p50, of.p90, of.p95, of.p99, of.p999, of.max, of.mean];
    let figures = figures.map(|value| if of.count == 0 { "–".to_owned() } else { figure(value) });
    let [p50, p90, p95, p99, p999, max, mean] = figures;
    [count(of.count), p50, p90, p95, p99, p999, max, mean]
}

fn row(formatter: &mut Formatter<'_>, name: &str, columns: &[String; 8]) -> fmt::Result {
    write!(formatter, "{name:<NAME$}")?;
    columns.iter().try_for_each(|column| write!(formatter, " {column:>9}"))?;
    writeln!(formatter)
}

fn errors(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    if run.errors.is_empty() {
        return wrapped(formatter, "errors", "none");
    }
    let mut kinds: Vec<_> = run.errors.iter().collect();
    kinds.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let kinds: Vec<String> = kinds.iter().map(|(kind, times)| format!("{kind} {}", count(**times))).collect();
    wrapped(formatter, "errors", &kinds.join(", "))
}

fn integrity(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    let found = &run.integrity;
    if found.checked == 0 {
        return wrapped(formatter, "integrity", "no stream carried the simulator's marks, so none was checked");
    }
    let wrong = kinds(found).into_iter().filter(|(_, streams)| *streams > 0);
    let wrong: Vec<String> = wrong.map(|(kind, streams)| format!("{kind} {}", count(streams))).collect();
    let whole = format!("{} of {} streams whole", count(found.whole), count(found.checked));
    let parts: Vec<String> = std::iter::once(whole).chain(wrong).collect();
    wrapped(formatter, "integrity", &parts.join(", "))
}

fn process(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    let Some(process) = &run.process else {
        return wrapped(formatter, "process", "not known: the scenario names no process of the target's");
    };
    let Process { pid, cpu_seconds, cpu_microseconds_per_request, .. } = process;
    let (cpu, each) = (figure(*cpu_seconds), figure(*cpu_microseconds_per_request));
    wrapped(formatter, "process", &format!("pid {pid}, {cpu} s of CPU, {each} µs a request"))?;
    wrapped(formatter, "memory", &memory(process))?;
    let Process { files_first, files_last, files_per_hour, .. } = process;
    let slope = signed(*files_per_hour);
    wrapped(formatter, "open files", &format!("{files_first} at first, {files_last} at last, {slope} an hour"))
}

fn memory(process: &Process) -> String {
    let mib = [process.resident_mib_first, process.resident_mib_last, process.resident_mib_peak].map(figure);
    let [first, last, peak] = mib;
    format!("{first} MiB at first, {last} at last, {peak} at most, {} an hour", signed(process.resident_mib_per_hour))
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", figure(value)) } else { figure(value) }
}

fn marks(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    for (place, mark) in run.marks.iter().enumerate() {
        let name = if place == 0 { "marks" } else { " " };
        wrapped(formatter, name, &format!("at {}: {}", time(mark.at_seconds), mark.what))?;
    }
    Ok(())
}

fn levels(formatter: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    let width = run.levels.iter().map(|level| level.level.chars().count()).max().unwrap_or(0);
    for (place, level) in run.levels.iter().enumerate() {
        let name = if place == 0 { "levels" } else { "" };
        let word = if level.met { "met" } else { "MISSED" };
        writeln!(formatter, "{name:<NAME$} {:<width$}  {word:<6}  {:>9}", level.level, or_dash(level.value))?;
    }
    Ok(())
}

/// A name and what is said under it, broken into lines that begin below one another.
fn wrapped(formatter: &mut Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let (first, rest) = match name {
        "" => (String::new(), "  ".to_owned()),
        _ => (format!("{name:<NAME$} "), " ".repeat(NAME + 1)),
    };
    let options = textwrap::Options::new(COLUMNS).initial_indent(&first).subsequent_indent(&rest);
    textwrap::wrap(text, options).iter().try_for_each(|line| writeln!(formatter, "{}", line.trim_end()))
}
