//! What an inference engine says of its own load, read from its Prometheus metrics.
//!
//! vLLM, SGLang and llama.cpp tell by different names how many requests run, how many wait, and how full the memory
//! for keys and values is. Of the thousands of lines that an engine writes, these few are wanted, so the text is read
//! line by line here, with nothing copied. The crates that read this format do not fit: prometheus-parse 0.2.5, of
//! 2023, takes no colon in a name, and so drops in silence all that vLLM and llama.cpp write; openmetrics-parser
//! builds a tree of the whole text, and is under the LGPL.
//!
//! - Both `sglang:` and `sglang_` are read, and so for the others: collectors on the way replace the colon.
//! - What several models, engines and data parallel ranks say is summed, usages by their maximum.
//! - Ranks that work on the same requests (tensor, pipeline and expert parallel) all tell the same, if SGLang is asked
//!   to let all of them tell. Of those one counts: the one that says most.
//! - A line that makes no sense is passed over: the backend is another's software, and half of what it says is better
//!   than nothing.

/// As much of a text is read; the rest is left out.
const MOST_BYTES: usize = 4 << 20;
/// As many series of one name are kept apart.
const MOST_SERIES: usize = 256;
/// As many labels of a series are looked at.
const MOST_LABELS: usize = 64;
/// Labels of what tells the same as its siblings.
const SAME_WORK: [&str; 3] = ["tp_rank", "pp_rank", "moe_ep_rank"];

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Engine {
    /// Requests that are being worked on.
    pub running: u64,
    /// Requests that wait for room.
    pub waiting: u64,
    /// How full the memory for keys and values is, from 0 to 1.
    pub kv_usage: Option<f64>,
    /// How many tokens that memory holds.
    pub kv_tokens: Option<u64>,
}

/// What the text says, or nothing if it is no known engine's.
pub fn read(text: &str) -> Option<Engine> {
    let mut said = Said::default();
    for line in upto(text, MOST_BYTES).lines() {
        if let Some((noun, labels, value)) = sample(line) {
            said.hear(noun, labels, value);
        }
    }
    said.engine()
}

/// What one line may tell of.
#[derive(Clone, Copy)]
enum Noun {
    Running,
    Waiting,
    Usage,
    Tokens,
    /// Told by labels: `block_size`, `num_gpu_blocks` and, of late, `kv_cache_size_tokens`.
    Config,
}

impl Noun {
    fn of(name: &str) -> Option<Noun> {
        let noun = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix([':', '_']);
        if let Some(noun) = noun("vllm") {
            return match noun {
                "num_requests_running" => Some(Noun::Running),
                "num_requests_waiting" => Some(Noun::Waiting),
                "kv_cache_usage_perc" | "gpu_cache_usage_perc" => Some(Noun::Usage),
                "cache_config_info" => Some(Noun::Config),
                _ => None,
            };
        }
        if let Some(noun) = noun("sglang") {
            return match noun {
                "num_running_reqs" => Some(Noun::Running),
                "num_queue_reqs" => Some(Noun::Waiting),
                "token_usage" => Some(Noun::Usage),
                "max_total_num_tokens" => Some(Noun::Tokens),
                _ => None,
            };
        }
        match noun("llamacpp")? {
            "requests_processing" => Some(Noun::Running),
            "requests_deferred" => Some(Noun::Waiting),
            "kv_cache_usage_ratio" => Some(Noun::Usage),
            _ => None,
        }
    }
}

/// `name{label="value",…} number`, of a name that is wanted; a time may follow.
fn sample(line: &str) -> Option<(Noun, &str, f64)> {
    let line = line.trim_start();
    let end = line.find(|byte: char| byte == '{' || byte.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let noun = Noun::of(name)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_at(labels_end(rest)?),
        None => ("", rest),
    };
    let value: f64 = rest.trim_start_matches('}').split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((noun, labels, value.max(0.0)))
}

/// A brace between quotes ends nothing.
fn labels_end(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].find(['"', '}'])?;
        if text[at..].starts_with('}') {
            return Some(at);
        }
        at += 1;
        at += quote_end(&text[at..])? + 1;
    }
}

/// A quote behind a backslash ends nothing, unless another backslash stands before that one.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// The labels with their values as they are written, up to where they make no sense.
fn each(mut labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let next = move || {
        let (name, rest) = labels.split_once("=\"")?;
        let (value, rest) = rest.split_at(quote_end(rest)?);
        labels = rest[1..].trim_start_matches(',');
        Some((name.trim(), value))
    };
    std::iter::from_fn(next).take(MOST_LABELS)
}

/// Series of one name, those of the same work as one.
#[derive(Default)]
struct Series<'text>(Vec<(Vec<(&'text str, &'text str)>, f64)>);

impl<'text> Series<'text> {
    fn hear(&mut self, labels: &'text str, value: f64) {
        let labels: Vec<_> = each(labels).filter(|(name, _)| !SAME_WORK.contains(name)).collect();
        if let Some((_, most)) = self.0.iter_mut().find(|(known, _)| *known == labels) {
            *most = most.max(value);
        } else if self.0.len() < MOST_SERIES {
            self.0.push((labels, value));
        }
    }

    fn sum(&self) -> Option<u64> {
        // A number too large for what it is read into becomes the largest there is.
        (!self.0.is_empty()).then(|| self.0.iter().map(|(_, value)| *value).sum::<f64>() as u64)
    }

    fn most(&self) -> Option<f64> {
        self.0.iter().map(|(_, value)| *value).reduce(f64::max)
    }
}

#[derive(Default)]
struct Said<'text> {
    running: Series<'text>,
    waiting: Series<'text>,
    usage: Series<'text>,
    tokens: Series<'text>,
}

impl<'text> Said<'text> {
    fn hear(&mut self, noun: Noun, labels: &'text str, value: f64) {
        match noun {
            Noun::Running => self.running.hear(labels, value),
            Noun::Waiting => self.waiting.hear(labels, value),
            Noun::Usage => self.usage.hear(labels, value.min(1.0)),
            Noun::Tokens => self.tokens.hear(labels, value),
            Noun::Config => {
                if let Some(tokens) = capacity(labels) {
                    self.tokens.hear(labels, tokens);
                }
            }
        }
    }

    fn engine(&self) -> Option<Engine> {
        let (running, waiting, kv_usage) = (self.running.sum(), self.waiting.sum(), self.usage.most());
        running.or(waiting)?;
        let kv_tokens = self.tokens.sum().filter(|&tokens| tokens > 0);
        Some(Engine { running: running.unwrap_or(0), waiting: waiting.unwrap_or(0), kv_usage, kv_tokens })
    }
}

/// Blocks are not always tokens divided by their size, so that the newer label goes before. Before the memory is
/// measured the value is `None`, in letters.
fn capacity(labels: &str) -> Option<f64> {
    let number = |wanted| each(labels).find(|&(name, _)| name == wanted)?.1.parse::<f64>().ok();
    let blocks = || Some(number("num_gpu_blocks")? * number("block_size")?);
    number("kv_cache_size_tokens").or_else(blocks).filter(|tokens| tokens.is_finite() && *tokens > 0.0)
}

fn upto(text: &str, most: usize) -> &str {
    match text.get(..text.floor_char_boundary(most)) {
        // A line that was cut through would tell another number.
        Some(whole) if whole.len() < text.len() => &whole[..whole.rfind('\n').unwrap_or(0)],
        _ => text,
    }
}

#[cfg(test)]
mod tests;
