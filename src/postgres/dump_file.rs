//! A dump's file, opened once: what was checked first is what is read later, byte for byte.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::backups::{Backup, Format, Member};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// What is read from the file at once.
const BLOCK: usize = 128 << 10;

type Sum = [u8; 32];
/// A dump's text, unpacked.
pub(super) type Text = Box<dyn Read + Send>;

/// An open dump.
#[derive(Clone)]
pub(super) struct DumpFile {
    file: Arc<File>,
    path: PathBuf,
    format: Format,
    size: u64,
    members: Arc<[Member]>,
    progress: Progress,
    cancel: CancellationToken,
}

/// The digests of what passed: of all of it, and of each member.
#[derive(Clone, Default)]
pub(super) struct Sums(Arc<Mutex<Passed>>);

#[derive(Default)]
struct Passed {
    whole: Sha256,
    part: Sha256,
    parts: Vec<Sum>,
}

impl DumpFile {
    pub(super) fn open(backup: &Backup, progress: &Progress, cancel: &CancellationToken) -> Result<Self> {
        let path = backup.path();
        let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
        let size = file.metadata().map_err(|e| Error::io("open", path, &e))?.len();
        let members = backup.manifest().map(|manifest| manifest.members.clone()).unwrap_or_default();
        if members.last().is_some_and(|last| last.offset + last.length != size) {
            return Err(changed(path));
        }
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            format: backup.format(),
            size,
            members: members.into(),
            progress: progress.clone(),
            cancel: cancel.clone(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the whole text and the digests that grow while it is read.
    pub(super) fn text(&self) -> Result<(Text, Sums)> {
        let sums = Sums::default();
        let bytes = self.bytes(0, self.size, sums.clone());
        Ok((self.unpacked(bytes)?, sums))
    }

    /// Returns the text of consecutive members, and the digests that grow while it is read.
    pub(super) fn part(&self, members: std::ops::Range<usize>) -> Result<(Text, Sums)> {
        let sums = Sums::default();
        let Some((first, last)) = self.members[members].split_first().map(|(f, rest)| (f, rest.last().unwrap_or(f)))
        else {
            return Ok((Box::new(io::empty()), sums));
        };
        let bytes = self.bytes(first.offset, last.offset + last.length, sums.clone());
        Ok((self.unpacked(bytes)?, sums))
    }

    /// Returns the counters of whoever reads it.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns the bytes of the file as they are.
    pub(super) fn packed(&self) -> (impl Read + Send + use<>, Sums) {
        let sums = Sums::default();
        (self.bytes(0, self.size, sums.clone()), sums)
    }

    fn bytes(&self, from: u64, to: u64, sums: Sums) -> Bytes {
        Bytes {
            file: Arc::clone(&self.file),
            members: Arc::clone(&self.members),
            at: from,
            end: to,
            sums,
            progress: self.progress.clone(),
            cancel: self.cancel.clone(),
        }
    }

    fn unpacked(&self, bytes: Bytes) -> Result<Text> {
        let bytes = BufReader::with_capacity(BLOCK, bytes);
        Ok(match self.format {
            Format::SqlGz => Box::new(MultiGzDecoder::new(bytes)),
            Format::SqlZst => Box::new(
                zstd::stream::read::Decoder::with_buffer(bytes).map_err(|e| Error::io("read", &self.path, &e))?,
            ),
            Format::Sql => Box::new(bytes),
            Format::Custom | Format::SqliteGz => {
                return Err(Error::new(Kind::Usage, format!("{} is not a dump in SQL", self.path.display())));
            }
        })
    }
}

impl Sums {
    /// Returns the digest of everything that passed, in hexadecimal digits.
    pub(super) fn whole(&self) -> String {
        let whole = self.lock().whole.clone().finalize();
        whole.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Returns the digests of the members that passed whole.
    pub(super) fn parts(&self) -> Vec<Sum> {
        self.lock().parts.clone()
    }

    fn take(&self, bytes: &[u8], ends_member: bool) {
        let mut passed = self.lock();
        passed.whole.update(bytes);
        passed.part.update(bytes);
        if ends_member {
            let part = std::mem::take(&mut passed.part).finalize();
            passed.parts.push(part.into());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the file is not what it was a moment ago.
pub(super) fn changed(path: &Path) -> Error {
    Error::new(Kind::Damaged, format!("{} changed while it was read", path.display()))
        .on(path.display().to_string())
        .hint("something else writes to it; use a copy that nobody touches")
}

/// A part of the file. Several may be read at the same time.
struct Bytes {
    file: Arc<File>,
    members: Arc<[Member]>,
    at: u64,
    end: u64,
    sums: Sums,
    progress: Progress,
    cancel: CancellationToken,
}

impl Bytes {
    /// Returns where the next read must stop: at the end of a member or of what was asked for.
    fn stop(&self) -> (u64, bool) {
        let next = self.members.partition_point(|member| member.offset + member.length <= self.at);
        match self.members.get(next) {
            Some(member) if member.offset + member.length <= self.end => (member.offset + member.length, true),
            _ => (self.end, false),
        }
    }
}

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(Error::new(Kind::Interrupted, "reading the backup was interrupted")));
        }
        let (stop, is_member) = self.stop();
        let room = usize::try_from(stop - self.at).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(&mut into[..room], self.at)?;
        self.at += read as u64;
        self.sums.take(&into[..read], is_member && self.at == stop && read > 0);
        self.progress.add(read as u64);
        Ok(read)
    }
}
