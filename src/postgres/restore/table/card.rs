//! The card of a table: all that belongs to it besides its rows, as the server itself tells it, each with the statement
//! that brings it about and the one that takes it away.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::postgres::Session;

/// One thing that belongs to a table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) kind: &'static Kind,
    pub(super) name: String,
    /// What decides whether two are equal.
    pub(super) value: String,
    /// The statements that bring it about.
    pub(super) make: String,
    /// The statements that take it away.
    pub(super) unmake: String,
}

/// A kind of thing.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) word: &'static str,
    pub(super) change: Change,
}

/// What it takes to make one thing equal to another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing does: it is the shape of the table.
    Shape,
    /// The statement that makes it says all of it.
    Set,
    /// It goes and is made anew.
    Remake,
    /// It goes always before rows are loaded, because it looks at rows that come or go, and is made anew after them.
    Always,
}

/// All things of a table, by kind and name.
pub(super) type Card = BTreeMap<(usize, String), Entry>;

/// Everything that belongs to a table, in the order in which it is made.
const KINDS: &[Kind] = &[
    kind("table", Change::Shape),
    kind("column", Change::Shape),
    kind("owner", Change::Set),
    kind("sequence", Change::Set),
    kind("default", Change::Set),
    kind("not null", Change::Set),
    kind("storage", Change::Set),
    kind("compression", Change::Set),
    kind("statistics target", Change::Set),
    kind("column options", Change::Remake),
    kind("options", Change::Remake),
    kind("tablespace", Change::Set),
    kind("constraint", Change::Remake),
    kind("index", Change::Remake),
    kind("index statistics target", Change::Remake),
    kind("replica identity", Change::Set),
    kind("cluster", Change::Set),
    kind("statistics", Change::Remake),
    kind("rule", Change::Remake),
    kind("policy", Change::Remake),
    kind("row security", Change::Set),
    kind("publication", Change::Remake),
    kind("grants", Change::Remake),
    kind("sequence grants", Change::Remake),
    kind("comment", Change::Remake),
    kind("label", Change::Remake),
    kind("trigger", Change::Always),
    kind("foreign key", Change::Always),
    kind(INCOMING, Change::Always),
];

const fn kind(word: &'static str, change: Change) -> Kind {
    Kind { word, change }
}

/// The questions, each behind `-- kind: ` and its word.
const QUESTIONS: &str = include_str!("card.sql");

/// The kind of foreign keys of other tables that refer to this one.
pub(super) const INCOMING: &str = "foreign key to it";

/// Since version 15 a publication may hold some columns and rows of a table.
const PARTS: &str = "|| coalesce((select ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')' \
                     from pg_attribute a where a.attrelid = r.prrelid and a.attnum = any(r.prattrs)), '') \
                     || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '')";

/// Returns the place of a kind in the order.
pub(super) fn rank(word: &str) -> usize {
    KINDS.iter().position(|kind| kind.word == word).unwrap_or(KINDS.len())
}

/// Returns the question for the things of a kind.
fn question(word: &str) -> &'static str {
    let mut parts = QUESTIONS.split("-- kind: ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.find(|(name, _)| *name == word).map_or("", |(_, sql)| sql.trim())
}

/// Reads the card of a table by its number, in one question: the table may be locked while we ask.
pub(super) async fn read(session: &Session, table: u32, version: u32) -> Result<Card> {
    let each = KINDS.iter().enumerate().map(|(rank, kind)| {
        let sql = question(kind.word).replace("/* PARTS */", if version >= 150_000 { PARTS } else { "" });
        format!("select {rank}, q.a::text, q.b::text, q.c::text, q.d::text from ({sql}) q(a, b, c, d)")
    });
    let sql = each.collect::<Vec<_>>().join(" union all ");
    let rows = session.client().query(&sql, &[&table]).await;
    let mut card = Card::new();
    for row in rows.map_err(|e| session.error("could not read what belongs to the table", &e))? {
        let text = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
        let rank = usize::try_from(row.get::<_, i32>(0)).unwrap_or(KINDS.len());
        let Some(kind) = KINDS.get(rank) else { continue };
        let entry = Entry { kind, name: text(1), value: text(2), make: text(3), unmake: text(4) };
        card.insert((rank, entry.name.clone()), entry);
    }
    Ok(card)
}

impl Entry {
    /// Names it for people.
    pub(super) fn shown(&self) -> String {
        if self.name.is_empty() { self.kind.word.to_owned() } else { format!("{} {}", self.kind.word, self.name) }
    }
}

/// Returns where two cards differ, for people; nothing where they are equal.
pub(super) fn differences(expected: &Card, found: &Card) -> Vec<String> {
    let mut told = Vec::new();
    for (key, entry) in expected {
        match found.get(key) {
            None => told.push(format!("{} is missing", entry.shown())),
            Some(other) if other.value != entry.value => {
                told.push(format!("{}: expected `{}`, found `{}`", entry.shown(), entry.value, other.value));
            }
            Some(_) => {}
        }
    }
    told.extend(
        found.iter().filter(|(key, _)| !expected.contains_key(*key)).map(|(_, e)| format!("{} is new", e.shown())),
    );
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_question_and_each_question_its_kind() {
        let without: Vec<_> = KINDS.iter().filter(|kind| !question(kind.word).contains("$1")).collect();
        assert!(without.is_empty(), "{without:?}");
        assert_eq!(QUESTIONS.matches("-- kind: ").count(), KINDS.len());
    }
}
