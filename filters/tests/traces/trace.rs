//! Requests as they came to real services: when, and with how many tokens.

/// Microseconds.
pub type Micros = u64;

#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// From the first one's arrival.
    pub at: Micros,
    pub input: u64,
    pub output: u64,
}

/// One of those in loadtests/traces.
pub fn trace(name: &str) -> Vec<Request> {
    read(&format!("{}/../loadtests/traces/{name}", env!("CARGO_MANIFEST_DIR")))
}

/// Azure's form if it ends in `.csv`, Mooncake's otherwise.
pub fn read(path: &str) -> Vec<Request> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let good = |request: Option<Request>| request.unwrap_or_else(|| panic!("{path}: a line is not a request"));
    let mut requests: Vec<_> = match path.ends_with(".csv") {
        true => text.lines().skip(1).map(|line| good(azure(line))).collect(),
        false => text.lines().map(|line| good(mooncake(line))).collect(),
    };
    requests.sort_by_key(|request| request.at);
    let first = requests[0].at;
    requests.iter_mut().for_each(|request| request.at -= first);
    requests
}

fn azure(line: &str) -> Option<Request> {
    let mut fields = line.trim().split(',');
    let (_, clock) = fields.next()?.split_once(' ')?;
    let mut parts = clock.split(':').map(|part| part.parse::<f64>().ok());
    let seconds = parts.next()?? * 3600.0 + parts.next()?? * 60.0 + parts.next()??;
    let mut tokens = fields.map(|field| field.parse().ok());
    Some(Request { at: (seconds * 1e6) as Micros, input: tokens.next()??, output: tokens.next()?? })
}

fn mooncake(line: &str) -> Option<Request> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let field = |name| value.get(name)?.as_u64();
    Some(Request { at: field("timestamp")? * 1_000, input: field("input_length")?, output: field("output_length")? })
}

pub fn seconds(requests: &[Request]) -> f64 {
    requests.last().map_or(0.0, |last| last.at as f64 / 1e6)
}

/// That share of the trace's mean rate, in requests a window.
pub fn share_of_requests(requests: &[Request], share: f64) -> u64 {
    (requests.len() as f64 / seconds(requests) * WINDOW as f64 / 1e6 * share).floor() as u64
}

/// That share of the trace's mean rate, in tokens a window.
pub fn share_of_tokens(requests: &[Request], share: f64) -> u64 {
    let tokens: u64 = requests.iter().map(Request::tokens).sum();
    (tokens as f64 / seconds(requests) * WINDOW as f64 / 1e6 * share).floor() as u64
}

pub const WINDOW: Micros = 60_000_000;

impl Request {
    pub fn tokens(&self) -> u64 {
        self.input + self.output
    }

    /// How long the answer takes: 0.3 s to the first token, 30 ms for each.
    pub fn takes(&self) -> Micros {
        300_000 + 30_000 * self.output
    }
}
