//! The verdict on two fingerprints: equal or not, where they differ, and what was looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::lawful::{self, Lawful};
use super::rows::{RowDifference, RowSearch, TableRows};
use super::{Aspect, Fingerprint, Level, Table};
use crate::error::{Error, Kind, Result};
use crate::units::count;

/// What of two databases is compared.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Only these tables' rows, and no structure; empty means everything.
    pub tables: Vec<String>,
    /// Objects whose differences are lawful here, each with its reason, which the report shows.
    pub ignore: BTreeMap<String, String>,
    /// Whether the content of materialised views is compared.
    pub matviews: bool,
    /// Whether the passwords of roles are compared, which two servers tell and no dump.
    pub passwords: bool,
    /// Columns that one side holds masked; a difference there says nothing, and neither does the rest of such a row.
    pub masked: Vec<String>,
}

impl Default for Scope {
    fn default() -> Self {
        Self { tables: Vec::new(), ignore: BTreeMap::new(), matviews: true, passwords: false, masked: Vec::new() }
    }
}

/// One way in which the second side differs from the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The object: `table app.customers`, `INDEX app.orders_cust`.
    pub object: String,
    /// `rows`, or the aspect's word.
    pub what: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub change: Change,
}

/// What became of a thing between the first side and the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Only the first side has it.
    Missing,
    /// Only the second side has it.
    Extra,
    /// Both have it, and it differs.
    Changed {
        /// The first side's value, shortened to the part that differs.
        expected: String,
        /// The second side's.
        found: String,
    },
}

impl Difference {
    /// Returns the level that sees it: rows and the bytes of large objects are content, all else is structure.
    pub fn level(&self) -> Level {
        if self.what == "rows" || self.what == Aspect::LargeObject.word() { Level::Content } else { Level::Structure }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Missing => write!(f, "{}: {} missing", self.object, self.what),
            Change::Extra => write!(f, "{}: {} not in the original", self.object, self.what),
            Change::Changed { expected, found } => {
                write!(f, "{}: {} changed, expected {expected}, found {found}", self.object, self.what)
            }
        }
    }
}

/// A difference that the caller declared lawful.
#[derive(Debug, Clone, Serialize)]
pub struct Ignored {
    /// The difference.
    pub difference: Difference,
    /// Why it is lawful.
    pub reason: String,
}

/// The verdict on two databases.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Whether nothing differs that was compared, and everything that had to be read was read.
    pub equal: bool,
    /// Where they differ.
    pub differences: Vec<Difference>,
    /// Differences with a reason.
    pub ignored: Vec<Ignored>,
    /// What may differ without damage, and what no dump holds, each with its reason.
    pub lawful: Vec<Lawful>,
    /// Objects that were to be ignored and in which nothing differed.
    pub not_used: Vec<String>,
    /// How many tables were compared.
    pub tables: u64,
    /// How many columns these tables have.
    pub columns: u64,
    /// How many rows of the first side were compared.
    pub rows: u64,
    /// The levels that were checked.
    pub checked: Vec<Level>,
    /// What was not checked, and why.
    pub not_checked: Vec<(String, String)>,
    /// The rows that differ, as many as were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub row_differences: Vec<RowDifference>,
    /// How many rows differ, for each table that was searched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub row_counts: Vec<TableRows>,
    /// Tables that differ and whose rows could not be named, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows_not_named: Vec<(String, String)>,
    /// Columns that one side holds masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// How many tables' rows their own server hashed.
    #[serde(skip_serializing_if = "super::hashed::is_zero")]
    pub hashed_by_server: u64,
    /// Tables whose rows were read although the server was to hash them, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_by_client: Vec<(String, String)>,
}

