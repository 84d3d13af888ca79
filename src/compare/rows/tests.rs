//! The search on two sides in memory: what it names, what it counts, and how often it looks.

use std::ops::Range;

use super::*;
use crate::compare::{RowSum, Table};

/// Tables with their columns and rows.
type Side = Vec<(String, Vec<String>, Vec<String>)>;

const FORM: Form = Form { separator: Some(b'\t'), shown: |field| Some(String::from_utf8_lossy(field).into_owned()) };

fn table(name: &str, columns: &str, rows: impl IntoIterator<Item = String>) -> (String, Vec<String>, Vec<String>) {
    (name.into(), columns.split(' ').map(str::to_owned).collect(), rows.into_iter().collect())
}

fn fingerprint((_, columns, rows): &(String, Vec<String>, Vec<String>)) -> Table {
    let mut sum = RowSum::default();
    rows.iter().for_each(|row| sum.add_row(row.as_bytes()));
    Table { rows: rows.len() as u64, sum, columns: columns.clone() }
}

fn seen(look: &Look, side: &Side) -> Seen {
    let mut seen = look.begin(FORM);
    for (name, columns, rows) in side {
        if seen.enter(name, columns) {
            for row in rows {
                let mut fields: Vec<Range<usize>> = Vec::new();
                for part in row.split('\t') {
                    let start = fields.last().map_or(0, |field| field.end + 1);
                    fields.push(start..start + part.len());
                }
                seen.row(row.as_bytes(), &fields);
            }
        }
    }
    seen
}

/// Searches with `id` as the key where there is one, and returns how many looks it took.
fn searched(a: &Side, b: &Side, wanted: Wanted) -> (RowSearch, usize) {
    let keys = [vec!["id".to_owned()]];
    let plans = a.iter().zip(b).map(|(a, b)| Plan::new(&a.0, &fingerprint(a), &fingerprint(b), &keys));
    let mut search = Search::new(plans.collect(), wanted);
    let mut looks = 0;
    while let Some(look) = search.look() {
        search.take(seen(&look, a), seen(&look, b));
        looks += 1;
        assert!(looks < 20, "it does not end");
    }
    (search.finish(), looks)
}

const TEN: Wanted = Wanted { rows: 10, keys: Keys::Shown, values: false };

fn numbered(rows: Range<u64>, change: impl Fn(u64) -> u64) -> Vec<String> {
    rows.map(|n| format!("{n}\tname {}\t{}", change(n), n * 7)).collect()
}

#[test]
fn a_few_rows_take_one_look_and_many_take_two() {
    for (rows, looks) in [(1_000, 1), (200_000, 2)] {
        let a = vec![table("t", "id name x", numbered(0..rows, |n| n))];
        let b = vec![table("t", "id name x", numbered(1..rows + 1, |n| if n == 500 { 0 } else { n }))];
        let (found, took) = searched(&a, &b, TEN);
        let named: Vec<_> = found.rows.iter().map(ToString::to_string).collect();
        let last = format!("id={rows} not in the original");
        assert_eq!(named, ["id=0 missing", "id=500 changed in name", last.as_str()]);
        assert!(found.tables[0].exact && found.not_searched.is_empty());
        assert_eq!(took, looks, "{rows} rows");
    }
}

#[test]
fn values_swapped_between_two_rows_are_two_changes() {
    let a = vec![table("t", "id a b", ["1\tx\ty".into(), "2\tz\ty".into()])];
    let b = vec![table("t", "id a b", ["2\tx\ty".into(), "1\tz\ty".into()])];
    let (found, _) = searched(&a, &b, TEN);
    let named: Vec<_> = found.rows.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["id=1 changed in a", "id=2 changed in a"]);
}

