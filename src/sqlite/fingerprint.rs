//! What an SQLite database holds: every row by typed values, every definition, counters and properties.
//!
//! Content is what SQL can see and an application may rely on. Not content: page size, free pages, auto-vacuum and
//! journal mode (VACUUM or a pragma changes them without changing data), `sqlite_stat` tables (ANALYZE makes them), and
//! the rowid of a table that does not name it. A virtual table counts by its definition and by the ordinary tables in
//! which its module keeps the data.

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::connection::Database;
use super::failure::failed;
use super::row::encode;
use crate::compare::{Aspect, Engine, Fingerprint, RowSum, Table};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Returns what the database holds, all of it read in one snapshot. `progress` counts the values' bytes.
pub fn fingerprint(database: &Database, progress: &Progress, cancel: &CancellationToken) -> Result<Fingerprint> {
    let connection = database.connect(cancel)?;
    let reading = Reading { connection: &connection, database, progress, cancel };
    let failed = |e| failed("read", database.path(), &e);
    connection.execute_batch("begin").map_err(failed)?;
    let print = reading.all()?;
    connection.execute_batch("rollback").map_err(failed)?;
    Ok(print)
}

/// Returns how many references lead nowhere, as the fingerprint words it.
pub(super) fn broken_references(database: &Database, cancel: &CancellationToken) -> Result<String> {
    let connection = database.connect(cancel)?;
    Reading { connection: &connection, database, progress: &Progress::default(), cancel }.broken_references()
}

/// One row of `sqlite_schema`.
struct Object {
    kind: String,
    name: String,
    sql: Option<String>,
    /// A virtual table has no page of its own.
    virtual_table: bool,
}

struct Reading<'a> {
    connection: &'a Connection,
    database: &'a Database,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Reading<'_> {
    fn all(&self) -> Result<Fingerprint> {
        let mut print = Fingerprint::new(Engine::Sqlite);
        for object in self.objects()? {
            if object.name == "sqlite_sequence" {
                self.sequences(&mut print)?;
            }
            // SQLite's own tables and the indexes behind constraints.
            if object.name.starts_with("sqlite_") {
                continue;
            }
            let name = quoted(&object.name);
            if object.kind == "table" && !object.virtual_table {
                print.tables.insert(name.clone(), self.table(&object.name)?);
            }
            let label = format!("{} {name}", object.kind.to_uppercase());
            print.add(Aspect::Definition, label, object.sql.unwrap_or_default());
        }
        for property in ["user_version", "application_id", "encoding"] {
            let value: String = self.one(&format!("select cast({property} as text) from pragma_{property}"))?;
            print.add(Aspect::Property, property, value);
        }
        print.add(Aspect::Property, "foreign_key_check", self.broken_references()?);
        print.items.sort();
        Ok(print)
    }

    fn objects(&self) -> Result<Vec<Object>> {
        let sql = "select type, name, sql, ifnull(rootpage, 0) = 0 from sqlite_schema order by type, name";
        self.rows(sql, |row| {
            Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)?, virtual_table: row.get(3)? })
        })
    }

    /// Sums the rows of one table, read from the table itself and never from an index that may disagree with it.
    fn table(&self, table: &str) -> Result<Table> {
        let columns = data_columns(self.connection, table).map_err(|e| self.failed(&e))?;
        let list: Vec<_> = columns.iter().map(|c| always_quoted(c)).collect();
        let sql = format!("select {} from {} not indexed", list.join(", "), always_quoted(table));
        let failed = |e: rusqlite::Error| failed(&format!("read table {} of", quoted(table)), self.database.path(), &e);
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        let (mut count, mut sum, mut bytes) = (0u64, RowSum::default(), Vec::new());
        while let Some(row) = rows.next().map_err(failed)? {
            encode(row, columns.len(), &mut bytes).map_err(failed)?;
            sum.add_row(&bytes);
            count += 1;
            self.progress.add(bytes.len() as u64);
            if count.is_multiple_of(1024) {
                crate::files::go_on(self.cancel, "reading the database")?;
            }
        }
        Ok(Table { rows: count, sum, columns })
    }

    fn sequences(&self, print: &mut Fingerprint) -> Result<()> {
        let sql = "select cast(name as text), cast(seq as text) from sqlite_sequence order by 1, 2";
        let states: Vec<(String, Option<String>)> = self.rows(sql, |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (table, state) in states {
            print.add(Aspect::Sequence, format!("TABLE {}", quoted(&table)), state.unwrap_or_else(|| "null".into()));
        }
        Ok(())
    }

    /// Returns how many references lead nowhere. SQLite does not enforce them by default, so a healthy application can
    /// have some: a copy must have as many.
    fn broken_references(&self) -> Result<String> {
        match self.one::<i64>("select count(*) from pragma_foreign_key_check") {
            Ok(count) => Ok(format!("{count} violations")),
            Err(e) if e.kind() == Kind::Database => Ok("not possible: a foreign key does not fit its parent".into()),
            Err(e) => Err(e),
        }
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> Result<T> {
        self.connection.query_row(sql, (), |row| row.get(0)).map_err(|e| self.failed(&e))
    }

    fn rows<T>(&self, sql: &str, read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare(sql).map_err(|e| self.failed(&e))?;
        let rows = statement.query_map((), read).map_err(|e| self.failed(&e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| self.failed(&e))
    }

    fn failed(&self, cause: &rusqlite::Error) -> Error {
        failed("read", self.database.path(), cause)
    }
}

/// Returns the columns that hold data: a virtual generated column holds none.
pub(super) fn data_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = format!("select name from pragma_table_xinfo({}) where hidden in (0, 3) order by cid", literal(table));
    connection.prepare(&sql)?.query_map((), |row| row.get(0))?.collect()
}

/// Returns a name as reports show it: bare where SQL takes it so.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { always_quoted(name) }
}

pub(super) fn always_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
