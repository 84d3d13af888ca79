//! The tables whose rows pg_dump writes as their own, each under its own name: what may be read apart from the rest.

use std::collections::HashSet;

use tokio_postgres::Row;

use super::copy::full_name;
use super::lexer::quoted;
use super::snapshot::Snapshot;
use super::structure::object;
use super::toc::Entry;
use crate::compare::{Aspect, Fingerprint};
use crate::error::{Error, Kind, Result};

/// From this version on the catalogue can be asked in these words.
pub(super) const OLDEST: u32 = 120_000;

/// Left out are tables of extensions, of which a dump may hold some rows only; unlogged ones on a standby, which cannot read
/// them; and partitions by an enum's hash, whose rows pg_dump writes as those of the topmost table.
const LIST: &str = "select n.nspname::text, c.relname::text, pg_catalog.pg_table_size(c.oid), \
     not c.relispartition and exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid), \
     array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
           and not a.attisdropped and a.attgenerated = '' order by a.attnum), \
     array(select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
           and not a.attisdropped and a.attgenerated = '' order by a.attnum) \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where c.relkind = 'r' and c.relpersistence <> 't' \
     and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
     and not (c.relpersistence = 'u' and pg_catalog.pg_is_in_recovery()) \
     and not exists (select from pg_catalog.pg_partition_ancestors(c.oid) a \
     join pg_catalog.pg_partitioned_table p on p.partrelid = a.relid \
     where (select o.oid from pg_catalog.pg_opclass o join pg_catalog.pg_am m on m.oid = o.opcmethod \
            where o.opcname = 'enum_ops' and m.amname = 'hash' \
            and o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace) = any(p.partclass)) \
     and not exists (select from pg_catalog.pg_depend d where d.objsubid = 0 and d.deptype = 'e' \
     and (d.classid, d.objid) in (('pg_catalog.pg_class'::regclass, c.oid), \
     ('pg_catalog.pg_namespace'::regclass, n.oid))) \
     order by 3 desc, 1, 2";

/// A table whose rows pg_dump writes as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The full name as manifests write it.
    pub(super) name: String,
    /// A pattern that matches this table only, which is also its name in SQL.
    pub(super) pattern: String,
    /// Its definition, as fingerprints name it.
    pub(super) definition: String,
    /// What it takes on the server's disk, without indexes.
    pub(super) bytes: u64,
    /// It is a child of an inheritance: the order in which its columns are hashed is known from its definition alone.
    pub(super) child: bool,
    /// The columns that pg_dump writes, in their order.
    pub(super) columns: Vec<Column>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name.
    pub(super) name: String,
    /// The number of its type.
    pub(super) kind: u32,
}

/// Lists these tables, the largest first; none where the server is too old to tell.
pub(super) async fn list(snapshot: &Snapshot) -> Result<Vec<Stored>> {
    if snapshot.identity().version_num < OLDEST {
        return Ok(Vec::new());
    }
    let session = snapshot.session();
    let rows = session.client().query(LIST, &[]).await;
    let rows = rows.map_err(|e| session.error("could not list the tables with their columns", &e))?;
    Ok(rows.iter().map(stored).collect())
}

fn stored(row: &Row) -> Stored {
    let (schema, name): (&str, &str) = (row.get(0), row.get(1));
    let (names, kinds): (Vec<String>, Vec<u32>) = (row.get(4), row.get(5));
    Stored {
        name: full_name(Some(schema), name),
        pattern: format!("{}.{}", quoted(schema), quoted(name)),
        definition: definition(schema, name),
        bytes: u64::try_from(row.get::<_, Option<i64>>(2).unwrap_or_default()).unwrap_or_default(),
        child: row.get(3),
        columns: names.into_iter().zip(kinds).map(|(name, kind)| Column { name, kind }).collect(),
    }
}

/// Returns how fingerprints name the definition of a table: as they read it from pg_dump's comment, in which a line break is
/// a blank.
fn definition(schema: &str, name: &str) -> String {
    let line = |text: &str| text.replace(['\n', '\r'], " ");
    let comment = format!("-- Name: {}; Type: TABLE; Schema: {}; Owner: -", line(name), line(schema));
    Entry::parse(&comment).map_or_else(|| quoted(name), |entry| object("TABLE", &entry))
}

/// Fails unless a dump's text defines each of these tables, whose rows came from elsewhere: it may lack others, too.
pub(super) fn all_defined<'a>(tables: impl IntoIterator<Item = &'a Stored>, print: &Fingerprint) -> Result<()> {
    let definitions = print.items.iter().filter(|item| item.aspect == Aspect::Definition);
    let defined: HashSet<&str> = definitions.map(|item| item.object.as_str()).collect();
    match tables.into_iter().find(|table| !defined.contains(table.definition.as_str())) {
        None => Ok(()),
        Some(Stored { name, .. }) => Err(otherwise(name, format!("pg_dump wrote no definition of table {name}"))),
    }
}

/// Says that what was read apart does not fit the rest.
pub(super) fn otherwise(table: &str, sentence: String) -> Error {
    Error::new(Kind::Process, sentence)
        .on(table)
        .hint("run it again; if it stays, `dump` with jobs: 1 reads by one pg_dump alone")
}

#[cfg(test)]
impl Stored {
    /// Makes one of a schema `public`, without columns.
    pub(super) fn named(name: &str, bytes: u64) -> Self {
        Self {
            name: full_name(Some("public"), name),
            pattern: format!("public.{}", quoted(name)),
            definition: definition("public", name),
            bytes,
            child: false,
            columns: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Engine;

    #[test]
    fn a_definition_is_found_under_the_name_that_a_comment_of_pg_dump_has() {
        assert_eq!(definition("app", "t"), "TABLE app.t");
        assert_eq!(definition("app", "a\nb; Type: x"), "TABLE app.a b; Type: x");
        assert_eq!(definition("-", "-"), "TABLE -");
    }

    #[test]
    fn a_table_without_a_definition_is_named() {
        let mut print = Fingerprint::new(Engine::Postgres);
        print.add(Aspect::Definition, "TABLE public.t", "CREATE TABLE");
        print.add(Aspect::Owner, "TABLE public.u", "me");
        let [t, u] = [Stored::named("t", 0), Stored::named("u", 0)];
        assert!(all_defined([&t], &print).is_ok());
        let told = all_defined([&t, &u], &print).unwrap_err().to_string();
        assert!(told.contains("no definition of table public.u"), "{told}");
    }
}
