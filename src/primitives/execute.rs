//! `execute`: changes a database of this run.

use super::handles::Database;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::postgres::{self, Access};
use crate::sqlite;

pub(super) const EXECUTE: Primitive = Primitive {
    name: "execute",
    group: Group::Primitives,
    effect: Effect::Writes(|call| Ok(format!("would run in {}: {}", call.shown(0), first_line(&call.shown(1))))),
    signatures: &["execute(database: Database, sql: string) -> int"],
    manual: r#"
Runs a statement that changes a database and returns how many rows it touched.

Only a database of a sandbox, a scratch database, or one that was opened with `writable: true` and is neither protected
nor a source of this run can be changed.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    check_eq("inserted", execute(db, "insert into users (name) values ('ada'), ('grace')"), 2);
});
```
"#,
    work: |call| Ok(execute(call)?.cast_signed().into()),
};

fn execute(call: &Call) -> Result<u64> {
    let database: Database = call.handle(0, "a Database")?;
    let sql = call.text(1)?;
    database.may_write(&call.run().guard)?;
    match database {
        Database::Postgres(database) => call.wait(postgres::execute(&database.address, Access::Writable, &sql)),
        Database::Sqlite(database, _) => {
            let writing = database.with_access(sqlite::Access::Writable);
            call.on_thread(move |cancel| sqlite::execute(&writing, &sql, cancel))
        }
    }
}

fn first_line(sql: &str) -> String {
    let mut lines = sql.lines().map(str::trim).filter(|l| !l.is_empty());
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { format!("{first} …") } else { first }
}
