//! The one pass over a dump's text: it is checked, hashed row by row, cut into members, packed by several threads and
//! written in order, and nothing of it is held longer than that takes.
//!
//! One thread reads and cuts, the workers hash and pack, one thread writes: see [`crate::files::in_order`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use memchr::memchr_iter;

use super::dump_text::{DumpReader, Event, Item};
use super::mask::{Masking, RowMask};
use super::structure::Structure;
use super::toc::Entry;
use crate::backups::{Member, Section};
use crate::compare::{Engine, Fingerprint, RowSum, Table};
use crate::error::{Error, Kind, Result};
use crate::files::digest::{Digest, Hasher};
use crate::files::in_order::{self, InOrder, Results};
use crate::files::members::{Packer, Packing};
use crate::progress::Progress;

/// The size of a member before packing. Each worker holds a few: twice this would bring a dump near its bound of 64 MiB.
const MEMBER: usize = 1 << 20;

/// Where the members go.
pub(super) struct Output {
    /// How they are packed.
    pub(super) packing: Packing,
    /// The file that takes them, for the writing thread alone.
    pub(super) file: File,
    /// What is masked before anything else is done with it.
    pub(super) masking: Option<Masking>,
}

/// What a pass found.
pub(super) struct Passed {
    /// The parts of the file, where one was written.
    pub(super) members: Vec<Member>,
    /// The file's size.
    pub(super) size: u64,
    /// The file's digest.
    pub(super) sha256: Digest,
    /// The text's size.
    pub(super) raw_size: u64,
    /// What the text says about rows and objects.
    pub(super) print: Fingerprint,
    /// The roles that it names.
    pub(super) roles: std::collections::BTreeSet<String>,
    /// Where in the text each table's rows lie, with their COPY and its end.
    pub(super) blocks: Vec<(Range<u64>, String)>,
}

/// A pass that failed.
pub(super) struct Failed {
    /// Why.
    pub(super) error: Error,
    /// The input had ended by then, so whoever wrote it may know better why.
    pub(super) input_ended: bool,
}

/// Reads a dump's text to its end.
pub(super) fn pass(
    input: impl Read + Send,
    mut output: Option<Output>,
    workers: Option<usize>,
    progress: &Progress,
) -> Result<Passed, Failed> {
    let packing = output.as_ref().map(|output| output.packing);
    let masking = output.as_mut().and_then(|output| output.masking.take());
    let (empties, used) = channel();
    let worker = || {
        let mut packer = packing.map(Packer::new);
        move |job| work(packer.as_mut(), job)
    };
    let write = move |order| Writer::new(output, empties).run(order);
    let line = InOrder::start(in_order::workers(workers), worker, write);
    let mut cutter = Cutter::new(packing.is_some(), masking, line, used);
    let read = cutter.read(input, progress);
    let (cut, written) = cutter.finish();
    // A full disk shows first as a closed queue: the writer knows why.
    let written = written.map_err(|error| Failed { error, input_ended: false })?;
    read?;
    Ok(cut.with(written))
}

/// The threads that hash, pack and write.
type Line = InOrder<Job, Result<Done>, Result<Written>>;

/// A member to be hashed and packed.
struct Job {
    raw: Vec<u8>,
    rows: Range<usize>,
    /// The order in which the fields of a row are hashed, where it is not their own.
    order: Option<Arc<[usize]>>,
    section: Section,
    table: Option<Arc<str>>,
}

/// A member that was hashed and packed.
struct Done {
    raw: Vec<u8>,
    packed: Option<Vec<u8>>,
    sum: RowSum,
    lines: u64,
    section: Section,
    table: Option<Arc<str>>,
}

fn work(packer: Option<&mut Result<Packer>>, job: Job) -> Result<Done> {
    let Job { raw, rows, order, section, table } = job;
    let sum = hashed(&raw[rows], order.as_deref());
    let packed = match packer {
        None => None,
        Some(Ok(packer)) => Some(packer.pack(&raw)?),
        Some(Err(error)) => return Err(error.clone()),
    };
    let lines = memchr_iter(b'\n', &raw).count() as u64;
    Ok(Done { raw, packed, sum, lines, section, table })
}