#[test]
fn columns_are_compared_by_name_whatever_their_order() {
    let a = vec![table("t", "id a b", ["1\tx\ty".into(), "2\tp\tq".into()])];
    let b = vec![table("t", "b c id a", ["y\tnew\t1\tx".into(), "Q\tnew\t2\tp".into()])];
    let (found, _) = searched(&a, &b, TEN);
    assert_eq!(found.rows.iter().map(ToString::to_string).collect::<Vec<_>>(), ["id=2 changed in b"]);
    assert_eq!((found.tables[0].columns_extra.clone(), found.tables[0].columns_missing.len()), (vec!["c".into()], 0));
    // Where nothing differs in the common columns, the columns themselves are what differs.
    let b = vec![table("t", "id b a c", ["1\ty\tx\t".into(), "2\tq\tp\t".into()])];
    let (found, _) = searched(&a, &b, TEN);
    assert_eq!(found.tables[0].to_string(), "no row that differs, columns not in the original: c");
}

#[test]
fn many_tables_share_the_memory_and_each_is_searched() {
    let side = |name: &str| {
        let rows = |t: u64| vec![format!("1\t{name}\t{t}"), format!("2\tsame\t{t}")];
        (0..150).map(|t| table(&format!("t{t}"), "id name x", rows(t))).collect::<Side>()
    };
    let (found, looks) = searched(&side("a"), &side("b"), Wanted { rows: 20, ..TEN });
    assert_eq!((found.tables.len(), found.rows.len(), looks), (150, 150, 3));
    assert!(found.rows.iter().all(|row| row.to_string() == "id=1 changed in name"));
}

#[test]
fn a_thousand_rows_are_named_in_all_and_all_are_counted() {
    let side = |name: &'static str| {
        (0..3)
            .map(|t| table(&format!("t{t}"), "id name", (0..600).map(move |n| format!("{n}\t{name}"))))
            .collect::<Side>()
    };
    let (found, _) = searched(&side("a"), &side("b"), Wanted { rows: 5000, ..TEN });
    assert_eq!(found.rows.len(), 1000);
    assert!(found.tables.iter().all(|table| table.counts.changed == 600 && table.exact));
}

#[test]
fn rows_too_wide_to_be_kept_are_read_once_more() {
    let wide = |n: u64, end: &str| format!("{n}\t{}{end}", "x".repeat(10_000));
    let a = vec![table("t", "id text", (0..600).map(|n| wide(n, "a")))];
    let b = vec![table("t", "id text", (0..600).map(|n| wide(n, "b")))];
    let (found, looks) = searched(&a, &b, Wanted { values: true, ..TEN });
    assert_eq!((found.rows.len(), found.tables[0].counts.changed, looks), (10, 600, 1));
    let values = found.rows[0].values.clone().unwrap();
    let shown = values[0].1.clone().flatten().unwrap();
    assert!(shown.len() < 300 && shown.ends_with("(10001 bytes)"), "{shown}");

    let key = |n: u64, end: &str| format!("{n}{}\t{end}", "k".repeat(20_000));
    let a = vec![table("t", "id text", (0..600).map(|n| key(n, "a")))];
    let b = vec![table("t", "id text", (0..600).map(|n| key(n, "b")))];
    let (found, looks) = searched(&a, &b, TEN);
    assert_eq!((found.rows.len(), found.tables[0].counts.changed, looks), (10, 600, 2));
}

#[test]
fn rows_that_are_not_those_of_the_fingerprint_are_not_searched() {
    let a = vec![table("t", "id", ["1".into()])];
    let b = [table("t", "id", ["2".into()])];
    let plan = Plan::new("t", &fingerprint(&a[0]), &fingerprint(&b[0]), &[]);
    let mut search = Search::new(vec![plan], TEN);
    let look = search.look().unwrap();
    search.take(seen(&look, &a), seen(&look, &a));
    assert!(search.look().is_none());
    let found = search.finish();
    assert!(found.not_searched[0].1.starts_with("the second side's rows are not those of its fingerprint"));
    assert!(found.tables.is_empty());
}
