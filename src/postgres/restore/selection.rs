//! A restore of some tables: with their partitions, indexes, keys, sequences and grants, and without the others.
//!
//! All definitions are made first and the others dropped at the end with what depends on them: only the server knows
//! what that is.

use std::collections::BTreeSet;

use super::survey::{Survey, Unit};
use crate::error::{Error, Kind, Result};
use crate::postgres::copy::full_name;
use crate::postgres::{Session, lexer};

/// The selected tables and the others.
pub(super) struct Selection {
    tables: BTreeSet<String>,
    /// What is dropped at the end: the kind of table and its name for a statement.
    others: Vec<(&'static str, String)>,
}

/// Every table with its parent, quoted for statements.
const TABLES: &str = "select n.nspname::text, c.relname::text, pn.nspname::text, pc.relname::text, c.relkind = 'f' \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    left join pg_catalog.pg_inherits i on i.inhrelid = c.oid \
    left join pg_catalog.pg_class pc on pc.oid = i.inhparent \
    left join pg_catalog.pg_namespace pn on pn.oid = pc.relnamespace \
    where c.relkind in ('r', 'p', 'f') and n.nspname not in ('pg_catalog', 'information_schema') \
    and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e')";

impl Selection {
    /// Finds the tables that were asked for in the new database, with the partitions and children below them.
    pub(super) async fn find(asked: &[String], session: &Session) -> Result<Self> {
        let rows = session.client().query(TABLES, &[]).await;
        let rows = rows.map_err(|e| session.error("could not list the tables", &e))?;
        let mut parents = Vec::new();
        let mut all = Vec::new();
        for row in &rows {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let table = full_name(Some(&schema), &name);
            if let (Some(schema), Some(name)) = (row.get::<_, Option<String>>(2), row.get::<_, Option<String>>(3)) {
                parents.push((table.clone(), full_name(Some(&schema), &name)));
            }
            let kind = if row.get(4) { "FOREIGN TABLE" } else { "TABLE" };
            all.push((table, (kind, format!("{}.{}", lexer::quoted(&schema), lexer::quoted(&name)))));
        }
        let mut tables = BTreeSet::new();
        for name in asked {
            tables.insert(resolve(name, &all)?);
        }
        while let Some((child, _)) = parents.iter().find(|(c, p)| tables.contains(p) && !tables.contains(c)) {
            tables.insert(child.clone());
        }
        if let Some((child, parent)) = parents.iter().find(|(c, p)| tables.contains(c) && !tables.contains(p)) {
            return Err(Error::new(Kind::Usage, format!("could not restore {child} without its parent {parent}"))
                .on(child)
                .hint(format!("select {parent}, which brings its parts")));
        }
        let others = all.into_iter().filter(|(table, _)| !tables.contains(table)).map(|(_, other)| other).collect();
        Ok(Self { tables, others })
    }

    /// Returns the selected tables.
    pub(super) fn tables(&self) -> &BTreeSet<String> {
        &self.tables
    }

    /// Drops the tables that were not asked for, with what depends on them.
    pub(super) async fn drop_others(&self, session: &Session) -> Result<()> {
        // The dump's own event triggers are not meant for us.
        let mut statements = "SET session_replication_role = replica;\n".to_owned();
        for (kind, table) in &self.others {
            // A part is gone with its parent.
            statements.push_str(&format!("DROP {kind} IF EXISTS {table} CASCADE;\n"));
        }
        statements.push_str("RESET session_replication_role");
        let dropped = session.client().batch_execute(&statements).await;
        dropped.map_err(|e| session.error("could not leave out the other tables", &e))
    }
}

/// Finds a table by its full name or, where only one schema has it, by its bare name.
pub(super) fn resolve<T>(name: &str, all: &[(String, T)]) -> Result<String> {
    if let Some((table, _)) = all.iter().find(|(table, _)| table == name) {
        return Ok(table.clone());
    }
    let bare: Vec<&String> = all
        .iter()
        .map(|(table, _)| table)
        .filter(|t| t.rsplit_once('.').is_some_and(|(_, bare)| bare == name))
        .collect();
    if let [table] = bare[..] {
        return Ok(table.clone());
    }
    let near = all
        .iter()
        .map(|(t, _)| t)
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let error = Error::new(Kind::Missing, format!("the dump holds no table {name}")).on(name);
    Err(match near {
        Some(near) => error.hint(format!("did you mean {near}? Where several schemas have it, write schema.table")),
        None => error,
    })
}

/// Makes what a dump of some tables leaves out and its tables stand in: their schemas.
pub(super) async fn make_schemas(survey: &Survey, session: &Session) -> Result<()> {
    let schema = |name: &String| format!("CREATE SCHEMA IF NOT EXISTS {};\n", lexer::quoted(name));
    let made = session.client().batch_execute(&survey.schemas.iter().map(schema).collect::<String>()).await;
    made.map_err(|e| session.error("could not make the schemas of the dump's tables", &e))
}

/// Splits the units after the data into those to run and the names of those that cannot hold: keys from a selected
/// table to one that was not selected.
pub(super) fn split<'a>(units: &'a [Unit], tables: Option<&BTreeSet<String>>) -> (Vec<&'a Unit>, Vec<String>) {
    let Some(tables) = tables else { return (units.iter().collect(), Vec::new()) };
    let selected = |table: &String| tables.contains(table);
    let dangles = |unit: &&Unit| {
        let tables = unit.tables();
        unit.kind == "FK CONSTRAINT" && tables.first().is_some_and(selected) && !tables.iter().all(selected)
    };
    let (dangling, whole): (Vec<&Unit>, Vec<&Unit>) = units.iter().partition(dangles);
    (whole, dangling.into_iter().map(|unit| unit.shown.clone()).collect())
}