/// Returns the sum of the rows' digests.
fn hashed(rows: &[u8], order: Option<&[usize]>) -> RowSum {
    let mut sum = RowSum::default();
    let mut start = 0;
    let mut sorted = Vec::new();
    for end in memchr_iter(b'\n', rows) {
        let row = &rows[start..end];
        match order {
            None => sum.add_row(row),
            Some(order) => {
                let fields: Vec<&[u8]> = row.split(|b| *b == b'\t').collect();
                sorted.clear();
                for field in order {
                    sorted.extend_from_slice(fields.get(*field).copied().unwrap_or_default());
                    sorted.push(b'\t');
                }
                sorted.pop();
                sum.add_row(&sorted);
            }
        }
        start = end + 1;
    }
    sum
}

/// Reads the text and cuts it into jobs.
struct Cutter {
    keep: bool,
    masking: Option<Masking>,
    mask: Option<RowMask>,
    line: Line,
    used: Receiver<Vec<u8>>,
    structure: Structure,
    tables: BTreeMap<String, Table>,
    raw: Vec<u8>,
    rows: Range<usize>,
    section: Section,
    table: Option<Arc<str>>,
    order: Option<Arc<[usize]>>,
    raw_size: u64,
    blocks: Vec<(Range<u64>, String)>,
}

impl Cutter {
    fn new(keep: bool, masking: Option<Masking>, line: Line, used: Receiver<Vec<u8>>) -> Self {
        Self {
            keep,
            masking,
            mask: None,
            line,
            used,
            structure: Structure::new(Fingerprint::new(Engine::Postgres)),
            tables: BTreeMap::new(),
            raw: Vec::new(),
            rows: 0..0,
            section: Section::PreData,
            table: None,
            order: None,
            raw_size: 0,
            blocks: Vec::new(),
        }
    }

    fn read(&mut self, input: impl Read, progress: &Progress) -> Result<(), Failed> {
        let mut reader = DumpReader::new(input);
        loop {
            let step = match reader.read() {
                Ok(None) => match self.masking.as_ref().map_or(Ok(()), Masking::all_seen) {
                    Ok(()) => return Ok(()),
                    Err(error) => Err(error),
                },
                Ok(Some(item)) => {
                    progress.add(item.raw.len() as u64);
                    self.item(&item)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = step {
                return Err(Failed { error, input_ended: reader.ended() });
            }
        }
    }

    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        let at = self.raw_size;
        let masked;
        let rows = match (&item.event, &self.mask) {
            (Event::CopyRows(rows), Some(mask)) => {
                masked = mask.rows(rows)?;
                &masked
            }
            _ => item.raw,
        };
        self.raw_size += rows.len() as u64;
        match &item.event {
            Event::CopyStart { head, .. } => {
                self.flush()?;
                self.mask = self.masking.as_mut().map(|masking| masking.of_table(head)).transpose()?.flatten();
                let table = head.table();
                let (columns, order) = self.columns(&table, &head.columns);
                self.tables.entry(table.clone()).or_insert(Table { rows: 0, sum: RowSum::default(), columns });
                self.blocks.push((at..at, table.clone()));
                (self.section, self.table, self.order) = (Section::Data, Some(table.into()), order);
                self.keep(item.raw);
                self.rows = self.raw.len()..self.raw.len();
            }
            Event::CopyRows(_) => {
                if self.raw.len() + rows.len() > MEMBER {
                    self.flush()?;
                }
                self.raw.extend_from_slice(rows);
                self.rows.end = self.raw.len();
            }
            Event::CopyEnd { rows } => {
                self.keep(item.raw);
                if let Some(table) = self.table.as_deref().and_then(|name| self.tables.get_mut(name)) {
                    table.rows += rows;
                }
                if let Some((range, _)) = self.blocks.last_mut() {
                    range.end = self.raw_size;
                }
                self.flush()?;
                (self.table, self.order, self.mask) = (None, None, None);
            }
            event => {
                if item.section != self.section || self.raw.len() + item.raw.len() > MEMBER {
                    self.flush()?;
                }
                self.section = item.section;
                self.keep(item.raw);
                if let Event::Statement { text, entry } = event {
                    self.refuse_statistics(*entry)?;
                    self.structure.statement(text, *entry);
                }
            }
        }
        Ok(())
    }

    /// Statistics hold the most common values of columns.
    fn refuse_statistics(&self, entry: Option<&Entry>) -> Result<()> {
        match entry.filter(|entry| self.masking.is_some() && entry.kind == "STATISTICS DATA") {
            Some(entry) => Err(Error::new(Kind::Refused, format!("the dump holds statistics of {}", entry.name))
                .caused_by("they hold values that were to be masked")),
            None => Ok(()),
        }
    }

    /// Returns the columns in the order in which they are hashed, and that order where it is not the rows' own.
    fn columns(&mut self, table: &str, columns: &[String]) -> (Vec<String>, Option<Arc<[usize]>>) {
        if !self.structure.is_child(table) {
            return (columns.to_vec(), None);
        }
        self.structure.column_order(table, columns);
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|i| &columns[*i]);
        (order.iter().map(|i| columns[*i].clone()).collect(), Some(order.into()))
    }

