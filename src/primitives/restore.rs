//! `restore`: a backup becomes a database again.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::{Backup, Database, PostgresDatabase, Sandbox, Server, Standing};
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, RestoreOptions, RestoreTarget};
use crate::sqlite;
use crate::units;

pub(super) const RESTORE: Primitive = Primitive {
    name: "restore",
    group: Group::Primitives,
    effect: Effect::Writes(|call| Ok(format!("would restore {} into {}", call.shown(0), call.shown(1)))),
    signatures: &["restore(backup: Backup, into: Server|Database, options?: map) -> Database"],
    manual: r#"
Restores a backup and returns the restored database.

The backup is read whole and checked before anything is touched, and then loaded into a new database that gets its name
when it is whole. Any error at all means that the restore failed and the new database is gone.

Options: `database` (its name on a Server; by default the name that the backup was taken from), `tables` (only these),
`jobs`, `replace: true` (needed when the target holds something), `keep_replaced: true` (the old database stays as
`NAME__before_RUN`), `analyze: true`, `locale`. A source of this run, or what runner.toml protects, is never a target.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    execute(db, "insert into users (name) values ('ada'), ('grace')");
    let saved = dump(db, temp_dir() + "/shop.sqlite.gz");
    let copy = restore(saved, server, #{ database: "copy" });
    check("every row is back", compare(saved, copy).equal);
});
```
"#,
    work: |call| Ok(Dynamic::from(restore(call)?)),
};

fn restore(call: &Call) -> Result<Database> {
    let backup: Backup = call.handle(0, "a Backup")?;
    let (name, options) = options(call)?;
    let target = call.any(1);
    if let Some(server) = target.read_lock::<Server>() {
        let name = name.map_or_else(|| default_name(&backup), Ok)?;
        return into_server(call, &backup, &server, &name, options);
    }
    let target: Database = call.handle(1, "a Server or a Database")?;
    if name.is_some() {
        return Err(Error::new(Kind::Usage, "`database` names a database of a Server")
            .hint("the target is a database already: leave `database` out"));
    }
    target.may_write(&call.run().guard)?;
    into_database(call, &backup, target, options)
}

fn options(call: &Call) -> Result<(Option<String>, RestoreOptions)> {
    let mut given = call.options(2)?;
    let name = given.text("database")?;
    let tables = given.texts("tables")?;
    let options = RestoreOptions {
        tables: (!tables.is_empty()).then_some(tables),
        replace: given.flag("replace")?,
        keep_replaced: given.flag("keep_replaced")?,
        jobs: given.count("jobs")?,
        locale: given.text("locale")?,
        analyze: given.flag("analyze")?,
        ..RestoreOptions::default()
    };
    given.finish()?;
    Ok((name, options))
}

fn default_name(backup: &Backup) -> Result<String> {
    let manifest = backup.0.manifest().ok_or_else(|| {
        Error::new(Kind::Usage, format!("{backup} does not tell the name of its database")).hint("give `database`")
    })?;
    // A SQLite database is a file, whose ending is not part of its name.
    let name = &manifest.source.database;
    Ok(name.split('.').next().filter(|n| !n.is_empty()).unwrap_or(name).to_owned())
}

fn into_server(call: &Call, backup: &Backup, server: &Server, name: &str, options: RestoreOptions) -> Result<Database> {
    match server.postgres_target()? {
        Some(target) => {
            let options = RestoreOptions { database: name.to_owned(), ..options };
            into_postgres(call, backup, &target, &options, Standing::Ours)
        }
        None => {
            let path = server.look(|sandbox| match sandbox {
                Sandbox::Sqlite(sandbox) => sandbox.database(name),
                Sandbox::Postgres(_) => Err(call.wrong(1, "a SQLite sandbox")),
            })?;
            into_sqlite(call, backup, path, options.replace, Standing::Ours)
        }
    }
}

fn into_database(call: &Call, backup: &Backup, target: Database, options: RestoreOptions) -> Result<Database> {
    match target {
        Database::Postgres(target) => {
            let standing = target.standing;
            // A scratch database is there and empty: it is ours to put the restored one in its place.
            let replace = options.replace || (standing == Standing::Ours && call.wait(is_empty(&target))?);
            let options = RestoreOptions { database: target.address.database().to_owned(), replace, ..options };
            into_postgres(call, backup, &RestoreTarget::server(maintenance(&target)), &options, standing)
        }
        Database::Sqlite(target, standing) => {
            into_sqlite(call, backup, target.path().to_owned(), options.replace, standing)
        }
    }
}

/// The database itself is renamed, so it cannot be the one that we are connected to.
fn maintenance(target: &PostgresDatabase) -> crate::postgres::Address {
    let other = if target.address.database() == "postgres" { "template1" } else { "postgres" };
    target.address.with_database(other)
}

async fn is_empty(target: &PostgresDatabase) -> Result<bool> {
    let sql = "select count(*) as n from pg_catalog.pg_class c join pg_catalog.pg_namespace s on s.oid = c.relnamespace \
               where s.nspname not like 'pg\\_%' and s.nspname <> 'information_schema'";
    let rows = postgres::query(&target.address, postgres::Access::ReadOnly, sql, &[]).await?;
    Ok(rows.first().and_then(|row| row.get("n")).and_then(serde_json::Value::as_i64) == Some(0))
}

fn into_postgres(
    call: &Call,
    backup: &Backup,
    target: &RestoreTarget,
    options: &RestoreOptions,
    standing: Standing,
) -> Result<Database> {
    let run = call.run();
    let working = run.journal.working("restore");
    let restored = call.wait(postgres::restore(&backup.0, target, options, &run.ledger, &working.progress))?;
    drop(working);
    let rows = units::count(restored.rows, "row");
    call.evidence(
        format!("{rows} into {}", restored.address),
        serde_json::json!({
            "backup": backup.0.path(),
            "into": restored.address.to_string(),
            "rows": restored.rows,
            "replaced": restored.replaced,
            "left_out": restored.left_out,
            "checked": ["file", "parse", "restore"],
        }),
    );
    Ok(Database::Postgres(call.wait(PostgresDatabase::open(restored.address, standing))?))
}

fn into_sqlite(
    call: &Call,
    backup: &Backup,
    path: std::path::PathBuf,
    replace: bool,
    standing: Standing,
) -> Result<Database> {
    let run = call.run();
    let working = run.journal.working("restore");
    let (progress, from) = (working.progress.clone(), Arc::clone(&backup.0));
    let restored = call.on_thread(move |cancel| sqlite::restore(&from, &path, replace, &progress, cancel))?;
    drop(working);
    call.evidence(format!("{} into {}", backup.summary(), restored.path().display()), serde_json::json!({ "backup": backup.0.path(), "into": restored.path(), "checked": ["file", "restore", "integrity"] }));
    let access = if standing == Standing::Source { sqlite::Access::ReadOnly } else { sqlite::Access::Writable };
    Ok(Database::Sqlite(restored.with_access(access), standing))
}
