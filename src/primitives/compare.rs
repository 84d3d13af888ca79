//! `compare`: the verdict on two databases or backups.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::Comparison;
use super::side::{Held, Rows, Side};
use super::{Call, Effect, Group, Primitive};
use crate::compare::rows::{Keys, Plan, Search, Wanted};
use crate::compare::{self, Fingerprint, Hashing, Scope};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::run::Run;

pub(super) const COMPARE: Primitive = Primitive {
    name: "compare",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &[
        "compare(expected: Database|Backup|Fingerprint, found: Database|Backup|Fingerprint, options?: map) -> Comparison",
    ],
    manual: r#"
Compares everything that two databases or backups hold: every row, definition, owner, grant, sequence and property.

Options: `tables` compares only the rows of these tables; `ignore` is a map from an object, as a difference names it, to
the reason why its difference is lawful, which the report shows, and an entry that nothing differed in is warned of; `rows`
names up to so many differing rows of each table (at most 1000 in all) and costs nothing where nothing differs;
`matviews: false` leaves out the content of materialized views; `passwords: true` compares also whether the roles of two
live PostgreSQL databases have the same password, which only a superuser can see. A comparison of nothing is an error.
What could not be read makes the two unequal.

A row is named by its primary key, else by columns that are unique and never null, else by the first digits of its SHA-256.
Keys are shown, since nobody finds a row without; `keys: "hash"` shows the first digits of the SHA-256 of each value.
Values are not read out unless `values: true`, and then to the script alone: no journal and no report holds them. A backup's
own rows are read for it from the members that hold them; of an archive in pg_dump's custom format compare the restored
database.

`mode: "server"` lets live PostgreSQL databases (from version 12 on) hash the rows of their tables themselves, so that a few
numbers for each table cross the network instead of every row; for databases far away. The sums are the same as those of the
default, `mode: "client"`, which reads all rows and hashes them here: either can be held against a backup, and every other option
works as before. What a server cannot hash is read: children of table inheritance, tables of extensions, all of a database in
SQL_ASCII. The summary says how many tables the server hashed. A server that lies about its sums is believed. Without a live
PostgreSQL on one side the option is an error.

`.lawful` lists what may differ without damage, such as a materialized view that the restore refreshed, and what no dump
holds; such a difference leaves `.equal` true.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    execute(db, "insert into users (name) values ('ada'), ('grace')");
    let saved = dump(db, temp_dir() + "/shop.sqlite.gz");
    execute(db, "update users set name = 'eve' where id = 1");
    let diff = compare(saved, db, #{ rows: 20 });
    check("the change was seen", !diff.equal, diff.summary);
    check_eq("row", diff.row_differences[0].key.id, "1");
    check_eq("columns", diff.row_differences[0].columns, ["name"]);
});
```
"#,
    work: |call| Ok(Dynamic::from(compare(call)?)),
};

fn compare(call: &Call) -> Result<Comparison> {
    let (expected, found) = (Side::read(call, 0)?, Side::read(call, 1)?);
    let (scope, wanted, hashing) = options(call)?;
    if hashing == Hashing::Server && ![&expected, &found].into_iter().any(Side::is_live_postgres) {
        return Err(Error::new(Kind::Usage, "`mode: \"server\"` needs a live PostgreSQL database on one side")
            .hint("leave the option out: nothing else has a server that could hash rows"));
    }
    let masked = [&expected, &found].into_iter().find_map(Side::masked).unwrap_or_default();
    let scope = Scope { masked, ..scope };
    let run = call.run();
    let working = run.journal.working("compare");
    let hold = |side: Side| side.hold(Arc::clone(run), &scope, wanted.rows > 0, hashing, working.progress.clone());
    // Two live databases are read side by side.
    let (expected, found) = call.wait(async { tokio::try_join!(hold(expected), hold(found)) })?;
    let (Held { print: expected, rows: a, hashed }, Held { print: found, rows: b, hashed: also }) = (expected, found);
    let mut comparison = compare::compare(&expected, &found, &scope)?;
    comparison.hashed(hashed.and(also));
    if comparison.tables == 0 {
        return Err(Error::new(Kind::Usage, "there is nothing to compare: neither side holds a table")
            .hint("is it the right database? A comparison of nothing proves nothing"));
    }
    let read = working.progress.done();
    drop(working);
    if wanted.rows > 0 {
        call.wait(name_rows(&mut comparison, (&expected, a), (&found, b), wanted, run))?;
    }
    for object in &comparison.not_used {
        let reason = &scope.ignore[object];
        call.warn(format!("compare: nothing differs in {object}, which `ignore` names ({reason}): take the entry out"));
    }
    call.verified(
        comparison.summary(),
        serde_json::to_value(&comparison)
            .map_err(|e| Error::new(Kind::Bug, "could not note the comparison").because(&e))?,
        &comparison.verified(read),
    );
    Ok(Comparison(Arc::new(comparison)))
}

