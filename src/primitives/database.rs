//! `database`: a database of a server.

use rhai::Dynamic;

use super::handles::{Database, PostgresDatabase, Sandbox, Server, Standing};
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::sqlite;

pub(super) const DATABASE: Primitive = Primitive {
    name: "database",
    group: Group::Databases,
    effect: Effect::Reads,
    signatures: &["database(server: Server, name: string) -> Database"],
    manual: r#"
Returns a database of a sandbox: `server.database("orders")`.

A PostgreSQL database must be there ("postgres" always is); a SQLite one is created when it is not.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    check_eq("engine", db.engine, "sqlite");
});
```
"#,
    work: |call| Ok(Dynamic::from(database(call)?)),
};

fn database(call: &Call) -> Result<Database> {
    let server: Server = call.handle(0, "a Server")?;
    let name = call.text(1)?;
    match server.postgres_address(&name)? {
        Some(address) => Ok(Database::Postgres(call.wait(PostgresDatabase::open(address, Standing::Ours))?)),
        None => sqlite_database(call, &server, &name),
    }
}

fn sqlite_database(call: &Call, server: &Server, name: &str) -> Result<Database> {
    let path = server.look(|sandbox| match sandbox {
        Sandbox::Sqlite(sandbox) => sandbox.database(name),
        Sandbox::Postgres(_) => Err(call.wrong(0, "a SQLite sandbox")),
    })?;
    let opened = call.on_thread(move |_| {
        if path.exists() {
            sqlite::Database::open(&path, sqlite::Access::Writable)
        } else {
            sqlite::Database::create(&path)
        }
    })?;
    Ok(Database::Sqlite(opened, Standing::Ours))
}
