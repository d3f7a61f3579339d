//! What is put under load: a name, an address, and the process to measure.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::Context;

/// `NAME=URL[,PID]`, as in `outrigger=http://127.0.0.1:8080,4711`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub address: SocketAddr,
    pub process: Option<u32>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Target> {
        let (name, rest) = text.split_once('=').context("a target reads NAME=URL[,PID]")?;
        let (url, process) = match rest.split_once(',') {
            Some((url, process)) => (url, Some(process.parse().context("the process id is no number")?)),
            None => (rest, None),
        };
        Ok(Target { name: name.to_owned(), address: address(url)?, process })
    }
}

/// Where `http://host:port` is.
pub fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let host = url.strip_prefix("http://").with_context(|| format!("{url} is no http:// address"))?;
    let mut found = host.trim_end_matches('/').to_socket_addrs().with_context(|| format!("where is {url}?"))?;
    found.next().with_context(|| format!("{url} has no address"))
}

/// The place of the target of this name.
pub fn place(targets: &[Target], name: &str) -> anyhow::Result<usize> {
    targets.iter().position(|target| target.name == name).with_context(|| format!("no target is named {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read() {
        let target: Target = "bare=http://127.0.0.1:8080,42".parse().unwrap();
        let address = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(target, Target { name: "bare".to_owned(), address, process: Some(42) });
        assert_eq!("a=http://127.0.0.1:1/".parse::<Target>().unwrap().process, None, "the process may be left out");
        for wrong in ["a", "a=127.0.0.1:1", "a=http://127.0.0.1:1,x", "a=http://127.0.0.1"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong} is no target");
        }
    }
}
