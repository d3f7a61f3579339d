//! A file that records are added to: each whole or not at all, also after the process or the machine has died.
//!
//! A record is its length (4 bytes), a checksum of it (8), and itself. What follows the first that is not whole is cut
//! off when the file is opened.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_128;

const HEAD: usize = 12;

/// No record is longer; what says it is, is no record.
pub(super) const MAX_RECORD: usize = 1 << 20;

pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

/// How the file ended when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    Whole,
    /// In the middle of a record, as a process that dies leaves it.
    Torn,
    /// With bytes that were never written here: what stood there is not known.
    Corrupt,
}

impl Log {
    /// Hands every whole record to `read`, oldest first, and cuts off what follows.
    pub(super) fn open(path: &Path, mut read: impl FnMut(&[u8])) -> io::Result<(Self, Tail)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut records = Records::new(&file)?;
        while let Some(record) = records.next()? {
            read(record);
        }
        let (length, tail) = (records.at, records.tail);
        if tail != Tail::Whole {
            file.set_len(length)?;
            file.sync_all()?;
        }
        let mut log = Log { path: path.to_owned(), file, length };
        log.file.seek(SeekFrom::Start(length))?;
        Ok((log, tail))
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// One write: it is there whole, or torn and cut off at the next start.
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let framed = frame(record)?;
        if let Err(error) = self.file.write_all(&framed) {
            // What was written of it would hide whatever follows.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += framed.len() as u64;
        Ok(())
    }

    /// Waits until all of it lies on the disk itself.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Goes through all records, oldest first.
    pub(super) fn scan(&mut self, mut read: impl FnMut(&[u8])) -> io::Result<()> {
        let mut records = Records::new(&self.file)?;
        while let Some(record) = records.next()? {
            read(record);
        }
        self.file.seek(SeekFrom::Start(self.length)).map(|_| ())
    }

    /// Replaces the file by one of those records that are to be kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let old = self.file.try_clone()?;
        let retained = self.replace(|new| {
            let mut records = Records::new(&old)?;
            while let Some(record) = records.next()? {
                if keep(record) {
                    new.append(record)?;
                }
            }
            Ok(())
        });
        // Where it failed the old one goes on; reading has moved its place.
        self.file.seek(SeekFrom::Start(self.length))?;
        retained
    }

    /// Replaces the file by one of these records: at every moment there is the old one or the new one, whole.
    pub(super) fn replace(&mut self, write: impl FnOnce(&mut Rewrite) -> io::Result<()>) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let mut rewrite = Rewrite { out: BufWriter::new(File::create(&path)?), length: 0 };
        write(&mut rewrite)?;
        let length = rewrite.length;
        rewrite.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(length))?;
        (self.file, self.length) = (file, length);
        Ok(())
    }
}

pub(super) struct Rewrite {
    out: BufWriter<File>,
    length: u64,
}

impl Rewrite {
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let framed = frame(record)?;
        self.length += framed.len() as u64;
        self.out.write_all(&framed)
    }
}

fn frame(record: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(record.len()).ok().filter(|length| *length as usize <= MAX_RECORD);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a record too long for its log"))?;
    let mut framed = Vec::with_capacity(HEAD + record.len());
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(&checksum(record).to_le_bytes());
    framed.extend_from_slice(record);
    Ok(framed)
}

/// Of the length, too, so that a run of zeros is no empty record.
fn checksum(record: &[u8]) -> u64 {
    XxHash3_128::oneshot_with_seed(record.len() as u64 + 1, record) as u64
}

struct Records<'a> {
    file: BufReader<&'a File>,
    end: u64,
    at: u64,
    record: Vec<u8>,
    tail: Tail,
}

impl<'a> Records<'a> {
    fn new(mut file: &'a File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Records { file, end, at: 0, record: Vec::new(), tail: Tail::Whole })
    }

    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let left = self.end - self.at;
        if left == 0 {
            return Ok(None);
        }
        if left < HEAD as u64 {
            self.tail = Tail::Torn;
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.file.read_exact(&mut head)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > MAX_RECORD {
            self.tail = Tail::Corrupt;
            return Ok(None);
        }
        if left < (HEAD + length) as u64 {
            self.tail = Tail::Torn;
            return Ok(None);
        }
        self.record.resize(length, 0);
        self.file.read_exact(&mut self.record)?;
        if head[4..] != checksum(&self.record).to_le_bytes() {
            self.tail = Tail::Corrupt;
            return Ok(None);
        }
        self.at += (HEAD + length) as u64;
        Ok(Some(&self.record))
    }
}

#[cfg(test)]
mod tests;
