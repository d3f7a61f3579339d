//! The command line: what the simulator does where a request says nothing else.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

use super::milliseconds::Milliseconds;
use super::script::MOST_TOKENS;

/// How tokens of prompts are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CountPrompts {
    Quarter,
    O200k,
}

/// A simulated model server: numbered tokens over real TCP, faults on request, every generation counted.
#[derive(Clone, Debug, Parser)]
#[command(name = "outrigger-sim", version)]
pub struct Options {
    /// The address to listen on; port 0 takes a free one, which the first line of output names.
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Worker threads. One runs everything on the calling thread, which is the fastest for one core.
    #[arg(long, default_value = "1", value_name = "COUNT")]
    pub threads: NonZeroUsize,

    /// Milliseconds from the end of the request to the first token; fractions allowed.
    #[arg(long, default_value = "0", value_name = "MILLISECONDS")]
    pub ttft_ms: Milliseconds,

    /// Milliseconds from one token to the next; fractions allowed. 0 sends tokens as fast as they can be written.
    #[arg(long, default_value = "0", value_name = "MILLISECONDS")]
    pub gap_ms: Milliseconds,

    /// Output tokens of a generation whose request gives no max_tokens.
    #[arg(long, default_value = "16", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=MOST_TOKENS))]
    pub tokens: u64,

    /// Generations at once; the others wait before their first token, in the order in which they came. 0 is no bound.
    #[arg(long, default_value = "0", value_name = "COUNT")]
    pub slots: u64,

    /// How tokens of prompts are counted: a quarter of their bytes, or as OpenAI's models would.
    #[arg(long, value_enum, default_value = "quarter", value_name = "HOW")]
    pub count_prompts: CountPrompts,

    /// A model listed under /v1/models; repeat it for more. Generations answer to any model name.
    #[arg(long = "model", default_value = "sim", value_name = "NAME")]
    pub models: Vec<String>,

    /// PEM file with the certificate chain; turns TLS on, with h2 and http/1.1 offered by ALPN.
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key of --tls-cert.
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}
