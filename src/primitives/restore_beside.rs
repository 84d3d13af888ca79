//! `restore_beside`: a restored database that waits to take its target's place.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::{Backup, Database, PostgresDatabase, Standing};
use super::restore::{beside, maintenance, options, settled, writable};
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, RestoreTarget};

pub(super) const RESTORE_BESIDE: Primitive = Primitive {
    name: "restore_beside",
    group: Group::Primitives,
    effect: Effect::Writes(plan),
    signatures: &["restore_beside(backup: Backup, database: Database, options?: map) -> Database"],
    manual: r#"
Restores a backup beside a PostgreSQL database and returns the restored one, which waits for `swap_in`.

The database itself stays as it is, with its sessions. What would be refused in the end is refused before anything is
read: a source of this run, what runner.toml protects, a database that holds something without `replace: true`, a role
that may not change its name, and, without `in_place: true`, the very database that the backup was taken from. Options:
those of `restore` for a Database. What was not swapped in is dropped at the end of the run.

```rhai,no_run
let shop = postgres(secret("SHOP_URL"), #{ writable: true });
let saved = backup("backups/shop.sql.gz");
let copy = restore_beside(saved, shop, #{ replace: true, in_place: true });
if compare(saved, copy).equal { swap_in(copy); }
```
"#,
    work: |call| Ok(Dynamic::from(restore_beside(call)?)),
};

fn target(call: &Call) -> Result<PostgresDatabase> {
    let (name, _) = options(call)?;
    match writable(call, name)? {
        Database::Postgres(target) => Ok(target),
        Database::Sqlite(..) => {
            Err(Error::new(Kind::Usage, "only a PostgreSQL database is restored beside another one")
                .hint("a SQLite backup is restored beside its place by `restore` already"))
        }
    }
}

fn restore_beside(call: &Call) -> Result<Database> {
    let backup: Backup = call.handle(0, "a Backup")?;
    let target = target(call)?;
    let made = beside(call, &backup, &target, options(call)?.1)?;
    let mut identity = (*target.identity).clone();
    let address = made.address();
    identity.database = address.database().to_owned();
    call.host().swaps.wait(made, target);
    let identity = Arc::new(identity);
    Ok(Database::Postgres(PostgresDatabase { address, standing: Standing::Ours, identity, replaced: None }))
}

fn plan(call: &Call) -> Result<String> {
    let known = !(0..3).any(|at| call.is_unknown(at));
    if let (true, Some(backup)) = (known, call.any(0).try_cast::<Backup>()) {
        let target = target(call)?;
        let options = settled(call, &target, options(call)?.1)?;
        call.wait(postgres::may_restore(&backup.0, &RestoreTarget::server(maintenance(&target)?), &options))?;
    }
    Ok(format!("would restore {} beside {}", call.shown(0), call.shown(1)))
}
