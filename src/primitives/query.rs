//! `query`: asks a database.

use rhai::{Array, Dynamic};
use serde_json::Value;

use super::handles::Database;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::postgres::{self, Access};
use crate::rows::Row;
use crate::script::{from_json, to_json};
use crate::sqlite;

pub(super) const QUERY: Primitive = Primitive {
    name: "query",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["query(database: Database, sql: string, params?: array) -> array"],
    manual: r#"
Asks a database and returns the rows as a list of maps.

It never writes: the statement runs read-only, one at a time. Parameters stand as `$1` in PostgreSQL and `?1` in SQLite.
NULL is `()`. A whole numeric is an integer, another one a float where that is exact, else a text; dates, times and
bytes are texts. More than 100,000 rows are data, not an answer: count them in the database.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    execute(db, "insert into users (name) values ('ada'), ('grace')");
    let rows = query(db, "select id, name from users where name = ?1", ["ada"]);
    check_eq("one row", rows, [#{ id: 1, name: "ada" }]);
});
```
"#,
    work: |call| {
        let rows = ask(call)?;
        Ok(rows.into_iter().map(|row| from_json(Value::Object(row))).collect::<Array>().into())
    },
};

/// Runs the call's query.
pub(super) fn ask(call: &Call) -> Result<Vec<Row>> {
    let database: Database = call.handle(0, "a Database")?;
    let sql = call.text(1)?;
    let params: Vec<Value> = match call.any(2) {
        none if none.is_unit() => Vec::new(),
        _ => call.list(2)?.iter().map(to_json).collect(),
    };
    match database {
        Database::Postgres(database) => call.wait(postgres::query(&database.address, Access::ReadOnly, &sql, &params)),
        Database::Sqlite(database, _) => {
            let reading = database.with_access(sqlite::Access::ReadOnly);
            call.on_thread(move |cancel| sqlite::query(&reading, &sql, &params, cancel))
        }
    }
}

/// Returns the first value of a row.
pub(super) fn first_value(row: Row) -> Dynamic {
    row.into_iter().next().map_or(Dynamic::UNIT, |(_, value)| from_json(value))
}
