//! Unpacking: the bytes of a packed file, digested, counted and bounded on their way.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use super::digest::{Digest, Hashed};
use super::extract::Limits;
use super::{BLOCK, go_on, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Ratios are only judged from here on: a few kilobytes of zeros pack better than any bomb.
const RATIO_FROM: u64 = 16 << 20;

/// The archive's bytes on their way: digested and counted.
struct Counted {
    inner: Hashed<File>,
    counters: [Progress; 2],
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.counters.iter().for_each(|counter| counter.add(n as u64));
        Ok(n)
    }
}

/// The tar stream, packed or not.
enum Unpacked {
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
    Plain(BufReader<Counted>),
}

/// Tells by the first bytes how the archive is packed; a name can lie.
fn unpacked(archive: &Path, counted: Counted) -> Result<Unpacked> {
    let mut buffer = BufReader::with_capacity(BLOCK, counted);
    let start = io::BufRead::fill_buf(&mut buffer).map_err(|e| Error::io("read", archive, &e))?;
    match start {
        [0x1f, 0x8b, ..] => Ok(Unpacked::Gzip(Box::new(MultiGzDecoder::new(buffer)))),
        tar if tar.len() >= 512 => Ok(Unpacked::Plain(buffer)),
        _ => Err(Error::new(Kind::Damaged, format!("{} is not a .tar or .tar.gz archive", shown(archive)))
            .on(shown(archive))),
    }
}

impl Unpacked {
    /// Returns the digest of the file, which must be at its end.
    fn finish(self, archive: &Path) -> Result<Digest> {
        let mut buffer = match self {
            Unpacked::Gzip(decoder) => decoder.into_inner(),
            Unpacked::Plain(buffer) => buffer,
        };
        io::copy(&mut buffer, &mut io::sink()).map_err(|e| Error::io("read", archive, &e))?;
        Ok(buffer.into_inner().inner.finish().1)
    }
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Unpacked::Gzip(decoder) => decoder.read(into),
            Unpacked::Plain(buffer) => buffer.read(into),
        }
    }
}

/// An archive's bytes, unpacked: no more of them than the limits allow, whatever they are for.
pub(crate) struct Unpacking<'a> {
    inner: Unpacked,
    archive: &'a Path,
    packed: Progress,
    unpacked: u64,
    limits: &'a Limits,
    cancel: &'a CancellationToken,
}

impl<'a> Unpacking<'a> {
    /// Starts to unpack an open file; `archive` is what errors call it.
    pub(crate) fn start(
        file: File,
        archive: &'a Path,
        limits: &'a Limits,
        progress: &Progress,
        cancel: &'a CancellationToken,
    ) -> Result<Self> {
        let packed = Progress::default();
        let counted = Counted { inner: Hashed::new(file), counters: [progress.clone(), packed.clone()] };
        Ok(Self { inner: unpacked(archive, counted)?, archive, packed, unpacked: 0, limits, cancel })
    }

    /// Reads the file to its end and returns the digest of all of it.
    pub(crate) fn finish(self) -> Result<Digest> {
        self.inner.finish(self.archive)
    }
}

impl Read for Unpacking<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        go_on(self.cancel, "extracting").map_err(io::Error::other)?;
        let n = self.inner.read(into)?;
        self.unpacked += n as u64;
        let bomb = |what: String| {
            io::Error::other(
                Error::new(Kind::Refused, format!("the archive unpacks to more than {what}"))
                    .hint("raise the limit if the archive is known to be good"),
            )
        };
        if self.unpacked > self.limits.bytes {
            return Err(bomb(format!("{} bytes, the limit or the free space", self.limits.bytes)));
        }
        let most = self.packed.done().saturating_mul(self.limits.ratio);
        if self.unpacked > RATIO_FROM && self.unpacked > most {
            return Err(bomb(format!("{} times its size", self.limits.ratio)));
        }
        Ok(n)
    }
}
