//! A fingerprint: what a database holds, in a form that can be kept in a manifest and compared a year later.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::RowSum;

/// The kind of database a fingerprint or backup is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Postgres => "PostgreSQL",
            Engine::Sqlite => "SQLite",
        })
    }
}

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The kind of database.
    pub engine: Engine,
    /// The rows of each table by its full name, quoted where SQL would.
    pub tables: BTreeMap<String, Table>,
    /// Everything else, one value for each aspect of each object.
    pub items: Vec<Item>,
    /// The content of each materialised view that is populated. It is computed: see [`super::Lawful`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<String, View>,
    /// What could not be read and why: never a silent gap.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
}

/// The content of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// How many rows there are.
    pub rows: u64,
    /// The sum of the rows' digests.
    pub sum: RowSum,
    /// The columns in the order in which the rows were hashed.
    pub columns: Vec<String>,
}

/// What a materialised view held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Its rows.
    Content(Table),
    /// It could not be read: why.
    Unread(String),
}

/// One value of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// Which side of the object this is.
    pub aspect: Aspect,
    /// The object: kind and full name, for instance `TABLE app.customers`.
    pub object: String,
    /// The value: SQL as pg_dump wrote it, a state, a setting.
    pub value: String,
}

/// The sides of an object that can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// How it is defined.
    Definition,
    /// Who owns it.
    Owner,
    /// Who may do what.
    Grants,
    /// Its comment.
    Comment,
    /// A sequence's value and whether it was used.
    Sequence,
    /// The bytes of a large object.
    LargeObject,
    /// An extension's version.
    Extension,
    /// A property or setting of the database.
    Property,
    /// A role's attributes and memberships.
    Role,
    /// The order of an inheritance child's columns, which a restore may change.
    ColumnOrder,
    /// What is there and in no dump.
    Undumped,
}

impl Aspect {
    /// Returns the word that reports use.
    pub fn word(self) -> &'static str {
        match self {
            Aspect::Definition => "definition",
            Aspect::Owner => "owner",
            Aspect::Grants => "grants",
            Aspect::Comment => "comment",
            Aspect::Sequence => "sequence state",
            Aspect::LargeObject => "content",
            Aspect::Extension => "version",
            Aspect::Property => "property",
            Aspect::Role => "attributes",
            Aspect::ColumnOrder => "column order",
            Aspect::Undumped => "state beside the dump",
        }
    }
}

impl Fingerprint {
    /// Starts an empty fingerprint.
    pub fn new(engine: Engine) -> Self {
        Self { engine, tables: BTreeMap::new(), items: Vec::new(), views: BTreeMap::new(), unread: BTreeMap::new() }
    }

    /// Adds one value of one object.
    pub fn add(&mut self, aspect: Aspect, object: impl Into<String>, value: impl Into<String>) {
        self.items.push(Item { aspect, object: object.into(), value: value.into() });
    }

    /// Returns the rows of all tables. A manifest may claim more than can be counted; then it is the largest number.
    pub fn rows(&self) -> u64 {
        self.tables.values().fold(0, |rows, table| rows.saturating_add(table.rows))
    }

    /// Finds a table by its full name or, where only one schema has it, by its bare name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name).or_else(|| {
            let mut named =
                self.tables.iter().filter(|(full, _)| full.rsplit_once('.').is_some_and(|(_, t)| t == name));
            let found = named.next().map(|(_, table)| table);
            if named.next().is_some() { None } else { found }
        })
    }
}
