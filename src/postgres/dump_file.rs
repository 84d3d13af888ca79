//! A dump's file, opened once: what was checked first is what is read later, byte for byte.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::backups::{Backup, Format, Member, Section};
use crate::error::{Error, Kind, Result};
use crate::files::members::{AT_ONCE, Unpacker};
use crate::postgres::dump::packing;
use crate::progress::Progress;

/// What is read from the file at once.
const BLOCK: usize = 128 << 10;
/// Makes a part of a dump a whole one for the reader.
const TRAILER: &[u8] = b"\n--\n-- PostgreSQL database dump complete\n--\n\n";
/// Stands where the rows of a table were left out: what follows comes after data.
const LEFT_OUT: &[u8] = b"\n-- Data for Name: -; Type: TABLE DATA; Schema: -; Owner: -\n";
const LEFT_OUT_LINES: u64 = 2;

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

    /// Returns the text of consecutive members as a dump of its own, and the digests that grow while it is read.
    pub(super) fn part(&self, members: Range<usize>) -> Result<(Text, Sums)> {
        let pieces = members.map(Piece::Member).chain([Piece::Text(TRAILER)]).collect();
        self.pieces(pieces)
    }

    /// Returns the text without the rows of tables, which lines of the dump those of this text are, and the digests that
    /// grow while it is read. Nothing where the manifest does not tell how many lines its members have.
    pub(super) fn definitions(&self) -> Result<Option<(Text, Lines, Sums)>> {
        let (mut pieces, mut lines) = (Vec::new(), Lines::default());
        let (mut here, mut there) = (0, 0); // line ends so far, in this text and in the dump
        for (at, member) in self.members.iter().enumerate() {
            let Some(count) = member.lines else { return Ok(None) };
            there = count.saturating_add(there);
            if !holds_rows(member) {
                pieces.push(Piece::Member(at));
                here = count.saturating_add(here);
                continue;
            }
            if !matches!(pieces.last(), Some(Piece::Text(_))) {
                pieces.push(Piece::Text(LEFT_OUT));
                here = LEFT_OUT_LINES.saturating_add(here);
            }
            lines.go_on(here, there);
        }
        if self.members.is_empty() {
            return Ok(None);
        }
        let (text, sums) = self.pieces(pieces)?;
        Ok(Some((text, lines, sums)))
    }

    fn pieces(&self, pieces: Vec<Piece>) -> Result<(Text, Sums)> {
        let sums = Sums::default();
        let packing = packing(self.format).ok_or_else(|| self.no_sql())?;
        let unpacker = Unpacker::new(packing).map_err(|e| Error::io("read", &self.path, &e))?;
        let text = Pieces {
            file: self.clone(),
            pieces: pieces.into_iter(),
            unpacker,
            sums: sums.clone(),
            packed: Vec::new(),
            raw: Vec::new(),
            at: 0,
            large: None,
        };
        Ok((Box::new(text), sums))
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
            Format::Custom | Format::SqliteGz => return Err(self.no_sql()),
        })
    }

    fn no_sql(&self) -> Error {
        Error::new(Kind::Usage, format!("{} is not a dump in SQL", self.path.display()))
    }
}

/// Returns whether a member holds the rows of a table and nothing else.
pub(super) fn holds_rows(member: &Member) -> bool {
    member.section == Section::Data && member.table.is_some()
}

/// Which lines of a dump the lines of a text are that leaves some of them out.
#[derive(Default)]
pub(super) struct Lines(Vec<(u64, u64)>);

impl Lines {
    /// Behind so many line ends of the text, the dump has had so many.
    fn go_on(&mut self, here: u64, there: u64) {
        match self.0.last_mut().filter(|last| last.0 == here) {
            Some(last) => last.1 = there,
            None => self.0.push((here, there)),
        }
    }

    /// Returns the dump's line, counted from 1, that a line of the text is.
    pub(super) fn of_dump(&self, line: u64) -> u64 {
        let before = self.0.partition_point(|(here, _)| *here < line);
        let last = before.checked_sub(1).and_then(|at| self.0.get(at));
        last.map_or(line, |(here, there)| (line - here).saturating_add(*there))
    }
}

/// What a text is put together from.
enum Piece {
    Member(usize),
    Text(&'static [u8]),
}

/// A text that is put together from members and words of ours.
struct Pieces {
    file: DumpFile,
    pieces: std::vec::IntoIter<Piece>,
    unpacker: Unpacker,
    sums: Sums,
    packed: Vec<u8>,
    /// What was unpacked, and how much of it was read.
    raw: Vec<u8>,
    at: usize,
    /// A member that is too large to be unpacked in one go, and how much of it is still to come.
    large: Option<(Text, u64)>,
}

impl Pieces {
    fn begin(&mut self, piece: Piece) -> io::Result<()> {
        self.at = 0;
        let member = match piece {
            Piece::Text(text) => {
                text.clone_into(&mut self.raw);
                return Ok(());
            }
            Piece::Member(at) => {
                self.file.members.get(at).ok_or_else(|| io::Error::other("there is no such member"))?
            }
        };
        let mut bytes = self.file.bytes(member.offset, member.offset + member.length, self.sums.clone());
        if member.raw_length.max(member.length) > AT_ONCE {
            self.raw.clear();
            let text = self.file.unpacked(bytes).map_err(io::Error::other)?;
            self.large = Some((text, member.raw_length));
            return Ok(());
        }
        self.packed.resize(member.length as usize, 0); // both are small
        self.raw.resize(member.raw_length as usize, 0);
        bytes.read_exact(&mut self.packed)?;
        self.unpacker.unpack_into(&self.packed, &mut self.raw)
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let unread = &self.raw[self.at..];
            if !unread.is_empty() {
                let length = unread.len().min(into.len());
                into[..length].copy_from_slice(&unread[..length]);
                self.at += length;
                return Ok(length);
            }
            if let Some((text, left)) = &mut self.large {
                let read = text.read(into)?;
                *left = left.checked_sub(read as u64).ok_or_else(|| other_size(&self.file.path))?;
                if read > 0 {
                    return Ok(read);
                }
                if *left > 0 {
                    return Err(other_size(&self.file.path));
                }
                self.large = None;
            }
            match self.pieces.next() {
                Some(piece) => self.begin(piece)?,
                None => return Ok(0),
            }
        }
    }
}

fn other_size(path: &Path) -> io::Error {
    let sentence = format!("a member of {} does not have the size that the manifest says", path.display());
    io::Error::other(Error::new(Kind::Damaged, sentence).on(path.display().to_string()))
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
