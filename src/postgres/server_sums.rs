//! Row sums that the server computes: the same sums as those of pg_dump's text, and only numbers cross the network.
//!
//! What the server cannot or may not sum is left to pg_dump, which reads it or says why not. See
//! `docs/decisions/0019-the-server-can-hash.md`.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::selection::Selected;
use super::snapshot::Snapshot;
use super::stored::{self, Column, Stored};
use crate::compare::{Fingerprint, Hashed, RowSum, Table};
use crate::error::{Error, Kind, Result};

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

/// What the server summed.
#[derive(Default)]
pub(super) struct ServerSums {
    /// All tables, of which each must be summed or read.
    all: BTreeSet<String>,
    summed: BTreeMap<String, (Stored, Table)>,
    /// The tables that are left to pg_dump, and why.
    left: BTreeMap<String, String>,
}

/// Sums the rows of all tables in the snapshot, or only of the `selected` ones.
pub(super) async fn read(snapshot: &Snapshot, selected: &[Selected]) -> Result<ServerSums> {
    let mut sums = ServerSums::default();
    if snapshot.identity().version_num < stored::OLDEST {
        sums.left.insert("every table".into(), "the server is older than PostgreSQL 12".into());
        return Ok(sums);
    }
    let mut listed = stored::list(snapshot).await?;
    if !selected.is_empty() {
        let selected: BTreeSet<&str> = selected.iter().map(|table| table.name.as_str()).collect();
        listed.retain(|table| selected.contains(table.name.as_str()));
    }
    sums.all = listed.iter().map(|table| table.name.clone()).collect();
    let (children, mut tables): (Vec<_>, Vec<_>) = listed.into_iter().partition(|table| table.child);
    sums.leave(&children, "it is a child of another table, whose columns a restore may put in another order");
    if snapshot.source().encoding.as_deref() == Some("SQL_ASCII") {
        sums.leave(&tables, "the database has no encoding, so its server cannot write UTF-8");
        tables.clear();
    }
    let most = most(&tables);
    sums.leave(&tables[most..], "there are more tables than pg_dump can be told to leave");
    tables.truncate(most);
    if !tables.is_empty() {
        sums.of_tables(snapshot, tables).await?;
    }
    Ok(sums)
}

/// Returns how many of the tables pg_dump's arguments can name; the smallest are the last.
fn most(tables: &[Stored]) -> usize {
    let mut length = 0;
    let fits = |table: &&Stored| {
        length += table.pattern.len() + ARGUMENT;
        length <= ARGUMENTS
    };
    tables.iter().take_while(fits).count()
}

impl ServerSums {
    /// Returns the patterns of the tables that pg_dump is to leave out.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.summed.values().map(|(table, _)| table.pattern.clone()).collect()
    }

    /// Puts the sums to what the text of all else gave, and fails unless each table is in exactly one of the two.
    pub(super) fn join(self, print: &mut Fingerprint) -> Result<Hashed> {
        let wrong = |what: String| Err(Error::new(Kind::Bug, what).hint("compare with mode: \"client\""));
        stored::all_defined(self.summed.values().map(|(table, _)| table), print)?;
        let by_server = self.summed.keys().cloned().collect();
        for (name, (_, table)) in self.summed {
            if print.tables.insert(name.clone(), table).is_some() {
                return wrong(format!("the rows of table {name} were summed by the server and read as well"));
            }
        }
        if let Some(name) = self.all.iter().find(|name| !print.tables.contains_key(*name)) {
            return wrong(format!("the rows of table {name} were neither summed by the server nor read"));
        }
        Ok(Hashed { by_server, by_client: self.left })
    }

    /// Leaves tables to pg_dump.
    fn leave(&mut self, tables: &[Stored], why: &str) {
        self.left.extend(tables.iter().map(|table| (table.name.clone(), why.to_owned())));
    }

    async fn of_tables(&mut self, snapshot: &Snapshot, tables: Vec<Stored>) -> Result<()> {
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
            match sum(snapshot, &table.pattern, &table.columns).await? {
                Ok(summed) => drop(self.summed.insert(table.name.clone(), (table, summed))),
                Err(why) => self.leave(&[table], &why),
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
