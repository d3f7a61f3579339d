//! The tensors that a file describes: their names and sizes, not what is in them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::{Error, MOST_BYTES, Metadata, Reader};

/// The largest models that are published have some thousands.
const MOST_TENSORS: u64 = 1 << 17;
/// ggml knows four.
const MOST_DIMENSIONS: u64 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// How many numbers there are in each direction, a row's first.
    pub sizes: Vec<u64>,
}

impl Metadata {
    /// The metadata of a file, and the tensors that it says it has.
    ///
    /// # Errors
    /// Where the file is no whole GGUF file, up to its weights.
    pub fn with_tensors(file: &Path) -> Result<(Self, Vec<Tensor>), Error> {
        Metadata::read_with_tensors(BufReader::with_capacity(1 << 16, File::open(file)?))
    }

    pub(super) fn read_with_tensors(source: impl Read) -> Result<(Self, Vec<Tensor>), Error> {
        let mut reader = Reader(source.take(MOST_BYTES));
        let (metadata, size) = Metadata::begin(&mut reader)?;
        if size > MOST_TENSORS {
            return Err(Error::Large { what: "the number of tensors", size, most: MOST_TENSORS });
        }
        let mut tensors = Vec::new();
        for _ in 0..size {
            tensors.push(reader.tensor()?);
        }
        Ok((metadata, tensors))
    }
}

impl<R: Read> Reader<R> {
    fn tensor(&mut self) -> Result<Tensor, Error> {
        let name = self.text("the name of a tensor")?;
        let size = u64::from(self.u32()?);
        if size > MOST_DIMENSIONS {
            return Err(Error::Large { what: "the dimensions of a tensor", size, most: MOST_DIMENSIONS });
        }
        let sizes = (0..size).map(|_| self.u64()).collect::<Result<_, _>>()?;
        // Its type and where it lies.
        self.u32()?;
        self.u64()?;
        Ok(Tensor { name, sizes })
    }
}
