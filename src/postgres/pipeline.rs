//! The one pass over a dump's text: it is checked, hashed row by row, cut into members, packed by several threads and
//! written in order, and nothing of it is held longer than that takes.
//!
//! One thread reads and cuts (`cutter`), the workers hash and pack, one thread writes (`writer`): see
//! [`crate::files::in_order`]. Rows of large tables may come apart, each in a pass of its own over another pg_dump's text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use memchr::memchr_iter;

mod cutter;
mod writer;

use super::mask::Masking;
use crate::backups::{Member, Section};
use crate::compare::{Fingerprint, RowSum, Table};
use crate::error::{Error, Result};
use crate::files::digest::Digest;
use crate::files::in_order::{self, InOrder};
use crate::files::members::{Packer, Packing};
use crate::progress::Progress;
use cutter::{Cut, Cutter};
use writer::{Writer, Written};

/// Where the members go.
pub(super) struct Output {
    /// How they are packed.
    pub(super) packing: Packing,
    /// The file that takes them, for the writing thread alone.
    pub(super) file: File,
    /// The folder that it lies in.
    pub(super) folder: PathBuf,
    /// What is masked before anything else is done with it.
    pub(super) masking: Option<Masking>,
}

impl Output {
    /// Returns a place for the rows of some tables that are read apart: a file without a name in the same folder, and the
    /// masks of these tables.
    pub(super) fn apart(&mut self, tables: &BTreeSet<String>) -> Result<Self> {
        let file = tempfile::tempfile_in(&self.folder).map_err(|e| Error::io("create a file in", &self.folder, &e))?;
        let masking = self.masking.as_mut().map(|masking| masking.split_off(tables));
        Ok(Self { packing: self.packing, file, folder: self.folder.clone(), masking })
    }
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
    pub(super) roles: BTreeSet<String>,
    /// Where in the text each table's rows lie, with their COPY and its end; none of those that came apart.
    pub(super) blocks: Vec<(Range<u64>, String)>,
}

/// A pass that failed.
pub(super) struct Failed {
    /// Why.
    pub(super) error: Error,
    /// The input had ended by then, so whoever wrote it may know better why.
    pub(super) input_ended: bool,
}

/// The rows of some tables, of a text of their own.
pub(super) struct RowsApart {
    written: Written,
    /// Where the members lie, the first at its start, if there are any.
    file: Option<File>,
    tables: BTreeMap<String, Table>,
    raw_size: u64,
}

/// Reads a dump's text to its end, and takes the rows that were read apart where its own end.
pub(super) fn pass(
    input: impl Read + Send,
    output: Option<Output>,
    apart: Vec<Receiver<RowsApart>>,
    workers: usize,
    progress: &Progress,
) -> Result<Passed, Failed> {
    let (cutter, _) = start(output, apart, None, workers)?;
    let (cut, written) = run(cutter, input, progress)?;
    cut.with(written).map_err(|error| Failed { error, input_ended: false })
}

/// Reads a dump's text to its end for what it says alone.
pub(super) fn read(input: impl Read + Send) -> Result<Passed, Failed> {
    pass(input, None, Vec::new(), in_order::workers(None), &Progress::default())
}

/// Reads a text to its end of which only the rows of these tables are wanted, all of which it must hold.
pub(super) fn pass_apart(
    input: impl Read + Send,
    output: Option<Output>,
    tables: BTreeSet<String>,
    workers: usize,
    progress: &Progress,
) -> Result<RowsApart, Failed> {
    let (cutter, file) = start(output, Vec::new(), Some(tables), workers)?;
    let (cut, written) = run(cutter, input, progress)?;
    Ok(RowsApart { written, file, tables: cut.tables, raw_size: cut.raw_size })
}

/// Starts the threads. Returns what gives them work, and the file to read from what they wrote.
fn start(
    output: Option<Output>,
    apart: Vec<Receiver<RowsApart>>,
    only: Option<BTreeSet<String>>,
    workers: usize,
) -> Result<(Cutter, Option<File>), Failed> {
    let (packing, mut file, mut masking) = (output.as_ref().map(|output| output.packing), None, None);
    if let Some(output) = output {
        (file, masking) = (Some(output.file), output.masking);
    }
    let again = file.as_ref().map(File::try_clone).transpose();
    let again = again.map_err(|e| Failed { error: writer::unwritable(&e), input_ended: false })?;
    let (empties, used) = channel();
    let worker = move || {
        let mut packer = packing.map(Packer::new);
        move |job| work(packer.as_mut(), job)
    };
    let writer = Writer::new(file, empties, apart);
    let line = InOrder::start(workers, worker, |order| writer.run(order));
    Ok((Cutter::new(packing.is_some(), masking, only, line, used), again))
}

fn run(mut cutter: Cutter, input: impl Read, progress: &Progress) -> Result<(Cut, Written), Failed> {
    let read = cutter.read(input, progress);
    let (cut, written) = cutter.finish();
    // A full disk shows first as a closed queue: the writer knows why.
    let written = written.map_err(|error| Failed { error, input_ended: false })?;
    read.map(|()| (cut, written))
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

#[cfg(test)]
mod tests;