    /// Bytes that are no rows are only needed for a file.
    fn keep(&mut self, raw: &[u8]) {
        if self.keep {
            self.raw.extend_from_slice(raw);
        }
    }

    /// Sends off what was gathered as one member.
    fn flush(&mut self) -> Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let mut fresh = self.used.try_recv().unwrap_or_default();
        fresh.clear();
        let raw = std::mem::replace(&mut self.raw, fresh);
        let rows = std::mem::replace(&mut self.rows, 0..0);
        let (table, order) = (self.table.clone(), self.order.clone());
        let sent = self.line.give(Job { raw, rows, order, section: self.section, table });
        if sent { Ok(()) } else { Err(Error::new(Kind::Io, "the file could not be written further")) }
    }

    /// Sends off the rest and waits until it is written.
    fn finish(mut self) -> (Cut, Result<Written>) {
        let _ = self.flush(); // the writing that ended early says why
        let written = self.line.finish();
        let (print, roles) = self.structure.finish();
        (Cut { print, roles, tables: self.tables, raw_size: self.raw_size, blocks: self.blocks }, written)
    }
}

/// What the reading side knows at the end.
struct Cut {
    print: Fingerprint,
    roles: std::collections::BTreeSet<String>,
    tables: BTreeMap<String, Table>,
    raw_size: u64,
    blocks: Vec<(Range<u64>, String)>,
}

impl Cut {
    fn with(mut self, written: Written) -> Passed {
        for (name, table) in &mut self.tables {
            table.sum = written.sums.get(name.as_str()).copied().unwrap_or_default();
        }
        self.print.tables.append(&mut self.tables);
        Passed {
            members: written.members,
            size: written.size,
            sha256: written.sha256,
            raw_size: self.raw_size,
            print: self.print,
            roles: self.roles,
            blocks: self.blocks,
        }
    }
}

/// Takes members in their order and writes them.
struct Writer {
    output: Option<Output>,
    empties: Sender<Vec<u8>>,
    hasher: Hasher,
    members: Vec<Member>,
    sums: BTreeMap<Arc<str>, RowSum>,
}

struct Written {
    members: Vec<Member>,
    size: u64,
    sha256: Digest,
    sums: BTreeMap<Arc<str>, RowSum>,
}

impl Writer {
    fn new(output: Option<Output>, empties: Sender<Vec<u8>>) -> Self {
        Self { output, empties, hasher: Hasher::default(), members: Vec::new(), sums: BTreeMap::new() }
    }

    fn run(mut self, order: Results<Result<Done>>) -> Result<Written> {
        for done in order {
            self.take(done?)?;
        }
        if let Some(Output { file, .. }) = &self.output {
            // Here and not when the file gets its name: that happens on a thread that others wait for.
            file.sync_data().map_err(|e| unwritable(&e))?;
        }
        let size = self.hasher.bytes();
        Ok(Written { members: self.members, size, sha256: self.hasher.finish(), sums: self.sums })
    }

    fn take(&mut self, done: Done) -> Result<()> {
        if let (Some(Output { file, .. }), Some(packed)) = (&mut self.output, &done.packed) {
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
}

fn unwritable(cause: &std::io::Error) -> Error {
    let error = Error::new(Kind::Io, "could not write the backup").because(cause);
    if cause.kind() == std::io::ErrorKind::StorageFull {
        error.hint("free some space on that file system")
    } else {
        error
    }
}
