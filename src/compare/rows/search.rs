//! The search itself: what to look for next, and what a look at both sides came to.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::details::{Detail, Id, clipped};
use super::found::{Counts, RowDifference, RowSearch, TableRows, Value};
use super::look::{Aim, Catch, Look, Seen, TableLook, TableSeen};
use super::plan::Plan;
use super::records::{Joined, Odd};
use super::sieve::{MOST_BITS, Mesh};

/// Tables that are searched at the same time; they share the memory.
const BATCH: usize = 64;
/// Rows that each side holds by their hashes, 48 bytes each.
const RECORDS: usize = 1 << 17;
/// Bytes of keys and hashes of columns that each side keeps on the chance that they are needed.
const ROOM: usize = 4 << 20;
/// More sieves than this make no row fewer.
const MOST_MESHES: usize = 3;
/// Rows that one comparison names, of all tables together.
const MOST_NAMED: usize = 1000;
/// Hexadecimal digits that stand for a key or a row.
const DIGITS: usize = 12;

/// Whether keys may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// They are shown: nobody finds a row without.
    #[default]
    Shown,
    /// The first digits of the SHA-256 of each value stand for it.
    Hashed,
}

/// What of the rows that differ is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// How many rows of each table are named.
    pub rows: usize,
    /// Whether their keys are shown.
    pub keys: Keys,
    /// Whether their values are returned.
    pub values: bool,
}

/// A search on its way.
#[derive(Debug)]
pub struct Search {
    wanted: Wanted,
    tables: Vec<State>,
    batch: std::ops::Range<usize>,
    result: RowSearch,
}

#[derive(Debug)]
struct State {
    plan: Arc<Plan>,
    meshes: Arc<Vec<Mesh>>,
    /// The rows of the larger side that may still differ.
    rows: u64,
    /// Whether the promises of the fingerprints were checked.
    checked: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Sieve,
    Collect,
    Detail(Joined),
    Done,
}

impl Search {
    /// Starts to search tables whose content differs.
    pub fn new(plans: Vec<Plan>, wanted: Wanted) -> Self {
        let state = |plan: Plan| State {
            rows: plan.promised.iter().map(|promise| promise.rows).max().unwrap_or(0),
            meshes: Arc::default(),
            checked: false,
            stage: Stage::Sieve,
            plan: Arc::new(plan),
        };
        let tables = plans.into_iter().map(state).collect();
        Self { wanted, tables, batch: 0..0, result: RowSearch::default() }
    }

    /// Returns what to look for next on both sides, until everything is known.
    pub fn look(&mut self) -> Option<Look> {
        while self.tables[self.batch.clone()].iter().all(|state| matches!(state.stage, Stage::Done)) {
            let from = self.batch.end;
            if from == self.tables.len() {
                return None;
            }
            self.batch = from..(from + BATCH).min(self.tables.len());
            let most = self.most();
            for state in &mut self.tables[self.batch.clone()] {
                // What can be held needs no sieve.
                state.stage = if state.rows <= most as u64 { Stage::Collect } else { Stage::Sieve };
                if state.plan.columns.is_empty() {
                    state.stage = Stage::Done;
                    let why = "both sides have no column in common".to_owned();
                    self.result.not_searched.push((state.plan.table.clone(), why));
                }
            }
        }
        let tables = self.tables[self.batch.clone()].iter().filter_map(|state| self.table_look(state));
        Some(Look { tables: tables.collect() })
    }

    /// Returns how many rows of one table each side may hold.
    fn most(&self) -> usize {
        RECORDS >> self.shared_bits()
    }

    /// The tables of a batch share memory: each one halves what the others have.
    fn shared_bits(&self) -> u32 {
        self.batch.len().next_power_of_two().ilog2()
    }

    fn table_look(&self, state: &State) -> Option<TableLook> {
        let share = self.shared_bits();
        let aim = match &state.stage {
            Stage::Sieve => Aim::Sieve { bits: MOST_BITS - share },
            Stage::Collect => Aim::Collect { most: self.most(), room: ROOM >> share },
            Stage::Detail(joined) => Aim::Detail { wanted: Arc::new(joined.odd.iter().flat_map(ids).collect()) },
            Stage::Done => return None,
        };
        let (plan, meshes) = (Arc::clone(&state.plan), Arc::clone(&state.meshes));
        Some(TableLook { plan, meshes, aim, values: self.wanted.values })
    }

    /// Takes in what the look showed.
    pub fn take(&mut self, expected: Seen, found: Seen) {
        let most = self.most();
        let mut states = self.tables[self.batch.clone()].iter_mut().filter(|s| !matches!(s.stage, Stage::Done));
        for (a, b) in expected.tables.into_iter().zip(found.tables) {
            let Some(state) = states.next() else { return };
            if let Some(why) = state.broken_promise([&a, &b]) {
                self.result.not_searched.push((state.plan.table.clone(), why));
                state.stage = Stage::Done;
                continue;
            }
            let named = self.wanted.rows.min(MOST_NAMED.saturating_sub(self.result.rows.len()));
            state.step(a.catch, b.catch, most, named, self.wanted, &mut self.result);
        }
    }

    /// Returns what was found.
    pub fn finish(self) -> RowSearch {
        self.result
    }
}