/// Compares two fingerprints.
///
/// # Errors
/// A table in `scope` that neither side has is a usage error: a comparison of nothing must not pass.
pub fn compare(expected: &Fingerprint, found: &Fingerprint, scope: &Scope) -> Result<Comparison> {
    let tables = tables_in_scope(expected, found, scope)?;
    let mut all = Vec::new();
    for name in &tables {
        table(name, expected.tables.get(*name), found.tables.get(*name), &mut all);
    }
    let whole = scope.tables.is_empty();
    if whole {
        items(expected, found, &mut all);
    }
    if expected.engine != found.engine {
        all.push(Difference {
            object: "database".into(),
            what: "engine",
            change: Change::Changed { expected: expected.engine.to_string(), found: found.engine.to_string() },
        });
    }

    let mut views = if whole && scope.matviews { lawful::views(expected, found) } else { lawful::Views::default() };
    // Only where everything that it is computed from is equal can a view's content differ by law; what follows from a
    // declared exception is as lawful as that is.
    let feeds = |d: &&Difference| ["rows", "definition", "version", "content", "engine"].contains(&d.what);
    let (declared, undeclared): (Vec<_>, Vec<_>) =
        all.iter().filter(feeds).partition(|d| scope.ignore.contains_key(&d.object));
    let lawless = !undeclared.is_empty();
    if !declared.is_empty() {
        views.differ.iter_mut().for_each(Lawful::follows_exceptions);
    }
    all.extend(views.differ.extract_if(.., |view| lawless || scope.ignore.contains_key(&view.object)).map(difference));
    let (ignored, differences): (Vec<_>, Vec<_>) = all.into_iter().partition(|d| scope.ignore.contains_key(&d.object));
    let ignored: Vec<_> = ignored
        .into_iter()
        .map(|difference| Ignored { reason: scope.ignore[&difference.object].clone(), difference })
        .collect();
    let used = |object: &String| ignored.iter().any(|ignored| ignored.difference.object == *object);
    let not_used = scope.ignore.keys().filter(|object| !used(object)).cloned().collect();
    let mut lawful = views.differ;
    if whole {
        lawful.extend(lawful::column_order(&expected.items, &found.items));
        lawful.extend(lawful::in_no_dump(expected, scope.passwords));
    }
    let mut not_checked: Vec<_> =
        expected.unread.iter().chain(&found.unread).map(|(what, why)| (what.clone(), why.clone())).collect();
    not_checked.sort();
    not_checked.dedup();
    let unread = !not_checked.is_empty();
    if !whole {
        not_checked.push(("structure".into(), "only the named tables' rows were compared".into()));
    }
    not_checked.append(&mut views.unknown);
    let held = !expected.views.is_empty() || !found.views.is_empty();
    if held && whole && !scope.matviews {
        not_checked.push(("materialized views: content".into(), "left out by the option `matviews`".into()));
    }
    Ok(Comparison {
        equal: differences.is_empty() && !unread,
        differences,
        ignored,
        lawful,
        not_used,
        tables: tables.len() as u64,
        columns: columns(&tables, expected, found),
        rows: tables.iter().filter_map(|name| expected.tables.get(*name)).fold(0, |n, t| n.saturating_add(t.rows)),
        checked: if whole { vec![Level::Structure, Level::Content] } else { vec![Level::Content] },
        not_checked,
        row_differences: Vec::new(),
        row_counts: Vec::new(),
        rows_not_named: Vec::new(),
        masked: scope.masked.clone(),
        hashed_by_server: 0,
        read_by_client: Vec::new(),
    })
}

/// A view that differs where more than that does.
fn difference(view: Lawful) -> Difference {
    Difference { object: view.object, what: "content", change: view.change.unwrap_or(Change::Missing) }
}

impl Comparison {
    /// Returns the tables whose rows differ on both sides: those in which rows can be looked for.
    pub fn changed_tables(&self) -> impl Iterator<Item = &str> {
        let changed =
            self.differences.iter().filter(|d| matches!(d.change, Change::Changed { .. }) && d.what == "rows");
        changed.filter_map(|difference| difference.object.strip_prefix("table "))
    }

    /// Takes in which rows differ.
    pub fn add_rows(&mut self, search: RowSearch) {
        self.row_differences = search.rows;
        self.row_counts = search.tables;
        self.rows_not_named = search.not_searched;
    }
}

