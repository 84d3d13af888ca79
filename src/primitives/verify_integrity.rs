//! `verify_integrity`: checks every rule of a database again.

use rhai::Dynamic;

use super::handles::{Database, Integrity, Standing};
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::postgres::{self, IntegrityOptions};
use crate::sqlite;

pub(super) const VERIFY_INTEGRITY: Primitive = Primitive {
    name: "verify_integrity",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["verify_integrity(database: Database, options?: map) -> Integrity"],
    manual: r#"
Checks every rule of a database again, by reading its tables: no index and no flag in the catalogue is believed.

In PostgreSQL: foreign keys, checks, NOT NULL, unique and exclusion constraints, domains (also in arrays and composite
values), generated columns, each row in its right partition, indexes that are not valid, constraints whose triggers are
switched off, outdated collations; btree indexes and the pages of tables by amcheck where it is installed or, in a database
of this run, borrowed for the moment, else by counting through the index. In SQLite: integrity_check and foreign_key_check.

`.sound` says that every rule was checked and holds; `.problems` is a list of maps `object, what, text`; `.not_checked` says
what there is no check for, and why. A check that could not run makes the database unsound. Nothing is written. Options:
`indexes: false` leaves out what reads indexes and pages.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text not null)");
    let rules = verify_integrity(db);
    check("every rule holds", rules.sound, rules.summary);
});
```
"#,
    work: |call| Ok(Dynamic::from(verify(call)?)),
};

fn verify(call: &Call) -> Result<Integrity> {
    let database: Database = call.handle(0, "a Database")?;
    let mut options = call.options(1)?;
    let wrong = || Error::new(Kind::Usage, "option `indexes` of verify_integrity is true or false");
    let indexes = options.any("indexes").map_or(Ok(true), |value| value.as_bool().map_err(|_| wrong()))?;
    options.finish()?;
    let working = call.run().journal.working("verify integrity");
    let progress = working.progress.clone();
    let found = match database {
        Database::Postgres(database) => {
            let options = IntegrityOptions { indexes, may_install: database.standing == Standing::Ours };
            call.wait(postgres::verify_integrity(&database.address, options, &progress))?
        }
        Database::Sqlite(database, _) => call.on_thread(move |cancel| sqlite::verify_integrity(&database, cancel))?,
    };
    let read = working.progress.done();
    drop(working);
    let verified = found.verified(read);
    let found = Integrity::from(found);
    call.verified(found.to_string(), found.facts(), &verified);
    Ok(found)
}
