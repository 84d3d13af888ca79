//! `compare`: the verdict on two databases or backups.

use std::sync::Arc;

use rhai::Dynamic;

use super::fingerprint::Side;
use super::handles::Comparison;
use super::{Call, Effect, Group, Primitive};
use crate::compare::{self, Scope};
use crate::error::{Error, Kind, Result};

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
the reason why its difference is lawful, which the report shows. A comparison of nothing is an error. What could not be
read makes the two unequal.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    execute(db, "insert into users (name) values ('ada'), ('grace')");
    let before = fingerprint(db);
    execute(db, "update users set name = 'eve' where id = 1");
    let diff = compare(before, db);
    check("the change was seen", !diff.equal, diff.summary);
});
```
"#,
    work: |call| Ok(Dynamic::from(compare(call)?)),
};

fn compare(call: &Call) -> Result<Comparison> {
    let (expected, found) = (Side::read(call, 0)?, Side::read(call, 1)?);
    let scope = scope(call)?;
    let run = call.run();
    let working = run.journal.working("compare");
    let read = |side: Side| side.fingerprint(Arc::clone(run), scope.tables.clone(), working.progress.clone());
    let (expected, found) = (read(expected), read(found));
    // Two live databases are read side by side.
    let (expected, found) = call.wait(async { tokio::try_join!(expected, found) })?;
    let comparison = compare::compare(&expected, &found, &scope)?;
    if comparison.tables == 0 {
        return Err(Error::new(Kind::Usage, "there is nothing to compare: neither side holds a table")
            .hint("is it the right database? A comparison of nothing proves nothing"));
    }
    drop(working);
    call.evidence(
        comparison.summary(),
        serde_json::to_value(&comparison)
            .map_err(|e| Error::new(Kind::Bug, "could not note the comparison").because(&e))?,
    );
    Ok(Comparison(Arc::new(comparison)))
}

fn scope(call: &Call) -> Result<Scope> {
    let mut options = call.options(2)?;
    let scope = Scope { tables: options.texts("tables")?, ignore: options.text_map("ignore")?.into_iter().collect() };
    options.finish()?;
    if let Some((object, _)) = scope.ignore.iter().find(|(_, reason)| reason.trim().is_empty()) {
        return Err(Error::new(Kind::Usage, format!("ignoring {object} needs a reason"))
            .hint("the report shows it: #{ \"…\": \"why\" }"));
    }
    Ok(scope)
}
