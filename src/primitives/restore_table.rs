//! `restore_table`: one table of a backup back into a live database.

use rhai::Dynamic;
use serde_json::json;

use super::handles::{Backup, Database, PostgresDatabase};
use super::restore::{maintenance, writable};
use super::{Call, Effect, Group, Primitive};
use crate::compare::{Extent, Level, Verified};
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, RestoreTarget, TableOptions};
use crate::script::{did_you_mean, from_json};

pub(super) const RESTORE_TABLE: Primitive = Primitive {
    name: "restore_table",
    group: Group::Primitives,
    effect: Effect::Writes(plan),
    signatures: &["restore_table(backup: Backup, database: Database, table: string, options?: map) -> map"],
    manual: r#"
Brings one table of a backup back into a PostgreSQL database, with all that belongs to it, and changes nothing else.

Rows, indexes, constraints, triggers, rules, policies, its sequences with their values, owner, grants of table and columns,
comments, statistics, storage, replica identity, options, publications, and foreign keys in both directions become what
the backup holds. It is one transaction: before it commits, the table is compared with the backup row by row, every foreign
key is checked anew, and everything else in the database is compared with what it was. Whatever fails leaves all as it was.

A table that is there stays the same object, so that views on it stay. Where its columns are others than in the backup it is
made anew, unless something depends on it: that is refused and listed. Partitioned, inherited and foreign tables are refused.

Options: `replace: true` (needed when the table is there), `in_place: true` (needed when the backup was taken from this very
database), `keep_replaced: true` (the rows that make room stay as the table `NAME__before_RUN`, which its owner may read;
`in_place` does that, too), `others: "structure"` (does not compare the rows of other tables, for a database in which they
are written meanwhile). A source of this run, or what runner.toml protects, is never a target.

The result is a map: `table`, `rows`, `created`, `replaced` (the table with the old rows, or empty), `mended` (what differed
besides rows), `left_out` (keys of other tables that are not there), `lost` (views of the backup that use the table and are
not there; making them again is up to you), `compared` (how many other objects, tables and sequences are unchanged) and
`checked` (the levels that the table was compared on).

```rhai,no_run
let shop = postgres(secret("SHOP_URL"), #{ writable: true });
let saved = backup("backups/shop.sql.gz");
let back = restore_table(saved, shop, "public.t", #{ replace: true, in_place: true });
check_eq("every row is back", back.rows, saved.rows("t"));
```
"#,
    work: |call| Ok(restore_table(call)?),
};

struct Wanted {
    backup: Backup,
    target: PostgresDatabase,
    options: TableOptions,
}

fn wanted(call: &Call) -> Result<Wanted> {
    let (backup, table) = (call.handle::<Backup>(0, "a Backup")?, call.text(2)?);
    let mut given = call.options(3)?;
    let others_may_change = match given.text("others")?.as_deref() {
        None | Some("rows") => false,
        Some("structure") => true,
        Some(word) => {
            let hint = did_you_mean(word, ["rows", "structure"]).unwrap_or_default();
            return Err(
                Error::new(Kind::Usage, format!("`others` is \"rows\" or \"structure\", not `{word}`")).hint(hint)
            );
        }
    };
    let options = TableOptions {
        table,
        replace: given.flag("replace")?,
        in_place: given.flag("in_place")?,
        keep_replaced: given.flag("keep_replaced")?,
        others_may_change,
    };
    given.finish()?;
    match writable(call, None)? {
        Database::Postgres(target) => Ok(Wanted { backup, target, options }),
        Database::Sqlite(..) => Err(Error::new(Kind::Usage, "only a table of PostgreSQL is restored alone")
            .hint("restore the SQLite backup beside and copy the rows")),
    }
}

fn plan(call: &Call) -> Result<String> {
    if !(0..4).any(|at| call.is_unknown(at)) {
        let Wanted { backup, target, options } = wanted(call)?;
        let server = RestoreTarget::server(maintenance(&target)?);
        call.wait(postgres::may_restore_table(&backup.0, &server, target.address.database(), &options))?;
    }
    Ok(format!("would restore table {} of {} into {}", call.shown(2), call.shown(0), call.shown(1)))
}

fn restore_table(call: &Call) -> Result<Dynamic> {
    let Wanted { backup, target, options } = wanted(call)?;
    let server = RestoreTarget::server(maintenance(&target)?);
    let run = call.run();
    let working = run.journal.working("restore");
    let database = target.address.database();
    let made = postgres::restore_table(&backup.0, &server, database, &options, &run.ledger, &working.progress);
    let made = call.wait(made)?;
    drop(working);
    // It may have become a source of this run meanwhile.
    let claim = target.claim(&run.guard)?;
    let made = call.wait(made.commit(claim))?;
    for lost in &made.lost {
        call.warn(format!("{lost} uses {} in the backup and is not there: make it again", made.table));
    }
    let levels = [Level::Structure, Level::Content, Level::Integrity];
    let facts = json!({
        "checked": levels,
        "table": made.table,
        "rows": made.rows,
        "created": made.created,
        "replaced": made.replaced.clone().unwrap_or_default(),
        "mended": made.mended,
        "left_out": made.left_out,
        "lost": made.lost,
        "compared": made.compared,
    });
    let mut evidence = facts.clone();
    evidence["backup"] = json!(backup.0.path());
    evidence["database"] = json!(target.to_string());
    let rows = crate::units::count(made.rows, "row");
    let extent = Extent { tables: 1, rows: made.rows, ..Extent::default() };
    call.verified(
        format!("{rows} of {} into {target}; {} other things are unchanged", made.table, made.compared),
        evidence,
        &Verified::held(&levels, extent),
    );
    Ok(from_json(facts))
}
