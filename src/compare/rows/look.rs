//! One look at one side: which tables' rows are wanted, and what was seen of them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::details::{Detail, Details, Id, clipped};
use super::found::Value;
use super::plan::Plan;
use super::records::Records;
use super::sieve::{Buckets, Mesh};
use crate::compare::RowSum;

/// How one kind of database writes the fields of a row.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What stands between two fields.
    pub separator: Option<u8>,
    /// Reads a field's value.
    pub shown: fn(&[u8]) -> Value,
}

/// One look, the same for both sides.
#[derive(Debug, Clone)]
pub struct Look {
    pub(super) tables: Vec<TableLook>,
}

/// What is wanted of one table.
#[derive(Debug, Clone)]
pub(super) struct TableLook {
    pub(super) plan: Arc<Plan>,
    /// The meshes that a row must stay in.
    pub(super) meshes: Arc<Vec<Mesh>>,
    pub(super) aim: Aim,
    /// Whether values are kept.
    pub(super) values: bool,
}

/// What is done with the rows.
#[derive(Debug, Clone)]
pub(super) enum Aim {
    Sieve { bits: u32 },
    Collect { most: usize, room: usize },
    Detail { wanted: Arc<HashSet<Id>> },
}

/// What one side showed in one look.
#[derive(Debug)]
pub struct Seen {
    form: Form,
    pub(super) tables: Vec<TableSeen>,
    current: Option<Current>,
    scratch: Vec<u8>,
}

/// What was seen of one table.
#[derive(Debug)]
pub(super) struct TableSeen {
    look: TableLook,
    pub(super) rows: u64,
    pub(super) sum: RowSum,
    pub(super) catch: Catch,
}

#[derive(Debug)]
pub(super) enum Catch {
    Buckets(Buckets),
    Rows(Records, Details),
    Details(Details),
}

/// The table whose rows come: where each column of the plan is in them.
#[derive(Debug)]
struct Current {
    table: usize,
    places: Vec<usize>,
    as_they_are: bool,
}

impl Look {
    /// Returns the tables whose rows are wanted.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.plan.table())
    }

    /// Starts to look at one side.
    pub fn begin(&self, form: Form) -> Seen {
        let tables = self.tables.iter().map(|look| TableSeen {
            look: look.clone(),
            rows: 0,
            sum: RowSum::default(),
            catch: match &look.aim {
                Aim::Sieve { bits } => Catch::Buckets(Buckets::new(*bits, look.meshes.len())),
                Aim::Collect { most, room } => Catch::Rows(Records::new(*most), Details::of_all(*room)),
                Aim::Detail { wanted } => Catch::Details(Details::of(HashSet::clone(wanted))),
            },
        });
        Seen { form, tables: tables.collect(), current: None, scratch: Vec::new() }
    }
}

impl Seen {
    /// Says that rows of a table with these columns come next; returns whether they are wanted.
    pub fn enter(&mut self, table: &str, columns: &[String]) -> bool {
        let find = |seen: &TableSeen| seen.look.plan.table() == table;
        self.current = self.tables.iter().position(find).and_then(|at| {
            let wanted = self.tables[at].look.plan.columns.iter();
            let places = wanted.map(|name| columns.iter().position(|c| c == name)).collect::<Option<Vec<_>>>()?;
            let as_they_are = places.len() == columns.len() && places.iter().enumerate().all(|(i, p)| i == *p);
            Some(Current { table: at, places, as_they_are })
        });
        self.current.is_some()
    }

    /// Takes one row: its bytes, and where in them each field is.
    pub fn row(&mut self, bytes: &[u8], fields: &[Range<usize>]) {
        let Some(current) = &self.current else { return };
        let seen = &mut self.tables[current.table];
        let field = |place: usize| {
            current.places.get(place).and_then(|at| fields.get(*at)).map_or(&[][..], |range| &bytes[range.clone()])
        };
        let (plan, meshes) = (&seen.look.plan, &seen.look.meshes);
        let held = |key: &u128| meshes.iter().all(|mesh| mesh.holds(*key));
        let key = (!plan.key.is_empty()).then(|| {
            joined(&mut self.scratch, plan.key.iter().map(|place| field(*place)), self.form.separator);
            first_half(&Sha256::digest(&self.scratch))
        });
        if key.is_some_and(|key| !held(&key)) {
            return; // the first look has no mesh and sees every row
        }
        let digest = if current.as_they_are {
            Sha256::digest(bytes)
        } else {
            joined(&mut self.scratch, (0..current.places.len()).map(field), self.form.separator);
            Sha256::digest(&self.scratch)
        };
        seen.rows += 1;
        seen.sum.add_digest(&digest);
        let row = first_half(&digest);
        let key = key.unwrap_or(row);
        if !held(&key) {
            return;
        }
        let shown = self.form.shown;
        let detail = || Detail {
            key: plan.key.iter().map(|place| shown(field(*place))).collect(),
            columns: (0..plan.columns.len()).map(|place| short(field(place))).collect(),
            values: match seen.look.values {
                true => (0..plan.columns.len()).map(|place| shown(field(place)).map(clipped)).collect(),
                false => Vec::new(),
            },
        };
        match &mut seen.catch {
            Catch::Buckets(buckets) => buckets.add(key, row),
            Catch::Rows(records, details) => {
                records.add(key, row);
                if details.wants(&(key, row)) {
                    details.add((key, row), detail());
                }
            }
            Catch::Details(details) => {
                if details.wants(&(key, row)) {
                    details.add((key, row), detail());
                }
            }
        }
    }
}

/// Writes fields one after the other, as the fingerprint does.
fn joined<'a>(into: &mut Vec<u8>, fields: impl Iterator<Item = &'a [u8]>, separator: Option<u8>) {
    into.clear();
    for (i, field) in fields.enumerate() {
        into.extend(separator.filter(|_| i > 0));
        into.extend_from_slice(field);
    }
}

fn first_half(digest: &[u8]) -> u128 {
    digest.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

fn short(field: &[u8]) -> u64 {
    Sha256::digest(field).iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
