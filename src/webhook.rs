//! What an operator wants to be told of, posted to an address of his.
//!
//! Posting never holds anybody up: what is to be told waits in a bounded line. It is tried a few times; that the address
//! does not take it is said once, until it does again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use outrigger_filters::alerts;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::http_client;

/// What waits at most.
const LINE: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long it waits before it is tried again.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

pub struct Webhook {
    /// None where nobody wants to be told.
    address: Arc<ArcSwapOption<Address>>,
    line: mpsc::Sender<Value>,
    posting: std::sync::Mutex<Option<Posting>>,
}

/// Where it goes.
pub struct Address {
    client: Client,
    url: Url,
    key: Option<HeaderValue>,
}

struct Posting {
    address: Arc<ArcSwapOption<Address>>,
    line: mpsc::Receiver<Value>,
    fails: bool,
}

impl Address {
    /// # Errors
    /// If it is none, or the key cannot be sent.
    pub fn of(config: &alerts::Config) -> anyhow::Result<Option<Arc<Self>>> {
        if config.webhook_url.is_empty() {
            return Ok(None);
        }
        let key = config.webhook_key_env.as_ref().and_then(|variable| std::env::var(variable).ok());
        let key = key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose()?.map(|mut key| {
            key.set_sensitive(true);
            key
        });
        let url = config.webhook_url.parse()?;
        Ok(Some(Arc::new(Address { client: http_client::client(TIMEOUT)?, url, key })))
    }
}

impl Webhook {
    pub fn new(address: Option<Arc<Address>>) -> Self {
        let (sender, line) = mpsc::channel(LINE);
        let address = Arc::new(ArcSwapOption::new(address));
        let posting = Posting { address: address.clone(), line, fails: false };
        Webhook { address, line: sender, posting: std::sync::Mutex::new(Some(posting)) }
    }

    /// What is told from now on, and what still waits, goes there.
    pub fn aim(&self, address: Option<Arc<Address>>) {
        self.address.store(address);
    }

    /// Puts it in the line, if there is room, and anybody to be told.
    pub fn tell(&self, words: Value) {
        if self.address.load().is_some() && self.line.try_send(words).is_err() {
            tracing::debug!("the webhook's line is full: something is told by the log alone");
        }
    }

    /// Waits until the line is empty, for a moment: what is posted last should get out.
    pub fn finish(&self) {
        let begun = Instant::now();
        while self.line.capacity() < self.line.max_capacity() && begun.elapsed() < LAST_WORDS {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Posts what comes, as long as anybody may tell. Once.
    pub async fn run(&self) {
        let posting = self.posting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(posting) = posting {
            posting.run().await;
        }
    }
}

impl Posting {
    async fn run(mut self) {
        while let Some(words) = self.line.recv().await {
            let mut outcome = self.post(&words).await;
            for wait in AGAIN {
                if outcome.is_ok() {
                    break;
                }
                tokio::time::sleep(wait).await;
                outcome = self.post(&words).await;
            }
            match (outcome, self.fails) {
                (Err(why), false) => tracing::warn!(why, "the webhook does not take what it is told"),
                (Ok(()), true) => tracing::info!("the webhook takes what it is told again"),
                (outcome, _) => {
                    self.fails = outcome.is_err();
                    continue;
                }
            }
            self.fails = !self.fails;
        }
    }

    async fn post(&self, words: &Value) -> Result<(), String> {
        let Some(address) = self.address.load_full() else { return Ok(()) };
        let request = address.client.post(address.url.clone());
        let mut request = request.header(CONTENT_TYPE, "application/json").body(words.to_string());
        if let Some(key) = &address.key {
            request = request.header(AUTHORIZATION, key);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answered {}", answer.status().as_u16())),
            // Without the address, which may hold a secret.
            Err(error) if error.is_timeout() => Err("it takes too long".to_owned()),
            Err(_) => Err("it cannot be reached".to_owned()),
        }
    }
}
