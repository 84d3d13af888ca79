//! `restore`: a backup becomes a database again.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::{Backup, Database, PostgresDatabase, Sandbox, Server, Standing};
use super::{Call, Effect, Group, Primitive, proving};
use crate::compare::{Extent, Level, Verified};
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, Beside, RestoreOptions, RestoreTarget, Restored};
use crate::sqlite;
use crate::{backups, units};

pub(super) const RESTORE: Primitive = Primitive {
    name: "restore",
    group: Group::Primitives,
    effect: Effect::Writes(plan),
    signatures: &["restore(backup: Backup, into: Server|Database, options?: map) -> Database"],
    manual: r#"
Restores a backup and returns the restored database.

The backup is read whole and checked before anything is touched, and then loaded into a new database that gets its name
when it is whole. Any error at all means that the restore failed and the new database is gone.

Options: `database` (its name on a Server; by default the name that the backup was taken from), `tables` (only these),
`jobs`, `replace: true` (needed when the target holds something), `keep_replaced: true` (the old database stays as
`NAME__before_RUN`, which is the `replaced` of what is returned), `analyze: true`, `locale`, `masked`, `roles: true` (roles that the
dump names and the server lacks are made, without passwords; in a sandbox they always are). The very PostgreSQL database that the backup was taken from is refused unless the script says `in_place: true`, and then it is always kept. A source of
this run, or what runner.toml protects, is never a target, whatever the options say. `restore_beside` and `swap_in` do
the same in two steps. A masked copy replaces a database only with `masked: true`, and with it nothing else is taken: what a test
system is filled with.

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
    let restored = restore_into(call)?;
    proving::into_copy(call, &restored)?;
    Ok(restored)
}

fn restore_into(call: &Call) -> Result<Database> {
    let backup: Backup = call.handle(0, "a Backup")?;
    let (name, options) = options(call)?;
    call.accessed(backup.0.path());
    let target = call.any(1);
    if call.options(2)?.flag("masked")? && !backup.is_masked() {
        return Err(Error::new(Kind::Refused, format!("{backup} is not masked"))
            .on(backup.to_string())
            .hint("masked: true takes masked copies only: make one with dump and `mask`"));
    }
    if let Some(server) = target.read_lock::<Server>() {
        let name = name.map_or_else(|| default_name(&backup), Ok)?;
        return into_server(call, &backup, &server, &name, options);
    }
    match writable(call, name)? {
        Database::Postgres(target) => {
            let beside = beside(call, &backup, &target, options)?;
            take_place(call, beside, &target, false)
        }
        Database::Sqlite(target, standing) => {
            into_sqlite(call, &backup, target.path().to_owned(), options.replace, standing)
        }
    }
}

/// Returns the database to restore into, if it may be written.
pub(super) fn writable(call: &Call, name: Option<String>) -> Result<Database> {
    let target: Database = call.handle(1, "a Server or a Database")?;
    if name.is_some() {
        return Err(Error::new(Kind::Usage, "`database` names a database of a Server")
            .hint("the target is a database already: leave `database` out"));
    }
    target.may_write(&call.run().guard)?;
    refuse_masked(call, &target)?;
    Ok(target)
}

/// Refuses to put a masked copy over what is not this run's own: the values that it lacks cannot come back.
fn refuse_masked(call: &Call, target: &Database) -> Result<()> {
    let backup: Backup = call.handle(0, "a Backup")?;
    if !backup.is_masked() || target.is_ours() || call.options(2)?.flag("masked")? {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{backup} is a masked copy, and {target} is not of this run"))
        .on(target.to_string())
        .caused_by(format!("masked: {}", backup.0.manifest().map(|m| m.masked_columns()).unwrap_or_default()))
        .hint("what is masked cannot come back: pass masked: true if this is a test system"))
}

/// Says what would be done, and refuses what would be refused as far as that can be told without reading the backup.
fn plan(call: &Call) -> Result<String> {
    let (backup, target) = (call.any(0).try_cast::<Backup>(), call.any(1).try_cast::<Database>());
    if let (Some(backup), Some(Database::Postgres(_)), false) = (backup, target, call.is_unknown(2)) {
        let (name, options) = options(call)?;
        if let Database::Postgres(target) = writable(call, name)? {
            let options = settled(call, &target, options)?;
            call.wait(postgres::may_restore(&backup.0, &RestoreTarget::server(maintenance(&target)?), &options))?;
        }
    }
    Ok(format!("would restore {} into {}", call.shown(0), call.shown(1)))
}