/// Counts the columns of the tables, as the first side that has a table knows them.
fn columns(tables: &BTreeSet<&str>, expected: &Fingerprint, found: &Fingerprint) -> u64 {
    let table = |name: &&str| expected.tables.get(*name).or_else(|| found.tables.get(*name));
    tables.iter().filter_map(table).map(|table| table.columns.len() as u64).sum()
}

fn tables_in_scope<'a>(
    expected: &'a Fingerprint,
    found: &'a Fingerprint,
    scope: &'a Scope,
) -> Result<BTreeSet<&'a str>> {
    let all: BTreeSet<&str> = expected.tables.keys().chain(found.tables.keys()).map(String::as_str).collect();
    if scope.tables.is_empty() {
        return Ok(all);
    }
    scope
        .tables
        .iter()
        .map(|wanted| {
            let mut named =
                all.iter().filter(|full| **full == wanted || full.rsplit_once('.').is_some_and(|(_, t)| t == wanted));
            match (named.next(), named.next()) {
                (Some(one), None) => Ok(*one),
                (Some(_), Some(_)) => Err(Error::new(Kind::Usage, format!("several schemas have a table {wanted}"))
                    .hint("write schema.table")),
                (None, _) => Err(Error::new(Kind::Usage, format!("neither side has a table {wanted}"))
                    .hint("a comparison of nothing proves nothing; check the name")),
            }
        })
        .collect()
}

fn table(name: &str, expected: Option<&Table>, found: Option<&Table>, differences: &mut Vec<Difference>) {
    let change = match (expected, found) {
        (Some(_), None) => Change::Missing,
        (None, Some(_)) => Change::Extra,
        (Some(a), Some(b)) if a == b => return,
        (Some(a), Some(b)) => {
            let (expected, found) = table_change(a, b);
            Change::Changed { expected, found }
        }
        (None, None) => return,
    };
    differences.push(Difference { object: format!("table {name}"), what: "rows", change });
}

/// Says in which of columns, number and content of rows two tables differ.
pub(super) fn table_change(expected: &Table, found: &Table) -> (String, String) {
    if expected.columns != found.columns {
        (format!("columns {}", expected.columns.join(", ")), format!("columns {}", found.columns.join(", ")))
    } else if expected.rows != found.rows {
        (count(expected.rows, "row"), count(found.rows, "row"))
    } else {
        (
            format!("{} with sum {:.12}", count(expected.rows, "row"), expected.sum),
            format!("as many rows with sum {:.12}", found.sum),
        )
    }
}

/// Compares everything but rows. An object may have several values in one aspect (two grants): they are sets.
fn items(expected: &Fingerprint, found: &Fingerprint, differences: &mut Vec<Difference>) {
    let (expected, found) = (by_object(expected), by_object(found));
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).copied().collect();
    for key @ (aspect, object) in keys {
        let change = match (expected.get(&key), found.get(&key)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(a), Some(b)) => changed_values(a, b),
            // Usually there is nothing of this: what it is says more than that it is.
            (Some(a), None) if aspect == Aspect::Undumped => changed_values(a, &BTreeMap::new()),
            (None, Some(b)) if aspect == Aspect::Undumped => changed_values(&BTreeMap::new(), b),
            (Some(_), None) => Change::Missing,
            (None, _) => Change::Extra,
        };
        differences.push(Difference { object: object.to_owned(), what: aspect.word(), change });
    }
}

type Values<'a> = BTreeMap<(Aspect, &'a str), BTreeMap<&'a str, usize>>;

fn by_object(fingerprint: &Fingerprint) -> Values<'_> {
    let mut values: Values = BTreeMap::new();
    for item in fingerprint.items.iter().filter(|item| item.aspect != Aspect::ColumnOrder) {
        *values.entry((item.aspect, &item.object)).or_default().entry(&item.value).or_default() += 1;
    }
    values
}