impl State {
    /// Says why what was seen is not what the fingerprints were taken of.
    fn broken_promise(&mut self, seen: [&TableSeen; 2]) -> Option<String> {
        if std::mem::replace(&mut self.checked, true) {
            return None;
        }
        let sides = self.plan.promised.iter().zip(seen).zip(["first", "second"]);
        sides.into_iter().find_map(|((promise, seen), side)| {
            let same = promise.rows == seen.rows && promise.sum.is_none_or(|sum| sum == seen.sum);
            let (rows, promised) = (seen.rows, promise.rows);
            (!same).then(|| {
                format!(
                    "the {side} side's rows are not those of its fingerprint: {rows} rows were read again, it says {promised}"
                )
            })
        })
    }

    fn step(&mut self, a: Catch, b: Catch, most: usize, named: usize, wanted: Wanted, result: &mut RowSearch) {
        match (std::mem::replace(&mut self.stage, Stage::Done), a, b) {
            (Stage::Sieve, Catch::Buckets(a), Catch::Buckets(b)) => {
                let (mesh, rows) = a.differing(&b);
                let before = std::mem::replace(&mut self.rows, rows);
                Arc::make_mut(&mut self.meshes).push(mesh);
                // A sieve that most rows stay in shows that most rows differ: another one would not change that.
                let again = rows > most as u64 && rows <= before / 2 && self.meshes.len() < MOST_MESHES;
                self.stage = if again { Stage::Sieve } else { Stage::Collect };
            }
            (Stage::Collect, Catch::Rows(a, in_a), Catch::Rows(b, in_b)) => {
                let joined = a.join(b, named, !self.plan.key.is_empty());
                match (in_a.whole(), in_b.whole()) {
                    (Some(a), Some(b)) => self.tell(joined, &a, &b, wanted, result),
                    _ if joined.odd.is_empty() => self.tell(joined, &HashMap::new(), &HashMap::new(), wanted, result),
                    _ => self.stage = Stage::Detail(joined),
                }
            }
            (Stage::Detail(joined), Catch::Details(a), Catch::Details(b)) => {
                self.tell(joined, &a.rows, &b.rows, wanted, result);
            }
            (stage, ..) => self.stage = stage, // a look that was not ours
        }
    }

    /// Puts what is known of the table into the result.
    fn tell(
        &self,
        joined: Joined,
        a: &HashMap<Id, Detail>,
        b: &HashMap<Id, Detail>,
        wanted: Wanted,
        result: &mut RowSearch,
    ) {
        let rows = joined.odd.iter().map(|odd| self.difference(odd, a, b, wanted));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_cached_key(|row| (order(row), row.name()));
        result.rows.append(&mut rows);
        result.tables.push(TableRows {
            table: self.plan.table.clone(),
            key: self.plan.key_columns(),
            counts: joined.counts,
            exact: joined.share.is_none(),
            about: joined.share.map(|share| match share > 0.0 {
                true => joined.counts.scaled(1.0 / share),
                false => Counts::default(),
            }),
            columns_missing: self.plan.columns_missing.clone(),
            columns_extra: self.plan.columns_extra.clone(),
        });
    }

    fn difference(&self, odd: &Odd, a: &HashMap<Id, Detail>, b: &HashMap<Id, Detail>, wanted: Wanted) -> RowDifference {
        let of = |row: Option<u128>, side: &'_ HashMap<Id, Detail>| row.and_then(|r| side.get(&(odd.key, r)).cloned());
        let (a, b) = (of(odd.expected, a), of(odd.found, b));
        let some = a.as_ref().or(b.as_ref());
        let shown = |value: &Value| match (value, wanted.keys) {
            (None, _) => serde_json::Value::Null,
            (Some(text), Keys::Shown) => clipped(text.clone()).into(),
            (Some(text), Keys::Hashed) => hashed(text).into(),
        };
        let names = self.plan.key_columns().into_iter();
        let key = some.map(|detail| names.zip(detail.key.iter().map(shown)).collect()).unwrap_or_default();
        let row = self.plan.key.is_empty().then(|| format!("{:032x}", odd.key)[..DIGITS].to_owned());
        let differs: Vec<usize> = match (&a, &b) {
            (Some(a), Some(b)) => {
                let differs = |i: &usize| a.columns.get(*i) != b.columns.get(*i);
                (0..self.plan.columns.len()).filter(differs).collect()
            }
            _ => Vec::new(),
        };
        let columns: Vec<String> = differs.iter().map(|i| self.plan.columns[*i].clone()).collect();
        let values = wanted.values.then(|| {
            let all: Vec<usize> = if columns.is_empty() { (0..self.plan.columns.len()).collect() } else { differs };
            let value = |side: &Option<Detail>, i: usize| side.as_ref().and_then(|d| d.values.get(i).cloned());
            all.into_iter().map(|i| (self.plan.columns[i].clone(), value(&a, i), value(&b, i))).collect()
        });
        let table = self.plan.table.clone();
        RowDifference { table, key, row, change: odd.change, columns, times: odd.times, values }
    }
}

fn ids(odd: &Odd) -> impl Iterator<Item = Id> + use<> {
    let key = odd.key;
    [odd.expected, odd.found].into_iter().flatten().map(move |row| (key, row))
}

/// Rows with numbers for keys stand in their order.
fn order(row: &RowDifference) -> Vec<i128> {
    row.key.values().map_while(|value| value.as_str()?.parse().ok()).collect()
}

fn hashed(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", &digits[..DIGITS])
}
