//! Row sums that the server computes: the same sums as those of pg_dump's text, and only numbers cross the network.
//!
//! What the server cannot or may not sum is left to pg_dump, which reads it or says why not. See
//! `docs/decisions/0019-the-server-can-hash.md`.

mod line;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use self::line::Column;
use super::copy::full_name;
use super::lexer::quoted;
use super::selection::{self, Apart, Selected};
use super::snapshot::Snapshot;
use super::structure::object;
use super::toc::Entry;
use crate::compare::{Aspect, Fingerprint, Hashed, RowSum, Table};
use crate::error::{Error, Kind, Result};

/// From this version on the catalogue tells generated columns, which pg_dump leaves out. `sha256` is a year older.
const OLDEST: u32 = 120_000;
/// A program takes so many bytes of arguments and more on every system.
const ARGUMENTS: usize = 100 << 10;
/// What stands before each pattern, and the byte behind it.
const ARGUMENT: usize = "--exclude-table-data=".len() + 1;

/// Everything is taken back at the end: the locks, so that nobody waits for them while pg_dump waits for somebody else, and
/// the settings. These are pg_dump's own, most of which the session has already; a policy that would hide rows is an error,
/// and a long expression is not worth compiling.
const BEGIN: &str = "savepoint sums; \
     set local search_path = ''; set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; \
     set local timezone = 'UTC'; set local extra_float_digits = 3; set local bytea_output = 'hex'; \
     set local quote_all_identifiers = off; set local jit = off; \
     set local row_security = off; set local statement_timeout = 0; set local lock_timeout = '60s'";

/// Lets a server that can tell notice soon when we are gone. Some systems know the setting and refuse it.
const WATCH: &str = "savepoint one; select pg_catalog.set_config(name, '2s', true) from pg_catalog.pg_settings \
     where name = 'client_connection_check_interval'";

/// Takes back what was done since `savepoint one`.
const BACK: &str = "rollback to one; release one";

/// The tables whose rows pg_dump writes wherever their schema is not an extension's. A standby cannot read unlogged ones, and
/// pg_dump leaves them out there; the rows of partitions by an enum's hash it writes as those of the topmost table.
const LIST: &str = "select n.nspname::text, c.relname::text, \
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
     ('pg_catalog.pg_namespace'::regclass, n.oid)))";

/// What the server summed.
#[derive(Default)]
pub(super) struct ServerSums {
    /// All tables, of which each must be summed or read.
    all: BTreeSet<String>,
    summed: BTreeMap<String, Summed>,
    /// The tables that are left to pg_dump, and why.
    left: BTreeMap<String, String>,
}

struct Summed {
    table: Table,
    /// A pattern that matches this table only.
    pattern: String,
    /// Its definition, as fingerprints name it.
    object: String,
}

/// A table that is there to be summed.
struct Listed {
    schema: String,
    name: String,
    columns: Vec<Column>,
}

/// Sums the rows of all tables in the snapshot, or only of the `selected` ones.
pub(super) async fn read(snapshot: &Snapshot, selected: &[Selected]) -> Result<ServerSums> {
    let mut sums = ServerSums::default();
    if snapshot.identity().version_num < OLDEST {
        // Its catalogue cannot even be asked in the same words.
        sums.leave([&"every table".to_owned()], "the server is older than PostgreSQL 12");
        return Ok(sums);
    }
    let mut listed = list(snapshot).await?;
    if !selected.is_empty() {
        let selected: BTreeSet<&str> = selected.iter().map(|table| table.name.as_str()).collect();
        listed.retain(|name, _| selected.contains(name.as_str()));
    }
    sums.all = listed.keys().cloned().collect();
    let mut tables = selection::apart(snapshot).await?;
    tables.retain(|table| listed.contains_key(&table.name));
    tables.sort_by_key(|table| Reverse(table.bytes));
    if snapshot.source().encoding.as_deref() == Some("SQL_ASCII") {
        tables.clear();
        sums.leave(listed.keys(), "the database has no encoding, so its server cannot write UTF-8");
    }
    let most = most(&tables);
    sums.leave(
        tables[most..].iter().map(|table| &table.name),
        "there are more tables than pg_dump can be told to leave",
    );
    tables.truncate(most);
    if !tables.is_empty() {
        sums.of_tables(snapshot, &tables, &listed).await?;
    }
    let left: Vec<&String> = listed.keys().filter(|name| !sums.summed.contains_key(*name)).collect();
    sums.leave(left, "it is a child of another table, whose columns a restore may put in another order");
    Ok(sums)
}

