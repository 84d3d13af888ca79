//! A database file in gzip, and back: digested on its way and read to its real end.

use std::io::{self, Read, Write};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::connection::MAGIC;
use crate::backups::{Backup, Content, Inspection, Member, Section, damaged};
use crate::error::{Error, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::Digest;
use crate::files::member_writer::{MemberWriter, Written};
use crate::files::members::Bounds;
use crate::files::{self, BLOCK, go_on};
use crate::progress::Progress;

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
    let failed = |e: io::Error| Error::io("write", to, &e);
    let (mut out, mut block, mut raw_size) = (MemberWriter::new(file), vec![0; BLOCK], 0);
    loop {
        go_on(cancel, "dumping")?;
        let n = fill(&mut &source, &mut block).map_err(|e| Error::io("read", from, &e))?;
        if n == 0 {
            break;
        }
        out.write_all(&block[..n]).map_err(failed)?;
        raw_size += n as u64;
        progress.add(n as u64);
    }
    let Written { inner: file, sha256, size, members } = out.finish().map_err(failed)?;
    let member = |Bounds { offset, length, raw_length }: Bounds| Member {
        offset,
        length,
        raw_length,
        section: Section::Data,
        table: None,
        lines: None,
    };
    Ok(Packed { file, sha256, size, raw_size, members: members.into_iter().map(member).collect() })
}

/// Unpacks a backup into `sink`, and fails unless it was read to its real end and agrees with every list there is.
/// One open file is both digested and unpacked, so it cannot be swapped in between.
pub(super) fn unpack(
    backup: &Backup,
    sink: &mut dyn Write,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Inspection> {
    let path = backup.path();
    let mut content = Content::open(backup, progress, cancel)?;
    let mut block = vec![0; BLOCK];
    let mut started = false;
    loop {
        let n = fill(&mut content, &mut block).map_err(|e| content.error(&e))?;
        if !started && !block[..n].starts_with(MAGIC) {
            return Err(damaged(path, "it does not hold an SQLite database"));
        }
        started = true;
        if n == 0 {
            return content.finish();
        }
        sink.write_all(&block[..n]).map_err(|e| Error::io("write what was unpacked from", path, &e))?;
    }
}

/// Fills the block as far as there is anything.
fn fill(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
