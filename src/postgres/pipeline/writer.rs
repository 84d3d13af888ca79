//! The writing side of a pass: members are taken in their order, written and counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use nix::fcntl::{FallocateFlags, fallocate};

use super::{Done, RowsApart};
use crate::backups::{Member, Section};
use crate::compare::{RowSum, Table};
use crate::error::{Error, Kind, Result};
use crate::files::digest::{Digest, Hasher};
use crate::files::in_order::Results;

/// What is taken at once of the rows that came apart.
const BLOCK: u64 = 1 << 20;

/// Takes members in their order and writes them.
pub(super) struct Writer {
    file: Option<File>,
    empties: Sender<Vec<u8>>,
    /// Give the rows that are read apart, each once.
    waiting: Vec<Receiver<RowsApart>>,
    hasher: Hasher,
    members: Vec<Member>,
    sums: BTreeMap<Arc<str>, RowSum>,
    apart: Vec<(BTreeMap<String, Table>, u64)>,
}

/// What was written.
pub(super) struct Written {
    pub(super) members: Vec<Member>,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    pub(super) sums: BTreeMap<Arc<str>, RowSum>,
    /// The tables that came apart and the size of their text.
    pub(super) apart: Vec<(BTreeMap<String, Table>, u64)>,
}

impl Writer {
    pub(super) fn new(file: Option<File>, empties: Sender<Vec<u8>>, waiting: Vec<Receiver<RowsApart>>) -> Self {
        let (members, sums, apart) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { file, empties, waiting, hasher: Hasher::default(), members, sums, apart }
    }

    pub(super) fn run(mut self, order: Results<Result<Done>>) -> Result<Written> {
        for done in order {
            let done = done?;
            if done.section == Section::PostData {
                self.take_apart()?; // their keys and indexes follow
            }
            self.take(done)?;
        }
        self.take_apart()?;
        if let Some(file) = &self.file {
            // Here and not when the file gets its name: that happens on a thread that others wait for.
            file.sync_data().map_err(|e| unwritable(&e))?;
        }
        let Self { hasher, members, sums, apart, .. } = self;
        Ok(Written { members, size: hasher.bytes(), sha256: hasher.finish(), sums, apart })
    }

    fn take(&mut self, done: Done) -> Result<()> {
        if let (Some(file), Some(packed)) = (&mut self.file, &done.packed) {
            file.write_all(packed).map_err(|e| unwritable(&e))?;
            self.members.push(Member {
                offset: self.hasher.bytes(),
                length: packed.len() as u64,
                raw_length: done.raw.len() as u64,
                section: done.section,
                table: done.table.as_deref().map(str::to_owned),
                lines: Some(done.lines),
            });
            self.hasher.update(packed);
        }
        if let Some(table) = done.table {
            self.sums.entry(table).or_default().add(done.sum);
        }
        let _ = self.empties.send(done.raw); // the reader is gone only at the end
        Ok(())
    }

    /// Waits for the rows that are read apart and puts them here.
    fn take_apart(&mut self) -> Result<()> {
        for rows in std::mem::take(&mut self.waiting) {
            // Where they do not come, whoever read them has the reason, and is heard first.
            let rows = rows.recv().map_err(|_| Error::new(Kind::Process, "rows that were read apart did not come"))?;
            let RowsApart { written, file, tables, raw_size } = rows;
            let before = self.hasher.bytes();
            if let Some(file) = file {
                self.copy(&file, written.size)?;
            }
            self.members.extend(written.members.into_iter().map(|m| Member { offset: before + m.offset, ..m }));
            for (table, sum) in written.sums {
                self.sums.entry(table).or_default().add(sum);
            }
            self.apart.push((tables, raw_size));
        }
        Ok(())
    }

    fn copy(&mut self, from: &File, size: u64) -> Result<()> {
        let Some(to) = &mut self.file else { return Ok(()) };
        let mut block = Vec::new();
        for at in (0..size).step_by(BLOCK as usize) {
            block.resize(BLOCK.min(size - at) as usize, 0);
            from.read_exact_at(&mut block, at).map_err(|e| unwritable(&e))?;
            to.write_all(&block).map_err(|e| unwritable(&e))?;
            self.hasher.update(&block);
            // What is copied needs no more room. A file system that cannot give it back does so at the end.
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(from, hole, at as i64, block.len() as i64);
        }
        Ok(())
    }
}

/// Says that the backup's file could not be written.
pub(super) fn unwritable(cause: &std::io::Error) -> Error {
    let error = Error::new(Kind::Io, "could not write the backup").because(cause);
    if cause.kind() == ErrorKind::StorageFull { error.hint("free some space on that file system") } else { error }
}
