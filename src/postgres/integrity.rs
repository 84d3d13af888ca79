//! Integrity: every rule of a database is checked again, by reading its tables and not by trusting its indexes or flags.
//!
//! Each check is a statement of its own and holds nothing for longer. An index may be wrong, so no check may use one; a
//! flag says that a constraint was once valid, so the rows are asked again. What cannot be checked is said.

mod domains;
mod indexes;
mod keys;
mod states;
mod tables;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::lexer::quoted;
use super::session::database_error;
use super::{Access, Address, Session};
use crate::compare::Integrity;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Indexes may be wrong, rows that a policy hides would go unseen, and a slow check is still a check.
const SETTINGS: &str = "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; \
                        set row_security = off; set jit = off; set lock_timeout = '60s'";

/// The catalogues of older servers lack what is asked for.
const OLDEST: u32 = 120_000;

/// What to look at beside the rules of rows and keys.
#[derive(Debug, Clone, Copy)]
pub struct IntegrityOptions {
    /// Hold indexes against their tables, and look at the tables' pages.
    pub indexes: bool,
    /// The database is ours: PostgreSQL's own checker may be installed for the moment where it is missing.
    pub may_install: bool,
}

/// Checks a database's own rules. Nothing in it is changed.
pub async fn verify_integrity(address: &Address, options: IntegrityOptions, progress: &Progress) -> Result<Integrity> {
    let access = if options.may_install { Access::Writable } else { Access::ReadOnly };
    let session = Session::open(address, access).await?;
    let set = session.client().batch_execute(SETTINGS).await;
    set.map_err(|e| session.error("could not prepare the checks", &e))?;
    let identity = session.identity().await?;
    let version = identity.version_num;
    if version < OLDEST {
        return Err(Error::new(Kind::Usage, format!("verify_integrity cannot read PostgreSQL {}", identity.version))
            .on(address.to_string())
            .hint("it reads 12 and newer: restore a backup into a newer server and check that"));
    }
    let mut check = Check { session: &session, version, found: Integrity::default(), progress: progress.clone() };
    let tables = check.tables().await?;
    check.rows(&tables).await?;
    check.foreign_keys().await?;
    check.unique(&tables).await?;
    check.exclusions().await?;
    check.states().await?;
    if options.indexes {
        check.indexes(&tables, options.may_install).await?;
    } else {
        check.found.no_check("indexes against tables", "left out by `indexes: false`");
    }
    session.alive().await?;
    Ok(check.found)
}

/// One check of a database.
struct Check<'a> {
    session: &'a Session,
    version: u32,
    found: Integrity,
    progress: Progress,
}

/// A table, or anything else that holds rows.
struct Table {
    oid: u32,
    /// The full name, quoted where SQL would.
    name: String,
    /// The name as SQL takes it in any case.
    sql: String,
    /// `r` for tables, `m` for materialised views.
    kind: i8,
    /// Its rows must be within bounds.
    is_partition: bool,
    /// It lies in PostgreSQL's own kind of pages.
    heap: bool,
    /// How many rows were read; unknown until then.
    rows: std::cell::Cell<Option<i64>>,
}

/// Why a check gave no answer.
enum Trouble {
    /// The data themselves stand in the way.
    Broken(String),
    /// Something outside of them does.
    NotRun(String),
}

impl Check<'_> {
    async fn tables(&self) -> Result<Vec<Table>> {
        let sql = "select c.oid, n.nspname::text, c.relname::text, c.relkind, \
                   c.relispartition, c.relam = 2::oid \
                   from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                   where c.relkind in ('r', 'm') and c.relispopulated and n.nspname <> 'information_schema' \
                   and n.nspname !~ '^pg_(toast|temp|catalog)' order by 2, 3";
        let rows = self.query(sql, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| Table {
                oid: row.get(0),
                name: full_name(row.get(1), row.get(2)),
                sql: sql_name(row.get(1), row.get(2)),
                kind: row.get(3),
                is_partition: row.get(4),
                heap: row.get(5),
                rows: std::cell::Cell::new(None),
            })
            .collect())
    }

    /// Asks the catalogue; without an answer there is no check at all.
    async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let rows = self.session.client().query(sql, params).await;
        rows.map_err(|e| self.session.error("could not read the rules of the database", &e))
    }

    /// Asks for one row of numbers. The server's own words about damaged data are a finding; losing the server is an
    /// error.
    async fn numbers(&self, sql: &str) -> Result<Result<Vec<i64>, Trouble>> {
        match self.session.client().query_one(sql, &[]).await {
            Ok(row) => Ok(Ok((0..row.len()).map(|i| row.get(i)).collect())),
            Err(e) => self.trouble(&e).map(Err),
        }
    }

    /// Asks for the condition that the rows of a partition must fulfil.
    async fn bounds(&self, table: &Table) -> Result<Result<Option<String>, Trouble>> {
        let sql = "select pg_catalog.pg_get_partition_constraintdef($1)";
        match self.session.client().query_one(sql, &[&table.oid]).await {
            Ok(row) => Ok(Ok(row.get(0))),
            Err(e) => self.trouble(&e).map(Err),
        }
    }

    /// Asks for one number.
    async fn number(&self, sql: &str) -> Result<Result<i64, Trouble>> {
        Ok(self.numbers(sql).await?.map(|numbers| numbers[0]))
    }

    fn trouble(&self, error: &tokio_postgres::Error) -> Result<Trouble> {
        let Some(db) = error.as_db_error() else {
            return Err(self.session.error("the check was cut off", error));
        };
        let fatal = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
        if fatal.contains(db.code()) {
            return Err(self.session.error("the check was cut off", error));
        }
        let words = database_error("", error).causes().join(": ");
        let class = &db.code().code()[..2];
        let unknown = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_OBJECT];
        Ok(match class {
            // Data or index corrupted; a value that its own type refuses.
            "XX" | "22" | "58" => Trouble::Broken(words),
            _ if unknown.contains(db.code()) => {
                Trouble::Broken(format!("relies on a search_path, which a restore does not have: {words}"))
            }
            _ => Trouble::NotRun(words),
        })
    }

    /// Notes the answer of one check: how many rows break it.
    fn note(&mut self, object: &str, rule: &str, answer: Result<i64, Trouble>) {
        self.found.checks += 1;
        match answer {
            Ok(0) => {}
            Ok(rows) => {
                let breaks = if rows == 1 { "row breaks" } else { "rows break" };
                self.found.problem(object, format!("{rows} {breaks} {rule}"));
            }
            Err(Trouble::Broken(why)) => self.found.problem(object, format!("{rule} cannot be checked: {why}")),
            Err(Trouble::NotRun(why)) => self.found.could_not(format!("{object}: {rule}"), why),
        }
    }
}

/// Returns a name for people.
fn full_name(schema: &str, name: &str) -> String {
    super::copy::full_name(Some(schema), name)
}

/// Returns a name for SQL.
fn sql_name(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}
