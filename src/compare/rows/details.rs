//! The rows that may have to be named: their keys, a hash of each column and, where they were asked for, their values.

use std::collections::{HashMap, HashSet};

use super::found::Value;

/// The longest part of a value that is shown.
const SHOWN: usize = 200;

/// A row by the hashes of its key and of itself.
pub(super) type Id = (u128, u128);

/// What is known of one row.
#[derive(Debug, Clone)]
pub(super) struct Detail {
    /// The key's values.
    pub(super) key: Vec<Value>,
    /// A hash of each column's value.
    pub(super) columns: Vec<u64>,
    /// Each column's value, where values were asked for.
    pub(super) values: Vec<Value>,
}

/// Details of rows, of all that come or of those that are wanted.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) rows: HashMap<Id, Detail>,
    wanted: Option<HashSet<Id>>,
    room: Option<usize>,
}

impl Details {
    /// Keeps every row as long as there is room; where there is not, nothing is kept.
    pub(super) fn of_all(room: usize) -> Self {
        Self { rows: HashMap::new(), wanted: None, room: Some(room) }
    }

    /// Keeps these rows.
    pub(super) fn of(wanted: HashSet<Id>) -> Self {
        Self { rows: HashMap::new(), wanted: Some(wanted), room: Some(usize::MAX) }
    }

    /// Returns whether a row's detail is to be made and added.
    pub(super) fn wants(&self, id: &Id) -> bool {
        self.room.is_some() && self.wanted.as_ref().is_none_or(|w| w.contains(id)) && !self.rows.contains_key(id)
    }

    pub(super) fn add(&mut self, id: Id, detail: Detail) {
        let text = |value: &Value| 32 + value.as_ref().map_or(0, String::len);
        let values = detail.key.iter().chain(&detail.values).map(text).sum::<usize>();
        let size = 256 + values + 8 * detail.columns.len();
        self.room = self.room.and_then(|room| room.checked_sub(size));
        match self.room {
            Some(_) => drop(self.rows.insert(id, detail)),
            None => self.rows = HashMap::new(),
        }
    }

    /// Returns the rows unless some had no room.
    pub(super) fn whole(self) -> Option<HashMap<Id, Detail>> {
        self.room.map(|_| self.rows)
    }
}

/// Returns a value's first characters.
pub(super) fn clipped(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}