/// Reads the options of a restore.
pub(super) fn options(call: &Call) -> Result<(Option<String>, RestoreOptions)> {
    let mut given = call.options(2)?;
    let name = given.text("database")?;
    given.flag("masked")?; // `refuse_masked` reads it
    let tables = given.texts("tables")?;
    let options = RestoreOptions {
        tables: (!tables.is_empty()).then_some(tables),
        replace: given.flag("replace")?,
        keep_replaced: given.flag("keep_replaced")?,
        in_place: given.flag("in_place")?,
        jobs: given.count("jobs")?,
        locale: given.text("locale")?,
        analyze: given.flag("analyze")?,
        roles: given.flag("roles")?,
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
            let run = call.run();
            let working = run.journal.working("restore");
            let restored = postgres::restore(&backup.0, &target, &options, &run.ledger, &working.progress);
            let restored = call.wait(restored)?;
            drop(working);
            told(call, backup, &restored);
            let database = PostgresDatabase::open(restored.address, Standing::Ours);
            Ok(Database::Postgres(PostgresDatabase {
                replaced: restored.replaced.map(Into::into),
                ..call.wait(database)?
            }))
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

/// Completes the options by what the target says.
pub(super) fn settled(call: &Call, target: &PostgresDatabase, options: RestoreOptions) -> Result<RestoreOptions> {
    // A scratch database is there and empty: it is ours to put the restored one in its place.
    let replace = options.replace || (target.standing == Standing::Ours && call.wait(is_empty(target))?);
    Ok(RestoreOptions { database: target.address.database().to_owned(), replace, ..options })
}

/// The database itself is renamed, so it cannot be the one that we are connected to.
pub(super) fn maintenance(target: &PostgresDatabase) -> Result<crate::postgres::Address> {
    let (name, real) = (target.address.database(), &target.identity.database);
    if name != real {
        return Err(Error::new(Kind::Refused, format!("{} leads to a database that is called {real}", target.address))
            .on(target.address.to_string())
            .hint("give the server's own address, not that of a pooler"));
    }
    Ok(target.address.with_database(if name == "postgres" { "template1" } else { "postgres" }))
}

async fn is_empty(target: &PostgresDatabase) -> Result<bool> {
    let sql = "select count(*) as n from pg_catalog.pg_class c join pg_catalog.pg_namespace s on s.oid = c.relnamespace \
               where s.nspname not like 'pg\\_%' and s.nspname <> 'information_schema'";
    let rows = postgres::query(&target.address, postgres::Access::ReadOnly, sql, &[]).await?;
    Ok(rows.first().and_then(|row| row.get("n")).and_then(serde_json::Value::as_i64) == Some(0))
}

/// Restores beside a database.
pub(super) fn beside(
    call: &Call,
    backup: &Backup,
    target: &PostgresDatabase,
    options: RestoreOptions,
) -> Result<Beside> {
    let options = settled(call, target, options)?;
    let server = RestoreTarget::server(maintenance(target)?);
    let run = call.run();
    let working = run.journal.working("restore");
    let made = postgres::restore_beside(&backup.0, &server, &options, &run.ledger, &working.progress);
    let made = call.wait(made)?;
    call.verified(
        format!("{} into {}", units::count(made.rows(), "row"), made.address()),
        serde_json::json!({
            "backup": backup.0.path(),
            "into": made.address().to_string(),
            "for": made.target(),
            "rows": made.rows(),
            "left_out": made.left_out(),
        }),
        &loaded(&backup.0, made.rows()),
    );
    Ok(made)
}

/// Gives a restored database its name, unless its target became a source of the run meanwhile.
pub(super) fn take_place(
    call: &Call,
    beside: Beside,
    target: &PostgresDatabase,
    end_sessions: bool,
) -> Result<Database> {
    let claim = match target.claim(&call.run().guard) {
        Ok(claim) => claim,
        Err(refused) => {
            let _ = call.wait(beside.remove()); // a removal that failed is reported by the final drain
            return Err(refused);
        }
    };
    let swap = call.wait(beside.look())?;
    if let Some(swap) = &swap {
        // Before the names change: whoever stops the run in that moment can still undo it.
        call.host().swaps.note(target, swap.clone());
    }
    let restored = call.wait(beside.take_place(swap, end_sessions, claim))?;
    call.evidence(
        format!("{} is in place", restored.address),
        serde_json::json!({ "database": restored.address.to_string(), "replaced": restored.replaced }),
    );
    let database = call.wait(PostgresDatabase::open(restored.address, target.standing))?;
    Ok(Database::Postgres(PostgresDatabase { replaced: restored.replaced.map(Into::into), ..database }))
}

fn told(call: &Call, backup: &Backup, restored: &Restored) {
    call.verified(
        format!("{} into {}", units::count(restored.rows, "row"), restored.address),
        serde_json::json!({
            "backup": backup.0.path(),
            "into": restored.address.to_string(),
            "rows": restored.rows,
            "replaced": restored.replaced,
            "left_out": restored.left_out,
        }),
        &loaded(&backup.0, restored.rows),
    );
}

/// Returns what a restore into PostgreSQL verified: it reads the file whole before it touches the server, then loads it.
fn loaded(backup: &backups::Backup, rows: u64) -> Verified {
    let extent = Extent { files: 1, rows, bytes: size_of(backup), ..Extent::default() };
    Verified::held(&[Level::File, Level::Parse, Level::Restore], extent)
}

/// Returns the bytes of the file that was read a moment ago.
fn size_of(backup: &backups::Backup) -> u64 {
    backup.path().metadata().map_or(0, |facts| facts.len())
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
    let extent = Extent { files: 1, bytes: size_of(&backup.0), ..Extent::default() };
    call.verified(
        format!("{} into {}", backup.summary(), restored.path().display()),
        serde_json::json!({ "backup": backup.0.path(), "into": restored.path() }),
        &Verified::held(&[Level::File, Level::Restore, Level::Integrity], extent),
    );
    let access = if standing == Standing::Source { sqlite::Access::ReadOnly } else { sqlite::Access::Writable };
    Ok(Database::Sqlite(restored.with_access(access), standing))
}
