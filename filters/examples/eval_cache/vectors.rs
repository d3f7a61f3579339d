//! The vector of every text, made once and kept in a file: 35,000 texts take the model minutes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;
use outrigger_filters::semantic_cache::meaning::{Meaning, Vector};

pub struct Vectors {
    meaning: Arc<Meaning>,
    file: PathBuf,
    by_text: HashMap<String, Vec<u8>>,
}

impl Vectors {
    pub fn open(meaning: &Arc<Meaning>, folder: PathBuf) -> anyhow::Result<Self> {
        let fingerprint: String = meaning.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(fingerprint);
        let by_text = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => HashMap::new(),
        };
        Ok(Vectors { meaning: meaning.clone(), file, by_text })
    }

    pub async fn of<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<Vector>> {
        let texts: Vec<&str> = texts.collect();
        let missing: Vec<&str> = texts.iter().copied().filter(|text| !self.by_text.contains_key(*text)).collect();
        if !missing.is_empty() {
            eprintln!("{} texts go through the model", missing.len());
            let made = futures::stream::iter(&missing).map(|text| self.meaning.vector(text)).buffered(32);
            let made: Vec<Option<Vector>> = made.collect().await;
            for (text, vector) in missing.iter().zip(made) {
                self.by_text.insert((*text).to_owned(), vector.context("a vector")?.to_bytes().into_vec());
            }
            std::fs::write(&self.file, serde_json::to_vec(&self.by_text)?)?;
        }
        let vector = |text: &&str| Vector::from_bytes(&self.by_text[*text], 384).context("of 384 dimensions");
        texts.iter().map(vector).collect()
    }
}
