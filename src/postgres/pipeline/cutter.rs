//! The reading side of a pass: the text is checked, masked, and cut into members.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::writer::Written;
use super::{Failed, Job, Line, Passed};
use crate::backups::Section;
use crate::compare::{Engine, Fingerprint, RowSum, Table};
use crate::error::{Error, Kind, Result};
use crate::postgres::dump_text::{DumpReader, Event, Item};
use crate::postgres::mask::{Masking, RowMask};
use crate::postgres::stored;
use crate::postgres::structure::Structure;
use crate::postgres::toc::Entry;
use crate::progress::Progress;

/// The size of a member before packing. Each worker holds a few: twice this would bring a dump near its bound of 64 MiB.
const MEMBER: usize = 1 << 20;

/// Reads the text and cuts it into jobs.
pub(super) struct Cutter {
    keep: bool,
    masking: Option<Masking>,
    mask: Option<RowMask>,
    /// The tables whose rows are still to come, where nothing else of the text is wanted.
    only: Option<BTreeSet<String>>,
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
    pub(super) fn new(
        keep: bool,
        masking: Option<Masking>,
        only: Option<BTreeSet<String>>,
        line: Line,
        used: Receiver<Vec<u8>>,
    ) -> Self {
        Self {
            keep,
            masking,
            mask: None,
            only,
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

    pub(super) fn read(&mut self, input: impl Read, progress: &Progress) -> Result<(), Failed> {
        let mut reader = DumpReader::new(input);
        loop {
            let step = match reader.read() {
                Ok(None) => match self.all_seen() {
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

    /// Fails when rows never came by that were to be masked or are wanted.
    fn all_seen(&self) -> Result<()> {
        match self.only.as_ref().and_then(BTreeSet::first) {
            Some(table) => Err(stored::otherwise(table, format!("pg_dump wrote no rows of table {table}"))),
            None => self.masking.as_ref().map_or(Ok(()), Masking::all_seen),
        }
    }

    /// Returns whether an item is wanted.
    fn wants(&mut self, event: &Event<'_>) -> Result<bool> {
        let Some(only) = &mut self.only else { return Ok(true) };
        match event {
            Event::CopyStart { head, .. } if !only.remove(&head.table()) => {
                let table = head.table();
                Err(stored::otherwise(&table, format!("pg_dump wrote rows of table {table}"))
                    .caused_by("it was not asked for them, or has written them before"))
            }
            Event::CopyStart { .. } | Event::CopyRows(_) | Event::CopyEnd { .. } => Ok(true),
            _ => Ok(false),
        }
    }

    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        if !self.wants(&item.event)? {
            return Ok(());
        }
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
    pub(super) fn finish(mut self) -> (Cut, Result<Written>) {
        let _ = self.flush(); // the writing that ended early says why
        let written = self.line.finish();
        let (print, roles) = self.structure.finish();
        (Cut { print, roles, tables: self.tables, raw_size: self.raw_size, blocks: self.blocks }, written)
    }
}

/// What the reading side knows at the end.
pub(super) struct Cut {
    print: Fingerprint,
    roles: BTreeSet<String>,
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) raw_size: u64,
    blocks: Vec<(Range<u64>, String)>,
}

impl Cut {
    /// Adds what the writing side knows: the sums, and the tables whose rows came apart.
    ///
    /// # Errors
    /// The rows of a table came twice.
    pub(super) fn with(mut self, written: Written) -> Result<Passed> {
        for (tables, raw_size) in written.apart {
            self.raw_size += raw_size;
            for (name, table) in tables {
                if self.tables.insert(name.clone(), table).is_some() {
                    let sentence = format!("pg_dump wrote the rows of table {name} twice");
                    return Err(stored::otherwise(&name, sentence));
                }
            }
        }
        for (name, table) in &mut self.tables {
            table.sum = written.sums.get(name.as_str()).copied().unwrap_or_default();
        }
        self.print.tables.append(&mut self.tables);
        Ok(Passed {
            members: written.members,
            size: written.size,
            sha256: written.sha256,
            raw_size: self.raw_size,
            print: self.print,
            roles: self.roles,
            blocks: self.blocks,
        })
    }
}
