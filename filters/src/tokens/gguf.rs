//! What a GGUF file says of its model, its tokens above all, read without its weights.
//!
//! The format is that of ggml's `docs/gguf.md`, versions 2 and 3. Sizes in a file are never believed: nothing is
//! allocated by what a file says, and all that is read of one has a bound. A file is trusted to be the
//! operator's, but it may be half of a download.

mod tensors;
mod vocabulary;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub use tensors::Tensor;
pub use vocabulary::vocabulary;

pub const MAGIC: &[u8; 4] = b"GGUF";
/// Vocabularies of 256,000 tokens take 20 MB with their merges.
const MOST_BYTES: u64 = 256 << 20;
const MOST_ENTRIES: u64 = 1 << 16;
/// The longest are chat templates, of some 20 KB.
const MOST_TEXT_BYTES: u64 = 1 << 20;
const MOST_ITEMS: u64 = 1 << 22;

/// Why the metadata of a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it ends within its metadata, or cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("it does not begin with GGUF")]
    Magic,
    #[error("GGUF version {0} is not supported, only 2 and 3 in little endian")]
    Version(u32),
    #[error("{what} is {size}, and {most} is the most that is read")]
    Large { what: &'static str, size: u64, most: u64 },
    #[error("a value has the type {0}, which is none")]
    Type(u32),
    #[error("a list holds lists, which is not supported")]
    Nested,
    #[error("`{0}` is no UTF-8")]
    Text(String),
}

/// The entries of a file that anybody here asks for.
#[derive(Debug, Default)]
pub struct Metadata(HashMap<String, Value>);

#[derive(Debug, PartialEq)]
enum Value {
    Flag(bool),
    Number(i64),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<i64>),
    Scores(Vec<f32>),
    /// What nobody here asks for.
    Other,
}

impl Metadata {
    pub fn of(file: &Path) -> Result<Self, Error> {
        Metadata::read(BufReader::with_capacity(1 << 16, File::open(file)?))
    }

    pub fn read(source: impl Read) -> Result<Self, Error> {
        Metadata::begin(&mut Reader(source.take(MOST_BYTES))).map(|(metadata, _)| metadata)
    }

    /// The entries, and how many tensors are described behind them.
    fn begin(reader: &mut Reader<impl Read>) -> Result<(Self, u64), Error> {
        if &reader.bytes::<4>()? != MAGIC {
            return Err(Error::Magic);
        }
        match reader.u32()? {
            2 | 3 => {}
            version => return Err(Error::Version(version)),
        }
        let tensors = reader.u64()?;
        let entries = reader.size("the number of entries", MOST_ENTRIES)?;
        let mut kept = HashMap::new();
        for _ in 0..entries {
            let key = reader.text("a key")?;
            let value = reader.value(&key)?;
            if value != Value::Other {
                kept.insert(key, value);
            }
        }
        Ok((Metadata(kept), tensors))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        match self.0.get(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn texts(&self, key: &str) -> Option<&[String]> {
        match self.0.get(key)? {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    pub fn numbers(&self, key: &str) -> Option<&[i64]> {
        match self.0.get(key)? {
            Value::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    fn scores(&self, key: &str) -> Option<&[f32]> {
        match self.0.get(key)? {
            Value::Scores(scores) => Some(scores),
            _ => None,
        }
    }
}

struct Reader<R>(std::io::Take<R>);

/// The types of values, by their numbers in a file.
mod kind {
    pub const FLOAT: u32 = 6;
    pub const FLAG: u32 = 7;
    pub const TEXT: u32 = 8;
    pub const LIST: u32 = 9;
    pub const DOUBLE: u32 = 12;
}

impl<R: Read> Reader<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn size(&mut self, what: &'static str, most: u64) -> Result<u64, Error> {
        match self.u64()? {
            size if size > most => Err(Error::Large { what, size, most }),
            size => Ok(size),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Error> {
        let size = self.size("the length of a text", MOST_TEXT_BYTES)?;
        let mut bytes = Vec::new();
        // It grows by what is there, not by what the file says.
        if (&mut self.0).take(size).read_to_end(&mut bytes)? as u64 != size {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        String::from_utf8(bytes).map_err(|_| Error::Text(what.to_owned()))
    }

    fn number(&mut self, kind: u32) -> Result<i64, Error> {
        Ok(match kind {
            0 => i64::from(u8::from_le_bytes(self.bytes()?)),
            1 => i64::from(i8::from_le_bytes(self.bytes()?)),
            2 => i64::from(u16::from_le_bytes(self.bytes()?)),
            3 => i64::from(i16::from_le_bytes(self.bytes()?)),
            4 => i64::from(self.u32()?),
            5 => i64::from(i32::from_le_bytes(self.bytes()?)),
            10 => i64::try_from(self.u64()?).unwrap_or(i64::MAX),
            11 => i64::from_le_bytes(self.bytes()?),
            _ => return Err(Error::Type(kind)),
        })
    }

    fn value(&mut self, key: &str) -> Result<Value, Error> {
        Ok(match self.u32()? {
            kind::FLOAT => Value::Scores(vec![f32::from_le_bytes(self.bytes()?)]),
            kind::FLAG => Value::Flag(self.bytes::<1>()? != [0]),
            kind::TEXT => Value::Text(self.text(key)?),
            kind::LIST => return self.list(key),
            kind::DOUBLE => {
                self.bytes::<8>()?;
                Value::Other
            }
            kind => Value::Number(self.number(kind)?),
        })
    }

    fn list(&mut self, key: &str) -> Result<Value, Error> {
        let kind = self.u32()?;
        let items = self.size("the length of a list", MOST_ITEMS)?;
        Ok(match kind {
            kind::FLOAT => Value::Scores(self.items(items, |reader| Ok(f32::from_le_bytes(reader.bytes()?)))?),
            kind::FLAG => Value::Numbers(self.items(items, |reader| reader.number(0))?),
            kind::TEXT => Value::Texts(self.items(items, |reader| reader.text(key))?),
            kind::LIST => return Err(Error::Nested),
            kind::DOUBLE => {
                self.items(items, |reader| reader.u64())?;
                Value::Other
            }
            kind => Value::Numbers(self.items(items, |reader| reader.number(kind))?),
        })
    }

    fn items<T>(&mut self, items: u64, mut one: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut read = Vec::new();
        for _ in 0..items {
            read.push(one(self)?);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
