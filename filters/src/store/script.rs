//! A script and a call of it: by its digest, and with its text where the server does not know it.

use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, ToRedisArgs, Value};

use super::link::Link;

/// A Lua script, run by Redis as one step.
pub struct Script {
    text: String,
    digest: String,
}

impl Script {
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let digest = redis::Script::new(&text).get_hash().to_owned();
        Script { text, digest }
    }

    /// The keys must share a hash tag where they may lie in a cluster.
    pub fn call<'a>(&'static self, keys: impl IntoIterator<Item = &'a str, IntoIter: ExactSizeIterator>) -> Call {
        let keys = keys.into_iter();
        let mut command = Cmd::with_capacity(24, 512);
        command.arg("EVALSHA").arg(&self.digest).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        Call { script: self, command }
    }
}

/// A script with its keys and arguments.
pub struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    pub fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    pub(super) async fn run(self, mut link: Link) -> RedisResult<Value> {
        match link.send(&self.command).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.send(&self.with_text()).await
            }
            outcome => outcome,
        }
    }

    fn with_text(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.script.text);
        for argument in self.command.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}
