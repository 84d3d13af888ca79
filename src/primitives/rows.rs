//! `rows`: how many rows of a table a backup holds.

use super::handles::{Backup, Fingerprint, Inspection};
use super::{Effect, Group, Primitive};
use crate::error::{Error, Kind};

pub(super) const ROWS: Primitive = Primitive {
    name: "rows",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["rows(of: Backup|Fingerprint|Inspection, table: string) -> int"],
    manual: r#"
Returns how many rows of a table a backup, fingerprint or inspected file holds: `backup.rows("users")`.

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
        if let Some(inspection) = of.read_lock::<Inspection>() {
            let counted = inspection.seen().map(|seen| &seen.rows);
            return counted
                .and_then(|rows| named(rows, &table))
                .map_or_else(|| Err(missing(&table).into()), |n| Ok(n.cast_signed().into()));
        }
        let print: Fingerprint = call.handle(0, "a Backup, a Fingerprint or an Inspection")?;
        print.0.table(&table).map(|t| t.rows.cast_signed().into()).ok_or_else(|| missing(&table).into())
    },
};

fn missing(table: &str) -> Error {
    Error::new(Kind::Missing, format!("there is no table {table}"))
        .hint("write schema.table where several schemas have it")
}

/// Finds a table by its full name or, where only one schema has it, by its bare name.
fn named(rows: &std::collections::BTreeMap<String, u64>, table: &str) -> Option<u64> {
    let bare = || rows.iter().filter(|(full, _)| full.rsplit_once('.').is_some_and(|(_, name)| name == table));
    rows.get(table).copied().or_else(|| if bare().count() == 1 { bare().next().map(|(_, n)| *n) } else { None })
}