async fn list(snapshot: &Snapshot) -> Result<BTreeMap<String, Listed>> {
    let session = snapshot.session();
    let rows = session.client().query(LIST, &[]).await;
    let rows = rows.map_err(|e| session.error("could not list the tables with their columns", &e))?;
    let listed = |row: &Row| {
        let (names, kinds): (Vec<String>, Vec<u32>) = (row.get(2), row.get(3));
        let columns = names.into_iter().zip(kinds).map(|(name, kind)| Column { name, kind }).collect();
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        (full_name(Some(&schema), &name), Listed { schema, name, columns })
    };
    Ok(rows.iter().map(listed).collect())
}

/// Returns how many of the tables pg_dump's arguments can name; the smallest are the last.
fn most(tables: &[Apart]) -> usize {
    let mut length = 0;
    let fits = |table: &&Apart| {
        length += table.pattern.len() + ARGUMENT;
        length <= ARGUMENTS
    };
    tables.iter().take_while(fits).count()
}

impl ServerSums {
    /// Returns the patterns of the tables that pg_dump is to leave out.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.summed.values().map(|summed| summed.pattern.clone()).collect()
    }

    /// Puts the sums to what the text of all else gave, and fails unless each table is in exactly one of the two.
    pub(super) fn join(self, print: &mut Fingerprint) -> Result<Hashed> {
        let wrong = |what: String| Err(Error::new(Kind::Bug, what).hint("compare with mode: \"client\""));
        let defined: BTreeSet<&str> =
            print.items.iter().filter(|i| i.aspect == Aspect::Definition).map(|i| i.object.as_str()).collect();
        for (name, summed) in &self.summed {
            if print.tables.contains_key(name) {
                return wrong(format!("the rows of table {name} were summed by the server and read as well"));
            }
            if !defined.contains(summed.object.as_str()) {
                return wrong(format!("the server summed table {name}, which the dump does not define"));
            }
        }
        let by_server = self.summed.keys().cloned().collect();
        print.tables.extend(self.summed.into_iter().map(|(name, summed)| (name, summed.table)));
        if let Some(name) = self.all.iter().find(|name| !print.tables.contains_key(*name)) {
            return wrong(format!("the rows of table {name} were neither summed by the server nor read"));
        }
        Ok(Hashed { by_server, by_client: self.left })
    }

    /// Leaves tables to pg_dump. The first reason stays.
    fn leave<'a>(&mut self, tables: impl IntoIterator<Item = &'a String>, why: &str) {
        for name in tables {
            self.left.entry(name.clone()).or_insert_with(|| why.to_owned());
        }
    }

    async fn of_tables(
        &mut self,
        snapshot: &Snapshot,
        tables: &[Apart],
        listed: &BTreeMap<String, Listed>,
    ) -> Result<()> {
        let session = snapshot.session();
        let failed = |e: tokio_postgres::Error| session.error("could not let the server hash the rows", &e);
        let client = session.client();
        client.batch_execute(BEGIN).await.map_err(failed)?;
        let watched = client.batch_execute(WATCH).await.is_ok();
        client.batch_execute(if watched { "release one" } else { BACK }).await.map_err(failed)?;
        // All at once, as pg_dump does: from here on nobody can empty or rewrite one of them unseen.
        let only: Vec<String> = tables.iter().map(|table| format!("only {}", table.pattern)).collect();
        let lock = format!("lock table {} in access share mode", only.join(", "));
        client.batch_execute(&lock).await.map_err(failed)?;
        for table in tables {
            let Some(Listed { schema, name, columns }) = listed.get(&table.name) else { continue };
            match sum(snapshot, &table.pattern, columns).await? {
                Ok(summed) => {
                    let (pattern, object) = (table.pattern.clone(), definition(schema, name));
                    self.summed.insert(table.name.clone(), Summed { table: summed, pattern, object });
                }
                Err(why) => self.leave([&table.name], &why),
            }
        }
        client.batch_execute("rollback to sums; release sums").await.map_err(failed)
    }
}

