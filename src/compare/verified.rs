//! What a verb verified: the levels that it asked for, what came of them, what it could not ask, and how much it touched.
//!
//! Each verb that verifies notes this in its evidence, in one shape, of what it did; a script has no way to claim it.

use serde::{Deserialize, Serialize};

use super::{Comparison, Difference, Fingerprint, Integrity, Level};
use crate::units::{count, size};

/// What one call of a verb verified.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verified {
    /// The levels that it asked for.
    pub checked: Vec<Level>,
    /// Those of them that do not hold, or of which a part could not be read.
    pub failed: Vec<Level>,
    /// What it did not ask for or could not, and why.
    pub not_checked: Vec<(String, String)>,
    /// How much it touched.
    pub extent: Extent,
}

/// How much was touched; what does not apply is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extent {
    /// Components of a backup set.
    pub components: u64,
    /// Files.
    pub files: u64,
    /// Tables.
    pub tables: u64,
    /// Columns of these tables.
    pub columns: u64,
    /// Rows of these tables.
    pub rows: u64,
    /// Bytes that were read: of files as they lie on disk, of databases as they send their rows.
    pub bytes: u64,
}

impl Verified {
    /// Starts with levels of which all hold.
    pub fn held(checked: &[Level], extent: Extent) -> Self {
        Self { checked: checked.to_vec(), extent, ..Self::default() }
    }

    /// Says that the levels do not hold, unless they do.
    pub fn only_if(mut self, all_hold: bool) -> Self {
        if !all_hold {
            self.failed.clone_from(&self.checked);
        }
        self
    }

    /// Names something that was not checked, and why.
    pub fn without(mut self, what: &str, why: &str) -> Self {
        self.not_checked.push((what.to_owned(), why.to_owned()));
        self
    }
}

impl Extent {
    /// Takes the tables and rows of a fingerprint.
    pub fn of(print: &Fingerprint) -> Self {
        let columns = print.tables.values().map(|table| table.columns.len() as u64).sum();
        Self { tables: print.tables.len() as u64, columns, rows: print.rows(), ..Self::default() }
    }

    /// Adds what was touched besides.
    pub fn and(self, other: Self) -> Self {
        self.by_field(other, u64::saturating_add)
    }

    /// Takes of each the larger number: of one thing that was touched in two ways.
    pub fn or(self, other: Self) -> Self {
        self.by_field(other, u64::max)
    }

    fn by_field(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            components: of(self.components, other.components),
            files: of(self.files, other.files),
            tables: of(self.tables, other.tables),
            columns: of(self.columns, other.columns),
            rows: of(self.rows, other.rows),
            bytes: of(self.bytes, other.bytes),
        }
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = [
            (self.components, "component"),
            (self.files, "file"),
            (self.tables, "table"),
            (self.columns, "column"),
            (self.rows, "row"),
        ];
        let mut parts: Vec<_> = counted.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
        parts.extend((self.bytes > 0).then(|| size(self.bytes)));
        f.write_str(&parts.join(", "))
    }
}

impl Comparison {
    /// Returns what the comparison verified. `bytes` were read for it.
    pub fn verified(&self, bytes: u64) -> Verified {
        let mut failed: Vec<_> = self.differences.iter().map(Difference::level).collect();
        if failed.is_empty() && !self.equal {
            // Something could not be read: nobody knows which level it would have failed.
            failed.clone_from(&self.checked);
        }
        failed.sort();
        failed.dedup();
        let Self { tables, columns, rows, .. } = *self;
        Verified {
            checked: self.checked.clone(),
            failed,
            not_checked: self.not_checked.clone(),
            extent: Extent { tables, columns, rows, bytes, ..Extent::default() },
        }
    }
}

impl Integrity {
    /// Returns what the check verified. A rule that could not be asked is no rule that holds.
    pub fn verified(&self, bytes: u64) -> Verified {
        let extent = Extent { tables: self.tables, rows: self.rows, bytes, ..Extent::default() };
        Verified {
            not_checked: self.not_run.iter().chain(&self.not_checked).cloned().collect(),
            ..Verified::held(&[Level::Integrity], extent).only_if(self.sound())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_could_not_be_asked_is_not_held() {
        let mut found = Integrity { tables: 2, rows: 30, ..Integrity::default() };
        found.no_check("INDEX i", "gin indexes have no check");
        assert!(found.verified(0).failed.is_empty());
        found.could_not("CONSTRAINT c", "permission denied");
        let verified = found.verified(0);
        assert_eq!(verified.failed, [Level::Integrity]);
        assert_eq!(verified.not_checked.len(), 2);
    }

    #[test]
    fn an_extent_names_what_applies() {
        let extent = Extent { files: 1, rows: 1200, bytes: 2_500_000, ..Extent::default() };
        assert_eq!(extent.to_string(), "1 file, 1,200 rows, 2.5 MB");
        assert_eq!(Extent::default().to_string(), "");
        assert_eq!(extent.and(extent).files, 2);
        assert_eq!(extent.or(Extent { files: 3, ..extent }), Extent { files: 3, ..extent });
    }
}
