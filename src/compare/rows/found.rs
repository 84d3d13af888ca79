//! What a row search found: rows by their keys, and for each table how many there are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::count;

/// A value as a person reads it; NULL has none.
pub type Value = Option<String>;

/// What became of a row between the first side and the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowChange {
    /// Only the first side has it.
    Missing,
    /// Only the second side has it.
    Extra,
    /// Both have its key, with other values.
    Changed,
}

/// A row's values of both sides by column: those that differ, or all of a row that only one side has.
pub type Values = Vec<(String, Option<Value>, Option<Value>)>;

/// One row in which the second side differs from the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDifference {
    /// The table's full name; of a partitioned table the partition's.
    pub table: String,
    /// The columns of the key with their values. Empty where the table has no key: then `row` names the row.
    pub key: serde_json::Map<String, serde_json::Value>,
    /// The first digits of the SHA-256 of the whole row, where there is no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// What became of it.
    pub change: RowChange,
    /// The columns whose values changed.
    pub columns: Vec<String>,
    /// How many equal rows this is; more than one only without a key.
    pub times: u64,
    /// The values, where they were asked for. They never reach a journal or a report.
    #[serde(skip)]
    pub values: Option<Values>,
}

/// How many rows differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that only the first side has.
    pub missing: u64,
    /// Rows that only the second side has.
    pub extra: u64,
    /// Rows with one key and other values.
    pub changed: u64,
}

/// What the search found in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// The columns that name its rows; empty where only the whole row does.
    pub key: Vec<String>,
    /// How many rows differ; at least so many where it is not exact.
    #[serde(flatten)]
    pub counts: Counts,
    /// Whether all rows that differ were counted.
    pub exact: bool,
    /// What the counted part of the keys lets expect of all of them, where not all were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Counts>,
    /// Columns that only the first side has; rows are compared in the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns_missing: Vec<String>,
    /// Columns that only the second side has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns_extra: Vec<String>,
}

/// The result of a row search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSearch {
    /// The rows that are named.
    pub rows: Vec<RowDifference>,
    /// Each table that was searched.
    pub tables: Vec<TableRows>,
    /// Tables that differ and could not be searched, each with the reason.
    pub not_searched: Vec<(String, String)>,
}

impl Counts {
    /// Returns how many rows differ in any way.
    pub fn all(&self) -> u64 {
        self.missing + self.extra + self.changed
    }

    pub(super) fn add(&mut self, change: RowChange, times: u64) {
        *match change {
            RowChange::Missing => &mut self.missing,
            RowChange::Extra => &mut self.extra,
            RowChange::Changed => &mut self.changed,
        } += times;
    }

    /// Returns what a part of the keys, one in `share`, lets expect of all.
    pub(super) fn scaled(&self, share: f64) -> Self {
        let scale = |n: u64| (n as f64 * share).round() as u64;
        Self { missing: scale(self.missing), extra: scale(self.extra), changed: scale(self.changed) }
    }
}

impl fmt::Display for Counts {
    /// `1 row missing, 2 rows changed`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.missing, "missing"), (self.extra, "not in the original"), (self.changed, "changed")];
        let parts: Vec<_> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", count(*n, "row"))).collect();
        f.write_str(if parts.is_empty() { "no row that differs".into() } else { parts.join(", ") }.as_str())
    }
}

impl fmt::Display for TableRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            Some(about) => write!(f, "at least {} (in all about {about})", self.counts)?,
            None => write!(f, "{}", self.counts)?,
        }
        for (columns, side) in [(&self.columns_missing, "missing"), (&self.columns_extra, "not in the original")] {
            if !columns.is_empty() {
                write!(f, ", columns {side}: {}", columns.join(", "))?;
            }
        }
        Ok(())
    }
}

impl RowDifference {
    /// Returns what names the row: `id=17`, or the digits of its digest.
    pub fn name(&self) -> String {
        match &self.row {
            Some(digits) => format!("row {digits}"),
            None => {
                let value = |value: &serde_json::Value| value.as_str().unwrap_or("NULL").to_owned();
                let parts: Vec<_> = self.key.iter().map(|(column, v)| format!("{column}={}", value(v))).collect();
                parts.join(", ")
            }
        }
    }

    /// Returns what became of the row: `changed in name, note`.
    pub fn fate(&self) -> String {
        let times = if self.times > 1 { format!(", {} times", self.times) } else { String::new() };
        match self.change {
            RowChange::Missing => format!("missing{times}"),
            RowChange::Extra => format!("not in the original{times}"),
            RowChange::Changed => format!("changed in {}", self.columns.join(", ")),
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.fate())
    }
}
