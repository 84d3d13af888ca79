//! `sqlite`: opens a SQLite database.

use std::path::PathBuf;

use rhai::Dynamic;

use super::handles::{Database, Standing};
use super::{Call, Effect, Group, Primitive, proving};
use crate::error::Result;
use crate::run::Event;
use crate::script::Unknown;
use crate::sqlite::{self, Access};

pub(super) const SQLITE: Primitive = Primitive {
    name: "sqlite",
    group: Group::Databases,
    effect: Effect::Steers,
    signatures: &["sqlite(path: string, options?: map) -> Database"],
    manual: r#"
Opens a SQLite database file, read-only.

A file that is not there, or is not SQLite, is an error. With `writable: true` it may be written, unless runner.toml
protects it or it is a source of this run. With `create: true` a new one is made; one that is there already is an error.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    let source = sqlite(query_value(db, "select file from pragma_database_list where name = 'main'"));
    check_eq("no users yet", query_value(source, "select count(*) from users"), 0);
});
```
"#,
    work: |call| {
        if Unknown::is_in(&call.any(0)) {
            return Ok(Unknown::of("sqlite"));
        }
        Ok(open(call)?)
    },
};

fn open(call: &Call) -> Result<Dynamic> {
    let path = PathBuf::from(call.text(0)?);
    let mut options = call.options(1)?;
    let writable = options.flag("writable")?;
    let create = options.flag("create")?;
    options.finish()?;
    if create {
        return make(call, path);
    }
    let (access, standing) =
        if writable { (Access::Writable, Standing::Writable) } else { (Access::ReadOnly, Standing::Source) };
    let database = Database::Sqlite(call.on_thread(move |_| sqlite::Database::open(&path, access))?, standing);
    if writable {
        database.may_write(&call.run().guard)?;
    } else {
        database.protect(&call.run().guard)?;
    }
    Ok(Dynamic::from(database))
}

/// Makes a new database, which is this run's own.
fn make(call: &Call, path: PathBuf) -> Result<Dynamic> {
    if call.run().options.dry_run {
        let text = format!("would create the database {}", path.display());
        call.run().journal.record(Event::Announced { primitive: "sqlite".into(), text });
        return Ok(Unknown::of("sqlite"));
    }
    proving::refuse(call, "sqlite with create")?;
    let made = call.on_thread(move |_| sqlite::Database::create(&path))?;
    Ok(Dynamic::from(Database::Sqlite(made, Standing::Ours)))
}
