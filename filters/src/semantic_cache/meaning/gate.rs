//! The gate before the model: a table of vectors, one a token, whose mean says in microseconds whether any kept
//! question is near enough to be worth a pass through the model.

use std::path::Path;

use model2vec_rs::model::StaticModel;

use super::Error;
use super::vector::Vector;

pub struct Gate {
    model: StaticModel,
}

impl Gate {
    /// A folder in the layout of Model2Vec. None where there is no such folder.
    pub fn open(folder: &Path) -> Result<Option<Self>, Error> {
        if !folder.join("model.safetensors").exists() {
            return Ok(None);
        }
        let model = StaticModel::from_pretrained(folder, None, None, None);
        let failed = |reason: String| Error::Model { file: folder.join("model.safetensors"), reason };
        // A byte a number: a quarter of the memory, and the same cosines.
        model.map(|model| Some(Gate { model: model.quantize_int8() })).map_err(|error| failed(format!("{error:#}")))
    }

    /// Of a text without any known token it is none that is near anything.
    pub fn vector(&self, text: &str) -> Vector {
        let numbers = self.model.encode_single(text);
        Vector::new(&numbers).unwrap_or_else(|| Vector::without_direction(numbers.len()))
    }
}
