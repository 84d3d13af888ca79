//! Integrity: SQLite's own checks of pages, indexes, NOT NULL, CHECK and UNIQUE, and of every foreign key.

use tokio_util::sync::CancellationToken;

use super::connection::Database;
use super::failure::failed;
use crate::compare::Integrity;
use crate::error::Result;

/// Checks a database's own rules. Nothing in it is changed.
pub fn verify_integrity(database: &Database, cancel: &CancellationToken) -> Result<Integrity> {
    let connection = database.connect(cancel)?;
    let failed = |e| failed("check", database.path(), &e);
    let mut found = Integrity { checks: 2, ..Integrity::default() };
    let texts = |sql: &str| -> Result<Vec<(String, String)>> {
        let mut statement = connection.prepare(sql).map_err(failed)?;
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    };
    // It lists a hundred faults and no more.
    for (_, text) in texts("select '', integrity_check from pragma_integrity_check")? {
        if text != "ok" {
            found.problem("DATABASE", text);
        }
    }
    let orphans = "select \"table\", count(*) || ' rows break FOREIGN KEY to ' || parent from pragma_foreign_key_check \
                   group by \"table\", parent, fkid";
    for (table, what) in texts(orphans)? {
        found.problem(format!("TABLE {table}"), what);
    }
    for (table, _) in texts("select name, '' from sqlite_schema where type = 'table' and rootpage > 0")? {
        let count = format!("select count(*) from \"{}\" not indexed", table.replace('"', "\"\""));
        let rows: i64 = connection.query_row(&count, (), |row| row.get(0)).map_err(failed)?;
        found.tables += 1;
        found.rows += rows.unsigned_abs();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(database: &Database) -> Integrity {
        verify_integrity(database, &CancellationToken::new()).unwrap()
    }

    #[test]
    fn an_orphan_and_a_broken_check_are_named_and_a_sound_database_is_sound() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(&folder.path().join("shop.db")).unwrap();
        // As another program would write, which keeps no rule.
        let writer = rusqlite::Connection::open(database.path()).unwrap();
        let run = |sql: &str| writer.execute_batch(sql).unwrap();
        run("pragma foreign_keys = off; pragma ignore_check_constraints = on");
        run("create table users (id integer primary key); create table orders (id integer primary key, \
             user integer references users (id), total integer check (total > 0)); \
             insert into users values (1); insert into orders values (1, 1, 5)");
        let found = look(&database);
        assert!(found.sound(), "{}", found.summary());
        assert_eq!((found.tables, found.rows), (2, 2));
        run("insert into orders values (2, 9, 5)");
        assert_eq!(look(&database).problems[0].to_string(), "TABLE orders: 1 rows break FOREIGN KEY to users");
        run(
            "delete from orders where id = 2; pragma ignore_check_constraints = on; insert into orders values (3, 1, -5)",
        );
        let text = look(&database).summary();
        assert!(text.contains("CHECK constraint failed in orders"), "{text}");
    }
}