/// Sums one table; where the server cannot, says why.
async fn sum(snapshot: &Snapshot, table: &str, columns: &[Column]) -> Result<Result<Table, String>> {
    let session = snapshot.session();
    let failed = |e: &tokio_postgres::Error| session.error(format!("could not let the server hash {table}"), e);
    let client = session.client();
    client.batch_execute("savepoint one").await.map_err(|e| failed(&e))?;
    let summed = client.query_one(&statement(table, columns), &[]).await;
    if let Err(e) = &summed
        && is_end(e)
    {
        return Err(failed(e));
    }
    // Works also after an error, which the savepoint keeps from the snapshot; a connection that is gone fails here.
    client.batch_execute(BACK).await.map_err(|e| failed(&e))?;
    let row = match summed {
        Ok(row) => row,
        Err(e) => {
            return Ok(Err(e.as_db_error().map_or_else(|| e.to_string(), |db| db.message().to_owned())));
        }
    };
    let columns = columns.iter().map(|column| column.name.clone()).collect();
    match numbers(&row) {
        Some((rows, bytes)) => Ok(Ok(Table { rows, sum: RowSum::of_byte_sums(&bytes), columns })),
        None => Err(Error::new(Kind::Database, format!("the server's sums of {table} are none"))),
    }
}

/// Returns whether the server ends what we do, by a timeout, a request or its own end: pg_dump would fare no better.
fn is_end(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::LOCK_NOT_AVAILABLE || code.code().starts_with("57"),
        None => true,
    }
}

/// Returns the statement that counts a table's rows and sums the bytes of their digests by place.
///
/// `once` is never read. It keeps the planner from putting the digest's expression into each of the sums, which would hash
/// each row 32 times; a LIMIT would do that, too, but keep the server's parallel workers away.
fn statement(table: &str, columns: &[Column]) -> String {
    let line = line::line(columns);
    let sums: Vec<String> =
        (0..32).map(|i| format!("coalesce(pg_catalog.sum(pg_catalog.get_byte(digest, {i})), 0)")).collect();
    format!(
        "select pg_catalog.count(*), array[{}] from \
         (select pg_catalog.sha256(pg_catalog.convert_to({line}, 'UTF8')) as digest, \
         pg_catalog.clock_timestamp() as once from only {table} as t) as hashed",
        sums.join(", ")
    )
}

fn numbers(row: &Row) -> Option<(u64, [u64; 32])> {
    let rows = u64::try_from(row.try_get::<_, i64>(0).ok()?).ok()?;
    let sums: Vec<i64> = row.try_get(1).ok()?;
    let sums: Vec<u64> = sums.into_iter().map(u64::try_from).collect::<Result<_, _>>().ok()?;
    Some((rows, sums.try_into().ok()?))
}

/// Returns how fingerprints name the definition of a table: as they read it from pg_dump's comment, in which a line break is
/// a blank.
fn definition(schema: &str, name: &str) -> String {
    let line = |text: &str| text.replace(['\n', '\r'], " ");
    let comment = format!("-- Name: {}; Type: TABLE; Schema: {}; Owner: -", line(name), line(schema));
    Entry::parse(&comment).map_or_else(|| quoted(name), |entry| object("TABLE", &entry))
}