/// Looks for the rows of the tables that differ, in the moments that the fingerprints were taken of.
async fn name_rows(
    comparison: &mut compare::Comparison,
    (expected, a): (&Fingerprint, Rows),
    (found, b): (&Fingerprint, Rows),
    wanted: Wanted,
    run: &Run,
) -> Result<()> {
    let tables: Vec<String> = comparison.changed_tables().map(str::to_owned).collect();
    let closed = match expected.engine == found.engine {
        true => a.closed().or(b.closed()),
        false => Some("PostgreSQL and SQLite write their rows in different ways"),
    };
    if let Some(why) = closed.filter(|_| !tables.is_empty()) {
        comparison.rows_not_named = tables.into_iter().map(|table| (table, why.to_owned())).collect();
    } else if !tables.is_empty() {
        let working = run.journal.working("name the rows");
        let (a, b) = (a.opened(run, &working.progress).await?, b.opened(run, &working.progress).await?);
        let search = search(&tables, (expected, &a), (found, &b), wanted, &working.progress).await?;
        comparison.add_rows(search.finish());
        a.end().await?;
        return b.end().await;
    }
    a.end().await?;
    b.end().await
}

async fn search(
    tables: &[String],
    (expected, a): (&Fingerprint, &Rows),
    (found, b): (&Fingerprint, &Rows),
    wanted: Wanted,
    progress: &Progress,
) -> Result<Search> {
    let mut plans = Vec::new();
    for table in tables {
        let (Some(here), Some(there)) = (expected.tables.get(table), found.tables.get(table)) else { continue };
        let mut keys = a.keys(expected, table).await?;
        keys.extend(b.keys(found, table).await?);
        plans.push(Plan::new(table, here, there, &keys));
    }
    let mut search = Search::new(plans, wanted);
    while let Some(look) = search.look() {
        let (expected, found) = tokio::try_join!(a.look(&look, progress), b.look(&look, progress))?;
        search.take(expected, found);
    }
    Ok(search)
}

fn options(call: &Call) -> Result<(Scope, Wanted, Hashing)> {
    let mut options = call.options(2)?;
    let scope = Scope {
        tables: options.texts("tables")?,
        ignore: options.text_map("ignore")?.into_iter().collect(),
        matviews: options.flag_or_yes("matviews")?,
        passwords: options.flag("passwords")?,
        ..Scope::default()
    };
    let wanted = Wanted {
        rows: options.count("rows")?.unwrap_or(0),
        keys: match options.text("keys")?.as_deref() {
            None | Some("shown") => Keys::Shown,
            Some("hash") => Keys::Hashed,
            Some(other) => {
                return Err(Error::new(Kind::Usage, format!("`{other}` is no way to show keys"))
                    .hint("write keys: \"shown\" or keys: \"hash\""));
            }
        },
        values: options.flag("values")?,
    };
    let hashing = match options.text("mode")?.as_deref() {
        None | Some("client") => Hashing::Client,
        Some("server") => Hashing::Server,
        Some(other) => {
            return Err(Error::new(Kind::Usage, format!("`{other}` is no mode of comparing"))
                .hint("write mode: \"client\" or mode: \"server\""));
        }
    };
    options.finish()?;
    if let Some((object, _)) = scope.ignore.iter().find(|(_, reason)| reason.trim().is_empty()) {
        return Err(Error::new(Kind::Usage, format!("ignoring {object} needs a reason"))
            .hint("the report shows it: #{ \"…\": \"why\" }"));
    }
    if scope.passwords && !scope.tables.is_empty() {
        return Err(Error::new(Kind::Usage, "`passwords` and `tables` do not go together"));
    }
    Ok((scope, wanted, hashing))
}
