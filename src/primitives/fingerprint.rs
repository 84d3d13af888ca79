//! `fingerprint`: what a database or backup holds.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::Fingerprint;
use super::side::Side;
use super::{Effect, Group, Primitive};
use crate::compare::{Hashing, Scope};

pub(super) const FINGERPRINT: Primitive = Primitive {
    name: "fingerprint",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["fingerprint(of: Database|Backup) -> Fingerprint"],
    manual: r#"
Returns what a database or backup holds, in a form that can be compared.

A database is read whole, in one snapshot and without writing; a backup's fingerprint is in its manifest.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    check_eq("rows", fingerprint(db).rows, 0);
});
```
"#,
    work: |call| {
        let side = Side::read(call, 0)?;
        let working = call.run().journal.working("fingerprint");
        let run = Arc::clone(call.run());
        let progress = working.progress.clone();
        let held = call.wait(side.hold(run, &Scope::default(), false, Hashing::Client, progress))?;
        Ok(Dynamic::from(Fingerprint(Arc::new(held.print))))
    },
};
