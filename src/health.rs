//! `outrigger health`: asks as a container's health check must, where there is neither a shell nor curl.
//!
//! The settings say where the admin port is, so the check follows them; it never goes out of the machine for that.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect;

use crate::config::Config;
use crate::service::reachable;

/// What is read of an answer at most.
const LONGEST_ANSWER: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub struct Question {
    /// Asks whether the process is alive (/livez), not whether requests are welcome (/readyz)
    #[arg(long)]
    live: bool,
    /// Asks there instead, as http://model-server:8000/health: whether a backend can be reached from here
    #[arg(long, value_name = "URL", conflicts_with = "live", value_parser = in_the_clear)]
    url: Option<String>,
    /// How long the whole answer may take
    #[arg(long, value_name = "MS", default_value = "2000")]
    timeout_ms: NonZeroU64,
}

impl Question {
    /// Whether the settings are needed to know where to ask.
    pub const fn needs_settings(&self) -> bool {
        self.url.is_none()
    }

    /// Prints the answer.
    ///
    /// # Errors
    /// If nobody answers in time, or otherwise than with 2xx.
    pub fn ask(&self, config: Option<&Config>) -> anyhow::Result<()> {
        let url = match (&self.url, config) {
            (Some(url), _) => url.clone(),
            (None, Some(config)) => of_admin(config.server.admin, self.live)?,
            (None, None) => anyhow::bail!("neither settings nor an address to ask"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, said) = runtime.block_on(fetch(&url, Duration::from_millis(self.timeout_ms.get())))?;
        println!("{}", said.trim_end());
        anyhow::ensure!(status.is_success(), "{url} answers {status}");
        Ok(())
    }
}

fn in_the_clear(url: &str) -> Result<String, &'static str> {
    if url.starts_with("http://") { Ok(url.to_owned()) } else { Err("an address begins with http:// here") }
}

fn of_admin(admin: SocketAddr, live: bool) -> anyhow::Result<String> {
    anyhow::ensure!(admin.port() != 0, "server.admin has port 0, which is another one at each start");
    Ok(format!("http://{}{}", reachable(admin), if live { "/livez" } else { "/readyz" }))
}

async fn fetch(url: &str, timeout: Duration) -> anyhow::Result<(reqwest::StatusCode, String)> {
    // It wants a provider of cryptography even where nothing is encrypted; no certificates are read, nor is a proxy asked.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .tls_certs_only([])
        .build()?;
    let answer = async {
        let mut answer = client.get(url).send().await?;
        let mut said = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            said.extend_from_slice(&piece);
            if said.len() > LONGEST_ANSWER {
                break;
            }
        }
        Ok::<_, reqwest::Error>((answer.status(), String::from_utf8_lossy(&said).into_owned()))
    };
    answer.await.map_err(reqwest::Error::without_url).with_context(|| format!("{url} does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (admin, url) in [
            ("0.0.0.0:9090", "http://127.0.0.1:9090/readyz"),
            ("[::]:9090", "http://[::1]:9090/readyz"),
            ("10.1.2.3:9191", "http://10.1.2.3:9191/readyz"),
        ] {
            assert_eq!(of_admin(admin.parse().unwrap(), false).unwrap(), url, "for {admin}");
        }
        let live = of_admin("127.0.0.1:9090".parse().unwrap(), true).unwrap();
        assert_eq!(live, "http://127.0.0.1:9090/livez", "--live asks for the process alone");
    }

    #[test]
    fn a_port_that_nobody_can_know_is_said() {
        assert!(of_admin("127.0.0.1:0".parse().unwrap(), false).unwrap_err().to_string().contains("server.admin"));
    }
}
