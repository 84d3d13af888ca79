//! A database file in gzip, and back: digested on its way and read to its real end.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::connection::MAGIC;
use crate::backups::{Backup, Member, Section};
use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::{Digest, Hashed};
use crate::files::members::{Bounds, MemberReader, Packer, Packing};
use crate::files::{self, BLOCK, checksums, go_on, shown};
use crate::progress::Progress;

/// How many bytes of the database make one gzip member.
const MEMBER: usize = 4 << 20;

/// A packed file that waits for its name.
pub(super) struct Packed {
    pub(super) file: AtomicFile,
    pub(super) sha256: Digest,
    pub(super) size: u64,
    pub(super) raw_size: u64,
    pub(super) members: Vec<Member>,
}

/// Packs the file at `from` into one that will be called `to`.
pub(super) fn pack(from: &Path, to: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Packed> {
    let (source, _) = files::open(from)?;
    let file = AtomicFile::create(to)?;
    let failed = |e: &io::Error| Error::io("write", to, e);
    let mut sink = Hashed::new(file);
    let mut packer = Packer::new(Packing::Gzip)?;
    let mut members = Vec::new();
    let (mut raw_size, mut raw) = (0, Vec::with_capacity(MEMBER));
    loop {
        go_on(cancel, "dumping")?;
        raw.clear();
        (&source).take(MEMBER as u64).read_to_end(&mut raw).map_err(|e| Error::io("read", from, &e))?;
        if raw.is_empty() {
            break;
        }
        let packed = packer.pack(&raw)?;
        let (offset, length, raw_length) = (sink.passed(), packed.len() as u64, raw.len() as u64);
        sink.write_all(&packed).map_err(|e| failed(&e))?;
        members.push(Member { offset, length, raw_length, section: Section::Data, table: None });
        raw_size += raw_length;
        progress.add(raw_length);
    }
    let size = sink.passed();
    let (file, sha256) = sink.finish();
    Ok(Packed { file, sha256, size, raw_size, members })
}

/// What [`unpack`] read.
pub(super) struct Unpacked {
    /// The digest of the backup's file.
    pub(super) sha256: Digest,
    /// How many bytes the database has.
    pub(super) raw_size: u64,
    /// What the digest agreed with: `manifest`, `checksum` or nothing.
    pub(super) agreed_with: Vec<&'static str>,
}

/// Unpacks a backup into `sink`. One open file is both digested and unpacked, so it cannot be swapped in between.
pub(super) fn unpack(
    backup: &Backup,
    sink: &mut dyn Write,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Unpacked> {
    let path = backup.path();
    let (file, facts) = files::open(path)?;
    progress.set_total(facts.len());
    let expected = expected_digests(backup)?;
    let counted = BufReader::with_capacity(BLOCK, Counted(Hashed::new(file), progress.clone()));
    let mut gzip = MemberReader::new(counted, Packing::Gzip, members(backup));
    let limit = backup.manifest().map_or(u64::MAX, |m| m.raw_size);
    let mut raw_size = 0;
    let mut block = vec![0; BLOCK];
    loop {
        go_on(cancel, "reading the backup")?;
        let n = read(&mut gzip, &mut block).map_err(|e| unpacking_failed(path, &e))?;
        if n == 0 {
            break;
        }
        if raw_size == 0 && !block[..n].starts_with(MAGIC) && n >= MAGIC.len() {
            return Err(damaged(path, "it does not hold an SQLite database"));
        }
        raw_size += n as u64;
        if raw_size > limit {
            return Err(damaged(path, "it unpacks to more bytes than its manifest says"));
        }
        sink.write_all(&block[..n]).map_err(|e| Error::io("write what was unpacked from", path, &e))?;
    }
    let rest = gzip.into_input().ok_or_else(|| damaged(path, "it could not be read to its end"))?;
    let (_, sha256) = rest.into_inner().0.finish();
    for (list, digest) in &expected {
        if *digest != sha256 {
            return Err(damaged(path, &format!("its SHA-256 is {sha256}, its {list} says {digest}")));
        }
    }
    if backup.manifest().is_some_and(|m| m.raw_size != raw_size) || raw_size < MAGIC.len() as u64 {
        return Err(damaged(path, &format!("it unpacks to {raw_size} bytes only")));
    }
    Ok(Unpacked { sha256, raw_size, agreed_with: expected.into_iter().map(|(list, _)| list).collect() })
}

fn expected_digests(backup: &Backup) -> Result<Vec<(&'static str, Digest)>> {
    let mut expected = Vec::new();
    if let Some(manifest) = backup.manifest() {
        let digest = manifest.sha256.parse().map_err(|why: &str| damaged(backup.path(), why))?;
        expected.push(("manifest", digest));
    }
    match checksums::read_sidecar(backup.path()) {
        Ok(digest) => expected.push(("checksum", digest)),
        Err(e) if e.kind() == Kind::Missing => {}
        Err(e) => return Err(e),
    }
    Ok(expected)
}

/// Returns the members that the manifest lists; backups of other tools list none.
fn members(backup: &Backup) -> Option<Vec<Bounds>> {
    let members = &backup.manifest()?.members;
    let bounds = |m: &Member| Bounds { offset: m.offset, length: m.length, raw_length: m.raw_length };
    (!members.is_empty()).then(|| members.iter().map(bounds).collect())
}

fn unpacking_failed(path: &Path, cause: &io::Error) -> Error {
    match cause.raw_os_error() {
        Some(_) => Error::io("read", path, cause),
        None => damaged(path, &cause.to_string()),
    }
}

pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::new(Kind::Damaged, format!("the backup {} is damaged", shown(path)))
        .on(shown(path))
        .caused_by(why)
        .hint("take another copy of the backup; nothing was restored from this one")
}

fn read(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(block) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The packed bytes on their way to the unpacker.
struct Counted(Hashed<File>, Progress);

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(into)?;
        self.1.add(n as u64);
        Ok(n)
    }
}
