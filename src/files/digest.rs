//! Digests: the SHA-256 of a file or of a stream that passes by.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use super::{BLOCK, go_on, open, shown};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// A SHA-256. Its text is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the digest of the file at `path`, read in big blocks.
    pub fn of_file(path: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Self> {
        let (file, _) = open(path)?;
        Self::of_open(file, path, progress, cancel)
    }

    /// Returns the digest of an open file; `path` is only what errors call it.
    pub(crate) fn of_open(
        mut file: File,
        path: &Path,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let mut hasher = Hasher::default();
        let mut block = vec![0; BLOCK];
        loop {
            go_on(cancel, &format!("reading {}", shown(path)))?;
            match file.read(&mut block) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => {
                    hasher.update(&block[..n]);
                    progress.add(n as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", path, &e)),
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("a SHA-256 is 64 hexadecimal digits");
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| "not a hexadecimal number")?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest in the making.
#[derive(Default, Clone)]
pub struct Hasher {
    sha: Sha256,
    bytes: u64,
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Returns how many bytes were added.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the digest.
    pub fn finish(self) -> Digest {
        Digest(self.sha.finalize().into())
    }
}

/// A reader or writer that digests what passes through it.
pub struct Hashed<I> {
    inner: I,
    hasher: Hasher,
}

impl<I> Hashed<I> {
    /// Wraps a reader or writer.
    pub fn new(inner: I) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Returns how many bytes have passed.
    pub fn passed(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Returns the inner value and the digest of all that passed.
    pub fn finish(self) -> (I, Digest) {
        (self.inner, self.hasher.finish())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_file_has_the_digest_that_the_standard_gives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        let progress = Progress::default();
        let digest = Digest::of_file(&path, &progress, &CancellationToken::new()).unwrap();
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(progress.done(), 3);
        assert_eq!(digest, Digest::of(b"abc"));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn a_big_file_is_the_same_in_one_piece_and_in_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let digest = Digest::of_file(&path, &Progress::default(), &CancellationToken::new()).unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        let mut passing = Hashed::new(bytes.as_slice());
        io::copy(&mut passing, &mut io::sink()).unwrap();
        assert_eq!(passing.passed(), bytes.len() as u64);
        assert_eq!(passing.finish().1, digest);
    }

    #[test]
    fn a_cancelled_digest_stops() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = Digest::of_file(Path::new("/etc/hostname"), &Progress::default(), &cancel).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
    }

    #[test]
    fn a_pipe_is_refused_and_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Digest::of_file(&pipe, &Progress::default(), &CancellationToken::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
}
