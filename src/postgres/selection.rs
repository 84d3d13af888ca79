//! Which tables a dump is asked for: names that people write, resolved to tables that exist.

use super::copy::full_name;
use super::lexer::{Token, quoted, tokens, unquoted};
use super::snapshot::Snapshot;
use crate::error::{Error, Kind, Result};

/// Resolves names like `orders`, `app.orders` or `"We ird".t` to full names and adds the partitions and children of each,
/// without which a partitioned table has no rows. Returns what pg_dump takes as a pattern, with the full name.
pub(super) async fn resolve(snapshot: &Snapshot, wanted: &[String]) -> Result<Vec<Selected>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known = known(snapshot).await?;
    let mut selected: Vec<&Relation> = Vec::new();
    for text in wanted {
        let mut found = vec![one(&known, text)?];
        while let Some(table) = found.pop() {
            found.extend(known.iter().filter(|other| other.parents.contains(&table.oid)));
            if !selected.iter().any(|other| other.oid == table.oid) {
                selected.push(table);
            }
        }
    }
    Ok(selected.into_iter().map(Relation::selected).collect())
}

/// Returns what pg_dump takes as a pattern for the one table with this full name.
pub(super) fn pattern(full_name: &str) -> Result<String> {
    let (schema, name) = names(full_name)?;
    Ok(schema.map_or(String::new(), |schema| quoted(&schema) + ".") + quoted(&name).as_str())
}

/// A table that a dump is asked for.
pub(super) struct Selected {
    /// The full name as manifests write it.
    pub(super) name: String,
    /// A pattern that matches this table only.
    pub(super) pattern: String,
}

struct Relation {
    oid: u32,
    schema: String,
    name: String,
    parents: Vec<u32>,
}

impl Relation {
    fn full_name(&self) -> String {
        full_name(Some(&self.schema), &self.name)
    }

    fn selected(&self) -> Selected {
        Selected { name: self.full_name(), pattern: format!("{}.{}", quoted(&self.schema), quoted(&self.name)) }
    }
}

async fn known(snapshot: &Snapshot) -> Result<Vec<Relation>> {
    let session = snapshot.session();
    let rows = session
        .client()
        .query(
            "select c.oid, n.nspname::text, c.relname::text, \
             array(select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid) \
             from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
            &[],
        )
        .await
        .map_err(|e| session.error("could not list the tables", &e))?;
    let relation = |row: &tokio_postgres::Row| Relation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        parents: row.get(3),
    };
    Ok(rows.iter().map(relation).collect())
}

fn one<'a>(known: &'a [Relation], text: &str) -> Result<&'a Relation> {
    let (schema, name) = names(text)?;
    let mut found =
        known.iter().filter(|table| table.name == name && schema.as_ref().is_none_or(|schema| *schema == table.schema));
    match (found.next(), found.next()) {
        (Some(table), None) => Ok(table),
        (Some(a), Some(b)) => Err(Error::new(Kind::Usage, format!("several schemas have a table {text}"))
            .hint(format!("write {} or {}", a.full_name(), b.full_name()))),
        (None, _) => {
            let error = Error::new(Kind::Missing, format!("there is no table {text}"));
            let like = |table: &&Relation| {
                let full = table.full_name();
                (strsim::jaro_winkler(&full, text).max(strsim::jaro_winkler(&table.name, text)) * 1000.0) as u32
            };
            match known.iter().max_by_key(like) {
                Some(near) => Err(error.hint(format!("did you mean {}?", near.full_name()))),
                None => Err(error.hint("the database has no tables")),
            }
        }
    }
}

fn names(text: &str) -> Result<(Option<String>, String)> {
    match tokens(text, false).as_slice() {
        [(Token::Word | Token::Quoted, name)] => Ok((None, unquoted(name))),
        [(Token::Word | Token::Quoted, schema), (_, "."), (Token::Word | Token::Quoted, name)] => {
            Ok((Some(unquoted(schema)), unquoted(name)))
        }
        _ => Err(Error::new(Kind::Usage, format!("{text} is no name of a table"))
            .hint("write table or schema.table, in double quotes where SQL needs them")),
    }
}
