//! How two processes of the same user talk: frames of MessagePack over a Unix socket, some with open files.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A frame is longer only where something is wrong: the largest holds a ledger in memory.
const LONGEST: u64 = 1 << 30;
const MOST_FILES: usize = 8;

pub struct Talk(UnixStream);

impl Talk {
    /// On a stream that blocks.
    pub fn over(stream: UnixStream) -> Self {
        Talk(stream)
    }

    /// How long the other may take for each thing.
    pub fn patience(&self, time: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(time))?;
        self.0.set_write_timeout(Some(time))
    }

    pub fn say<T: Serialize>(&mut self, words: &T, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = rmp_serde::to_vec_named(words).map_err(io::Error::other)?;
        let head = (body.len() as u64).to_le_bytes();
        let raw: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &rights[..0] } else { &rights[..] };
        // A stream of this length is never cut in two: it is shorter than any buffer.
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&head)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
        self.0.write_all(&head[sent..])?;
        self.0.write_all(&body)
    }

    pub fn hear<T: DeserializeOwned>(&mut self) -> io::Result<(T, Vec<OwnedFd>)> {
        let mut head = [0; 8];
        let (count, files) = self.hear_head(&mut head)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.read_exact(&mut head[count..])?;
        let length = u64::from_le_bytes(head);
        if length > LONGEST {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut body = Vec::new();
        (&self.0).take(length).read_to_end(&mut body)?;
        if body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((rmp_serde::from_slice(&body).map_err(io::Error::other)?, files))
    }

    fn hear_head(&self, head: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = nix::cmsg_space!([RawFd; MOST_FILES]);
        let mut parts = [IoSliceMut::new(head)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let mut files = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = part {
                // SAFETY: the system has just opened them for this process, and nobody else knows of them.
                files.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
            }
        }
        Ok((message.bytes, files))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn words_and_files_arrive_as_they_were_sent() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut one, mut other) = (Talk::over(one), Talk::over(other));
        let mut file = tempfile();
        file.write_all(b"in the file").unwrap();
        file.rewind().unwrap();
        let words = vec!["x".repeat(3_000_000)];
        let told = words.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                use std::os::fd::AsFd;
                one.say(&told, &[file.as_fd()]).unwrap();
            });
            let (heard, mut files) = other.hear::<Vec<String>>().unwrap();
            assert_eq!(heard, words);
            let mut text = String::new();
            std::fs::File::from(files.remove(0)).read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), files.len()), ("in the file", 0));
            let gone = other.hear::<String>().unwrap_err();
            assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof, "the end is seen");
        });
    }

    fn tempfile() -> std::fs::File {
        let path = std::env::temp_dir().join(format!("outrigger-frames-{}", std::process::id()));
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn a_frame_that_is_cut_or_too_long_is_an_error() {
        for sent in [&[9, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0xff; 8], &[1, 0]] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(sent).unwrap();
            drop(one);
            assert!(Talk::over(other).hear::<String>().is_err(), "{sent:?}");
        }
    }
}
