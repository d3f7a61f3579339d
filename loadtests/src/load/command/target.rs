//! Targets of a command line that has several.

use std::str::FromStr;

use anyhow::Context;

/// `NAME=URL[,PID]`, as in `outrigger=http://127.0.0.1:8080,4711`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub url: String,
    pub pid: Option<u32>,
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Named> {
        let (name, rest) = text.split_once('=').unwrap_or(("target", text));
        let (url, pid) = match rest.split_once(',') {
            Some((url, pid)) => (url, Some(pid.parse().with_context(|| format!("{pid} is no process id"))?)),
            None => (rest, None),
        };
        let is_url = url.starts_with("http://") || url.starts_with("https://");
        anyhow::ensure!(
            is_url && !name.is_empty(),
            "a target reads NAME=URL[,PID], as in a=http://127.0.0.1:8000,4711"
        );
        Ok(Named { name: name.to_owned(), url: url.to_owned(), pid })
    }
}

/// Two targets of one name cannot be told apart.
pub fn check(targets: &[Named]) -> anyhow::Result<()> {
    for (place, target) in targets.iter().enumerate() {
        let twice = targets[..place].iter().any(|other| other.name == target.name);
        anyhow::ensure!(!twice, "two targets are named {}: give each a name of its own, NAME=URL", target.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read() {
        let named = |name: &str, pid| Named { name: name.to_owned(), url: "http://h:1".to_owned(), pid };
        assert_eq!("a=http://h:1,7".parse::<Named>().unwrap(), named("a", Some(7)));
        assert_eq!("http://h:1".parse::<Named>().unwrap(), named("target", None), "a lone one needs no name");
        for wrong in ["a=h:1", "=http://h", "a=http://h,x", "a"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
        assert!(check(&[named("a", None), named("a", None)]).is_err());
    }
}
