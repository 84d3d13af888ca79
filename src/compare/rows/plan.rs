//! What is looked for in one table: the columns that both sides have, and those that name a row.

use crate::compare::{RowSum, Table};

/// How one table is searched.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The table's full name.
    pub(super) table: String,
    /// The columns that both sides have, in the order in which rows are hashed.
    pub(super) columns: Vec<String>,
    /// The places in `columns` of those that name a row; none where only the whole row does.
    pub(super) key: Vec<usize>,
    pub(super) columns_missing: Vec<String>,
    pub(super) columns_extra: Vec<String>,
    /// What the fingerprints say of the rows that the passes will see: of the first side, and of the second.
    pub(super) promised: [Promise; 2],
}

/// What a fingerprint says of a table's rows; the sum only where the passes hash them in the same way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) rows: u64,
    pub(super) sum: Option<RowSum>,
}

impl Plan {
    /// Plans the search of a table whose content differs. `keys` are its keys, the best one first; the first one whose
    /// columns both sides have names the rows.
    pub fn new(table: &str, expected: &Table, found: &Table, keys: &[Vec<String>]) -> Self {
        let lacks = |a: &Table, b: &Table| {
            a.columns.iter().filter(|column| !b.columns.contains(column)).cloned().collect::<Vec<_>>()
        };
        let (columns_missing, columns_extra) = (lacks(expected, found), lacks(found, expected));
        let columns: Vec<String> = expected.columns.iter().filter(|c| found.columns.contains(c)).cloned().collect();
        let places = |key: &Vec<String>| {
            let places = key.iter().map(|column| columns.iter().position(|c| c == column));
            places.collect::<Option<Vec<_>>>().filter(|places| !places.is_empty())
        };
        let key = keys.iter().find_map(places).unwrap_or_default();
        let promise = |side: &Table| Promise { rows: side.rows, sum: (side.columns == columns).then_some(side.sum) };
        let promised = [promise(expected), promise(found)];
        Self { table: table.to_owned(), columns, key, columns_missing, columns_extra, promised }
    }

    /// Returns the table's full name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Returns the names of the columns that name a row.
    pub(super) fn key_columns(&self) -> Vec<String> {
        self.key.iter().map(|place| self.columns[*place].clone()).collect()
    }
}
