//! `scratch`: a new empty database beside another one.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::{Database, PostgresDatabase, Standing};
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::postgres::create_scratch;

pub(super) const SCRATCH: Primitive = Primitive {
    name: "scratch",
    group: Group::Databases,
    effect: Effect::Writes(|call| {
        Ok(format!("would create the scratch database {} beside {}", call.shown(1), call.shown(0)))
    }),
    signatures: &["scratch(database: Database, name: string) -> Database"],
    manual: r#"
Creates a new empty database on the server of another one, and drops it at the end of the run.

It is for servers where a sandbox is not possible; the role needs CREATEDB. A database of that name that is there
already is an error, never touched. The other database itself is not written.

```rhai,no_run
let source = postgres("postgres://backup@db.example.com:5432/orders");
let test = scratch(source, "orders_test");
let copy = restore(backup("backups/orders.sql.gz"), test);
```
"#,
    work: |call| Ok(Dynamic::from(scratch(call)?)),
};

fn scratch(call: &Call) -> Result<Database> {
    let beside: Database = call.handle(0, "a Database")?;
    let name = call.text(1)?;
    let Database::Postgres(beside) = beside else {
        return Err(Error::new(Kind::Usage, "a scratch database is PostgreSQL's")
            .hint("for SQLite use sandbox(#{ engine: \"sqlite\" })"));
    };
    let run = call.run();
    let address = call.wait(create_scratch(&beside.address, &name, &run.ledger))?;
    let mut identity = (*beside.identity).clone();
    identity.database.clone_from(&name);
    call.evidence(format!("created {address}"), serde_json::json!({ "database": address.to_string() }));
    let standing = Standing::Ours;
    Ok(Database::Postgres(PostgresDatabase { address, standing, identity: Arc::new(identity), replaced: None }))
}
