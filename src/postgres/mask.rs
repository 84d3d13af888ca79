//! Masking: named columns of a dump hold other values than the database, from the moment pg_dump's text reaches us.
//!
//! Rows are masked before they are hashed, packed and counted, so the manifest and its fingerprint speak of the copy that is
//! written, and no file ever holds what was masked. What cannot be masked is refused before pg_dump starts (`rules`).

use std::collections::{BTreeMap, BTreeSet};

mod key;
mod rules;
mod shape;

pub(super) use rules::resolve;

use super::copy::CopyHead;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use key::Key;
use shape::Shape;

/// What a dump is to mask.
#[derive(Clone)]
pub struct Mask {
    /// The columns as people write them, each with its way.
    pub columns: Vec<(String, Way)>,
    /// What makes hashes the same in every dump; without it each dump has a key of its own that nobody keeps.
    pub key: Option<Secret>,
}

/// What becomes of a column's values. NULL stays NULL in every way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// NULL.
    Null,
    /// A keyed hash in the column's own type: equal values stay equal, different ones stay different.
    Hash,
    /// This text.
    Text(String),
}

impl Way {
    /// Reads `null`, `hash` or `text:…`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("text", fixed)) => Ok(Self::Text(fixed.to_owned())),
            None if text == "null" => Ok(Self::Null),
            None if text == "hash" => Ok(Self::Hash),
            _ => Err(Error::new(Kind::Usage, format!("`{text}` is no way to mask a column"))
                .hint("the ways are null, hash and text:WORDS")),
        }
    }

    /// Returns the word for manifests and messages; a fixed text is not part of it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Hash => "hash",
            Self::Text(_) => "text",
        }
    }
}

/// What becomes of one column's values, once the catalogue said what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Null,
    /// In COPY's own spelling.
    Fixed(Vec<u8>),
    Hash(Shape),
}

/// The masking of one dump.
pub(super) struct Masking {
    key: Key,
    /// The filters of each table by its full name and the column's own.
    tables: BTreeMap<String, BTreeMap<String, Filter>>,
    /// Tables whose rows must come by, or nothing was masked.
    expected: BTreeSet<String>,
    /// The masked columns for the manifest, by their full names.
    columns: BTreeMap<String, String>,
}

impl Masking {
    /// Returns the masked columns and their ways, as manifests say it.
    pub(super) fn columns(&self) -> &BTreeMap<String, String> {
        &self.columns
    }

    /// Takes out the masking of some tables, whose rows come by elsewhere.
    pub(super) fn split_off(&mut self, tables: &BTreeSet<String>) -> Self {
        let (there, here) = std::mem::take(&mut self.tables).into_iter().partition(|(table, _)| tables.contains(table));
        self.tables = here;
        let expected = tables.iter().filter_map(|table| self.expected.take(table)).collect();
        Self { key: self.key.clone(), tables: there, expected, columns: BTreeMap::new() }
    }

    /// Returns the masking of the rows that follow a COPY, or nothing where the table has none.
    pub(super) fn of_table(&mut self, head: &CopyHead) -> Result<Option<RowMask>> {
        let table = head.table();
        self.expected.remove(&table);
        let Some(columns) = self.tables.get(&table) else { return Ok(None) };
        if let Some(absent) = columns.keys().find(|column| !head.columns.contains(column)) {
            return Err(Error::new(Kind::Refused, format!("column {absent} of {table} is not in the dump's rows"))
                .hint("was the table changed just now? Run it again"));
        }
        let fields = head.columns.iter().map(|column| columns.get(column).cloned()).collect();
        Ok(Some(RowMask { key: self.key.clone(), table, names: head.columns.clone(), fields }))
    }

    /// Fails when rows that were to be masked never came by.
    pub(super) fn all_seen(&self) -> Result<()> {
        match self.expected.first() {
            None => Ok(()),
            Some(table) => Err(Error::new(Kind::Refused, format!("the dump did not hold table {table}"))
                .caused_by("its rows were to be masked, and nothing of it was seen")),
        }
    }
}

/// The masking of one table's rows.
pub(super) struct RowMask {
    key: Key,
    table: String,
    names: Vec<String>,
    fields: Vec<Option<Filter>>,
}

impl RowMask {
    /// Masks whole rows in COPY's text format.
    pub(super) fn rows(&self, rows: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(rows.len() + rows.len() / 4);
        for row in rows.split_inclusive(|b| *b == b'\n') {
            let row = row.strip_suffix(b"\n").unwrap_or(row);
            let mut count = 0;
            for (at, field) in row.split(|b| *b == b'\t').enumerate() {
                if at > 0 {
                    out.push(b'\t');
                }
                self.field(at, field, &mut out)?;
                count = at + 1;
            }
            if count != self.fields.len() {
                return Err(Error::new(Kind::Damaged, format!("a row of {} has {count} fields", self.table))
                    .caused_by(format!("its COPY names {} columns", self.fields.len())));
            }
            out.push(b'\n');
        }
        Ok(out)
    }

    fn field(&self, at: usize, field: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self.fields.get(at).and_then(Option::as_ref) {
            _ if field == b"\\N" => out.extend_from_slice(field),
            None => out.extend_from_slice(field),
            Some(Filter::Null) => out.extend_from_slice(b"\\N"),
            Some(Filter::Fixed(text)) => out.extend_from_slice(text),
            // The value itself is never part of the error.
            Some(Filter::Hash(shape)) => shape.masked(&self.key, field, out).ok_or_else(|| {
                let column = self.names.get(at).map_or("", String::as_str);
                Error::new(Kind::Refused, format!("a value of {}.{column} cannot be masked by hash", self.table))
                    .caused_by(format!("it is no {} that we can read", shape.word()))
                    .hint("mask the column by null or by a fixed text")
            })?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
