//! `rows`: how many rows of a table a backup holds.

use super::handles::{Backup, Fingerprint};
use super::{Effect, Group, Primitive};
use crate::error::{Error, Kind};

pub(super) const ROWS: Primitive = Primitive {
    name: "rows",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["rows(of: Backup|Fingerprint, table: string) -> int"],
    manual: r#"
Returns how many rows of a table a backup or fingerprint holds: `backup.rows("users")`.

Where several schemas have the table, write `schema.table`. A table that is not there is an error, not zero.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    check_eq("no users", fingerprint(db).rows("users"), 0);
});
```
"#,
    work: |call| {
        let table = call.text(1)?;
        let of = call.any(0);
        if let Some(backup) = of.read_lock::<Backup>() {
            return Ok(backup.0.rows(&table)?.cast_signed().into());
        }
        let print: Fingerprint = call.handle(0, "a Backup or a Fingerprint")?;
        let found = print.0.table(&table).map(|t| t.rows.cast_signed().into());
        found.ok_or_else(|| Error::new(Kind::Missing, format!("there is no table {table}")).into())
    },
};
