//! `sqlite`: opens a SQLite database.

use std::path::PathBuf;

use rhai::Dynamic;

use super::handles::{Database, Standing};
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::sqlite::{self, Access};

pub(super) const SQLITE: Primitive = Primitive {
    name: "sqlite",
    group: Group::Databases,
    effect: Effect::Reads,
    signatures: &["sqlite(path: string, options?: map) -> Database"],
    manual: r#"
Opens a SQLite database file, read-only.

A file that is not there, or is not SQLite, is an error. With `writable: true` it may be written, unless runner.toml
protects it or it is a source of this run.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    let source = sqlite(query_value(db, "select file from pragma_database_list where name = 'main'"));
    check_eq("no users yet", query_value(source, "select count(*) from users"), 0);
});
```
"#,
    work: |call| Ok(Dynamic::from(open(call)?)),
};

fn open(call: &Call) -> Result<Database> {
    let path = PathBuf::from(call.text(0)?);
    let mut options = call.options(1)?;
    let writable = options.flag("writable")?;
    options.finish()?;
    let (access, standing) =
        if writable { (Access::Writable, Standing::Writable) } else { (Access::ReadOnly, Standing::Source) };
    let database = Database::Sqlite(call.on_thread(move |_| sqlite::Database::open(&path, access))?, standing);
    if writable {
        database.may_write(&call.run().guard)?;
    } else {
        database.protect(&call.run().guard);
    }
    Ok(database)
}
