//! What may differ between a database and its restored copy although nothing was lost: named with the reason, neither
//! hidden nor called damage. What no dump holds is named here, too, so that nobody takes it for compared.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Aspect, Change, Engine, Fingerprint, Item, View};

const STATISTICS: &str = "no backup holds them: a restored server collects its own";
const PASSWORDS: &str =
    "no dump holds them, and they were not compared: `passwords: true` compares those of two servers";
const GENERATED: &str =
    "no dump holds their values: a restore computes them anew from the expression, which is compared";
const COLUMN_ORDER: &str =
    "a restore makes the columns of an inheritance child anew, its parents' first; rows are compared by column name";
const REFRESHED: &str = "it is computed, and what it is computed from is equal on both sides: one of them was refreshed \
                         at another time, as a restore does";

const DECLARED: &str = "it is computed, and what it is computed from is equal on both sides but for what was declared \
                        lawful";

/// Something in which two databases may differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lawful {
    /// The object: `MATERIALIZED VIEW app.totals`.
    pub object: String,
    /// What of it: `content`, `column order`.
    pub what: String,
    /// How it differs; nothing where it was not compared.
    #[serde(flatten)]
    pub change: Option<Change>,
    /// Why that is no damage.
    pub reason: &'static str,
}

impl Lawful {
    /// Says that it may also follow from exceptions that were declared.
    pub(super) fn follows_exceptions(&mut self) {
        self.reason = DECLARED;
    }
}

/// Returns what no dump holds; `passwords` says that those of the roles were compared all the same.
pub(super) fn in_no_dump(expected: &Fingerprint, passwords: bool) -> Vec<Lawful> {
    let mut list =
        vec![Lawful { object: "DATABASE".into(), what: "planner statistics".into(), change: None, reason: STATISTICS }];
    if expected.engine == Engine::Postgres && !passwords {
        list.push(Lawful { object: "ROLES".into(), what: "passwords".into(), change: None, reason: PASSWORDS });
    }
    let tables = expected.items.iter().filter(|i| i.aspect == Aspect::Definition && i.object.starts_with("TABLE "));
    for table in tables.filter(|_| expected.engine == Engine::Postgres) {
        let columns = generated(&table.value);
        if !columns.is_empty() {
            let what = format!("generated columns {}", columns.join(", "));
            list.push(Lawful { object: table.object.clone(), what, change: None, reason: GENERATED });
        }
    }
    list
}

/// Returns the columns of a CREATE TABLE, one to a line, whose values are computed and stored.
fn generated(definition: &str) -> Vec<&str> {
    let column = |line: &'_ str| {
        let (before, after) = line.split_once(" GENERATED ALWAYS AS (")?;
        let name = before.trim_start();
        let end = match name.strip_prefix('"') {
            Some(rest) => rest.find('"')? + 2,
            None => name.find(' ')?,
        };
        after.contains(") STORED").then_some((line.len() - line.trim_start().len(), end))
    };
    definition.lines().skip(1).filter_map(|l| column(l).and_then(|(at, end)| l.get(at..at + end))).collect()
}

/// Returns whether an item may lawfully differ, and the change, where both sides tell: an older backup may not.
pub(super) fn column_order(expected: &[Item], found: &[Item]) -> Vec<Lawful> {
    let of = |items: &'_ [Item]| -> BTreeMap<String, String> {
        let items = items.iter().filter(|item| item.aspect == Aspect::ColumnOrder);
        items.map(|item| (item.object.clone(), item.value.clone())).collect()
    };
    let mut found = of(found);
    let changed = of(expected).into_iter().filter_map(|(object, expected)| {
        let found = found.remove(&object).filter(|found| *found != expected)?;
        let change = Some(Change::Changed { expected, found });
        Some(Lawful { object, what: "column order".into(), change, reason: COLUMN_ORDER })
    });
    changed.collect()
}

/// What comparing the content of materialised views came to.
#[derive(Default)]
pub(super) struct Views {
    /// Those whose content differs.
    pub(super) differ: Vec<Lawful>,
    /// Those of which one side's content is not known, with the reason.
    pub(super) unknown: Vec<(String, String)>,
}

/// Compares the content of materialised views. That one side has no such view is told by its definition.
pub(super) fn views(expected: &Fingerprint, found: &Fingerprint) -> Views {
    let mut views = Views::default();
    let names: std::collections::BTreeSet<_> = expected.views.keys().chain(found.views.keys()).collect();
    for name in names {
        let object = format!("MATERIALIZED VIEW {name}");
        let why = match (expected.views.get(name), found.views.get(name)) {
            (Some(View::Content(a)), Some(View::Content(b))) if a == b => continue,
            (Some(View::Content(a)), Some(View::Content(b))) => {
                let (expected, found) = super::comparison::table_change(a, b);
                let change = Some(Change::Changed { expected, found });
                views.differ.push(Lawful { object, what: "content".into(), change, reason: REFRESHED });
                continue;
            }
            (Some(View::Unread(why)), _) | (_, Some(View::Unread(why))) => why.clone(),
            _ => "only one side says what it held".to_owned(),
        };
        views.unknown.push((format!("{object}: content"), why));
    }
    views
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_columns_are_found_by_name() {
        let text = "CREATE TABLE app.orders (\n    id bigint NOT NULL,\n    tax numeric GENERATED ALWAYS AS ((total * 0.2)) \
                    STORED,\n    \"We ird\" text GENERATED ALWAYS AS (lower(note)) STORED NOT NULL\n);";
        assert_eq!(generated(text), ["tax", "\"We ird\""]);
    }
}