fn changed_values(expected: &BTreeMap<&str, usize>, found: &BTreeMap<&str, usize>) -> Change {
    let only = |a: &BTreeMap<&str, usize>, b: &BTreeMap<&str, usize>| {
        a.iter().filter(|(v, n)| b.get(*v) != Some(n)).map(|(v, _)| *v).collect::<Vec<_>>().join("; ")
    };
    let (a, b) = (only(expected, found), only(found, expected));
    let (a, b) = differing_part(&a, &b);
    Change::Changed { expected: quoted(a), found: quoted(b) }
}

/// The longest value that a message shows.
const SHOWN: usize = 200;

fn quoted(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "nothing".into();
    }
    let short: String = text.chars().take(SHOWN).collect();
    format!("`{short}{}`", if short.len() < text.len() { "…" } else { "" })
}

/// Returns the lines in which two texts differ.
fn differing_part<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let same = a.lines().zip(b.lines()).take_while(|(x, y)| x == y).map(|(x, _)| x.len() + 1).sum::<usize>();
    let cut = |text: &'a str| text.get(same..).unwrap_or("").lines().next().unwrap_or("");
    (cut(a), cut(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Engine, RowSum};

    fn database(rows: &[&str]) -> Fingerprint {
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add_row(row.as_bytes()));
        let mut print = Fingerprint::new(Engine::Postgres);
        let table = Table { rows: rows.len() as u64, sum, columns: vec!["id".into(), "name".into()] };
        print.tables.insert("public.users".into(), table);
        print.add(Aspect::Definition, "TABLE public.users", "CREATE TABLE public.users (\n    id integer\n);");
        print.add(Aspect::Grants, "TABLE public.users", "GRANT SELECT ON TABLE public.users TO app;");
        print
    }

    fn verdict(a: &Fingerprint, b: &Fingerprint) -> Comparison {
        compare(a, b, &Scope::default()).unwrap()
    }

    #[test]
    fn equal_databases_are_equal_and_say_how_much_was_compared() {
        let verdict = verdict(&database(&["1\tada", "2\teve"]), &database(&["2\teve", "1\tada"]));
        assert!(verdict.equal);
        assert_eq!(verdict.summary(), "2 rows of 1 table are equal");
    }

    #[test]
    fn one_character_of_one_row_names_the_table() {
        let verdict = verdict(&database(&["1\tada"]), &database(&["1\tadb"]));
        assert!(!verdict.equal);
        assert!(
            verdict.summary().starts_with("table public.users: rows changed, expected 1 row with sum"),
            "{}",
            verdict.summary()
        );
    }

    #[test]
    fn a_lost_grant_and_a_changed_definition_are_named() {
        let (a, mut b) = (database(&["1"]), database(&["1"]));
        b.items.retain(|i| i.aspect != Aspect::Grants);
        b.items[0].value = "CREATE TABLE public.users (\n    id bigint\n);".into();
        let texts: Vec<_> = verdict(&a, &b).differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "TABLE public.users: definition changed, expected `id integer`, found `id bigint`",
                "TABLE public.users: grants missing",
            ]
        );
    }

    #[test]
    fn what_could_not_be_read_is_not_equal() {
        let (a, mut b) = (database(&["1"]), database(&["1"]));
        b.unread.insert("roles".into(), "permission denied".into());
        let verdict = verdict(&a, &b);
        assert!(!verdict.equal);
        assert_eq!(verdict.summary(), "not proven: could not read roles (permission denied)");
    }

    #[test]
    fn an_ignored_difference_keeps_its_reason() {
        let scope = Scope {
            ignore: BTreeMap::from([("table public.users".into(), "rebuilt nightly".into())]),
            ..Scope::default()
        };
        let verdict = compare(&database(&["1"]), &database(&["2"]), &scope).unwrap();
        assert!(verdict.equal);
        assert_eq!(verdict.ignored[0].reason, "rebuilt nightly");
        assert_eq!(verdict.summary(), "1 row of 1 table are equal, 1 difference ignored with a reason");
    }

    #[test]
    fn a_comparison_of_nothing_is_refused() {
        let scope = Scope { tables: vec!["usres".into()], ..Scope::default() };
        assert_eq!(compare(&database(&[]), &database(&[]), &scope).unwrap_err().kind(), Kind::Usage);
    }
}
